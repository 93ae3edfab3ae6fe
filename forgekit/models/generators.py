"""The image generators known by name, and how any other diffusers model is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgekit.models.diffusion import MINI_WEIGHTS, DiffusionGenerator


def _known(name: str, repo: str, /, **settings: Any) -> DiffusionGenerator:
    fields = {k: settings.pop(k) for k in ("dtype", "device", "variant", "batch_size") if k in settings}
    return DiffusionGenerator(name, repo, **fields, defaults=settings)


_LARGE = {"height": 1024, "width": 1024}
_FLUX_1 = {**_LARGE, "num_inference_steps": 28, "guidance_scale": 3.5, "max_sequence_length": 512}
KNOWN: Mapping[str, DiffusionGenerator] = {
    model.name: model
    for model in (
        _known(
            "mini",
            MINI_WEIGHTS,
            device="cpu",  # small enough, and its pixels are then the same with and without a GPU
            batch_size=16,
            height=64,
            width=64,
            num_inference_steps=16,
            true_cfg_scale=3.0,
            negative_prompt="",
            max_sequence_length=32,
        ),
        _known("flux", "black-forest-labs/FLUX.1-dev", **_FLUX_1),
        _known("flux-1", "black-forest-labs/FLUX.1-dev", **_FLUX_1),
        _known(
            "flux-schnell",
            "black-forest-labs/FLUX.1-schnell",
            **_LARGE,
            num_inference_steps=4,
            guidance_scale=0.0,
            max_sequence_length=256,
        ),
        _known("flux-2", "black-forest-labs/FLUX.2-dev", **_LARGE, num_inference_steps=50, guidance_scale=4.0),
        _known(
            "flux-2-klein", "black-forest-labs/FLUX.2-klein-4B", **_LARGE, num_inference_steps=4, guidance_scale=1.0
        ),
        _known(
            "sdxl",
            "stabilityai/stable-diffusion-xl-base-1.0",
            **_LARGE,
            variant="fp16",
            num_inference_steps=30,
            guidance_scale=5.0,
        ),
        _known(
            "sdxl-turbo",
            "stabilityai/sdxl-turbo",
            variant="fp16",
            height=512,
            width=512,
            num_inference_steps=1,
            guidance_scale=0.0,
        ),
        _known(
            "sd3.5",
            "stabilityai/stable-diffusion-3.5-large",
            **_LARGE,
            num_inference_steps=28,
            guidance_scale=3.5,
            max_sequence_length=512,
        ),
        _known(
            "sd3.5-medium",
            "stabilityai/stable-diffusion-3.5-medium",
            **_LARGE,
            num_inference_steps=40,
            guidance_scale=4.5,
            max_sequence_length=512,
        ),
        _known(
            "qwen-image",
            "Qwen/Qwen-Image",
            **_LARGE,
            num_inference_steps=50,
            true_cfg_scale=4.0,
            negative_prompt=" ",
        ),
    )
}


def from_address(address: str) -> DiffusionGenerator | None:
    """Return the generator in a local diffusers folder or at a Hugging Face id ("owner/model"); else None."""
    if (Path(address) / "model_index.json").is_file():
        return DiffusionGenerator(Path(address).resolve().name, address)
    owner, _, model = address.partition("/")
    if owner not in ("", ".", "..", "~") and model and "/" not in model and ":" not in address:
        return DiffusionGenerator(model, address)
    return None
