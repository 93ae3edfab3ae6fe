"""Tables: values separated by commas, semicolons, tabs or pipes, row by row with their numbers."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from forgekit.errors import SourceError
from forgekit.sources.columns import MOST_COLUMNS, is_known, is_text_name
from forgekit.sources.files import open_text
from forgekit.sources.rows import BadRow, Reading, Row, excerpt
from forgekit.sources.texts import COMMENTS

SNIFFED_LINES, SNIFFED = 200, 1 << 16  # characters
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
NONE = "\x1f"  # stands in no text: the delimiter of a table of one column
SEPARATOR = re.compile(r"sep=([,;\t|:^~])", re.IGNORECASE)  # Excel's first line
CELL = re.compile(r'"(?:[^"]|"")*"')  # a quoted one
RULE = re.compile(r":?-+:?")  # the line below the header of a Markdown table


def is_table(path: Path, reading: Reading) -> bool:
    """Say whether a text file is a table: its first line has the names of columns, that of the texts among them.

    What has no ending, from a pipe, may also be a column of texts alone: those with a comma, and no others, stand in quotes.
    """
    with open_text(path, reading, newline="") as file:
        lines = _first_lines(file)
    if not path.suffix and all(("," in line) == bool(CELL.fullmatch(line.strip())) for line in lines):
        return any("," in line for line in lines)
    delimiter = _delimiter(lines, "\t")
    rows = list(csv.reader(lines, delimiter=delimiter))
    if not reading.header:  # a column was asked for by its number
        return delimiter != NONE
    if len(rows) < 2 or len(rows[0]) < 2 or not any(is_text_name(cell) for cell in rows[0]):
        return False
    if delimiter in ",;" and _is_punctuation(delimiter, lines[:1], []):
        return False  # "scene, by night": a text that begins with such a word
    return 2 * sum(len(row) == len(rows[0]) for row in rows) > len(rows)


def read_table(path: Path, reading: Reading, *, usual: str) -> Iterator[Row]:
    """Read a table, its columns separated by whatever its first lines tell; what is not `usual` is noted.

    A row's number is that of its first line; one with too few or too many cells is bad. Between tabs or pipes quotation marks
    are text where the rows only fit the header that way.
    """
    with open_text(path, reading, newline="") as file:
        lines = _first_lines(file)
        delimiter = _delimiter(lines, usual)
        _say(path, delimiter, usual, lines, reading)
        quoted = delimiter in ",;" or not _quotes_are_text(lines, delimiter)
        header = next(csv.reader(lines, delimiter=delimiter), [])
        reader = csv.reader(
            file,
            delimiter=delimiter,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
            strict=quoted,
            skipinitialspace=len(header) > 1 and all(cell[:1] == " " for cell in header[1:]),
        )
        names: list[str] = []
        for number, cells in _cells(reader):
            if isinstance(cells, str):
                if not names:
                    raise SourceError(f"{path} line {number}: {cells}")
                yield BadRow(number, cells)
                continue
            if delimiter == "|":
                cells = _without_borders(cells)
            if not cells or (not names and SEPARATOR.fullmatch(delimiter.join(cells).strip())):
                continue
            if _is_comment(cells, names):
                example = f"{path.name} line {number} {excerpt(delimiter.join(cells))[:60]!r}"
                reading.notes.add("comment lines skipped (# or //)", example)
            elif not names:
                names = column_names(path, cells, header=reading.header)
                if not reading.header:
                    yield number, dict(zip(names, cells, strict=True))
            elif len(cells) == len(names):
                yield number, dict(zip(names, cells, strict=True))
            else:
                reason = f"{len(cells)} cells where the header has {len(names)}"
                yield BadRow(number, reason, excerpt(delimiter.join(cells)))
        if not names:
            raise SourceError(f"{path} is empty")


def _first_lines(file: TextIO) -> list[str]:
    """Return the first lines that are neither blank nor comments, and rewind the file."""
    text = file.read(SNIFFED)
    file.seek(0)
    lines = re.split(r"\r\n|\r|\n", text)
    if len(text) == SNIFFED and len(lines) > 1:
        lines.pop()  # cut
    told = [line for line in lines if line.strip() and not re.match(r"\s*(//|#\s*[^\s,;\t|])", line)]
    return (told or lines)[:SNIFFED_LINES]


def _delimiter(lines: Sequence[str], usual: str) -> str:
    """Return what separates the columns: what makes known names of the header, else what cuts every line alike.

    What is followed by a blank wherever it stands is punctuation of texts, unless the header or a number says otherwise.
    """
    if lines and (said := SEPARATOR.fullmatch(lines[0].strip())):
        return said[1]
    tables = {sign: list(csv.reader(lines, delimiter=sign)) for sign in (usual, *(d for d in DELIMITERS if d != usual))}
    tables = {sign: rows for sign, rows in tables.items() if rows and len(rows[0]) > 1}
    known = {sign: sum(map(is_known, rows[0])) for sign, rows in tables.items()}
    if any(known.values()):
        return max(known, key=known.__getitem__)
    for sign, rows in tables.items():
        alike = sum(len(row) == len(rows[0]) for row in rows) >= 0.9 * len(rows)
        if (alike or sign == usual) and not _is_punctuation(sign, lines, rows):
            return sign
    return NONE


def _is_punctuation(sign: str, lines: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    if any(all(re.fullmatch(r"\s*\d[\d.,]*\s*", row[0]) for row in part if row) for part in (rows, rows[1:]) if part):
        return False
    followed = [line[place + 1 : place + 2] for line in lines for place, char in enumerate(line) if char == sign]
    blank = sum(char in ("", " ") for char in followed)
    braces = sum(line.count("{") for line in lines)  # templates: {red|blue}
    return sign != "\t" and (blank >= 0.9 * len(followed) or (sign == "|" and braces > 0))


def _say(path: Path, delimiter: str, usual: str, lines: Sequence[str], reading: Reading) -> None:
    if delimiter == NONE:
        if any(sign in line for sign in DELIMITERS for line in lines):
            one_column = "one column, a text on each line; commas and the like are part of the texts"
            reading.notes.add(f"{path.name}: {one_column}")
    elif delimiter != usual:
        reading.notes.add(f"{path.name}: columns are separated by {DELIMITERS.get(delimiter, repr(delimiter))}")


def _is_comment(cells: Sequence[str], names: Sequence[str]) -> bool:
    """Say whether a row is a comment: it begins with # or //, and is no row of the table, nor its header."""
    begin = cells[0].lstrip()
    if not begin.startswith(COMMENTS) or (begin == "#" and len(cells) > 1):
        return False
    if len(names) > 1:
        return len(cells) != len(names) or not any(cell.strip() for cell in cells[1:])
    return bool(names) or not any(map(is_text_name, cells))


