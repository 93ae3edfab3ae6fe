"""JSON Lines files that are so regular that the database may read them itself, several times faster than Python does.

`plain_lines` promises valid UTF-8 without a byte order mark, NUL or half a surrogate pair. What it does not see (a blank
line, a line that is no object, a text that is no text) whoever reads the rows must check.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgekit.errors import SourceError
from forgekit.sources.json_files import read_json_lines
from forgekit.sources.reading import columns_of_roles, format_of, text_column_of
from forgekit.sources.rows import Block

PROBED_ROWS = 1_000
PART = 1 << 20
LONGEST_LINE = 8 << 20  # DuckDB takes objects of up to 16 MiB
NOT_PLAIN = (b"\\u0000", b"\\ud", b"\\uD", b"\0", b"\r")  # NULs, surrogates (and some Hangul), other line ends


@dataclass(frozen=True)
class PlainLines:
    """A regular JSON Lines file, its number of rows, and which field holds what."""

    path: Path
    rows: int
    text: str
    roles: Mapping[str, str]  # of id, category, model, parameters, file, elements


def plain_lines(
    source: Any, *, format: str | None, text_column: str | int | None, columns: Mapping[str, str] | None
) -> PlainLines | None:
    """Return how to read `source` where it is a regular JSON Lines file, else None: read it with `read_chunks`."""
    if not isinstance(source, str | Path) or not Path(source).is_file():
        return None
    path = Path(source)
    if (format or format_of(path)) != "jsonl" or set("*?[") & set(str(path)):  # DuckDB takes these for patterns
        return None
    try:
        block = next(read_json_lines(path, block=PROBED_ROWS), None) or Block([], {})
        text = text_column_of(block, text_column, str(path))
        roles = columns_of_roles(block, text or "", columns or {})
    except SourceError:
        return None  # `read_chunks` says what is wrong, with row and reason
    if text is None or block.bad or block.blank:
        return None
    rows = _count_lines(path)
    return PlainLines(path, rows, text, roles) if rows else None


def _count_lines(path: Path) -> int:
    """Return the number of lines of a regular file, 0 where it is not regular."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, unfinished, last = 0, 0, b""
    with path.open("rb") as file:
        while part := file.read(PART):
            if any(mark in last + part for mark in NOT_PLAIN) or (not lines and part.startswith(codecs.BOM_UTF8)):
                return 0
            try:
                decoder.decode(part)
            except UnicodeDecodeError:
                return 0
            lines += part.count(b"\n")
            unfinished = unfinished + len(part) if b"\n" not in part else len(part) - part.rfind(b"\n")
            if unfinished > LONGEST_LINE:
                return 0
            last = part[-5:]
    return lines + (not last.endswith(b"\n"))
