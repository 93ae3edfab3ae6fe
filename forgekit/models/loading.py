"""What loading and running large models has in common: quiet libraries, weight fingerprints, full memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

_PRINT = 1 << 16  # bytes read at the end of each file


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


def fingerprint(folder: Path) -> str:
    """Return a hash that changes with the weights and settings in `folder`: 16 hex digits.

    Reads each file's name, size and end only, which takes milliseconds for any model and misses no training step.
    """
    digest = sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - _PRINT))
            digest.update(f"{path.relative_to(folder).as_posix()} {size} ".encode() + file.read())
    return digest.hexdigest()[:16]


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether `error` says that the memory of the processor or the accelerator is full."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def free_memory() -> None:
    """Give back the memory that failed work still holds."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
