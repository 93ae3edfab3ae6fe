"""Trains `mini-fuyu`, the embedded question-answering judge: a Fuyu of the mini world.

`python -m training.train_fuyu --out forgekit/mini/weights/fuyu`
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, normalizers, pre_tokenizers
from torch import Tensor
from torch.nn import functional

from forgekit.mini.render import render
from forgekit.mini.statements import Facts, Look
from forgekit.mini.world import CANVAS, WorldScene, sample_scene
from training.camera import Camera
from training.cells import DenseHead
from training.lessons import contrasts, count_of, pair_caption, sample_pairs, true_statement
from training.loop import WORK, Chance, Schedule, Training, command, export_transformers, matrices_in, muon_and_adamw
from training.questions import (
    DESCRIBE,
    NUMBER_WORDS,
    WHOLE,
    count_question,
    description,
    question,
    question_words,
)
from training.words import lexicon_normalizers, word_tokenizer, world_words

PATCH = 8  # pixels
GRID = CANVAS // PATCH
SPECIALS = ("<pad>", "|ENDOFTEXT|", "<unk>", "▁", "|SPEAKER|", "|NEWLINE|", "<s>", "<0x04>")
ANSWER = SPECIALS.index("<0x04>")
END = SPECIALS.index("|ENDOFTEXT|")
SHAPES_FIRST = 0.25  # of the training: dense labels alone, three times cheaper than questions
ONE_OBJECT = 0.45  # until then scenes have one object: where to look is learnt after what a question asks
WIDTH, LAYERS, HEADS, INNER = 128, 6, 4, 384
CONVOLUTIONS = 3  # layers that start as convolutions
DISTANCES = (1, GRID + 1, GRID, GRID + 2)  # tokens back to what lies left, above, above right and above left
SHARPNESS = 4.5


def build_tokenizer() -> Any:
    """Return a tokenizer of one token a word that FuyuProcessor can use.

    FuyuProcessor drops the first token before the image's placeholders, taking it for the "▁" that the big Fuyu's
    tokenizer puts there; so this one puts it there too.
    """
    vocabulary = [*SPECIALS, *world_words(question_words())]
    replaced = [
        *lexicon_normalizers(vocabulary),
        normalizers.Replace(Regex(r"^\|speaker\|"), "▁|SPEAKER|"),
        normalizers.Replace("|speaker|", "|SPEAKER|"),
        normalizers.Replace("|newline|", "|NEWLINE|"),
    ]
    words = pre_tokenizers.Split(Regex(r"\|SPEAKER\||\|NEWLINE\||<s>|<0x04>|▁|\w+|[^\w\s]"), "isolated")
    pieces = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    special = {"pad_token": "<pad>", "eos_token": "|ENDOFTEXT|", "bos_token": "<s>"}
    return word_tokenizer(vocabulary, special=special, replaced=replaced, pieces=pieces)


def build_model(tokenizer: Any) -> tuple[Any, Any]:
    """Return an untrained FuyuForCausalLM and its processor."""
    from transformers import FuyuConfig, FuyuForCausalLM, FuyuImageProcessor, FuyuProcessor

    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": 256,
        "initializer_range": 0.05,
        # With the big one's settings, 8 of a head's 32 numbers would tell neighbouring tokens apart.
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 1.0},
        "qk_layernorm": False,
        "pad_token_id": SPECIALS.index("<pad>"),
        "bos_token_id": SPECIALS.index("<s>"),
        "eos_token_id": END,
    }
    image_token = SPECIALS.index("|SPEAKER|")
    config = FuyuConfig(
        text_config={"model_type": "persimmon", **text}, image_size=CANVAS, patch_size=PATCH, image_token_id=image_token
    )
    size = {"height": CANVAS, "width": CANVAS}
    images = FuyuImageProcessor(size=size, patch_size={"height": PATCH, "width": PATCH})
    model = FuyuForCausalLM(config)
    start_as_convolutions(model.model.language_model.layers[:CONVOLUTIONS], model.model.language_model.rotary_emb)
    return model, FuyuProcessor(image_processor=images, tokenizer=tokenizer)


def start_as_convolutions(layers: Sequence[Any], rotary: Any) -> None:
    """Let each head of `layers` look at the token a fixed number of places back: left, above and its neighbours.

    Transformers of this size need tens of thousands of pictures to find out which patches lie side by side; heads that
    start as convolutions (d'Ascoli et al. 2021) know. Only biases are set: rotary positions turn a query and a key of
    constant values into a preference for one distance. Training may change it.
    """
    frequencies = rotary.inv_freq.float()
    for layer in layers:
        attention = layer.self_attn
        weight = attention.query_key_value.weight.view(HEADS, 3, -1, WIDTH)
        bias = attention.query_key_value.bias.view(HEADS, 3, -1)
        with torch.no_grad():
            weight[:, :2] = 0
            for head, distance in enumerate(DISTANCES):
                turn = distance * frequencies
                bias[head, 0] = SHARPNESS * torch.cat([turn.cos(), -turn.sin()])
                bias[head, 1] = SHARPNESS * torch.cat([torch.ones_like(turn), torch.zeros_like(turn)])


def patches(pictures: Tensor) -> Tensor:
    """Return pictures (n, 3, 64, 64) in [0, 1] as the patches FuyuImageProcessor makes: (n, 64, 192) in [-1, 1]."""
    grid = (pictures * 2 - 1).unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    return grid.permute(0, 2, 3, 4, 5, 1).reshape(len(pictures), GRID * GRID, -1)


def image_prefix(model: Any, pictures: Tensor) -> Tensor:
    """Return the embeddings (n, 73, width) of rows of patches, each closed by a newline, and the start token."""
    embed = model.model.language_model.embed_tokens
    n = len(pictures)
    rows = model.model.vision_embed_tokens(patches(pictures)).view(n, GRID, GRID, -1)
    newline, start = (embed.weight[SPECIALS.index(token)] for token in ("|NEWLINE|", "<s>"))
    rows = torch.cat([rows, newline.expand(n, GRID, 1, -1)], 2).flatten(1, 2)
    return torch.cat([rows, start.expand(n, 1, -1)], 1)


Exchange = tuple[str, str | None]  # a question and its answer; None where that is in doubt


def make_exchanges(pair: Sequence[WorldScene], kind: str, rng: random.Random) -> tuple[list[Exchange], list[Exchange]]:
    """Return the same questions, in the same order, with the answers for each of two pictures that differ in `kind`."""
    facts = Facts(pair)
    asked: list[tuple[str, tuple[str | None, str | None]]] = []
    for scene in (*pair, *pair, *pair):
        true = true_statement(scene, rng)
        statement = rng.choice([true, *contrasts(true, scene, rng, n=1)])
        # the question after a negation is about the thing itself
        yes, no = ("no", "yes") if statement.kind == "negation" else ("yes", "no")
        answers = tuple({1.0: yes, 0.0: no}.get(truth) for truth in facts.truth(statement))
        asked.append((question(statement, rng), answers))
    thing = rng.choice(rng.choice(pair).objects)
    look = Look(thing.shape, rng.choice((thing.color, None)))
    counts = tuple(NUMBER_WORDS[count_of(look, scene)] for scene in pair)
    asked.append((count_question(look, rng), counts))
    text, *truths = pair_caption(*pair, kind, rng)
    asked.append((WHOLE.format(text), tuple({1.0: "yes", 0.0: "no"}.get(truth) for truth in truths)))
    if rng.random() < 0.25:
        other = sample_pairs(1, rng)
        asked.append((WHOLE.format(pair_caption(*other[0], other[1][0], rng)[0]), ("no", "no")))
    if rng.random() < 0.3:
        asked.append((DESCRIBE, tuple(description(scene) for scene in pair)))
    first, second = ([(text, answers[i]) for text, answers in asked] for i in (0, 1))
    return first, second


@dataclass
class Packed:
    """Many questions about each picture in one sequence behind the image; none sees another.

    All tensors have one row per picture. `targets` is -100 where nothing is asked for; `mask` is true where a token
    (row) may look at another (column), over image and text.
    """

    tokens: Tensor
    targets: Tensor
    positions: Tensor
    mask: Tensor


def pack(exchanges: Sequence[Sequence[Exchange]], tokenizer: Any, prefix: int) -> Packed:
    """Put each picture's exchanges behind a prefix of `prefix` image tokens, each as if it stood there alone."""
    rows = []
    for asked in exchanges:
        tokens, targets, positions, blocks = [], [], [], []
        for block, (text, answer) in enumerate(asked):
            question_ids = [*tokenizer(text).input_ids, ANSWER]
            answer_ids = [*tokenizer(answer).input_ids, END] if answer is not None else [END]
            ids = question_ids + answer_ids[:-1]
            wanted = [-100] * (len(question_ids) - 1) + (answer_ids if answer is not None else [-100])
            tokens += ids
            targets += wanted
            positions += range(prefix, prefix + len(ids))
            blocks += [block] * len(ids)
        rows.append((tokens, targets, positions, blocks))
    length = max(len(row[0]) for row in rows)
    fills = (SPECIALS.index("<pad>"), -100, 0, -1)
    tokens, targets, positions, blocks = (
        torch.tensor([row[i] + [fill] * (length - len(row[i])) for row in rows]) for i, fill in enumerate(fills)
    )
    causal = torch.ones(prefix + length, prefix + length).tril().bool()
    same = torch.ones(len(rows), prefix + length, prefix + length, dtype=torch.bool)
    same[:, prefix:, prefix:] = blocks[:, :, None] == blocks[:, None, :]
    return Packed(tokens, targets, positions, (same & causal)[:, None])


def answer_loss(model: Any, image: Tensor, packed: Packed) -> tuple[Tensor, Tensor, float]:
    """Return the loss of all answers, the states of the image tokens, and the share of right first words."""
    language, prefix = model.model.language_model, image.shape[1]
    embeddings = torch.cat([image, language.embed_tokens(packed.tokens)], 1)
    positions = torch.cat([torch.arange(prefix).expand(len(image), -1), packed.positions], 1)
    blocked = torch.zeros(packed.mask.shape).masked_fill(~packed.mask, torch.finfo(torch.float32).min)
    states = language(inputs_embeds=embeddings, position_ids=positions, attention_mask=blocked, use_cache=False)[0]
    asked = packed.targets >= 0
    logits, targets = model.lm_head(states[:, prefix:][asked]), packed.targets[asked]
    first = packed.tokens[asked] == ANSWER
    right = (logits.argmax(-1) == targets)[first].float().mean().item()
    losses = functional.cross_entropy(logits, targets, reduction="none")
    return losses[first].mean() + 0.3 * losses[~first].mean().nan_to_num(), states[:, :prefix], right


def dense_loss(heads: Sequence[DenseHead], states: Tensor, scenes: Sequence[WorldScene]) -> tuple[Tensor, float]:
    """Read each patch off its own token and off the one below it.

    Attention is causal in reading order: of an object, a token sees what lies above; the row below has seen more.
    """
    rows = states[:, : GRID * (GRID + 1)].unflatten(1, (GRID, GRID + 1))
    own = rows[:, :, :GRID]
    below = torch.cat([own[:, 1:], rows[:, -1:, :GRID]], 1)
    first, _ = heads[0].loss(own.flatten(1, 2), scenes)
    second, right = heads[1].loss(below.flatten(1, 2), scenes)
    return first + second, right


def shapes_alone(model: Any, heads: Sequence[DenseHead], n: int, chance: Chance) -> tuple[Tensor, float]:
    """Return `dense_loss` of `n` pictures that nothing is asked about."""
    scenes = [sample_scene(chance.rng) for _ in range(n)]
    image = image_prefix(model, render(scenes, chance.generator))
    return dense_loss(heads, model.model.language_model(inputs_embeds=image, use_cache=False)[0], scenes)


def train(
    out: Path,
    *,
    work: Path = WORK,
    samples: int = 150_000,
    autoencoder: Path | None = None,
    pairs: int = 16,
    seed: int = 1,
) -> None:
    """Train mini-fuyu on `samples` pictures and write it to the folder OUT; goes on from the checkpoint in WORK.

    `autoencoder` is the folder of the generator's, through which a share of the pictures passes to have its blur.
    """
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    model, processor = build_model(tokenizer)
    heads, chance = torch.nn.ModuleList([DenseHead(WIDTH, GRID), DenseHead(WIDTH, GRID)]), Chance(seed)
    camera = Camera(chance, autoencoder)
    training = Training(
        "mini-fuyu",
        Schedule(samples, 2 * pairs, rate=2e-3, fall=1 / 3, least=0.01),
        {"model": model, "heads": heads, "chance": chance},
        muon_and_adamw(matrices_in(model.model.language_model.layers), [model, heads]),
        clipped=[model, heads],
        checkpoint=work / "fuyu.pt",
        export=lambda: export_transformers(model, processor, out),
    )
    for seen in training.steps():
        if seen < SHAPES_FIRST * samples:
            dense, cells = shapes_alone(model, heads, 2 * pairs, chance)
            training.descend(dense, {"cells": cells})
            continue
        scenes, kinds = sample_pairs(pairs, chance.rng, most=1 if seen < ONE_OBJECT * samples else 3)
        asked = [make_exchanges(scenes[2 * i : 2 * i + 2], kind, chance.rng) for i, kind in enumerate(kinds)]
        image = image_prefix(model, camera.draw(scenes))
        packed = pack([exchanges for pair in asked for exchanges in pair], tokenizer, image.shape[1])
        loss, states, right = answer_loss(model, image, packed)
        dense, cells = dense_loss(heads, states, scenes)
        training.descend(3 * loss + dense, {"right": right, "cells": cells})


if __name__ == "__main__":
    command(train)
