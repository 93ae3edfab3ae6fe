"""Models in memory: where each runs, which are loaded, and which are let go when there is no room for the next."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

log = logging.getLogger(__name__)

# What models raise at an input.
REFUSALS = (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, OSError, AttributeError, AssertionError)
HEADROOM = 1.2  # of the weights' size: activations, and what the loader holds twice for a while

_loaded: WeakValueDictionary[int, Any] = WeakValueDictionary()  # models by their id, in the order of loading


def placement(model: Any) -> tuple[str, str]:
    """Return the device and dtype of a model by name; "auto" is the accelerator where there is one, else the CPU.

    There "auto" is half precision: bfloat16, but float16 for models whose class says `half = "float16"`.
    """
    device, dtype = model.device, model.dtype
    if device == "auto":
        import torch  # here and in `room`: it takes seconds, and for "cpu" nobody needs it

        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = accelerator.type if accelerator else "cpu"
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else getattr(model, "half", "bfloat16")
    return device, dtype


class weights(cached_property):  # noqa: N801 (a decorator)
    """A cached property that holds a model's weights: it is let go, and loaded again when used, where memory is short."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        found = super().__get__(instance, owner)
        _loaded[id(instance)] = instance
        return found


def loaded() -> list[Any]:
    """Return the models whose weights are in memory, in the order in which they were loaded."""
    return list(_loaded.values())


def let_go(model: Any) -> None:
    """Give back the memory of a model's weights; it loads them again when it is used."""
    for name, value in list(vars(type(model)).items()):
        if isinstance(value, weights) and (held := vars(model).pop(name, None)) and hasattr(held, "close"):
            held.close()  # workers elsewhere
    _loaded.pop(id(model), None)


def let_others_go(model: Any) -> bool:
    """Give back the memory of all other models on the device of `model`; return whether there were any."""
    from accelerate.utils.memory import clear_device_cache

    others = [other for other in loaded() if other is not model and placement(other)[0] == placement(model)[0]]
    for other in others:
        log.info("%s is let go of: %s needs its memory", other.name, model.name)
        let_go(other)
    clear_device_cache(garbage_collection=True)  # also what failed or finished work still holds
    return bool(others)


def make_room(model: Any, size: int, device: str) -> None:
    """Let other models go where weights of `size` bytes are more than is free on the device."""
    if size * HEADROOM > room(device):
        let_others_go(model)


def room(device: str) -> int:
    """Return the bytes of memory that are free on a device."""
    import psutil

    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)  # an accelerator that shares the processor's memory has the same


def is_full(error: BaseException) -> bool:
    """Tell whether `error` says that the memory of the processor or the accelerator is full."""
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or should_reduce_batch_size(error)
