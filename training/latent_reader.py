"""Reads shapes and colours off latents. It lends the generator's training a sharper eye than mean squared error.

It never meets the reader of `reader.py`, which measures the generator.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from forgekit.mini.world import COLORS, SHAPES
from training.generator import LATENT_CHANNELS
from training.pool import ScenePool

SHAPE_CLASSES, COLOR_CLASSES = 1 + len(SHAPES), 1 + len(COLORS)
_BATCH = 64


class LatentReader(nn.Module):
    """A residual convolutional network from latents (n, 4, 16, 16) to logits of their cells (n, 8 + 11, 16, 16)."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.stem = nn.Conv2d(LATENT_CHANNELS, width, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in (1, 2, 3, 1))
        self.out = nn.Conv2d(width, SHAPE_CLASSES + COLOR_CLASSES, 1)

    def forward(self, latents: Tensor) -> Tensor:
        """Return the logits: 8 shape classes, then 11 colour classes, 0 being background."""
        h = self.stem(latents)
        for convolution in self.body:
            h = h + convolution(functional.gelu(h))
        return self.out(functional.gelu(h))


def cell_loss(logits: Tensor, shapes: Tensor, colors: Tensor) -> Tensor:
    """Return the cross-entropy of each picture (n,): shapes, and colours at half weight. Labels are (n, 16, 16)."""
    shape = functional.cross_entropy(logits[:, :SHAPE_CLASSES], shapes.long(), reduction="none")
    color = functional.cross_entropy(logits[:, SHAPE_CLASSES:], colors.long(), reduction="none")
    return (shape + 0.5 * color).mean((1, 2))


def train_latent_reader(pool: ScenePool, samples: int, *, seed: int = 8) -> LatentReader:
    """Return a latent reader trained on the pool, with up to 0.4 noise so that it looks at shapes, not at texture."""
    torch.manual_seed(seed)
    reader = LatentReader()
    optimizer = torch.optim.AdamW(reader.parameters(), lr=2e-3, weight_decay=1e-3)
    for seen in range(0, samples, _BATCH):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - seen / samples)
        batch = pool.batch(_BATCH)
        logits = reader(batch.latents + torch.randn_like(batch.latents) * 0.4 * torch.rand(_BATCH, 1, 1, 1))
        loss = cell_loss(logits, batch.shapes, batch.colors).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if seen % (_BATCH * 100) == 0:
            right = (logits[:, :SHAPE_CLASSES].argmax(1) == batch.shapes).float().mean().item()
            print(f"latent reader: {seen} samples, loss {loss.item():.3f}, shape cells {right:.3f}", flush=True)
    return reader.eval().requires_grad_(False)
