"""Files and folders of others: text in whatever encoding, what is no file of prompts, and which files of a folder may be read."""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from forgekit.errors import ParameterError, SourceError
from forgekit.sources.decoding import assumed_encoding, is_utf8, marked_encoding, wide_encoding
from forgekit.sources.rows import BadRow, Reading

KINDS = tomllib.loads(Path(__file__).with_name("formats.toml").read_text("utf-8"))["kinds"]
HEAD = 1024  # bytes


@contextmanager
def open_text(path: Path, reading: Reading, *, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file in its encoding: a byte order mark's, the one named, UTF-8, or the likeliest, which is noted.

    Raises:
        SourceError: the file cannot be read, is no text, or not in that encoding; the last also from within the block.
        ParameterError: no encoding has the name given.
    """
    encoding = _encoding(path, reading)
    try:
        with path.open("r", encoding=encoding, newline=newline) as file:
            yield file
    except UnicodeError as error:
        where = f" (byte {error.object[error.start]:#04x})" if isinstance(error, UnicodeDecodeError) else ""
        raise SourceError(f"{path} is not valid {encoding}{where}; {_ADVICE}") from error


_ADVICE = "name its encoding: encoding='cp1252' (Western Windows), 'gb18030', 'shift_jis', 'utf-16', …"


def _encoding(path: Path, reading: Reading) -> str:
    head = head_of(path)
    if marked := marked_encoding(head):
        return marked
    if reading.encoding is not None:
        try:
            return codecs.lookup(reading.encoding).name
        except LookupError:
            raise ParameterError(f"no encoding is called {reading.encoding!r}; {_ADVICE}") from None
    if reason := why_no_prompts(head):
        raise SourceError(f"{path} {reason}")
    if b"\0" in head:
        if wide := wide_encoding(head):
            reading.notes.add(f"{path.name}: read as {wide} without a byte order mark")
            return wide
        raise SourceError(
            f"{path} is a binary file, not text; known formats end in .txt .csv .tsv .xlsx .json .jsonl .yaml .parquet"
        )
    if is_utf8(path):
        return "utf-8"
    assumed = assumed_encoding(path)
    if assumed is None:
        raise SourceError(f"{path} is not valid utf-8, and its encoding cannot be told; {_ADVICE}")
    reading.notes.add(f"{path.name}: no UTF-8; read as {assumed}, which is assumed (encoding=… says otherwise)")
    return assumed


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def why_no_prompts(head: bytes = b"", suffix: str = "") -> str | None:
    """Return what a file is that holds no prompts, by its first bytes or the end of its name, and what would work."""
    begin = head.decode("latin-1").lstrip(" \t\r\n")
    for kind in KINDS:
        marks = tuple(kind["begins"])
        if (
            suffix in kind["suffixes"]
            or begin.startswith(marks)
            or (begin[:1] == "<" and begin.lower().startswith(marks))
        ):
            return f"is {kind['is']}; {kind['advice']}"
    return None


def files_below(folder: Path, suffixes: Collection[str] = ()) -> tuple[list[Path], list[BadRow]]:
    """Return a folder's files with such endings, or all, at any depth, in order; links out of it and what is no file are bad.

    Endings are compared in lower case; hidden files are none. A folder may have come by mail: a link in it must not
    bring in what lies elsewhere, and a pipe would never end.
    """
    home = folder.resolve()
    found, bad = [], []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if path.is_dir() or hidden or (suffixes and path.suffix.lower() not in suffixes):
            continue
        if path.is_file() and path.resolve().is_relative_to(home):
            found.append(path)
        else:
            why = "a link that leads out of the folder" if path.is_symlink() else "no regular file"
            bad.append(BadRow(1, f"it is {why}; copy the file itself there", file=str(place)))
    return found, bad
