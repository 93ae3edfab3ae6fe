"""Trains `mini-clip`, the embedded contrastive judge: an open_clip model of the mini world with hard negatives.

`python -m training.train_clip --out forgekit/mini/weights/clip`
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from forgekit.mini.render import render
from forgekit.mini.statements import Facts, Statement
from forgekit.mini.world import WorldScene, sample_scene
from training.camera import Camera
from training.cells import DenseHead
from training.lessons import contrasts, pair_caption, phrase, sample_pairs, true_statement
from training.loop import WORK, Chance, Schedule, Training, command, matrices_in, muon_and_adamw
from training.words import lexicon_normalizers, word_tokenizer, world_words

SPECIALS = ("<pad>", "<eos>", "<unk>")
CONTEXT = 40  # tokens
SHAPES_FIRST = 0.25  # of the training: dense labels alone, which cost no text and teach shapes several times faster
MODEL = {
    "embed_dim": 192,
    "init_logit_bias": -4.0,
    "vision_cfg": {
        **{"image_size": 64, "patch_size": 8, "width": 160, "head_width": 32, "layers": 4, "mlp_ratio": 3.0},
        **{"pool_type": "avg", "output_tokens": True},
    },
    "text_cfg": {
        **{"context_length": CONTEXT, "width": 128, "heads": 4, "layers": 3, "mlp_ratio": 2.0},
        **{"pool_type": "eos", "eos_id": 1, "pad_id": 0, "hf_tokenizer_name": "."},
    },
}
PREPROCESS = {
    "size": [64, 64],
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
    "interpolation": "bicubic",
    "resize_mode": "squash",
}


@dataclass
class Batch:
    """Pictures with texts about them. `truth` is (texts, pictures): 1, 0, or nan where in doubt.

    `groups` holds (picture, indexes of texts) of which the first is true of the picture and the others, one thing
    changed in each, are false.
    """

    scenes: Sequence[WorldScene]
    texts: list[str]
    truth: Tensor
    groups: list[tuple[int, list[int]]]


def make_batch(n: int, rng: random.Random) -> Batch:
    """Return `n` scenes and the same with one thing changed, statements and captions about them, and what is true."""
    scenes, kinds = sample_pairs(n, rng)
    facts = Facts(scenes)
    statements: list[Statement] = []
    groups = []
    for i, scene in enumerate(scenes):
        true = true_statement(scene, rng)
        group = [true, *contrasts(true, scene, rng)]
        groups.append((i, list(range(len(statements), len(statements) + len(group)))))
        statements += group
    texts = [phrase(s, rng) for s in statements]
    truth = [facts.truth(s) for s in statements]
    for i, kind in enumerate(kinds):
        row = np.zeros(len(scenes))
        text, row[2 * i], row[2 * i + 1] = pair_caption(*scenes[2 * i : 2 * i + 2], kind, rng)
        texts.append(text)
        truth.append(row)
    return Batch(scenes, texts, torch.from_numpy(np.stack(truth)).float(), groups)


def add_blemishes(batch: Batch, blobbed: Sequence[bool]) -> None:
    """Add what the judge's artifact probe says about pictures with and without a blob."""
    blob = torch.tensor(blobbed).float()
    batch.texts += ["a shapeless blob", "clean shapes"]
    batch.truth = torch.cat([batch.truth, blob[None], 1 - blob[None]])


def loss_of(logits: Tensor, batch: Batch) -> tuple[Tensor, float]:
    """Return the loss of logits (texts, pictures) and how often a true statement beats its changed versions.

    Three parts: a sigmoid loss on all pairs, true and false ones weighing the same for every text (Zhai et al. 2023,
    here with exact truth); a softmax over each statement and its changed versions, as the judge does it; and the same
    between the two pictures of a pair for statements that hold for one of them.
    """
    known, true = ~batch.truth.isnan(), batch.truth == 1
    false = known & ~true
    weight = true / true.sum(1, keepdim=True).clamp(min=1) + false / false.sum(1, keepdim=True).clamp(min=1)
    pairs = functional.binary_cross_entropy_with_logits(logits, true.float(), weight=weight, reduction="sum") / len(
        logits
    )
    widest = max(len(texts) for _, texts in batch.groups)
    table = torch.tensor([texts + [-1] * (widest - len(texts)) for _, texts in batch.groups])
    pictures = torch.tensor([picture for picture, _ in batch.groups])
    options = logits[table, pictures[:, None]].masked_fill(table < 0, -1e4)
    groups = functional.cross_entropy(options, torch.zeros(len(options), dtype=torch.long))
    first, second = batch.truth[:, 0::2], batch.truth[:, 1::2]
    differ = (first - second).abs() == 1  # false where one is in doubt
    margin = (logits[:, 0::2] - logits[:, 1::2])[differ] * (first - second)[differ]
    twins = functional.softplus(-margin).mean() if differ.any() else logits.new_zeros(())
    return pairs + groups + twins, (options.argmax(1) == 0).float().mean().item()


