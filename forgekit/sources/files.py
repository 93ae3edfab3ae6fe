"""Files and folders of others: the encoding of a text, and which files of a folder may be read."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from forgekit.errors import SourceError
from forgekit.sources.rows import BadRow

MARKS = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@contextmanager
def open_text(path: Path, *, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file in the encoding that its first bytes tell: a byte order mark's, else UTF-8.

    Raises:
        SourceError: the file cannot be read, is binary or no UTF-8; the last also from within the block.
    """
    try:
        with path.open("r", encoding=_encoding(path), newline=newline) as file:
            yield file
    except UnicodeError as error:
        where = f" (byte {error.object[error.start]:#04x})" if isinstance(error, UnicodeDecodeError) else ""
        raise SourceError(
            f"{path} is not valid UTF-8{where}; convert it, e.g. iconv -f WINDOWS-1252 -t UTF-8 '{path.name}'"
        ) from error


def _encoding(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding
    if b"\0" in head:
        raise SourceError(
            f"{path} is a binary file, not text; known formats end in .txt .csv .tsv .xlsx .json .jsonl .parquet .png"
        )
    return "utf-8"


def files_below(folder: Path, pattern: str) -> tuple[list[Path], list[BadRow]]:
    """Return a folder's files of that name, at any depth, in order; links out of it and what is no file are bad rows.

    A folder may have come by mail: a link in it must not bring in what lies elsewhere, and a pipe would never end.
    """
    home = folder.resolve()
    found, bad = [], []
    for path in sorted(path for path in folder.rglob(pattern) if not path.is_dir()):
        if path.is_file() and path.resolve().is_relative_to(home):
            found.append(path)
        else:
            why = "a link that leads out of the folder" if path.is_symlink() else "no regular file"
            bad.append(BadRow(1, f"it is {why}; copy the file itself there", file=str(path.relative_to(folder))))
    return found, bad
