"""Tables: CSV, TSV, Excel, Parquet, DataFrame."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from forgekit.errors import SourceError
from forgekit.sources.files import BLOCK, decoding, open_text
from forgekit.sources.rows import BadRow, Block, excerpt

if TYPE_CHECKING:
    import pandas as pd

MOST_COLUMNS = 2_000  # prompt sets have a few; a million is a damaged file
SNIFFED_LINES = 200


def read_delimited(path: Path, delimiter: str, *, header: bool = True) -> Iterator[Block]:
    """Read CSV or TSV. Row numbers are line numbers; a row over several lines has its first.

    Quotation marks are text in a TSV whose rows only fit its header that way. A row with too few or too many cells is
    bad. Without `header` the columns are named "0", "1", …
    """
    with decoding(path), open_text(path, newline="") as file:
        quoting = csv.QUOTE_NONE if delimiter == "\t" and _quotes_are_text(file) else csv.QUOTE_MINIMAL
        reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=quoting == csv.QUOTE_MINIMAL)
        try:
            first = next(reader, None)
        except csv.Error as error:
            raise SourceError(f"{path} line {reader.line_num}: {_csv_reason(error)}") from error
        if first is None:
            raise SourceError(f"{path} is empty")
        if len(first) > MOST_COLUMNS:
            raise SourceError(f"{path} has {len(first):,} columns; a prompt set has at most {MOST_COLUMNS:,}")
        names = _unique_names(first) if header else [str(i) for i in range(len(first))]
        yield from _blocks(reader, names, [] if header else [(1, first)])


def _blocks(reader: Any, names: list[str], waiting: list[tuple[int, list[str]]]) -> Iterator[Block]:
    width, line, more = len(names), reader.line_num, True
    while more:
        good, numbers, bad, blank = [row for _, row in waiting], [number for number, _ in waiting], [], 0
        waiting = []
        while len(good) < BLOCK:
            try:
                row = next(reader, None)
            except csv.Error as error:
                bad.append(BadRow(line + 1, _csv_reason(error), ""))
                line = reader.line_num
                continue
            if row is None:
                more = False
                break
            start, line = line + 1, reader.line_num
            if len(row) == width:
                good.append(row)
                numbers.append(start)
            elif not row:
                blank += 1
            else:
                bad.append(BadRow(start, f"{len(row)} cells where the header has {width}", excerpt(",".join(row))))
        columns = [list(cells) for cells in zip(*good, strict=True)] if good else [[] for _ in names]
        if good or bad or blank:
            yield Block(numbers, dict(zip(names, columns, strict=True)), bad, blank)


def _quotes_are_text(file: TextIO) -> bool:
    """Say whether the rows of a TSV fit the header's width only when quotation marks are taken as text, then rewind."""
    lines = list(islice(file, SNIFFED_LINES))
    file.seek(0)
    width = lines[0].count("\t") if lines else 0
    plain = all(line.count("\t") == width for line in lines if line.strip())
    quoted = sum(line.startswith('"') or '\t"' in line for line in lines)
    whole = sum(any(_is_quoted(cell) for cell in line.rstrip("\r\n").split("\t")) for line in lines)
    return plain and (quoted == 0 or whole < quoted)


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def _csv_reason(error: csv.Error) -> str:
    reason = str(error)
    if "field larger" in reason:
        return "a cell of more than 131,072 characters; a quotation mark that never closes?"
    if "unexpected end" in reason:
        return "a quotation mark opens here and never closes"
    return f"not valid CSV: {reason}"


def _unique_names(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        name = name.strip()
        count = seen[name] = seen.get(name, -1) + 1
        unique.append(f"{name}.{count}" if count else name)
    return unique


def read_excel(path: Path) -> Iterator[Block]:
    """Read the first sheet of a workbook that is not empty, as values: a formula counts by the value stored with it."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            yield from _sheet_blocks(path, book)
        finally:
            book.close()
    except SourceError:
        raise
    except Exception as error:  # a damaged workbook fails anywhere in zip, XML or openpyxl itself
        reason = str(error) or type(error).__name__
        raise SourceError(
            f"{path} is no Excel workbook that can be read ({reason}); save it as .xlsx or .csv"
        ) from error


def _sheet_blocks(path: Path, book: Any) -> Iterator[Block]:
    for sheet in book.worksheets:
        rows = sheet.iter_rows(values_only=True)
        header = next(rows, None)
        if header is None or all(cell is None for cell in header):
            continue
        if len(header) > MOST_COLUMNS:
            raise SourceError(f"{path} has {len(header):,} columns; a prompt set has at most {MOST_COLUMNS:,}")
        names = _unique_names(["" if cell is None else str(cell) for cell in header])
        number = 1
        while part := list(islice(rows, BLOCK)):
            numbered = [(number + i, [*row, *[None] * (len(names) - len(row))]) for i, row in enumerate(part, 1)]
            kept = [(i, row) for i, row in numbered if any(cell is not None for cell in row)]
            columns = {name: [row[position] for _, row in kept] for position, name in enumerate(names)}
            yield Block([i for i, _ in kept], columns, blank=len(part) - len(kept))
            number += len(part)
        return
    raise SourceError(f"{path} has no rows")


def read_parquet(path: Path) -> Iterator[Block]:
    """Read Parquet in batches. Rows count from 1."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        number = 1
        for batch in file.iter_batches(batch_size=BLOCK):
            names = _unique_names(batch.schema.names)
            columns = [column.to_pylist() for column in batch.columns]
            yield Block(range(number, number + batch.num_rows), dict(zip(names, columns, strict=True)))
            number += batch.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"{path} is no Parquet file that can be read: {error}") from error


def read_frame(frame: pd.DataFrame) -> Iterator[Block]:
    """Read a DataFrame. Rows count from 1."""
    names = _unique_names([str(name) for name in frame.columns])
    for start in range(0, len(frame), BLOCK):
        part = frame.iloc[start : start + BLOCK]
        columns = {name: part.iloc[:, position].tolist() for position, name in enumerate(names)}
        yield Block(range(start + 1, start + 1 + len(part)), columns)
