"""Reads what a mini-world picture shows. Trained on renders only, so that it can measure the generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from forgekit.mini.render import CELL, CELLS
from forgekit.mini.world import BACKGROUNDS, COLORS, SHAPES, STYLES, WorldScene

WEIGHTS = Path(__file__).parent / "weights" / "reader.safetensors"
SHAPE_CLASSES, COLOR_CLASSES = 1 + len(SHAPES), 1 + len(COLORS)  # 0 is background, as in `cell_labels`
_COLORS = tuple(COLORS)
_LEAST_CELLS = 2  # smaller patches are specks, not objects


@dataclass(frozen=True)
class SeenObject:
    """An object that the reader found; centre in pixels, y down."""

    shape: str
    color: str
    cx: float
    cy: float


@dataclass(frozen=True)
class Reading:
    """What the reader saw in one picture."""

    objects: tuple[SeenObject, ...]
    background: str
    style: str


class Reader(nn.Module):
    """A small dilated convolutional network: shape and colour of each 4-pixel cell, background and style overall."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(_block(3, 24, 2), _block(24, width, 2))
        self.body = nn.Sequential(*(_block(width, width, dilation=d) for d in (1, 2, 4, 2, 1)))
        self.out = nn.Conv2d(width, SHAPE_CLASSES + COLOR_CLASSES, 1)
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
def read(reader: Reader, pictures: Tensor) -> list[Reading]:
    """Return what each picture (n, 3, 64, 64) in [0, 1] shows."""
    cells, whole = reader(pictures)
    backgrounds, styles = whole[:, : len(BACKGROUNDS)].argmax(1), whole[:, len(BACKGROUNDS) :].argmax(1)
    return [
        Reading(tuple(_objects(logits)), BACKGROUNDS[background], STYLES[style])
        for logits, background, style in zip(cells, backgrounds.tolist(), styles.tolist(), strict=True)
    ]


def _objects(logits: Tensor) -> list[SeenObject]:
    """Join touching cells of one colour into objects; an object's shape is the one its cells are surest of."""
    shapes, colors = logits[:SHAPE_CLASSES].softmax(0), logits[SHAPE_CLASSES:].argmax(0)
    colors = colors * (shapes.argmax(0) > 0)
    seen = []
    for patch in connected(colors):
        if len(patch) < _LEAST_CELLS:
            continue
        rows, columns = patch.T
        shape = int(shapes[1:, rows, columns].sum(1).argmax())
        cx, cy = ((line.float().mean().item() + 0.5) * CELL for line in (columns, rows))
        seen.append(SeenObject(SHAPES[shape], _COLORS[int(colors[rows[0], columns[0]]) - 1], cx, cy))
    return seen


def connected(classes: Tensor) -> list[Tensor]:
    """Return the patches of touching cells (diagonals touch) of one class above 0: each (cells, 2), row and column."""
    own = 1.0 + torch.arange(CELLS * CELLS).reshape(CELLS, CELLS)
    planes = functional.one_hot(classes.long(), COLOR_CLASSES)[..., 1:].permute(2, 0, 1).float()
    labels = planes * own
    while True:
        spread = functional.max_pool2d(labels[None], 3, 1, 1)[0] * planes
        if torch.equal(spread, labels):
            break
        labels = spread
    return [(labels == label).nonzero()[:, 1:] for label in labels.unique().tolist() if label]


@dataclass(frozen=True)
class Agreement:
    """How a reading agrees with a scene. `relation` is None where the scene has none."""

    wanted: int
    found: int
    hits: int
    exact: bool
    relation: bool | None
    background: bool
    style: bool


def compare(scene: WorldScene, reading: Reading) -> Agreement:
    """Compare objects by shape and colour with their counts, then relation, background and style."""
    wanted = [(o.shape, o.color) for o in scene.objects]
    missing = list(wanted)
    for o in reading.objects:
        if (o.shape, o.color) in missing:
            missing.remove((o.shape, o.color))
    hits, found = len(wanted) - len(missing), len(reading.objects)
    return Agreement(
        wanted=len(wanted),
        found=found,
        hits=hits,
        exact=hits == len(wanted) == found,
        relation=_relation_holds(scene, reading) if scene.relation else None,
        background=reading.background == scene.background,
        style=reading.style == scene.style,
    )


def _relation_holds(scene: WorldScene, reading: Reading) -> bool:
    places = []
    for thing in scene.objects:
        alike = [o for o in reading.objects if (o.shape, o.color) == (thing.shape, thing.color)]
        if not alike:
            return False
        places.append(alike[0])
    dx, dy = places[0].cx - places[1].cx, places[0].cy - places[1].cy
    across = abs(dx) > abs(dy)
    return {
        "left": across and dx < 0,
        "right": across and dx > 0,
        "above": not across and dy < 0,
        "below": not across and dy > 0,
    }[scene.relation]


def summary(agreements: Sequence[Agreement]) -> dict[str, float]:
    """Return recall and precision of objects, and shares in [0, 1] of pictures with everything else right."""
    related = [a.relation for a in agreements if a.relation is not None]
    n, hits = len(agreements), sum(a.hits for a in agreements)
    return {
        "recall": hits / sum(a.wanted for a in agreements),
        "precision": hits / max(1, sum(a.found for a in agreements)),
        "exact set": sum(a.exact for a in agreements) / n,
        "relation": sum(related) / max(1, len(related)),
        "background": sum(a.background for a in agreements) / n,
        "style": sum(a.style for a in agreements) / n,
    }
