"""The address that copies of a store's images are kept at (s3://…, file:///…, whatever fsspec knows): only one that the caller gave.

What a store says of it (`generated_images.kept_at`) is shown, and nobody is sent there: a store may have come by mail.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forgekit.errors import ParameterError, first_line, without_secrets

VARIABLE = "FORGEKIT_IMAGES"  # the address for all stores that a process opens
_given: dict[Path, str] = {}  # by the folder of a store: what this process was given


def keep_at(folder: Path, address: str) -> None:
    """Have copies of the images in `folder` kept at an address, for as long as this process lives.

    Raises:
        ParameterError: it is no address, holds a password or a query, or nothing that is installed speaks to it.
    """
    plain = without_secrets(str(address))
    if plain != address or "://" not in plain or "::" in plain or not plain.isprintable():
        raise ParameterError(
            f"images={plain!r} is no address, or was given with a password or a query, which would be stored with it; write it as "
            "s3://bucket/prefix or file:///mnt/lab, and keep keys in the environment or in fsspec's own settings"
        )
    try:
        with speaking(address):
            _given[folder] = address.rstrip("/")
    except OSError as error:
        raise ParameterError(f"no images can be kept at {error}") from error


def address_of(folder: Path) -> str | None:
    """Return the address that the caller gave for the images of the store in `folder`."""
    return _given.get(folder)


@contextmanager
def speaking(address: str) -> Iterator[tuple[Any, str]]:
    """Give the file system of an address, and the path in it; what goes wrong in the block is an OSError without secrets."""
    import fsspec

    try:
        files, root = fsspec.url_to_fs(address)
        yield files, root.rstrip("/")
    except Exception as error:  # each file system's library has its own
        raise OSError(without_secrets(f"{address}: {type(error).__name__}: {first_line(error)}")) from error
