"""Draws mini-world scenes as pixels, a batch at a time, by signed distances."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from forgekit.mini.world import CANVAS, COLORS, SHAPES, STYLES, WorldObject, WorldScene

if TYPE_CHECKING:
    from PIL.Image import Image

PALETTE = torch.tensor(list(COLORS.values())) / 255
_COLOR_INDEX = {color: i for i, color in enumerate(COLORS)}


def render(scenes: Sequence[WorldScene], generator: torch.Generator | None = None) -> Tensor:
    """Return the scenes as pixels: float (n, 3, 64, 64) in [0, 1]. `generator` draws watercolor's wobble and grain."""
    image = PALETTE[[_COLOR_INDEX[s.background] for s in scenes]][:, :, None, None].repeat(1, 1, CANVAS, CANVAS)
    for layer in range(max((len(s.objects) for s in scenes), default=0)):
        for shape in SHAPES:
            rows = [i for i, s in enumerate(scenes) if len(s.objects) > layer and s.objects[layer].shape == shape]
            if not rows:
                continue
            objects = [scenes[i].objects[layer] for i in rows]
            styles = torch.tensor([STYLES.index(scenes[i].style) for i in rows])
            cover = _coverage(signed_distance(shape, objects), styles, generator)[:, None]
            paint = PALETTE[[_COLOR_INDEX[o.color] for o in objects]][:, :, None, None]
            image[rows] = image[rows] * (1 - cover) + paint * cover
    return image


def images(scenes: Sequence[WorldScene], seed: int = 0) -> list[Image]:
    """Return the scenes as images of 64 × 64 pixels. `seed` draws watercolor's wobble and grain."""
    from PIL import Image

    pixels = (render(scenes, torch.Generator().manual_seed(seed)) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(p) for p in pixels]


def _coverage(distance: Tensor, styles: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return how much paint lies on each pixel: (n, 64, 64) in [0, 1]."""
    n = len(distance)
    flat = (0.5 - distance).clamp(0, 1)
    line = (0.5 - ((distance + 1.2).abs() - 1.2)).clamp(0, 1)
    wobble = _smooth(torch.randn(n, 1, 8, 8, generator=generator))
    grain = _smooth(torch.rand(n, 1, 10, 10, generator=generator))
    water = torch.sigmoid(-(distance + wobble * 0.9) / 0.9) * (0.78 + 0.16 * grain)
    style = styles[:, None, None]
    return torch.where(style == 1, line, torch.where(style == 2, water, flat))


def _smooth(noise: Tensor) -> Tensor:
    return functional.interpolate(noise, size=(CANVAS, CANVAS), mode="bicubic")[:, 0]


def signed_distance(shape: str, objects: Sequence[WorldObject]) -> Tensor:
    """Return pixels from each pixel to the outline of each object, negative inside: float (n, 64, 64).

    All objects are drawn as `shape`. Exact for circle and ring, near the outline for the others.
    """
    cx, cy, r = (torch.tensor([getattr(o, field) for o in objects])[:, None, None] for field in ("cx", "cy", "r"))
    pixel = torch.arange(CANVAS) + 0.5
    return _DISTANCES[shape](pixel[None, None, :] - cx, pixel[None, :, None] - cy, r)


def _circle(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.hypot(x, y) - r


def _square(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.88 * r


def _ring(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return (torch.hypot(x, y) - 0.74 * r).abs() - 0.27 * r


def _cross(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    across = torch.maximum(x.abs() - r, y.abs() - 0.32 * r)
    upright = torch.maximum(x.abs() - 0.32 * r, y.abs() - r)
    return torch.minimum(across, upright)


def _triangle(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    sides = math.sqrt(0.75) * 1.05 * x.abs() - 0.5 * y - 0.595 * r
    return torch.maximum(torch.maximum(sides, y - 0.75 * r), -(y + 1.35 * r))


def _star(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    tip, notch, wedge = 1.12 * r, 0.504 * r, 2 * math.pi / 5
    angle = torch.remainder(torch.atan2(x, -y) + wedge / 2, wedge) - wedge / 2
    along, beside = torch.hypot(x, y) * torch.cos(angle), torch.hypot(x, y) * torch.sin(angle).abs()
    normal_x, normal_y = notch * math.sin(math.pi / 5), tip - notch * math.cos(math.pi / 5)
    return ((along - tip) * normal_x + beside * normal_y) / torch.hypot(normal_x, normal_y)


def _heart(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    x, y = x.abs() / r, 0.12 - y / r
    lobes = torch.hypot(x - 0.46, y - 0.38) - 0.52
    point = torch.maximum(0.78 * x - 0.62 * y - 0.62, y - 0.42)
    return torch.minimum(lobes, point) * r


_DISTANCES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
    "ring": _ring,
}
