"""What the judges' trainers share: words, pictures with blemishes, dense labels, optimiser, checkpoints."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from forgekit.mini.captions import JUDGE, NUMBERS, RARE, RELATION_WORDS, SYNONYMS, Grammar, caption
from forgekit.mini.muon import Muon
from forgekit.mini.render import CELLS, PALETTE, cell_labels, render
from forgekit.mini.statements import COUNTS, STYLE_PHRASES
from forgekit.mini.world import CANVAS, CHANGES, SHAPES, WorldScene, changed, sample_scene

log = logging.getLogger(__name__)

FUNCTION_WORDS = (
    "a an the of on in is are that there with and without no not any to image picture photo painting drawing style "
    "background design illustration art line outline flat one two three four five six "
    "empty shapeless blob clean shapes"
)

COMPLETE = Grammar(rare=15.0, omissions=0.0, unknown=0.0)  # says all but a white background and the flat style
# Changes whose complete caption is false of the picture before the change; the others may leave the change unsaid.
TELLING = frozenset({"object", "color", "count", "relation", "size", "swapped", "extra"})


def world_words(extra: Iterable[str] = ()) -> list[str]:
    """Return every word that phrases and captions of the mini world can hold, plurals included, sorted."""
    texts = [FUNCTION_WORDS, *extra, *COUNTS.values(), *NUMBERS.values()]
    texts += [text for forms in (*RELATION_WORDS.values(), *STYLE_PHRASES.values()) for text in forms]
    for concept in SYNONYMS.keys() | RARE.keys():
        names = [concept, *SYNONYMS.get(concept, ()), *RARE.get(concept, ())]
        texts += names
        if concept in SHAPES:
            texts += [n + ("es" if n.endswith(("x", "s")) else "s") for n in names]
    return sorted({word for text in texts for word in text.split()})


def word_tokenizer(words: Sequence[str], specials: Sequence[str], ending: str | None, **names: str) -> Any:
    """Return a transformers tokenizer with one token a word, lower-cased; other words become `<unk>`.

    `specials` come first in the vocabulary; `ending` closes every text; `names` are those of the special tokens
    (`pad_token="<pad>"` …).
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate([*specials, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if ending:
        pieces = [(ending, vocabulary[ending])]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {ending}", special_tokens=pieces)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **names)


def sample_pairs(n: int, rng: random.Random) -> tuple[list[WorldScene], list[str]]:
    """Return `n` scenes each followed by itself with one thing changed, 2n in all, and the `n` kinds of change."""
    scenes: list[WorldScene] = []
    kinds: list[str] = []
    while len(kinds) < n:
        scene, kind = sample_scene(rng), rng.choice(CHANGES)
        other = changed(scene, kind, rng)
        if other is not None:
            scenes += [scene, other]
            kinds.append(kind)
    return scenes, kinds


def pair_caption(before: WorldScene, after: WorldScene, kind: str, rng: random.Random) -> tuple[str, float, float]:
    """Return a caption of one of two pictures and its truth of both: 1, 0, or nan where it may leave the change unsaid.

    `kind` says what was changed between them.
    """
    unsaid = kind == "extra" and after.relation  # such a caption names the two related objects only
    if kind in TELLING and not unsaid and rng.random() < 0.5:
        return caption(after, rng, COMPLETE), 0.0, 1.0
    return caption(before, rng, JUDGE), 1.0, float("nan")


@dataclass
class Camera:
    """Draws scenes with the faults of generated pictures, so that judges read those rightly too.

    A share of pictures gets a blob (paint in no known shape, true of nothing), blur, noise, or a passage through the
    generator's autoencoder with noise on its latents.
    """

    rng: random.Random
    generator: torch.Generator
    autoencoder: Path | None = None
    blobs: float = 0.2
    blobbed: list[bool] = field(default_factory=list)  # which pictures of the last batch got a blob
    _coder: Any = field(default=None, repr=False)

    def draw(self, scenes: Sequence[WorldScene]) -> Tensor:
        """Return float (n, 3, 64, 64) in [0, 1]."""
        pictures = render(scenes, self.generator)
        tried = [self.rng.random() < self.blobs for _ in scenes]
        self.blobbed = [t and self._add_blob(*pair) for t, *pair in zip(tried, pictures, scenes, strict=True)]
        pictures = self._blur(pictures)
        pictures = self._recode(pictures)
        strength = 0.05 * torch.rand(len(scenes), 1, 1, 1, generator=self.generator)
        return (pictures + strength * torch.randn(pictures.shape, generator=self.generator)).clamp(0, 1)

    def _add_blob(self, picture: Tensor, scene: WorldScene) -> bool:
        """Paint a ragged patch or a sliced disc where there is room, and say whether there was."""
        r = self.rng.uniform(5, 11)
        for _ in range(20):
            x, y = (self.rng.uniform(r + 1, CANVAS - r - 1) for _ in "xy")
            if all((x - o.cx) ** 2 + (y - o.cy) ** 2 > (1.15 * (r + o.r)) ** 2 for o in scene.objects):
                break
        else:
            return False
        pixel = torch.arange(CANVAS) + 0.5
        dx, dy = pixel[None, :] - x, pixel[:, None] - y
        distance = torch.hypot(dx * self.rng.uniform(0.8, 1.6), dy) - 0.8 * r
        if self.rng.random() < 0.5:
            ragged = torch.randn(1, 1, 16, 16, generator=self.generator)
            distance = distance + 3 * functional.interpolate(ragged, size=(CANVAS, CANVAS), mode="bicubic")[0, 0]
        else:
            angle = self.rng.uniform(0, 6.28)
            slope = torch.tensor([angle]).cos() * dx + torch.tensor([angle]).sin() * dy
            distance = torch.maximum(distance, slope + self.rng.uniform(-0.2, 0.2) * r)
        paint = PALETTE[self.rng.randrange(len(PALETTE))][:, None, None]
        cover = self.rng.uniform(0.6, 1.0) * (0.5 - distance).clamp(0, 1)
        picture.copy_(picture * (1 - cover) + paint * cover)
        return True

    def _blur(self, pictures: Tensor) -> Tensor:
        chosen = torch.rand(len(pictures), 1, 1, 1, generator=self.generator) < 0.25
        soft = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
        return torch.where(chosen, soft, pictures)

    def _recode(self, pictures: Tensor) -> Tensor:
        if self.autoencoder is None:
            return pictures
        if self._coder is None:
            from diffusers import AutoencoderTiny

            self._coder = AutoencoderTiny.from_pretrained(self.autoencoder).eval()
        chosen = torch.rand(len(pictures), generator=self.generator) < 0.12
        if not chosen.any():
            return pictures
        with torch.no_grad():
            latents = self._coder.encode(pictures[chosen] * 2 - 1).latents
            spread = latents.std() * 0.35 * torch.rand(len(latents), 1, 1, 1, generator=self.generator)
            latents = latents + spread * torch.randn(latents.shape, generator=self.generator)
            recoded = self._coder.decode(latents).sample.float() / 2 + 0.5
        pictures = pictures.clone()
        pictures[chosen] = recoded.clamp(0, 1)
        return pictures


class DenseHead(nn.Module):
    """Reads shape and colour of every 4×4-pixel cell off the image tokens; used in training only.

    It is what makes transformers of this size learn shapes: the renderer knows each cell, so each token has a target.
    """

    def __init__(self, width: int, grid: int = 8) -> None:
        """Make a linear head for `grid` × `grid` tokens of `width` numbers."""
        super().__init__()
        self.grid, self.cells = grid, CELLS // grid
        self.linear = nn.Linear(width, self.cells**2 * (8 + 11))

    def loss(self, tokens: Tensor, scenes: Sequence[WorldScene]) -> tuple[Tensor, float]:
        """Return the cross-entropy of tokens (n, grid², width) and the share of painted cells whose shape is right."""
        shapes, colors = (labels.long() for labels in cell_labels(scenes))
        g, c = self.grid, self.cells
        cells = self.linear(tokens).view(-1, g, g, c, c, 19).permute(0, 5, 1, 3, 2, 4).reshape(-1, 19, CELLS, CELLS)
        loss = functional.cross_entropy(cells[:, :8], shapes) + 0.5 * functional.cross_entropy(cells[:, 8:], colors)
        painted = shapes > 0
        return loss, (cells[:, :8].argmax(1) == shapes)[painted].float().mean().item()


class Trainer:
    """Weights, optimisers and progress of one training, saved together so that it can be resumed.

    The rate rises over 50 steps, stays, and falls to zero over the last third.
    """

    def __init__(self, modules: Sequence[nn.Module], blocks: Sequence[nn.Module], *, samples: int, rate: float) -> None:
        """Give the matrices of `blocks` to Muon and all other parameters of `modules` to AdamW."""
        matrices = [p for block in blocks for p in block.parameters() if p.ndim == 2]
        chosen = {id(p) for p in matrices}
        others = [p for module in modules for p in module.parameters() if id(p) not in chosen]
        adam = torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
        self.modules, self.optimizers = modules, (Muon(matrices, lr=rate, weight_decay=0.02), adam)
        self.samples, self.rate, self.seen, self.steps = samples, rate, 0, 0

    def resume(self, path: Path) -> None:
        """Go on from `path` where it exists."""
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.seen, self.steps = state["seen"], state["steps"]
            for part, saved in zip([*self.modules, *self.optimizers], state["parts"], strict=True):
                part.load_state_dict(saved)
            log.info("resumed at %d samples", self.seen)

    def save(self, path: Path) -> None:
        """Write everything `resume` needs, at once or not at all."""
        parts = [part.state_dict() for part in [*self.modules, *self.optimizers]]
        torch.save({"seen": self.seen, "steps": self.steps, "parts": parts}, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def batches(self, size: int, checkpoint: Path, every: int = 200) -> Iterator[None]:
        """Yield once for every step still to do; the body computes and calls `update`. Saves every `every` steps."""
        start, first = time.monotonic(), self.seen
        while self.seen < self.samples:
            yield
            self.seen += size
            self.steps += 1
            if self.steps % every == 0:
                self.save(checkpoint)
                log.info("%d samples, %.0f a second", self.seen, (self.seen - first) / (time.monotonic() - start))
        self.save(checkpoint)

    def update(self, loss: Tensor) -> None:
        """Take one step down `loss`."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for module in self.modules:
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        done = self.seen / self.samples
        factor = min(1.0, (self.steps + 1) / 50, (1 - done) * 3 + 0.01)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * factor
            optimizer.step()
