"""What reading a source gives: the good rows as a table, the bad ones with line and reason."""

from __future__ import annotations

from dataclasses import dataclass
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
    raw: str = ""  # the beginning of the row as it stands
    file: str = ""  # where a folder was read


# What a reader yields: a row's number and what it says, by column; or why it cannot be read at all.
Row = tuple[int, dict[str, Any]] | BadRow


@dataclass(frozen=True)
class SourceRows:
    """A source, or one chunk of it: every row is in `frame` or in `bad`; empty lines of text files are no rows.

    `frame` always has the columns text (as it stands) and row (line or row number from 1), and where the source has them
    file, id, category, model, parameters (dict) and elements (annotation in the form of `scenes.elements`).
    """

    frame: pd.DataFrame
    bad: list[BadRow]

    @property
    def total(self) -> int:
        """How many rows the source has, good and bad."""
        return len(self.frame) + len(self.bad)


def is_missing(value: Any) -> bool:
    """Say whether a cell is empty: None, NaN, or what pandas has for it."""
    return (
        value is None or (isinstance(value, float) and value != value) or type(value).__name__ in ("NAType", "NaTType")
    )


def why_unusable(text: Any) -> str | None:
    """Return why `text` cannot be a scene text, or None where it can."""
    if is_missing(text):
        return "the text is empty"
    if type(text) is not str:
        return f"the text is a {type(text).__name__}, not text"
    stripped = text.strip()
    if not stripped:
        return "the text is empty"
    if "\0" in text:
        return "the text has a NUL character in it"
    if stripped in SPREADSHEET_ERRORS:
        return f"a spreadsheet error value, {stripped}"
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
