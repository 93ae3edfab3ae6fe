"""What reading a source gives: the good rows as a table, the bad ones with line and reason, and what is to be said of it."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from forgekit.scene.text import MOST_CHARACTERS

if TYPE_CHECKING:
    import pandas as pd

UNSAVED = "#UNSAVED!"  # what stands for a formula whose value no program has worked out
EXCERPT = 200  # characters of a bad row that are kept
EXAMPLES = 10  # of a note
SPREADSHEET_ERRORS = ("#NAME?", "#REF!", "#VALUE!", "#DIV/0!", "#N/A", "#NULL!", "#NUM!", "#SPILL!", "#ERROR!")


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used. `row` is its line in a text file, its row in a table (header = 1), from 1."""

    row: int
    reason: str
    raw: str = ""  # the beginning of the row as it stands
    file: str = ""  # where a folder was read


# What a reader yields: a row's number and what it says, by column; or why it cannot be read at all.
Row = tuple[int, dict[str, Any]] | BadRow


@dataclass
class Notes:
    """What was assumed, skipped or not understood: each how often, with the first examples."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, what: str, example: str = "", n: int = 1) -> None:
        """Note `what`, such as "comment lines skipped", and which one it was."""
        self.counts[what] += n
        shown = self.examples.setdefault(what, Counter())
        if example and (example in shown or len(shown) < EXAMPLES):
            shown[example] += n

    def lines(self) -> list[str]:
        """Return a line for each thing noted: "comment lines skipped: 3 (line 1 '# night', …)"."""
        lines = []
        for what, n in self.counts.items():
            shown = self.examples[what]
            told = ", ".join(f"{example} ×{times:,}" if times > 1 else example for example, times in shown.items())
            lines.append(f"{what}: {n:,} ({told}{', …' if shown.total() < n else ''})" if shown else what)
        return lines


@dataclass
class Reading:
    """One reading of a source: how the caller wants it read, and what the readers have to say of it."""

    header: bool = True  # where False, a table's columns are "0", "1", …
    encoding: str | None = None  # of text files; told from their bytes where None
    notes: Notes = field(default_factory=Notes)


@dataclass(frozen=True)
class SourceRows:
    """A source, or one chunk of it: every row is in `frame` or in `bad`; empty lines of text files are no rows.

    `frame` always has the columns text (as it stands) and row (line or row number from 1), and where the source has them
    file, id, category, model, parameters (dict), elements (annotation in the form of `scenes.elements`) and source (a
    dict of what the row says besides). `notes` are of the source so far.
    """

    frame: pd.DataFrame
    bad: list[BadRow]
    notes: Notes = field(default_factory=Notes)

    @property
    def total(self) -> int:
        """How many rows the source has, good and bad."""
        return len(self.frame) + len(self.bad)


def is_missing(value: Any) -> bool:
    """Say whether a cell is empty: None, NaN, or what pandas has for it."""
    if value is None or isinstance(value, str):
        return value is None
    if isinstance(value, float | Decimal) or type(value).__module__ == "numpy":
        return getattr(value, "ndim", 0) == 0 and bool(value != value)
    return type(value).__name__ in ("NAType", "NaTType")


def plain(value: Any) -> Any:
    """Return a value as JSON has it: numpy's and decimal numbers as numbers, dates as text; a missing one as None.

    What is missing within a mapping is left out of it.

    Raises:
        ValueError: it is infinite, or of a kind that JSON has not; the message names what of a mapping is.
    """
    if value is None or type(value) in (bool, int):
        return value
    if is_missing(value):
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        told = {str(name): _plain_in(name, inner) for name, inner in value.items()}
        return {name: inner for name, inner in told.items() if inner is not None}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if hasattr(value, "tolist"):  # numpy and torch; a float32 by its shortest digits, 0.1 and not 0.10000000149
        single = getattr(value, "ndim", 1) == 0 and getattr(getattr(value, "dtype", None), "kind", "") == "f"
        return plain(float(str(value)) if single else value.tolist())
    if not isinstance(value, float):
        raise ValueError(f"is a {type(value).__name__}, nothing that JSON has")
    if not math.isfinite(value):
        raise ValueError(f"is {value}; give a finite number")
    return float(value)


def _plain_in(name: Any, value: Any) -> Any:
    try:
        return plain(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error


def why_unusable(text: Any) -> str | None:
    """Return why `text` cannot be a scene text, or None where it can."""
    if is_missing(text):
        return "the text is empty"
    if not isinstance(text, str):
        return f"the text is a {type(text).__name__}, not text"
    stripped = text.strip()
    if not stripped:
        return "the text is empty"
    if len(text) > MOST_CHARACTERS:
        return f"the text has {len(text):,} characters, more than {MOST_CHARACTERS:,}"
    if text == UNSAVED:
        return "a formula without a stored value; open the workbook and save it, or store the texts themselves"
    if not any(char.isprintable() and char != " " for char in stripped):
        return "the text has no character that can be seen"
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
    text = (raw if isinstance(raw, str) else repr(raw))[:EXCERPT].replace("\0", "\\0")
    return text.encode("utf-8", "backslashreplace").decode()
