"""A pool of encoded scenes: pictures are rendered and encoded once, then drawn from many times."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from forgekit.mini.render import render
from forgekit.mini.world import WorldObject, WorldScene, sample_scene
from training.cells import CELLS, cell_labels
from training.generator import LATENT_CHANNELS, LATENT_SIDE, encode_pictures
from training.loop import Chance

KEPT = {1: 0.25, 2: 1.0, 3: 0.5}  # share of the world's scenes that are trained on, by number of objects
ALIKE_KEPT = 0.5  # of the scenes of two like objects
_ENCODED_AT_ONCE = 128


@dataclass(frozen=True)
class Batch:
    """Scenes with their latents (n, 4, 16, 16) and the shape and colour labels of their cells (n, 16, 16)."""

    scenes: list[WorldScene]
    latents: Tensor
    shapes: Tensor
    colors: Tensor


class ScenePool:
    """`size` scenes on the generator's grid, those of two different objects favoured: binding is what is learnt last."""

    def __init__(self, vae: AutoencoderTiny, *, size: int, seed: int) -> None:
        self._vae, self._chance, self._next = vae, Chance(seed), 0
        self._scenes: list[WorldScene | None] = [None] * size
        self._latents = torch.empty(size, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)
        self._shapes = torch.empty(size, CELLS, CELLS, dtype=torch.uint8)
        self._colors = torch.empty_like(self._shapes)
        self.renew(size)

    def renew(self, n: int) -> None:
        """Replace the `n` oldest scenes by new ones."""
        for start in range(0, n, _ENCODED_AT_ONCE):
            scenes = [self._sample() for _ in range(min(_ENCODED_AT_ONCE, n - start))]
            places = [(self._next + i) % len(self._scenes) for i in range(len(scenes))]
            self._next = (self._next + len(scenes)) % len(self._scenes)
            self._latents[places] = encode_pictures(self._vae, render(scenes, self._chance.generator))
            self._shapes[places], self._colors[places] = cell_labels(scenes)
            for place, scene in zip(places, scenes, strict=True):
                self._scenes[place] = scene

    def batch(self, n: int) -> Batch:
        """Draw `n` scenes at random."""
        places = [self._chance.rng.randrange(len(self._scenes)) for _ in range(n)]
        scenes = [self._scenes[i] for i in places]
        return Batch(scenes, self._latents[places], self._shapes[places], self._colors[places])

    def state_dict(self) -> dict[str, Any]:
        """Return the whole pool; scenes as plain tuples, so that reading a checkpoint runs no code."""
        kept = {"latents": self._latents, "shapes": self._shapes, "colors": self._colors, "next": self._next}
        return {**kept, "chance": self._chance.state_dict(), "scenes": [astuple(scene) for scene in self._scenes]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Hold what `state_dict` returned."""
        self._latents, self._shapes, self._colors = (state[name] for name in ("latents", "shapes", "colors"))
        self._next = state["next"]
        self._chance.load_state_dict(state["chance"])
        self._scenes = [WorldScene(tuple(WorldObject(*o) for o in things), *rest) for things, *rest in state["scenes"]]

    def _sample(self) -> WorldScene:
        while True:
            scene = sample_scene(self._chance.rng, grid=True)
            alike = len(scene.objects) == 2 and scene.objects[0].look == scene.objects[1].look
            if self._chance.rng.random() < KEPT[len(scene.objects)] * (ALIKE_KEPT if alike else 1.0):
                return scene
