"""Reads what a mini-world picture shows. Trained on renders only, so that it can measure the generator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from scipy.ndimage import label
from torch import Tensor, nn

from forgekit.mini.world import BACKGROUNDS, COLORS, SHAPES, STYLES, WorldObject, WorldScene
from training.cells import CELL, CLASSES, SHAPE_CLASSES

WEIGHTS = Path(__file__).parent / "weights" / "reader.safetensors"
_LEAST_CELLS = 2  # smaller patches are specks, not objects


class Reader(nn.Module):
    """A small dilated convolutional network: shape and colour of each 4-pixel cell, background and style overall."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(_block(3, 24, 2), _block(24, width, 2))
        self.body = nn.Sequential(*(_block(width, width, dilation=d) for d in (1, 2, 4, 2, 1)))
        self.out = nn.Conv2d(width, CLASSES, 1)
        self.glob = nn.Linear(2 * width, len(BACKGROUNDS) + len(STYLES))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of cells (n, 8 + 11, 16, 16) and of the whole (n, 5 + 3) for pictures (n, 3, 64, 64)."""
        h = self.stem(pictures * 2 - 1)
        h = h + self.body(h)
        return self.out(h), self.glob(torch.cat([h.mean((2, 3)), h.amax((2, 3))], 1))


def _block(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(True))


def load_reader(path: Path = WEIGHTS) -> Reader:
    """Return the trained reader. Its weights ship in half precision and compute in single."""
    reader = Reader()
    reader.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()})
    return reader.eval()


@torch.no_grad()
def read(reader: Reader, pictures: Tensor) -> list[WorldScene]:
    """Return what each picture (n, 3, 64, 64) in [0, 1] shows; objects have a shape, a colour and a centre."""
    cells, whole = reader(pictures)
    backgrounds, styles = whole[:, : len(BACKGROUNDS)].argmax(1), whole[:, len(BACKGROUNDS) :].argmax(1)
    return [
        WorldScene(tuple(_objects(logits)), BACKGROUNDS[background], STYLES[style])
        for logits, background, style in zip(cells, backgrounds.tolist(), styles.tolist(), strict=True)
    ]


def _objects(logits: Tensor) -> Iterator[WorldObject]:
    """Join touching cells (diagonals touch) of one colour; the shape is the one that they are surest of together."""
    shapes, colors = logits[:SHAPE_CLASSES].softmax(0), logits[SHAPE_CLASSES:].argmax(0)
    colors = colors * (shapes.argmax(0) > 0)
    for color, name in enumerate(COLORS, 1):
        patches, n = label(colors == color, structure=np.ones((3, 3)))
        places = [np.nonzero(patches == patch) for patch in range(1, n + 1)]
        for rows, columns in sorted(places, key=lambda place: (place[0][-1], place[1][-1])):  # the upper one first
            if len(rows) >= _LEAST_CELLS:
                shape = int(shapes[1:, rows, columns].sum(1).argmax())
                cx, cy = ((float(line.mean(dtype=np.float32)) + 0.5) * CELL for line in (columns, rows))
                yield WorldObject(SHAPES[shape], name, cx=cx, cy=cy)


def compare(scene: WorldScene, seen: WorldScene) -> dict[str, float | None]:
    """Compare objects by shape and colour with their counts, then relation, background and style.

    `relation` is None where `scene` has none.
    """
    wanted, found = (Counter((o.shape, o.color) for o in each.objects) for each in (scene, seen))
    return {
        "wanted": wanted.total(),
        "found": found.total(),
        "hits": (wanted & found).total(),
        "exact set": wanted == found,
        "relation": _relation_holds(scene, seen) if scene.relation else None,
        "background": seen.background == scene.background,
        "style": seen.style == scene.style,
    }


def _relation_holds(scene: WorldScene, seen: WorldScene) -> bool:
    """Tell whether both objects are there and the first lies more in the right direction than in any other."""
    alike = [[o for o in seen.objects if (o.shape, o.color) == (t.shape, t.color)] for t in scene.objects]
    if not all(alike):
        return False
    first, second = (found[0] for found in alike)
    dx, dy = first.cx - second.cx, first.cy - second.cy
    side = ("left" if dx < 0 else "right") if abs(dx) > abs(dy) else ("above" if dy < 0 else "below")
    return scene.relation == side


def summary(compared: Sequence[dict[str, float | None]]) -> dict[str, float]:
    """Return recall and precision of objects, and shares in [0, 1] of pictures with everything else right.

    A share of no pictures is nan, as that of relations where no scene has one.
    """
    table = pd.DataFrame(compared).astype(float)
    hits = table["hits"].sum()
    shares = table[["exact set", "relation", "background", "style"]].mean().to_dict()
    return {"recall": hits / table["wanted"].sum(), "precision": hits / max(1, table["found"].sum()), **shares}