def _without_borders(cells: list[str]) -> list[str]:
    """Return the cells of a pipe table without blanks and outer pipes; [] for the rule below its header."""
    cells = [cell.strip() for cell in cells]
    if len(cells) > 2 and cells[0] == cells[-1] == "":
        cells = cells[1:-1]
    return [] if all(map(RULE.fullmatch, cells)) else cells


def _cells(reader: Any) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the first line and the cells of each row; why it has none, where its quotation marks are wrong."""
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, _csv_reason(str(error))


def _csv_reason(error: str) -> str:
    if "field larger" in error:
        return "a cell of more than 131,072 characters; a quotation mark that never closes?"
    if "unexpected end" in error:
        return "a quotation mark opens here and never closes"
    return f"not valid CSV: {error}"


def _quotes_are_text(lines: Sequence[str], delimiter: str) -> bool:
    """Say whether the rows fit the header's width only when quotation marks are taken as text."""
    if delimiter == NONE:
        try:
            return not list(csv.reader(lines, delimiter=NONE, strict=True))
        except csv.Error:
            return True
    rows = [line.split(delimiter) for line in lines]
    begun = sum(any(cell.startswith('"') for cell in row) for row in rows)
    whole = sum(any(_is_quoted(cell) for cell in row) for row in rows)
    return len({len(row) for row in rows}) < 2 and (begun == 0 or whole < begun)


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def column_names(source: object, cells: Sequence[Any], *, header: bool = True) -> list[str]:
    """Return the names of a table's columns, each once: a second "score" is "score.1".

    Raises:
        SourceError: it has more columns than any table of prompts.
    """
    if len(cells) > MOST_COLUMNS:
        raise SourceError(f"{source} has {len(cells):,} columns; a prompt set has at most {MOST_COLUMNS:,}")
    if not header:
        return [str(number) for number in range(len(cells))]
    seen: Counter[str] = Counter()
    names = []
    for cell in cells:
        name = "" if cell is None else str(cell).strip()
        names.append(f"{name}.{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names
