"""What a model takes on a device, told before it is loaded: its weights by their headers, what it works with by an estimate."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from forgekit.models.fetching import PIPELINE, Repository, needed
from forgekit.models.memory import placement
from forgekit.models.naming import settings_of
from forgekit.models.weights import settings_at

FLOATS = {"F64", "F32", "F16", "BF16"}  # numbers that are loaded in the dtype asked for; others stay as they are stored
NUMBER_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
# The estimate of what a model works with, in numbers of its dtype. It counts the largest step alone, as inference does:
# Per token and channel of a transformer's block: q, k, v, what they give, the fourfold inner layer twice, sums.
AT_ONCE = 24
# Maps of the autoencoder's widest layer at the picture's full size: before, normalised, convolved, and as much to work in.
MAPS = 4
TOKENS = 2048  # of a picture with its question, or of a request with its answer
SIDE = 1024  # pixels of a picture whose size nobody says


@dataclass(frozen=True)
class Footprint:
    """A model's weights by part: how many numbers, their bytes as stored, and bytes that stay as they are (quantised)."""

    parts: Mapping[str, Sequence[int]]
    layer: int  # numbers of the largest layer: what `offload=sequential` has on the device
    working: float  # numbers that one picture or text takes to work on: an estimate

    def bytes(self, model: Any, *, half: str = "") -> tuple[float, float]:
        """Return the bytes that weights, and what `model` works with, take on its device; `half` is its "auto" dtype there."""
        dtype = (half or placement(model)[1]) if model.dtype == "auto" else model.dtype
        stored = model.dtype == "auto" and not hasattr(model, "batch_size")  # language models load as they are stored
        each = NUMBER_BYTES[dtype]
        kept = 1 if getattr(model, "quantisation", "") else each
        sizes = [(raw if stored else numbers * kept) + fixed for numbers, raw, fixed in self.parts.values()]
        offload = getattr(model, "offload", "") if model.device != "cpu" else ""
        weights = {"": sum(sizes), "model": max(sizes), "sequential": self.layer * kept}[offload]
        return weights, self.working * each * getattr(model, "batch_size", 1)


def footprint(model: Any, repository: Repository, folder: Path) -> Footprint | None:
    """Return what the weights in `folder` take; None where they are in no form that says so (pickles).

    Raises:
        OSError, SafetensorsParsingError: a file that is no safetensors file, or is cut short.
    """
    from huggingface_hub import parse_local_safetensors_file_metadata

    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    wanted = needed(files, settings_at(str(folder), PIPELINE), repository.variant)
    parts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    layers: dict[str, int] = defaultdict(int)
    for file in (name for name in wanted if name.endswith(".safetensors")):
        part = parts[Path(file).parent.as_posix()]
        for name, tensor in parse_local_safetensors_file_metadata(folder / file).tensors.items():
            numbers, size = math.prod(tensor.shape), tensor.data_offsets[1] - tensor.data_offsets[0]
            if tensor.dtype in FLOATS:
                part[0] += numbers
                part[1] += size
                layers[file + (re.match(r".*?\.\d+\.", name) or [name])[0]] += numbers
            else:
                part[2] += size
    if not parts:
        return None
    return Footprint(parts, max(layers.values(), default=0), _working(model, folder))


def ways(name: str, model: Any, found: Footprint, free: float, *, half: str = "") -> Iterator[tuple[str, float]]:
    """Yield `name` with settings by which its model fits into `free` bytes, the mildest first, and the bytes it then takes."""
    address, given = settings_of(name)
    dtypes = ["auto" if half else model.dtype, "bfloat16"]
    offloads = ["", "model", "sequential"] if hasattr(model, "offload") and model.device != "cpu" else [""]
    batches = [model.batch_size, 1] if hasattr(model, "batch_size") else [None]
    kinds = dict.fromkeys([model.quantisation, "int8"]) if hasattr(model, "quantisation") else [None]
    tried = product(kinds, offloads, dict.fromkeys(dtypes), dict.fromkeys(batches))
    for kind, offload, dtype, batch in sorted(tried, key=lambda each: each[1] == "sequential"):  # which is slow
        own = {"dtype": dtype, "batch_size": batch, "quantisation": kind, "offload": offload}
        changed = {n: value for n, value in own.items() if hasattr(model, n) and value not in (None, getattr(model, n))}
        need = sum(found.bytes(replace(model, **changed), half=half))
        if changed and need <= free:
            yield f"{address}?{'&'.join(f'{n}={value}' for n, value in {**given, **changed}.items())}", need


def _working(model: Any, folder: Path) -> float:
    """Estimate how many numbers a model works with at its largest step, for one picture or text, by its settings."""
    if hasattr(model, "offload"):
        return _drawing(model, folder)
    settings = settings_at(str(folder), "config.json") or settings_at(str(folder), "open_clip_config.json") or {}
    settings = settings.get("model_cfg", settings)
    return max(map(_block, [settings, *(part for part in settings.values() if isinstance(part, dict))]))


def _block(settings: Mapping[str, Any]) -> float:
    """Estimate a transformer's largest step, with the keys and values that it remembers."""
    width = settings.get("hidden_size") or settings.get("d_model") or settings.get("width") or 0
    size, patch = settings.get("image_size"), settings.get("patch_size")
    words = settings.get("max_position_embeddings") or settings.get("context_length") or TOKENS
    tokens = (size / patch) ** 2 if isinstance(size, int) and isinstance(patch, int) else min(words, TOKENS)
    heads = settings.get("num_attention_heads") or 1
    layers, shared = settings.get("num_hidden_layers") or 0, (settings.get("num_key_value_heads") or heads) / heads
    return tokens * (width * AT_ONCE + 2 * layers * width * shared)


def _drawing(model: Any, folder: Path) -> float:
    """Estimate a pipeline's largest step: the denoiser, twice where it is guided, or the autoencoder at full size."""
    part = {name: settings_at(str(folder / name), "config.json") or {} for name in ("vae", "transformer", "unet")}
    pixels = math.prod(model.defaults.get(side) or SIDE for side in ("width", "height"))
    maps = [width for width in part["vae"].get("block_out_channels") or [] if isinstance(width, int)] or [128, 256]
    steps = part["transformer"]
    width = (steps.get("num_attention_heads") or 0) * (steps.get("attention_head_dim") or 0)
    tokens = pixels / 4 ** len(maps)  # the autoencoder halves both sides at all levels but one; then 2 × 2 patches
    if part["unet"]:
        width, tokens = (part["unet"].get("block_out_channels") or [320])[0], tokens * 4
    return max(pixels * max(maps[:2]) * MAPS, 2 * tokens * width * AT_ONCE)
