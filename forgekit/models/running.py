"""Running large models: where, in which precision, how many items at a time, how quietly."""

from __future__ import annotations

import logging
import warnings
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from cachetools import LRUCache

from forgekit.errors import ForgekitError, ItemError
from forgekit.models.memory import is_full, let_others_go

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

REMEMBERED = 20_000  # texts of which a model keeps what it made of them

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class RunHere:
    """A model of a library that runs in this process: where its weights are, and on what and in which precision it runs."""

    name: str
    repo: str  # Hugging Face id or local folder
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"


def quantised(kind: str) -> Any:
    """Return how torchao is to keep weights in "int8" or "float8", a byte each, counting in the dtype of the model.

    Raises:
        ImportError: torchao is not installed.
    """
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

    return {"int8": Int8WeightOnlyConfig, "float8": Float8WeightOnlyConfig}[kind]()


def load_transformers(
    kind: str,
    repo: str,
    revision: str | None,
    device: str,
    dtype: str,
    processor_repo: str | None = None,
    quantisation: str = "",
) -> tuple[Any, Any]:
    """Load a model by the auto class of transformers called `kind`, and its processor; no code of the repository runs."""
    import torch
    import transformers

    own = {"revision": revision, "trust_remote_code": False}
    with quiet("transformers"):
        others = {**own, "revision": None} if processor_repo else own
        processor = transformers.AutoProcessor.from_pretrained(processor_repo or repo, **others)
        own |= {"quantization_config": transformers.TorchAoConfig(quantised(quantisation))} if quantisation else {}
        model = getattr(transformers, kind).from_pretrained(repo, dtype=getattr(torch, dtype), **own)
    return model.to(device).eval(), processor


def on_device(inputs: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Return a model's tensors of arguments where it runs, numbers in its precision."""
    moved = {name: value.to(model.device) for name, value in inputs.items()}
    return {name: v.to(model.dtype) if v.is_floating_point() else v for name, v in moved.items()}


def in_batches(
    items: Sequence[Item], size: int, work: Callable[[Sequence[Item]], Sequence[Result | ItemError]], model: Any
) -> list[Result | ItemError]:
    """Return `work`'s results for all items, in order, computed `size` at a time by `model`.

    Where memory is full, models that do nothing are let go, then the batch is halved, down to one; where anything else
    fails, whatever a library raises, or gives fewer results or more than there are items, those of that batch are tried one
    by one, so that a bad item costs only itself. What still fails becomes an ItemError. Errors of ours go on to the caller.
    """
    results: list[Result | ItemError] = []
    while len(results) < len(items):
        batch = items[len(results) : len(results) + size]
        try:
            if len(found := work(batch)) == len(batch):
                results += found
                continue
            full, reason = False, f"it gave {len(found)} results for {len(batch)} items"
        except ForgekitError:
            raise
        except Exception as error:  # this batch's failure, or one item's: the others go on
            full, reason = is_full(error), f"{type(error).__name__}: {error}".splitlines()[0]
        if full and let_others_go(model):
            continue
        if full and len(batch) > 1:
            size = len(batch) // 2
            log.warning("%s: out of memory, batches of %d from here on", model.name, size)
        elif len(batch) > 1:
            results += in_batches(batch, 1, work, model)
        else:
            results.append(ItemError(f"{model.name}: {'out of memory, ' * full}{reason}"))
    return results


class Remembered(LRUCache[str, Any]):
    """What was made of the texts that were asked for last."""

    def __init__(self) -> None:
        super().__init__(REMEMBERED)

    def of(self, texts: Sequence[str], compute: Callable[[Sequence[str]], Mapping[str, Any]]) -> dict[str, Any]:
        """Return the values of `texts`; those not remembered are computed in one go and, but for failures, remembered."""
        values = {text: self[text] for text in texts if text in self}
        if missing := [text for text in dict.fromkeys(texts) if text not in values]:
            fresh = compute(missing)
            values |= fresh
            self.update({text: value for text, value in fresh.items() if not isinstance(value, ItemError)})
        return values


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Silence the progress bars and warnings of libraries ("diffusers", "transformers") for a while, then restore what was set.

    Name those that are at work: to import diffusers takes ten seconds. Their own files use what torch calls deprecated,
    and say so on import: that is between them.
    """
    libraries = [import_module(f"{name}.utils.logging") for name in names]
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for library, (verbosity, bar) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bar:
                library.enable_progress_bar()


def distinct(things: Sequence[Item]) -> tuple[list[Item], list[int]]:
    """Return each object once, and for every entry of `things` which of them it is."""
    found = {id(each): each for each in things}
    order = {key: place for place, key in enumerate(found)}
    return list(found.values()), [order[id(each)] for each in things]


def alike(keys: Sequence[Hashable]) -> list[list[int]]:
    """Return the places of equal keys together."""
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    return list(places.values())


def as_rgb(image: Image) -> Image:
    """Return the image in RGB, its pixels read. Raises OSError: its file is cut short or damaged."""
    return image if image.mode == "RGB" else image.convert("RGB")


def words_behind(text: str, fits: Callable[[str], bool]) -> str:
    """Return the words of `text` behind the longest beginning that fits; "" where all of it does."""
    words = [] if fits(text) else text.split()
    fitting = bisect_left(range(len(words) + 1), True, key=lambda n: not fits(" ".join(words[:n]))) - 1
    return " ".join(words[max(fitting, 0) :])
