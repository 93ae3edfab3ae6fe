"""Trains `mini-owl`, the embedded detector: an OWL-ViT of the mini world, started from `mini-clip`'s two towers.

`python -m training.train_owl --out forgekit/mini/weights/owl --start forgekit/mini/weights/clip`

As Minderer et al. (2022) do it: the towers are trained by contrast first, then each image token learns to name and box
the object it lies on. Here the renderer knows where every object is, so tokens are given to objects by place and no
matching of predictions to objects is needed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from forgekit.mini.render import signed_distance
from forgekit.mini.statements import Look
from forgekit.mini.world import CANVAS, COLORS, SHAPES, WorldObject, WorldScene
from training.camera import Camera
from training.cells import DenseHead
from training.lessons import UNSEEN_COLORS, UNSEEN_SHAPES, noun, sample_pairs
from training.loop import WORK, Chance, Schedule, Training, command, export_transformers, matrices_in, muon_and_adamw
from training.words import lexicon_normalizers, word_tokenizer, world_words

PATCH = 8  # pixels
GRID = CANVAS // PATCH
CONTEXT = 16  # tokens of a query
WIDTH, TEXT_WIDTH = 160, 128
SPECIALS = ("<pad>", "<unk>")
END = "<eos>"  # OWL-ViT reads a text off at its highest token id, so this one is the last of the vocabulary
MEAN = STD = [0.5] * 3


def build_tokenizer() -> Any:
    """Return a tokenizer of one token a word."""
    vocabulary = [*SPECIALS, *world_words(), END]
    special = {"pad_token": "<pad>", "eos_token": END, "model_max_length": CONTEXT}
    return word_tokenizer(vocabulary, special=special, ending=END, replaced=lexicon_normalizers(vocabulary))


def build_model(tokenizer: Any, start: Path | None = None) -> tuple[Any, Any]:
    """Return an untrained OwlViTForObjectDetection, with the towers of the mini-clip in `start`, and its processor."""
    from transformers import OwlViTConfig, OwlViTForObjectDetection, OwlViTImageProcessor, OwlViTProcessor

    text = {"hidden_size": TEXT_WIDTH, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4}
    vision = {"hidden_size": WIDTH, "intermediate_size": 480, "num_hidden_layers": 4, "num_attention_heads": 5}
    config = OwlViTConfig(
        text_config={
            **text,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": CONTEXT,
            "hidden_act": "gelu",
            "pad_token_id": 0,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={**vision, "image_size": CANVAS, "patch_size": PATCH, "hidden_act": "gelu"},
        projection_dim=TEXT_WIDTH,
    )
    model = OwlViTForObjectDetection(config)
    with torch.no_grad():
        # transformers starts these heads with weights of standard deviation 1, hundreds of times too wide.
        for layer in (*model.class_head.children(), *model.box_head.children()):
            if isinstance(layer, torch.nn.Linear):
                layer.reset_parameters()
        for layer, bias in ((model.class_head.logit_scale, 11.0), (model.class_head.logit_shift, -0.5)):
            layer.weight.zero_()
            layer.bias.fill_(bias)  # cosines of 1 and 0 become logits of 6 and -6
        model.box_head.dense2.weight.zero_()
        model.box_head.dense2.bias.zero_()
    if start is not None:
        start_from(model, tokenizer, start)
    size = {"height": CANVAS, "width": CANVAS}
    images = OwlViTImageProcessor(size=size, crop_size=size, image_mean=MEAN, image_std=STD)
    return model, OwlViTProcessor(image_processor=images, tokenizer=tokenizer)


def start_from(model: Any, tokenizer: Any, clip: Path) -> None:
    """Copy the towers of the open_clip model in folder `clip`; they have the same layers under other names."""
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    state = {k: v.float() for k, v in load_file(clip / "open_clip_model.safetensors").items()}
    vision, text = model.owlvit.vision_model, model.owlvit.text_model
    with torch.no_grad():
        vision.embeddings.class_embedding.copy_(state["visual.class_embedding"])
        vision.embeddings.patch_embedding.weight.copy_(state["visual.conv1.weight"])
        vision.embeddings.position_embedding.weight.copy_(state["visual.positional_embedding"])
        text.embeddings.position_embedding.weight.copy_(state["positional_embedding"][:CONTEXT])
        ids = AutoTokenizer.from_pretrained(clip).get_vocab()
        for word, row in tokenizer.get_vocab().items():
            text.embeddings.token_embedding.weight[row].copy_(state["token_embedding.weight"][ids[word]])
    norms = {"visual.ln_pre": vision.pre_layernorm, "visual.ln_post": vision.post_layernorm}
    for name, norm in {**norms, "ln_final": text.final_layer_norm}.items():
        norm.load_state_dict(_under(state, f"{name}."))
    for tower, prefix in ((vision, "visual.transformer"), (text, "transformer")):
        for i, layer in enumerate(tower.encoder.layers):
            layer.load_state_dict(_layer(_under(state, f"{prefix}.resblocks.{i}.")))


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _layer(block: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename one of open_clip's blocks to transformers' names."""
    renamed = {}
    for kind in ("weight", "bias"):
        for name, part in zip("qkv", block[f"attn.in_proj_{kind}"].chunk(3), strict=True):
            renamed[f"self_attn.{name}_proj.{kind}"] = part
        for new, old in (
            ("self_attn.out_proj", "attn.out_proj"),
            ("layer_norm1", "ln_1"),
            ("layer_norm2", "ln_2"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
        ):
            renamed[f"{new}.{kind}"] = block[f"{old}.{kind}"]
    return renamed


def boxes_of(objects: Sequence[WorldObject]) -> Tensor:
    """Return the exact bounding box of each drawn shape: float (n, 4), centre x, y, width, height as shares of 64."""
    from torchvision.ops import box_convert, masks_to_boxes

    inside = torch.zeros(len(objects), CANVAS, CANVAS, dtype=torch.bool)
    for shape in {o.shape for o in objects}:
        rows = [i for i, o in enumerate(objects) if o.shape == shape]
        inside[rows] = signed_distance(shape, [objects[i] for i in rows]) < 0
    corners = masks_to_boxes(inside) + torch.tensor([0, 0, 1, 1])  # a box ends where its last pixel ends
    return box_convert(corners, "xyxy", "cxcywh") / CANVAS


@dataclass
class Targets:
    """What each of the 64 tokens of each picture should say.

    `owner` (n, 64) is the row of its object among all objects, -1 on the background, -2 between the two, where nothing
    is learnt. `boxes` (objects, 4). `truth` (objects, queries) is 1, 0, or nan where a size is in doubt.
    """

    owner: Tensor
    boxes: Tensor
    truth: Tensor


def queries_for(scenes: Sequence[WorldScene], rng: random.Random) -> list[Look]:
    """Return what to look for in a batch: every shape, each object by colour and size, and things that are nowhere.

    Since the batch shares its queries, each object meets its shape in other colours and its colour in other shapes.
    """
    things = [o for s in scenes for o in s.objects]
    looks = [Look(shape) for shape in (*SHAPES, *SHAPES)]
    looks += [Look(o.shape, o.color) for o in things]
    looks += [Look(o.shape, rng.choice((o.color, None)), o.size) for o in things if o.size]
    looks += [Look(rng.choice(UNSEEN_SHAPES), rng.choice((None, *COLORS))) for _ in range(4)]
    looks += [Look(rng.choice(SHAPES), rng.choice(UNSEEN_COLORS)) for _ in range(4)]
    looks += [Look(rng.choice(SHAPES), rng.choice(tuple(COLORS))) for _ in range(8)]
    return looks


def targets_for(scenes: Sequence[WorldScene], looks: Sequence[Look]) -> Targets:
    """Give tokens to objects: those near a centre, at least the nearest; others on an object learn nothing."""
    centres = (torch.arange(GRID) + 0.5) * PATCH
    owner = torch.full((len(scenes), GRID * GRID), -1)
    things: list[WorldObject] = []
    truth: list[list[float]] = []
    for n, scene in enumerate(scenes):
        sized = len(scene.objects) < 3 and scene.kind != "count"
        for thing in scene.objects:
            distance = torch.hypot(centres[None, :] - thing.cx, centres[:, None] - thing.cy).flatten()
            owner[n, (distance < 1.1 * thing.r + PATCH / 2) & (owner[n] == -1)] = -2
            owner[n, distance < max(0.45 * thing.r, 0.75 * PATCH)] = len(things)
            owner[n, distance.argmin()] = len(things)
            things.append(thing)
            truth.append([_is(thing, look, sized=sized) for look in looks])
    return Targets(owner, boxes_of(things), torch.tensor(truth))


def _is(thing: WorldObject, look: Look, *, sized: bool) -> float:
    if look.shape != thing.shape or look.color not in (None, thing.color):
        return 0.0
    if look.size is None:
        return 1.0
    return float(look.size == thing.size) if sized else float("nan")


def naming_loss(logits: Tensor, targets: Targets) -> tuple[Tensor, float]:
    """Return the sigmoid loss of logits (n, 64, queries) and how often the best query of an object is true of it.

    On an object, true and false queries weigh the same; the background, where all are false, weighs as much again.
    """
    on, off = targets.owner >= 0, targets.owner == -1
    truth = targets.truth[targets.owner[on]]
    true, false = truth == 1, truth == 0
    weight = true / true.sum(1, keepdim=True).clamp(min=1) + false / false.sum(1, keepdim=True).clamp(min=1)
    # The likeliest mistakes count most: a twentieth of the false queries has as much weight as all of them.
    named = functional.binary_cross_entropy_with_logits(logits[on], true.float(), reduction="none")
    hardest = (named * false).topk(max(1, truth.shape[1] // 20), 1).values.mean()
    empty = functional.softplus(logits[off])
    loss = (named * weight).sum(1).mean() + hardest + empty.mean() + empty.amax(1).mean()
    right = true.gather(1, logits[on].argmax(1, keepdim=True)).float().mean().item()
    return loss, right


def box_loss(boxes: Tensor, targets: Targets) -> Tensor:
    """Return the L1 and generalised-IoU loss of the boxes (n, 64, 4) of all tokens on objects."""
    from torchvision.ops import box_convert, generalized_box_iou_loss

    on = targets.owner >= 0
    found, wanted = boxes[on], targets.boxes[targets.owner[on]]
    corners = (box_convert(each, "cxcywh", "xyxy") for each in (found, wanted))
    return 5 * functional.l1_loss(found, wanted) + generalized_box_iou_loss(*corners, reduction="mean")


def detect(model: Any, tokenizer: Any, pictures: Tensor, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (n, 64, texts), boxes (n, 64, 4) and token states, as the model's own `forward` computes them."""
    features, _ = model.image_embedder(pixel_values=pictures * 2 - 1)
    tokens = features.flatten(1, 2)
    words = tokenizer(list(texts), padding=True, truncation=True, max_length=CONTEXT, return_tensors="pt")
    queries = model.owlvit.get_text_features(words.input_ids, words.attention_mask).pooler_output
    logits, _ = model.class_predictor(tokens, queries)
    return logits, model.box_predictor(tokens, features), tokens


def train(
    out: Path,
    *,
    work: Path = WORK,
    samples: int = 16_000,
    start: Path | None = None,
    autoencoder: Path | None = None,
    pairs: int = 24,
    seed: int = 2,
) -> None:
    """Train mini-owl on `samples` pictures and write it to the folder OUT; goes on from the checkpoint in WORK.

    `autoencoder` is the folder of the generator's, through which a share of the pictures passes to have its blur.
    `start` is the folder of a trained mini-clip; without it the towers start from nothing and need many more samples.
    """
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    model, processor = build_model(tokenizer, start)
    head, chance = DenseHead(WIDTH, GRID), Chance(seed)
    camera = Camera(chance, autoencoder)
    training = Training(
        "mini-owl",
        Schedule(samples, 2 * pairs, rate=1e-3 if start else 2e-3, fall=1 / 3, least=0.01),
        {"model": model, "head": head, "chance": chance},
        muon_and_adamw(matrices_in(model.owlvit.vision_model.encoder, model.owlvit.text_model.encoder), [model, head]),
        clipped=[model, head],
        checkpoint=work / "owl.pt",
        export=lambda: export_transformers(model, processor, out),
    )
    for _ in training.steps():
        scenes, _ = sample_pairs(pairs, chance.rng)
        looks = queries_for(scenes, chance.rng)
        targets = targets_for(scenes, looks)
        pictures = camera.draw(scenes)
        logits, boxes, tokens = detect(model, tokenizer, pictures, [noun(look, chance.rng) for look in looks])
        named, right = naming_loss(logits, targets)
        placed = box_loss(boxes, targets)
        dense, cells = head.loss(tokens, scenes)
        training.descend(named + placed + dense, {"right": right, "boxes": placed.item(), "cells": cells})


if __name__ == "__main__":
    command(train)
