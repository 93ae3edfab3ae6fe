"""Readers, one for each format: what a file says, row by row, each with its line or row number."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from forgekit.errors import SourceError
from forgekit.sources.files import files_below, open_text
from forgekit.sources.rows import BadRow, Row, excerpt

if TYPE_CHECKING:
    import pandas as pd

MOST_COLUMNS = 2_000  # prompt sets have a few; a million is a damaged file
SNIFFED_LINES = 200
BATCH = 10_000  # rows of a Parquet file taken at a time


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a text file: every line that is not blank is a text. Lines end in LF, CR LF or CR, mixed as they come."""
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.isspace():
                yield number, {"text": line.removesuffix("\n")}


def read_text_folder(folder: Path) -> Iterator[Row]:
    """Read the .txt files of a folder in the order of their names.

    Where each file has one line that is not blank, a file is one text and its name (without .txt) the id.
    Otherwise every line is a text, and the file's name is the category.
    """
    paths, refused = files_below(folder, "*.txt")
    if not paths:
        outside = f" but {len(refused)} links that lead out of it" if refused else ""
        raise SourceError(f"{folder} holds no .txt and no .png files{outside}; point at the file itself")
    yield from refused
    files = [list(read_lines(path)) for path in paths]
    label = "id" if all(len(rows) <= 1 for rows in files) else "category"
    for path, rows in zip(paths, files, strict=True):
        for number, record in rows:
            yield number, {**record, "file": str(path.relative_to(folder)), label: path.stem}


def read_csv(path: Path, *, header: bool = True) -> Iterator[Row]:
    """Read comma-separated values."""
    return _delimited(path, ",", header)


def read_tsv(path: Path, *, header: bool = True) -> Iterator[Row]:
    """Read tab-separated values. Quotation marks are text where the rows only fit the header that way."""
    return _delimited(path, "\t", header)


def _delimited(path: Path, delimiter: str, header: bool) -> Iterator[Row]:
    """Read a table. A row's number is that of its first line; one with too few or too many cells is bad.

    Without `header` the columns are named "0", "1", …
    """
    with open_text(path, newline="") as file:
        quoted = delimiter == "," or not _quotes_are_text(file)
        reader = csv.reader(
            file, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=quoted
        )
        names: list[str] = []
        for number, cells in _cells(reader):
            if not names:
                if isinstance(cells, str):
                    raise SourceError(f"{path} line {number}: {cells}")
                names = _names(path, cells, header)
                if header:
                    continue
            if isinstance(cells, str):
                yield BadRow(number, cells)
            elif len(cells) == len(names):
                yield number, dict(zip(names, cells, strict=True))
            elif cells:
                reason = f"{len(cells)} cells where the header has {len(names)}"
                yield BadRow(number, reason, excerpt(delimiter.join(cells)))
        if not names:
            raise SourceError(f"{path} is empty")


def _cells(reader: Any) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the first line and the cells of each row; why it has none, where its quotation marks are wrong."""
    number = 1
    row: list[str] | str | None = ""
    while row is not None:
        try:
            row = next(reader, None)
        except csv.Error as error:
            row = _csv_reason(str(error))
        if row is not None:
            yield number, row
        number = reader.line_num + 1


def _csv_reason(error: str) -> str:
    if "field larger" in error:
        return "a cell of more than 131,072 characters; a quotation mark that never closes?"
    if "unexpected end" in error:
        return "a quotation mark opens here and never closes"
    return f"not valid CSV: {error}"


def _quotes_are_text(file: TextIO) -> bool:
    """Say whether the rows of a TSV fit the header's width only when quotation marks are taken as text, then rewind."""
    rows = [line.rstrip("\r\n").split("\t") for line in islice(file, SNIFFED_LINES) if line.strip()]
    file.seek(0)
    begun = sum(any(cell.startswith('"') for cell in row) for row in rows)
    whole = sum(any(_is_quoted(cell) for cell in row) for row in rows)
    return len({len(row) for row in rows}) < 2 and (begun == 0 or whole < begun)


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def read_excel(path: Path, *, header: bool = True) -> Iterator[Row]:
    """Read the first sheet of a workbook that is not empty, as values: a formula counts by the value stored with it."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            yield from _sheet_rows(path, book, header)
        finally:
            book.close()
    except SourceError:
        raise
    except Exception as error:  # a damaged workbook fails anywhere in zip, XML or openpyxl itself
        reason = str(error) or type(error).__name__
        raise SourceError(
            f"{path} is no Excel workbook that can be read ({reason}); save it as .xlsx or .csv"
        ) from error


def _sheet_rows(path: Path, book: Any, header: bool) -> Iterator[Row]:
    for sheet in book.worksheets:
        names: list[str] = []
        for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
            if number == 1 and any(cell is not None for cell in cells):
                names = _names(path, cells, header)
            elif not names:
                break
            if any(cell is not None for cell in cells) and not (header and number == 1):
                yield number, dict(zip(names, cells, strict=False))
        if names:
            return
    raise SourceError(f"{path} has no rows")


def _names(source: object, cells: Sequence[Any], header: bool = True) -> list[str]:
    """Return the names of a table's columns, each once: a second "score" is "score.1"."""
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