def encode(model: Any, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Return the text features (texts, width), the same as `model.encode_text` gives.

    open_clip pads every text to the full context. Attention is causal, so what follows the end of a text cannot change
    it, and short texts need not pay for long ones.
    """
    ids = tokenizer(texts, truncation=True, max_length=CONTEXT).input_ids
    by_length = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    features: list[Tensor] = []
    for start in range(0, len(ids), 96):
        rows = [torch.tensor(ids[i]) for i in by_length[start : start + 96]]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        length = tokens.shape[1]
        hidden = model.token_embedding(tokens) + model.positional_embedding[:length]
        hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[:length, :length]))
        ends = torch.tensor([len(row) - 1 for row in rows])
        features.append(hidden[torch.arange(len(rows)), ends] @ model.text_projection)
    return torch.cat(features)[torch.tensor(by_length).argsort()]


def build_tokenizer() -> Any:
    """Return a tokenizer of one token a word."""
    vocabulary, special = [*SPECIALS, *world_words()], {"pad_token": "<pad>", "eos_token": "<eos>"}
    return word_tokenizer(vocabulary, special=special, ending="<eos>", replaced=lexicon_normalizers(vocabulary))


def build_model(folder: Path) -> tuple[Any, Any]:
    """Write the configuration and tokenizer to `folder` and return an untrained open_clip model and the tokenizer."""
    import open_clip

    tokenizer = build_tokenizer()
    config = {**MODEL, "text_cfg": {**MODEL["text_cfg"], "vocab_size": len(tokenizer)}}
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    settings = {"model_cfg": config, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(settings, indent=1))
    return open_clip.create_model(f"local-dir:{folder}", load_weights=False), tokenizer


def export(model: Any, folder: Path) -> None:
    """Write the weights in half precision where open_clip looks for them, as a judge of whole images.

    The training reads the image tokens too; `encode_image` must return features alone.
    """
    from safetensors.torch import save_file

    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["output_tokens"] = False
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1))

    state = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")


def contrast(model: Any, tokenizer: Any, features: Tensor, batch: Batch) -> tuple[Tensor, float]:
    """Return `loss_of` the batch for the features (n, 192) of its pictures."""
    image = functional.normalize(features, dim=-1)
    text = functional.normalize(encode(model, tokenizer, batch.texts), dim=-1)
    return loss_of(model.logit_scale.exp().clamp(max=100) * text @ image.T + model.logit_bias, batch)


def train(
    out: Path,
    *,
    work: Path = WORK,
    samples: int = 150_000,
    autoencoder: Path | None = None,
    pairs: int = 32,
    seed: int = 0,
) -> None:
    """Train mini-clip on `samples` pictures and write it to the folder OUT; goes on from the checkpoint in WORK.

    `autoencoder` is the folder of the generator's, through which a share of the pictures passes to have its blur.
    """
    torch.manual_seed(seed)
    model, tokenizer = build_model(out)
    head, chance = DenseHead(MODEL["vision_cfg"]["width"]), Chance(seed)
    camera = Camera(chance, autoencoder)
    training = Training(
        "mini-clip",
        Schedule(samples, 2 * pairs, rate=2e-3, fall=1 / 3, least=0.01),
        {"model": model, "head": head, "chance": chance},
        muon_and_adamw(matrices_in(model.visual.transformer, model.transformer), [model, head]),
        clipped=[model, head],
        checkpoint=work / "clip.pt",
        export=lambda: export(model, out),
    )
    for seen in training.steps():
        if seen < SHAPES_FIRST * samples:
            scenes = [sample_scene(chance.rng) for _ in range(2 * pairs)]
            dense, cells = head.loss(model.visual(render(scenes, chance.generator) * 2 - 1)[1], scenes)
            training.descend(dense, {"cells": cells})
            continue
        batch = make_batch(pairs, chance.rng)
        pictures = camera.draw(batch.scenes)
        add_blemishes(batch, camera.blobbed)
        features, tokens = model.visual(pictures * 2 - 1)
        loss, right = contrast(model, tokenizer, features, batch)
        dense, cells = head.loss(tokens, batch.scenes)
        training.descend(loss + 2 * dense, {"beats": right, "cells": cells})


if __name__ == "__main__":
    command(train)
