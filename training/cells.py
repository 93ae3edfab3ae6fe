"""What each 4-pixel cell of a mini-world picture shows: labels, the loss of reading them, and a head that reads them.

It is what makes models of this size learn shapes: the renderer knows each cell, so each image token has a target.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from forgekit.mini.render import signed_distance
from forgekit.mini.world import CANVAS, COLORS, SHAPES, WorldScene

CELL = 4  # pixels along each side of a cell
CELLS = CANVAS // CELL
SHAPE_CLASSES, COLOR_CLASSES = 1 + len(SHAPES), 1 + len(COLORS)  # 0 is background
CLASSES = SHAPE_CLASSES + COLOR_CLASSES


def cell_labels(scenes: Sequence[WorldScene]) -> tuple[Tensor, Tensor]:
    """Return (shape, colour) of each cell: uint8 (n, 16, 16); 0 is background, else 1 + the index in SHAPES or COLORS."""
    shapes = torch.zeros(len(scenes), CELLS, CELLS, dtype=torch.uint8)
    colors = torch.zeros_like(shapes)
    for i, shape in enumerate(SHAPES):
        found = [(row, o) for row, s in enumerate(scenes) for o in s.objects if o.shape == shape]
        if not found:
            continue
        inside = functional.avg_pool2d(signed_distance(shape, [o for _, o in found])[:, None], CELL)[:, 0] < 1
        for (row, o), mask in zip(found, inside, strict=True):
            shapes[row][mask] = 1 + i
            colors[row][mask] = 1 + list(COLORS).index(o.color)
    return shapes, colors


def cell_loss(logits: Tensor, shapes: Tensor, colors: Tensor, *, color_weight: float = 0.5) -> Tensor:
    """Return the cross-entropy of each picture (n,) of logits (n, 8 + 11, 16, 16); labels are (n, 16, 16)."""
    shape = functional.cross_entropy(logits[:, :SHAPE_CLASSES], shapes.long(), reduction="none")
    color = functional.cross_entropy(logits[:, SHAPE_CLASSES:], colors.long(), reduction="none")
    return (shape + color_weight * color).mean((1, 2))


class DenseHead(nn.Module):
    """Reads shape and colour of every cell off the image tokens; used in training only."""

    def __init__(self, width: int, grid: int = 8) -> None:
        """Make a linear head for `grid` × `grid` tokens of `width` numbers."""
        super().__init__()
        self.grid, self.cells = grid, CELLS // grid
        self.linear = nn.Linear(width, self.cells**2 * CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (n, 8 + 11, 16, 16) of tokens (n, grid², width)."""
        g, c = self.grid, self.cells
        cells = self.linear(tokens).view(-1, g, g, c, c, CLASSES)
        return cells.permute(0, 5, 1, 3, 2, 4).reshape(-1, CLASSES, CELLS, CELLS)

    def loss(self, tokens: Tensor, scenes: Sequence[WorldScene]) -> tuple[Tensor, float]:
        """Return the loss of tokens (n, grid², width) and the share of painted cells whose shape is right."""
        shapes, colors = cell_labels(scenes)
        logits, painted = self(tokens), shapes > 0
        right = (logits[:, :SHAPE_CLASSES].argmax(1) == shapes)[painted].float().mean().item()
        return cell_loss(logits, shapes, colors).mean(), right
