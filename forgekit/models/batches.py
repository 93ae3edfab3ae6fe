"""What the judges share: where they run, batches that survive full memory, weight identity, phrases of one meaning."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from forgekit.errors import ItemError, UnknownModelError
from forgekit.models.loading import fingerprint, free_memory, is_out_of_memory
from forgekit.scene import default_lexicon

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

MINI_WEIGHTS = Path(__file__).parents[1] / "mini" / "weights"
REFUSALS = (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, OSError)  # what models raise at an input

MEANING_KINDS = ("figure", "object", "color", "size")

Item = TypeVar("Item")
Result = TypeVar("Result")


def placement(device: str, dtype: str) -> tuple[str, str]:
    """Return device and dtype by name; "auto" is the accelerator in half precision where there is one, else the CPU."""
    import torch

    if device == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = accelerator.type if accelerator else "cpu"
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else "float16"
    return device, dtype


def in_batches(
    items: Sequence[Item], size: int, work: Callable[[Sequence[Item]], Sequence[Result]]
) -> list[Result | ItemError]:
    """Return `work`'s results for all items, in order, computed `size` at a time.

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
            full, reason = is_out_of_memory(error), f"{type(error).__name__}: {error}"
        if full:
            free_memory()
        if full and len(batch) > 1:
            size = len(batch) // 2
            log.warning("memory is full: going on with batches of %d", size)
        elif len(batch) > 1:
            results += in_batches(batch, 1, work)
        else:
            results.append(ItemError(reason.splitlines()[0]))
    return results


def distinct_images(images: Sequence[Image]) -> tuple[list[Image], list[int]]:
    """Return each image object once, and for every entry of `images` which of them it is."""
    order: dict[int, int] = {}
    places = [order.setdefault(id(image), len(order)) for image in images]
    first = {place: image for place, image in zip(reversed(places), reversed(images), strict=True)}
    return [first[i] for i in range(len(order))], places


def as_rgb(image: Image) -> Image:
    """Return the image in RGB, its pixels read.

    Raises:
        OSError: its file is cut short or damaged.
    """
    return image if image.mode == "RGB" else image.convert("RGB")


class RecentlyUsed(OrderedDict):
    """A dictionary that forgets what was used longest ago once it holds `limit` entries."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def fetch(self, keys: Sequence[str], compute: Callable[[Sequence[str]], Mapping[str, Any]]) -> dict[str, Any]:
        """Return the values of `keys`; those not known are computed in one go."""
        wanted = list(dict.fromkeys(keys))
        missing = [key for key in wanted if key not in self]
        known = {key: self[key] for key in wanted if key in self}
        fresh = compute(missing) if missing else {}
        for key in wanted:
            self[key] = fresh[key] if key in fresh else known[key]
            self.move_to_end(key)
        while len(self) > self.limit:
            self.popitem(last=False)
        return known | dict(fresh)


@contextmanager
def weights_needed(name: str, address: str, advice: str) -> Iterator[None]:
    """Turn a failed load into an error that says how to get the weights."""
    try:
        yield
    except (*REFUSALS, ImportError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnknownModelError(f"{name}: no weights could be loaded from {address!r}: {reason} {advice}") from error


def load_transformers(make: Callable[..., Result], judge: Any, template: str) -> Result:
    """Return `make(repo, revision, device, dtype, template)` for a judge with transformers weights.

    Raises:
        UnknownModelError: the weights are not there.
    """
    device, dtype = placement(judge.device, judge.dtype)
    advice = f"Fetch them once with `hf download {judge.repo}`, or give the path of a local transformers folder."
    with weights_needed(judge.name, judge.repo, advice):
        return make(judge.repo, judge.revision, device, dtype, template)


def identity(address: str, revision: str | None, entry: str) -> str | None:
    """Return what tells these weights from others: a hash of local files, or the commit of cached hub files.

    `entry` is a file that every repository of this family has.
    """
    folder = Path(address)
    if folder.is_dir():
        return fingerprint(folder)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(address, entry, revision=revision) if address.count("/") == 1 else None
    return Path(cached).parent.name if isinstance(cached, str) else revision


def known_identity(judge: Any, address: str, revision: str | None, entry: str) -> str | None:
    """Return `identity`, looked up until the weights are there: a judge without them must not keep the key of none."""
    if "_weights" not in vars(judge):
        found = identity(address, revision, entry)
        if found in (None, revision):
            return found
        vars(judge)["_weights"] = found
    return vars(judge)["_weights"]


def shown(address: str) -> str:
    """Return `address` as it is recorded: the path of embedded weights differs between machines."""
    return f"embedded/{Path(address).name}" if MINI_WEIGHTS in Path(address).parents else address


def present(address: str) -> bool:
    """Whether weights that ship in the package are in this copy of it; True for weights from anywhere else."""
    return MINI_WEIGHTS not in Path(address).parents or Path(address).is_dir()


def softmax(logits: Sequence[float]) -> list[float]:
    """Return probabilities in the order of `logits`."""
    top = max(logits)
    powers = [math.exp(logit - top) for logit in logits]
    return [power / sum(powers) for power in powers]


def meaning(phrase: str) -> tuple[str, ...]:
    """Return the concepts of a phrase, so that "some azure discs" and "a blue circle" are the same."""
    lexicon = default_lexicon()

    def concept(word: str) -> str:
        for form in (word, word.removesuffix("s"), word.removesuffix("es")):
            for kind in MEANING_KINDS:
                if (kind, form) in lexicon.meanings:
                    return lexicon.meanings[kind, form]
        return word

    return tuple(concept(word) for word in phrase.split() if word not in ("a", "an", "the", "some"))
