"""Running large models: where, in which precision, how many items at a time, how quietly, and which weights they have."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from forgekit.errors import ItemError, UnknownModelError

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

EMBEDDED = Path(__file__).parents[1] / "mini" / "weights"  # of the models that ship in the package
REFUSALS = (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, OSError)  # what models raise at an input
TAIL = 1 << 16  # bytes of each file that its fingerprint reads

Item = TypeVar("Item")
Result = TypeVar("Result")


def placement(model: Any, half: str = "float16") -> tuple[str, str]:
    """Return the device and dtype of a model by name; "auto" is the accelerator in `half` where there is one, else the CPU."""
    import torch

    device, dtype = model.device, model.dtype
    if device == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = accelerator.type if accelerator else "cpu"
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else half
    return device, dtype


def load_transformers(kind: str, repo: str, revision: str | None, device: str, dtype: str) -> tuple[Any, Any]:
    """Load a model by the auto class of transformers called `kind`, and its processor; no code of the repository runs."""
    import torch
    import transformers

    with quiet():
        processor = transformers.AutoProcessor.from_pretrained(repo, revision=revision, trust_remote_code=False)
        model = getattr(transformers, kind).from_pretrained(
            repo, revision=revision, dtype=getattr(torch, dtype), trust_remote_code=False
        )
    return model.to(device).eval(), processor


def on_device(inputs: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Return a model's tensors of arguments where it runs, numbers in its precision."""
    moved = {name: value.to(model.device) for name, value in inputs.items()}
    return {name: v.to(model.dtype) if v.is_floating_point() else v for name, v in moved.items()}


def in_batches(
    items: Sequence[Item], size: int, work: Callable[[Sequence[Item]], Sequence[Result | ItemError]], name: str
) -> list[Result | ItemError]:
    """Return `work`'s results for all items, in order, computed `size` at a time by the model called `name`.

    Where memory is full the batch is halved, down to one; where anything else fails the items of that batch are tried
    one by one, so that a bad item costs only itself. What still fails becomes an ItemError.
    """
    results: list[Result | ItemError] = []
    while len(results) < len(items):
        batch = items[len(results) : len(results) + size]
        try:
            results += work(batch)
            continue
        except (*REFUSALS, MemoryError) as error:
            full, reason = is_full(error), f"{type(error).__name__}: {error}".splitlines()[0]
        if full:
            _free_memory()
        if full and len(batch) > 1:
            size = len(batch) // 2
            log.warning("%s: out of memory, batches of %d from here on", name, size)
        elif len(batch) > 1:
            results += in_batches(batch, 1, work, name)
        else:
            results.append(ItemError(f"{name}: {'out of memory, ' * full}{reason}"))
    return results


def is_full(error: Exception) -> bool:
    """Tell whether `error` says that the memory of the processor or the accelerator is full."""
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or should_reduce_batch_size(error)


def _free_memory() -> None:
    """Give back the memory that failed work still holds."""
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)


def remembered(
    cache: MutableMapping[str, Any], keys: Sequence[str], compute: Callable[[Sequence[str]], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the values of `keys`; those that `cache` does not hold are computed in one go and put into it."""
    values = {key: cache[key] for key in keys if key in cache}
    if missing := [key for key in dict.fromkeys(keys) if key not in values]:
        fresh = compute(missing)
        values |= fresh
        cache.update(fresh)
    return values


@contextmanager
def weights_needed(name: str, address: str, advice: str = "") -> Iterator[None]:
    """Turn a failed load into an error that says how to get the weights: `advice`, or what helps for a hub id."""
    try:
        yield
    except (*REFUSALS, ImportError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        advice = advice or (
            f"Fetch them once with `hf download {address}` (some need a licence accepted and `hf auth login`), "
            "or give the path of a local folder."
        )
        raise UnknownModelError(f"{name}: no weights could be loaded from {address!r}: {reason} {advice}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence diffusers' and transformers' progress bars and warnings for a while, then restore what was set."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, (verbosity, bar) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bar:
                library.enable_progress_bar()


def weights_of(model: Any, address: str, entry: str) -> tuple[str, str | None]:
    """Return the address of a model's weights as it is recorded, and what tells them from others, for draw and judge keys.

    That is a hash of local files, or the commit of cached hub files, else the revision asked for. It is looked up until
    the weights are there: a model without them must not keep the key of none. `entry` is a file that every repository of
    the family has.
    """
    revision, known = getattr(model, "revision", None), vars(model)
    if "_weights" not in known:
        found = _identity(address, revision, entry)
        if found in (None, revision):
            return _shown(address), found
        known["_weights"] = found
    return _shown(address), known["_weights"]


def _identity(address: str, revision: str | None, entry: str) -> str | None:
    folder = Path(address)
    if folder.is_dir():
        return fingerprint(folder)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(address, entry, revision=revision) if address.count("/") == 1 else None
    return Path(cached).parent.name if isinstance(cached, str) else revision


def _shown(address: str) -> str:
    """Return `address` as it is recorded: the path of embedded weights differs between machines."""
    if EMBEDDED not in Path(address).parents:
        return address
    name = Path(address).name
    return "embedded" if name == "generator" else f"embedded/{name}"  # the first there was has no name in its draw keys


def fingerprint(folder: Path) -> str:
    """Return a hash that changes with the weights and settings in `folder`: 16 hex digits.

    Reads each file's name, size and end only, which takes milliseconds for any model and misses no training step.
    """
    digest = sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - TAIL))
            digest.update(f"{path.relative_to(folder).as_posix()} {size} ".encode() + file.read())
    return digest.hexdigest()[:16]


def distinct_images(images: Sequence[Image]) -> tuple[list[Image], list[int]]:
    """Return each image object once, and for every entry of `images` which of them it is."""
    distinct = list({id(image): image for image in images}.values())
    order = {id(image): place for place, image in enumerate(distinct)}
    return distinct, [order[id(image)] for image in images]


def as_rgb(image: Image) -> Image:
    """Return the image in RGB, its pixels read.

    Raises:
        OSError: its file is cut short or damaged.
    """
    return image if image.mode == "RGB" else image.convert("RGB")
