"""What reading a source gives: the good rows as a table, the bad ones with line and reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

EXCERPT = 200  # characters of a bad row that are kept
SPREADSHEET_ERRORS = frozenset(
    {"#NAME?", "#REF!", "#VALUE!", "#DIV/0!", "#N/A", "#NULL!", "#NUM!", "#SPILL!", "#ERROR!"}
)


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used. `row` is its line in a text file, its row in a table (header = 1), from 1."""

    row: int
    reason: str
    raw: str  # the beginning of the row as it stands
    file: str = ""  # where a folder was read


@dataclass(frozen=True)
class SourceRows:
    """A source, or one chunk of it.

    `frame` always has the columns text (as it stands) and row (line or row number from 1), and where the source has them
    file, id, category, model, parameters (dict) and elements (annotation in the form of design §4). `blank` counts empty
    lines of text files, which are no rows. Every row of the source is in `frame` or in `bad`.
    """

    frame: pd.DataFrame
    bad: list[BadRow]
    format: str
    text_column: str
    blank: int = 0

    @property
    def total(self) -> int:
        """How many rows the source has, good and bad."""
        return len(self.frame) + len(self.bad)


@dataclass
class Block:
    """Some rows as a reader hands them over: equally long columns, and the rows it could not read at all."""

    rows: Sequence[int]
    columns: dict[str, list[Any]]
    bad: list[BadRow] = field(default_factory=list)
    blank: int = 0


def records_to_columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn records into columns; a key that a record lacks is None there."""
    names = dict.fromkeys(name for record in records for name in record)
    return {str(name): [record.get(name) for record in records] for name in names}


def is_missing(value: Any) -> bool:
    """Say whether a cell is empty: None, NaN, or what pandas has for it."""
    return (
        value is None or (isinstance(value, float) and value != value) or type(value).__name__ in ("NAType", "NaTType")
    )


def why_unusable(text: Any) -> str | None:
    """Return why `text` cannot be a scene text, or None where it can."""
    if type(text) is not str:
        if text is None or text != text:  # NaN
            return "the text is empty"
        return f"the text is a {type(text).__name__}, not text"
    if not text or text.isspace():
        return "the text is empty"
    if text.isascii():
        if "\0" in text:
            return "the text has a NUL character in it"
        return (
            f"a spreadsheet error value, {text.strip()}"
            if text[0] == "#" and text.strip() in SPREADSHEET_ERRORS
            else None
        )
    if "\0" in text:
        return "the text has a NUL character in it"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the text has half a surrogate pair in it"
    return None


def excerpt(raw: Any) -> str:
    """Return the beginning of a bad row, safe to print and to store."""
    text = raw if isinstance(raw, str) else repr(raw)
    text = text[:EXCERPT].replace("\0", "\\0")
    return text.encode("utf-8", "backslashreplace").decode()