def read_parquet(path: Path) -> Iterator[Row]:
    """Read Parquet in batches. Rows count from 1."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH):
            for record in batch.rename_columns(_names(path, batch.schema.names)).to_pylist():
                number += 1
                yield number, record
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"{path} is no Parquet file that can be read: {error}") from error


def read_frame(frame: pd.DataFrame) -> Iterator[Row]:
    """Read a DataFrame. Rows count from 1."""
    names = _names("the DataFrame", frame.columns)
    for number, cells in enumerate(frame.itertuples(index=False, name=None), 1):
        yield number, dict(zip(names, cells, strict=True))


def read_json_lines(path: Path) -> Iterator[Row]:
    """Read one JSON value a line: an object is a record, a string a text. A line that is no JSON is bad."""
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if line.isspace():
                continue
            try:
                yield _record(number, json.loads(line))
            except (ValueError, RecursionError) as error:
                yield BadRow(number, f"not valid JSON: {error}", excerpt(line.rstrip("\n")))


def read_json(path: Path) -> Iterator[Row]:
    """Read a JSON file: a list of records or texts, an object of lists (columns) or of records (by id), or JSON Lines.

    An object that holds one list of records ({"data": […]}) stands for that list. Rows count from 1.
    """
    try:
        with open_text(path) as file:
            values = _values(json.load(file))
    except RecursionError as error:
        raise SourceError(f"{path} is nested too deep to be a prompt set") from error
    except json.JSONDecodeError as error:
        if not is_json_lines(path):
            raise SourceError(f"{path} is not valid JSON: {error}") from error
        yield from read_json_lines(path)
        return
    if values is None:
        raise SourceError(f"{path} holds one value; a prompt set is a list, an object of lists, or JSON Lines")
    for number, value in enumerate(values, 1):
        yield _record(number, value)


def is_json_lines(path: Path) -> bool:
    """Say whether the first line that is not blank is a JSON object or string of its own."""
    with open_text(path) as file:
        try:
            return isinstance(json.loads(next((line for line in file if line.strip()), "0")), dict | str)
        except (ValueError, RecursionError):
            return False


def _record(number: int, value: Any) -> Row:
    if isinstance(value, str):
        return number, {"text": value}
    if isinstance(value, dict):
        return number, value
    return BadRow(number, "neither an object nor a text", excerpt(value))


def _values(root: Any) -> list[Any] | None:
    """Return the rows of a JSON root, None where it has none."""
    if not isinstance(root, dict):
        return root if isinstance(root, list) else None
    values = list(root.values())
    lists = [value for value in values if isinstance(value, list)]
    if len(lists) == 1 and lists[0] and all(isinstance(value, dict) for value in lists[0]):
        return lists[0]
    if values and len(lists) == len(values) and len({len(value) for value in lists}) == 1:
        return [dict(zip(root, row, strict=True)) for row in zip(*values, strict=True)]
    if values and all(isinstance(value, dict) for value in values):
        return [{"id": key, **value} for key, value in root.items()]
    if values and all(isinstance(value, str) for value in values) and not set(root) & {"prompt", "text", "caption"}:
        return [{"id": key, "text": value} for key, value in root.items()]
    return [root]


# Formats by name, and by the endings of files.
READERS: dict[str, Callable[..., Iterator[Row]]] = {
    "txt": read_lines, "csv": read_csv, "tsv": read_tsv, "excel": read_excel, "json": read_json,
    "jsonl": read_json_lines, "parquet": read_parquet,
}  # fmt: skip
TABLES = ("csv", "tsv", "excel")  # those with a header that may be missing
SUFFIXES = {
    ".txt": "txt", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".xlsx": "excel", ".xlsm": "excel", ".json": "json",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
