"""Text files: their encoding, their lines, and folders of them."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

from forgekit.errors import SourceError
from forgekit.sources.rows import BadRow, Block

BLOCK = 50_000  # rows handed over at a time: 50k prompts are some 20 MB
PROBE = 65_536  # bytes looked at to tell an encoding
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(path: Path) -> str:
    """Return the encoding that the file's first bytes tell: a byte order mark's, else UTF-8.

    Raises:
        SourceError: the file is binary or no UTF-8.
    """
    try:
        with path.open("rb") as file:
            head = file.read(PROBE)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding
    if b"\0" in head[:1024]:
        raise SourceError(
            f"{path} is a binary file, not text; known formats end in .txt .csv .tsv .xlsx .json .jsonl .parquet .png"
        )
    return "utf-8"


def open_text(path: Path, *, newline: str | None = None) -> TextIO:
    """Open a text file in its encoding. Decoding errors become `SourceError` through `decoding`."""
    return path.open("r", encoding=encoding_of(path), newline=newline)


class decoding:  # noqa: N801 - reads as a statement: with decoding(path):
    """Turn decoding errors inside the block into a `SourceError` that says where and what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise SourceError for a UnicodeError, let all others pass."""
        if isinstance(error, UnicodeError):
            where = f" (byte {error.object[error.start]:#04x})" if isinstance(error, UnicodeDecodeError) else ""
            raise SourceError(
                f"{self.path} is not valid UTF-8{where}; "
                f"convert it, e.g. iconv -f WINDOWS-1252 -t UTF-8 '{self.path.name}'"
            ) from error


def read_lines(path: Path) -> Iterator[Block]:
    """Read a text file: every line that is not blank is a text. Lines end in LF, CR LF or CR, mixed as they come."""
    with decoding(path), open_text(path) as file:
        number = 0
        while lines := list(islice(file, BLOCK)):
            numbered = [(number + i, line.removesuffix("\n")) for i, line in enumerate(lines, 1)]
            kept = [(i, line) for i, line in numbered if line and not line.isspace()]
            yield Block([i for i, _ in kept], {"text": [line for _, line in kept]}, blank=len(lines) - len(kept))
            number += len(lines)


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
            bad.append(BadRow(1, f"it is {why}; copy the file itself there", "", str(path.relative_to(folder))))
    return found, bad


def read_text_folder(folder: Path) -> Iterator[Block]:
    """Read the .txt files of a folder in the order of their names.

    Where each file has one line that is not blank, a file is one text and its name (without .txt) the id.
    Otherwise every line is a text, and the file's name is the category.
    """
    paths, refused = files_below(folder, "*.txt")
    if not paths:
        outside = f" but {len(refused)} links that lead out of it" if refused else ""
        raise SourceError(f"{folder} holds no .txt and no .png files{outside}; point at the file itself")
    blocks = [(path, list(read_lines(path))) for path in paths]
    single = all(sum(len(block.rows) for block in parts) <= 1 for _, parts in blocks)
    for path, parts in blocks:
        name = str(path.relative_to(folder))
        for block in parts:
            count = len(block.rows)
            label = {"id": [path.stem] * count} if single else {"category": [path.stem] * count}
            bad, refused = [*block.bad, *refused], []  # with the first block
            yield Block(block.rows, {**block.columns, "file": [name] * count, **label}, bad, block.blank)


def read_whole(path: Path) -> str:
    """Return a text file's whole content."""
    with decoding(path), open_text(path) as file:
        content = io.StringIO()
        while part := file.read(1 << 20):
            content.write(part)
    return content.getvalue()
