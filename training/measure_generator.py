"""Measure how faithfully a generator draws the mini world: `python -m training.measure_generator`."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import isnan

import numpy as np
import torch
from torch import Tensor

from forgekit.errors import ForgekitError, ItemError, ParameterError
from forgekit.mini.captions import CANONICAL, GENERATOR, Grammar, caption
from forgekit.mini.world import WorldScene, sample_scene
from forgekit.models import DrawRequest, ImageGenerator, load_model
from training.loop import command
from training.reader import Reader, compare, load_reader, read, summary

HELD_OUT_SEED = 20_001  # no training draws its scenes from this seed
SETS: dict[str, tuple[Grammar, Callable[[WorldScene], bool]]] = {
    "canonical, one object": (CANONICAL, lambda s: len(s.objects) == 1),
    "canonical, two objects": (CANONICAL, lambda s: len(s.objects) == 2),
    "canonical, one or two, flat": (CANONICAL, lambda s: len(s.objects) < 3 and s.style == "flat"),
    "canonical, one or two, any style": (CANONICAL, lambda s: len(s.objects) < 3),
    "whole grammar": (GENERATOR, lambda s: True),
}


def measure(generator: ImageGenerator, reader: Reader, name: str, n: int) -> dict[str, float]:
    """Draw `n` captions of the set `name` and return `reader.summary` of what the reader sees in the pictures.

    Raises:
        ParameterError: there is no set `name`.
        ForgekitError: a picture could not be drawn; a measure over the others would mislead.
    """
    if name not in SETS:
        raise ParameterError(f"there is no set {name!r} of captions; known: {', '.join(map(repr, SETS))}")
    grammar, wanted = SETS[name]
    rng = random.Random(HELD_OUT_SEED)
    scenes: list[WorldScene] = []
    while len(scenes) < n:
        scene = sample_scene(rng)
        if wanted(scene):
            scenes.append(scene)
    drawn = generator.draw([DrawRequest(caption(s, rng, grammar), seed) for seed, s in enumerate(scenes)])
    failed = [d.reason for d in drawn if isinstance(d, ItemError)]
    if failed:
        raise ForgekitError(f"{len(failed)} of {n} pictures were not drawn, the first because: {failed[0]}")
    readings = read(reader, torch.stack([_pixels(d.image) for d in drawn]))
    return summary([compare(s, r) for s, r in zip(scenes, readings, strict=True)])


def _pixels(image) -> Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGB"))).permute(2, 0, 1) / 255


def main(*sets: str, model: str = "mini", n: int = 256) -> None:
    """Print the table that MODEL_CARD.md holds.

    Args:
        sets: names of sets of captions (all without one)
        model: known name or diffusers folder
        n: captions per set
    """
    generator, reader = load_model("image_generator", model), load_reader()
    for i, name in enumerate(sets or SETS):
        figures = measure(generator, reader, name, n)
        if i == 0:
            print("| captions | " + " | ".join(figures) + " |\n" + "|---" * (len(figures) + 1) + "|")
        print(
            f"| {name} | " + " | ".join("-" if isnan(value) else f"{value:.3f}" for value in figures.values()) + " |",
            flush=True,
        )


if __name__ == "__main__":
    command(main)
