"""Teaches the generator's text encoder which words belong together: a colour to its shape, a relation to its ends.

Flow matching alone leaves that to chance for a long time: after 300k pictures a linear probe read the colour of an
object off its shape's token in 29 % of two-object captions, and pictures showed the right colours in the wrong shapes.
Captions cost a hundredth of a picture, so the encoder learns it from text alone, and keeps it in the joint training.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from forgekit.mini.captions import caption
from forgekit.mini.world import COLORS, OPPOSITE, RELATIONS, SHAPES, WorldObject, WorldScene, sample_scene
from training.generator import TEXT_TOKENS, WIDTH, MiniFlux, tokenizer
from training.loop import Schedule, Training, matrices_in, muon_and_adamw
from training.words import word_concepts

FACTS = {"shape": len(SHAPES), "color": len(COLORS), "count": 3, "place": 1 + len(RELATIONS)}  # and their classes
_UNKNOWN = -100
_BATCH, _RATE = 128, 3e-3


class BindingHead(nn.Module):
    """Reads off each word of a caption what is true of the object that it belongs to."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, sum(FACTS.values()))
        self._tokenize, self._concepts = tokenizer(), word_concepts()
        words = self._tokenize.get_vocab()
        self._words = {number: word for word, number in words.items()}

    def loss(self, features: Tensor, ids: Tensor, scenes: Sequence[WorldScene]) -> tuple[Tensor, float]:
        """Return the cross-entropy of features (n, tokens, 128) and the share of facts that are right."""
        labels = self.labels(ids, scenes)
        known = labels[..., 0] != _UNKNOWN
        logits = self.linear(features[known]).split(list(FACTS.values()), 1)
        wanted = labels[known]
        losses = [functional.cross_entropy(part, wanted[:, i]) for i, part in enumerate(logits)]
        right = torch.stack([part.argmax(1) == wanted[:, i] for i, part in enumerate(logits)])
        return torch.stack(losses).sum(), right.float().mean().item()

    def labels(self, ids: Tensor, scenes: Sequence[WorldScene]) -> Tensor:
        """Return the facts (n, tokens, 4) of the object each word belongs to, -100 where that is unclear."""
        labels = torch.full((*ids.shape, len(FACTS)), _UNKNOWN)
        for row, scene in enumerate(scenes):
            facts = [(thing, _facts(scene, thing, count)) for thing, count in scene.groups]
            for column, number in enumerate(ids[row].tolist()):
                concept = self._concepts.get(self._words[number])
                meant = [f for thing, f in facts if concept in thing.look] if concept else []
                if len(meant) == 1:
                    labels[row, column] = torch.tensor(meant[0])
        return labels


def _facts(scene: WorldScene, thing: WorldObject, count: int) -> list[int]:
    place = 0
    if scene.relation:
        relation = scene.relation if thing.look == scene.objects[0].look else OPPOSITE[scene.relation]
        place = 1 + RELATIONS.index(relation)
    return [SHAPES.index(thing.shape), list(COLORS).index(thing.color), count - 1, place]


def teach_binding(model: MiniFlux, head: BindingHead, samples: int, *, keep: float = 0.3, seed: int = 4) -> None:
    """Train the T5 encoder of `model` on `samples` captions, its features staying near what the transformer knows.

    `keep` weighs the squared distance from the features before; 0 for a transformer that has not learnt yet.
    """
    torch.manual_seed(seed)
    rng, tokenize = random.Random(seed), tokenizer()
    before = copy.deepcopy(model.t5).requires_grad_(False)
    optimizers = muon_and_adamw(matrices_in(model.t5.encoder.block), [model.t5, head], muon_decay=0.01, decay=0.0)
    training = Training("binding", Schedule(samples, _BATCH, _RATE), {}, optimizers, clipped=[model.t5])
    for _ in training.steps():
        scenes = [_talkative(rng) for _ in range(_BATCH)]
        texts = [caption(scene, rng) for scene in scenes]
        ids = tokenize(texts, padding=True, truncation=True, max_length=TEXT_TOKENS, return_tensors="pt")["input_ids"]
        features = model.t5(ids).last_hidden_state
        bound, right = head.loss(features, ids, scenes)
        with torch.no_grad():
            old = before(ids).last_hidden_state
        moved = (features - old).square().mean() / old.square().mean()
        training.descend(bound + keep * moved, {"right": right, "moved": moved.item()})


def _talkative(rng: random.Random) -> WorldScene:
    """Sample a scene of several objects: with one there is nothing to mix up."""
    while True:
        scene = sample_scene(rng, grid=True)
        if len(scene.groups) > 1 or rng.random() < 0.2:
            return scene
