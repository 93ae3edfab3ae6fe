"""Reads shapes and colours off latents. It lends the generator's training a sharper eye than mean squared error.

It never meets the reader of `reader.py`, which measures the generator.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.cells import CLASSES, SHAPE_CLASSES, cell_loss
from training.generator import LATENT_CHANNELS
from training.loop import Schedule, Training
from training.pool import ScenePool

_BATCH = 64


class LatentReader(nn.Module):
    """A residual convolutional network from latents (n, 4, 16, 16) to logits of their cells (n, 8 + 11, 16, 16)."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.stem = nn.Conv2d(LATENT_CHANNELS, width, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in (1, 2, 3, 1))
        self.out = nn.Conv2d(width, CLASSES, 1)

    def forward(self, latents: Tensor) -> Tensor:
        """Return the logits: 8 shape classes, then 11 colour classes, 0 being background."""
        h = self.stem(latents)
        for convolution in self.body:
            h = h + convolution(functional.gelu(h))
        return self.out(functional.gelu(h))


def train_latent_reader(pool: ScenePool, samples: int, *, seed: int = 8) -> LatentReader:
    """Return a latent reader trained on the pool, with up to 0.4 noise so that it looks at shapes, not at texture."""
    torch.manual_seed(seed)
    reader = LatentReader()
    optimizer = torch.optim.AdamW(reader.parameters(), weight_decay=1e-3)
    training = Training("latent reader", Schedule(samples, _BATCH, rate=2e-3, warm=1), {}, [optimizer])
    for _ in training.steps():
        batch = pool.batch(_BATCH)
        logits = reader(batch.latents + torch.randn_like(batch.latents) * 0.4 * torch.rand(_BATCH, 1, 1, 1))
        right = (logits[:, :SHAPE_CLASSES].argmax(1) == batch.shapes).float().mean().item()
        training.descend(cell_loss(logits, batch.shapes, batch.colors).mean(), {"shape cells": right})
    return reader.eval().requires_grad_(False)


def load_or_train_latent_reader(path: Path, pool: ScenePool, samples: int = 40_000) -> LatentReader:
    """Return the latent reader in `path`, trained and saved there first if there is none."""
    if not path.exists():
        torch.save(train_latent_reader(pool, samples).state_dict(), path)
    reader = LatentReader().requires_grad_(False)
    reader.load_state_dict(torch.load(path, weights_only=True))
    return reader.eval()
