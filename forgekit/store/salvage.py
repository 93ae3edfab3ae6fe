"""What a file is that should be a store, and what can be saved where it is a store that is damaged."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from forgekit.errors import StoreError

# What other programs write first. DuckDB itself would reach for the network to open some of them.
BEGINNINGS = {
    b"SQLite format 3": "an SQLite database",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "a picture",
    b"\x89HDF": "an HDF5 file",
}
BROKEN = re.compile("Corrupt|checksum|Could not read enough bytes|Failed to deserialize|INTERNAL Error|FATAL Error")
AS_IT_IS = "It was left as it is"


def is_duckdb(path: Path) -> bool:
    """Say whether a file begins as DuckDB's do: a checksum, then its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(12)[8:] == b"DUCK"


def refuse_foreign(path: Path) -> None:
    """Look at what stands at `path` before any database opens it.

    Raises:
        StoreError: it is there, and is no DuckDB file.
    """
    if not path.exists():
        return
    if path.is_dir():
        raise StoreError(f"{path} is a folder. Name the store's file in it, such as {path / 'forge.duckdb'}")
    if not path.is_file():
        raise StoreError(f"{path} is no regular file. Name a file, such as {path.with_name('forge.duckdb')}")
    if is_duckdb(path):
        return
    with path.open("rb") as file:
        beginning = file.read(16)
    found = [kind for known, kind in BEGINNINGS.items() if beginning.startswith(known)]
    if found:
        raise StoreError(
            f"{path} is {found[0]}, not a store. {AS_IT_IS}; name another file, and a new store is made there"
        )
    other = beginning.strip(b"\0")
    raise damaged(path, "its first bytes are not those of a DuckDB database" if other else "it is empty, or all zeros")


def damaged(path: Path, reason: str) -> StoreError:
    """Return the error for a store that cannot be read: what is wrong, and what of it can still be had."""
    lines = [f"{path} cannot be opened: {reason}. {AS_IT_IS}. What can be saved:"]
    if is_duckdb(path):
        lines.append(
            "- what DuckDB reads of its tables, to its last checkpoint: open a copy without the .wal file by it"
        )
    pictures = sum(1 for _ in (path.parent / "images").glob("*/*.png"))
    if pictures:
        lines.append(
            f"- {pictures} pictures in {path.parent / 'images'}, each with its prompt, seed and parameters in it: "
            "`forgekit import` takes the folder"
        )
    lines.append(
        "- all that was backed up: `forgekit restore BACKUP NEW_STORE`, then `forgekit check` on the new store"
    )
    return StoreError("\n".join(lines))


def not_allowed(path: Path, done: str) -> StoreError:
    """Return the error for a file or folder of a store that may not be `done`, which is "read" or "written"."""
    return StoreError(
        f"{path} may not be {done} by you: permission denied. Have its owner allow it, or copy the store's folder to one of yours"
    )


def is_damage(error: BaseException) -> bool:
    """Say whether DuckDB's error is about the bytes of the file, and not about what was asked of it."""
    return isinstance(error, duckdb.Error) and bool(BROKEN.search(str(error)))
