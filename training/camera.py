"""Pictures to train judges on: renders with the faults of generated pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from forgekit.mini.render import PALETTE, render
from forgekit.mini.world import CANVAS, WorldScene
from training.loop import Chance


@dataclass
class Camera:
    """Draws scenes with the faults of generated pictures, so that judges read those rightly too.

    A share of pictures gets a blob (paint in no known shape, true of nothing), blur, noise, or a passage through the
    generator's autoencoder with noise on its latents.
    """

    chance: Chance
    autoencoder: Path | None = None
    blobs: float = 0.2
    blobbed: list[bool] = field(default_factory=list)  # which pictures of the last batch got a blob
    _coder: Any = field(default=None, repr=False)

    def draw(self, scenes: Sequence[WorldScene]) -> Tensor:
        """Return float (n, 3, 64, 64) in [0, 1]."""
        pictures = render(scenes, self.chance.generator)
        tried = [self.chance.rng.random() < self.blobs for _ in scenes]
        self.blobbed = [t and self._add_blob(*pair) for t, *pair in zip(tried, pictures, scenes, strict=True)]
        pictures = self._blur(pictures)
        pictures = self._recode(pictures)
        strength = 0.05 * torch.rand(len(scenes), 1, 1, 1, generator=self.chance.generator)
        return (pictures + strength * torch.randn(pictures.shape, generator=self.chance.generator)).clamp(0, 1)

    def _add_blob(self, picture: Tensor, scene: WorldScene) -> bool:
        """Paint a ragged patch or a sliced disc where there is room, and say whether there was."""
        r = self.chance.rng.uniform(5, 11)
        for _ in range(20):
            x, y = (self.chance.rng.uniform(r + 1, CANVAS - r - 1) for _ in "xy")
            if all((x - o.cx) ** 2 + (y - o.cy) ** 2 > (1.15 * (r + o.r)) ** 2 for o in scene.objects):
                break
        else:
            return False
        pixel = torch.arange(CANVAS) + 0.5
        dx, dy = pixel[None, :] - x, pixel[:, None] - y
        distance = torch.hypot(dx * self.chance.rng.uniform(0.8, 1.6), dy) - 0.8 * r
        if self.chance.rng.random() < 0.5:
            ragged = torch.randn(1, 1, 16, 16, generator=self.chance.generator)
            distance = distance + 3 * functional.interpolate(ragged, size=(CANVAS, CANVAS), mode="bicubic")[0, 0]
        else:
            angle = self.chance.rng.uniform(0, 6.28)
            slope = torch.tensor([angle]).cos() * dx + torch.tensor([angle]).sin() * dy
            distance = torch.maximum(distance, slope + self.chance.rng.uniform(-0.2, 0.2) * r)
        paint = PALETTE[self.chance.rng.randrange(len(PALETTE))][:, None, None]
        cover = self.chance.rng.uniform(0.6, 1.0) * (0.5 - distance).clamp(0, 1)
        picture.copy_(picture * (1 - cover) + paint * cover)
        return True

    def _blur(self, pictures: Tensor) -> Tensor:
        chosen = torch.rand(len(pictures), 1, 1, 1, generator=self.chance.generator) < 0.25
        soft = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
        return torch.where(chosen, soft, pictures)

    def _recode(self, pictures: Tensor) -> Tensor:
        if self.autoencoder is None:
            return pictures
        if self._coder is None:
            from diffusers import AutoencoderTiny

            self._coder = AutoencoderTiny.from_pretrained(self.autoencoder).eval()
        chosen = torch.rand(len(pictures), generator=self.chance.generator) < 0.12
        if not chosen.any():
            return pictures
        with torch.no_grad():
            latents = self._coder.encode(pictures[chosen] * 2 - 1).latents
            spread = latents.std() * 0.35 * torch.rand(len(latents), 1, 1, 1, generator=self.chance.generator)
            latents = latents + spread * torch.randn(latents.shape, generator=self.chance.generator)
            recoded = self._coder.decode(latents).sample.float() / 2 + 0.5
        pictures = pictures.clone()
        pictures[chosen] = recoded.clamp(0, 1)
        return pictures
