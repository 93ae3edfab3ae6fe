"""Pipes: what comes through `<(…)`, /dev/stdin or a named pipe is written down once, whole, and read from there."""

from __future__ import annotations

import os
import select
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forgekit.errors import SourceError, without_secrets

LARGEST = 1 << 30  # bytes
WRITER_S, SILENCE_S = 5.0, 60.0  # how long a writer may be in coming, and may write nothing


@contextmanager
def written_down(source: Any) -> Iterator[Any]:
    """Give a source as it is; of a pipe, which can be read only once, give a file that has all that came through.

    Raises:
        SourceError: nobody writes into the pipe, or more than a gigabyte.
    """
    if not isinstance(source, str | Path) or not stat.S_ISFIFO(mode_of(source)):
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="forgekit-") as folder:
        copy = Path(folder) / (Path(source).name or "pipe")
        _copy(Path(source), copy)
        yield copy


def mode_of(path: str | Path) -> int:
    """Return what kind of thing a path leads to, as `stat` has it.

    Raises:
        SourceError: there is no such file, it cannot be reached, or no file can be called so.
    """
    if "://" in str(path):
        raise SourceError(f"{without_secrets(str(path))} is an address; fetch it first, and give the file")
    try:
        return Path(path).stat().st_mode
    except FileNotFoundError as error:
        hint = "; a text itself is given in a list, or on standard input" if " " in str(path).strip() else ""
        raise SourceError(f"{path} does not exist{hint}") from error
    except (OSError, ValueError) as error:
        shown = f"{str(path)[:80]}…" if len(str(path)) > 200 else path
        raise SourceError(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _copy(pipe: Path, copy: Path) -> None:
    """Write what comes through a pipe into a file. Opened without waiting: one that nobody writes into would never end."""
    size, last = 0, time.monotonic()
    handle = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with copy.open("xb") as file:
            while (chunk := _next(handle)) != b"" or (not size and time.monotonic() - last < WRITER_S):
                if chunk:
                    size, last = size + file.write(chunk), time.monotonic()
                    if size > LARGEST:
                        raise SourceError(f"more than {LARGEST:,} bytes came through {pipe}; give a file")
                elif chunk is None and time.monotonic() - last > SILENCE_S:
                    raise SourceError(f"nothing came through {pipe} for {SILENCE_S:.0f} s; give a file")
    finally:
        os.close(handle)
    if not size:
        raise SourceError(f"nothing is written into the pipe {pipe}; give a file, or start what writes first")


def _next(handle: int) -> bytes | None:
    """Return what has come, waiting a moment for it; None where nothing has yet, b"" where nobody writes."""
    select.select([handle], [], [], 0.1)
    try:
        chunk = os.read(handle, 1 << 20)
    except BlockingIOError:
        return None
    if chunk == b"":
        time.sleep(0.01)  # a pipe without a writer is ready at once
    return chunk
