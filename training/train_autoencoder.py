"""Train the autoencoder of `mini`: `python -m training.train_autoencoder FOLDER`."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from forgekit.mini.render import render
from forgekit.mini.world import sample_scene
from training.generator import LATENT_CHANNELS
from training.loop import Schedule, Training, command

BATCH = 32
SAMPLES = 105_000
_WIDTH = 24


def load_or_train(folder: Path, samples: int = SAMPLES) -> AutoencoderTiny:
    """Return the autoencoder in `folder`, trained and saved there first if there is none."""
    if not (folder / "config.json").exists():
        train(samples).save_pretrained(folder)
    return AutoencoderTiny.from_pretrained(folder).eval().requires_grad_(False).to(memory_format=torch.channels_last)


def train(samples: int, *, seed: int = 1) -> AutoencoderTiny:
    """Return an autoencoder trained on `samples` renders: 64 pixels to 4 channels of 16, scaled to unit variance."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    vae = AutoencoderTiny(
        encoder_block_out_channels=(_WIDTH,) * 3,
        decoder_block_out_channels=(_WIDTH,) * 3,
        num_encoder_blocks=(1, 2, 3),
        num_decoder_blocks=(3, 2, 1),
        latent_channels=LATENT_CHANNELS,
    ).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), betas=(0.9, 0.98), weight_decay=1e-4)
    schedule = Schedule(samples, BATCH, rate=2.5e-3, least=0.02)
    training = Training("autoencoder", schedule, {}, [optimizer], clipped=[vae])
    for _ in training.steps():
        training.descend(_loss(vae, _pictures(rng, BATCH)))
    _normalise(vae.eval(), _pictures(rng, 256))
    return vae


def _pictures(rng: random.Random, n: int) -> Tensor:
    """Return renders (n, 3, 64, 64) in [-1, 1]."""
    pictures = render([sample_scene(rng) for _ in range(n)]) * 2 - 1
    return pictures.contiguous(memory_format=torch.channels_last)


def _loss(vae: AutoencoderTiny, pictures: Tensor) -> Tensor:
    latents = vae.encode(pictures).latents
    decoded = vae.decode(latents + torch.randn_like(latents) * 0.1).sample
    difference = decoded - pictures
    edges = sum(difference.diff(dim=d).abs().mean() for d in (2, 3))
    spread = (latents.square().mean() - 1).square() + latents.mean((0, 2, 3)).square().mean()
    return difference.abs().mean() + 2 * difference.square().mean() + 0.5 * edges + 0.05 * spread


@torch.no_grad()
def _normalise(vae: AutoencoderTiny, pictures: Tensor) -> None:
    """Record the scale and shift that give latents mean 0 and variance 1, where FluxPipeline looks for them."""
    latents = vae.encode(pictures).latents
    vae.register_to_config(scaling_factor=1 / latents.std().item(), shift_factor=latents.mean().item())


@torch.no_grad()
def psnr(vae: AutoencoderTiny, n: int = 256, *, seed: int = 99) -> float:
    """Return the peak signal-to-noise ratio in dB of `n` new renders after encoding and decoding."""
    pictures = _pictures(random.Random(seed), n)
    error = (vae.decode(vae.encode(pictures).latents).sample - pictures) / 2
    return -10 * error.square().mean().log10().item()


def main(out: Path, *, samples: int = SAMPLES) -> None:
    """Train the autoencoder and write it to the folder OUT, unless there is one; say how well it restores new renders."""
    print(f"{psnr(load_or_train(out, samples)):.1f} dB on new renders")


if __name__ == "__main__":
    command(main)
