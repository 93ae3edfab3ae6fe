"""Which parameters a pipeline of diffusers takes, told from its class: no weights are loaded."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from forgekit.models.loras import LORAS
from forgekit.models.weights import settings_at

ENTRY = "model_index.json"  # a file that every pipeline of diffusers has
# Call arguments of pipelines that are ours to set, or that would change the prompt or the output behind our back.
RESERVED = frozenset(
    {"self", "prompt", "prompt_2", "prompt_3", "image", "mask_image", "generator", "latents", "num_images_per_prompt"}
    | {"output_type", "return_dict", "callback", "callback_steps", "caption_upsample_temperature"}
    | {"callback_on_step_end", "callback_on_step_end_tensor_inputs"}
)
Signature = Mapping[str, inspect.Parameter]


def pipeline_class(address: str) -> type | None:
    """Return the class that the index of a folder or hub repository names; None where none is to be read, or not diffusers'."""
    import diffusers

    index = settings_at(address, ENTRY, fetch=True) or {}
    return getattr(diffusers, str(index.get("_class_name")), None)


def signature_of(pipeline: type) -> Signature:
    """Return the call arguments of a class of pipelines."""
    return inspect.signature(pipeline.__call__).parameters


def settable(signature: Signature, pipeline: type) -> set[str]:
    """Return the names of the parameters that a request may set."""
    ours = {"scheduler", *([LORAS] if hasattr(pipeline, "load_lora_weights") else [])}
    return ours | {n for n in signature if n not in RESERVED and not n.endswith(("embeds", "_image"))}


def guidance(signature: Signature, arguments: Mapping[str, Any]) -> tuple[str, bool]:
    """Return what turns the negative prompt on where it is above 1, and whether it is."""
    scale = "true_cfg_scale" if "true_cfg_scale" in signature else "guidance_scale"
    return scale, arguments.get(scale, signature[scale].default if scale in signature else 1) > 1


def too_many(most_pixels: int, arguments: Mapping[str, Any]) -> bool:
    """Say whether a picture of this size has more pixels than a model was made for; 0 is no limit."""
    sides = [side for side in (arguments.get("width"), arguments.get("height")) if isinstance(side, int)]
    return bool(most_pixels) and math.prod(sides) > most_pixels
