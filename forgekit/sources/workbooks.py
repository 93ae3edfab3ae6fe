"""Excel workbooks: the first sheet that can be seen and has rows, as values; formulas that nobody worked out are told."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from forgekit.errors import SourceError
from forgekit.sources.rows import UNSAVED, Reading, Row
from forgekit.sources.tables import column_names

LARGE, RATIO = 1 << 26, 100  # bytes unpacked, and how many times the packed ones: sheets are packed some 10 to 20 times
MOST_BLANK = 10_000  # rows in a row; a stray cell at the end of a sheet is a million rows away


def read_excel(path: Path, reading: Reading) -> Iterator[Row]:
    """Read the first visible sheet that has rows below its header, as values: a formula counts by the value stored with it.

    The other sheets that have anything in them are noted.

    Raises:
        SourceError: it is no workbook, unpacks to much more than one does, or no sheet that can be seen has rows.
    """
    import openpyxl

    try:
        _refuse_bomb(path)
        books = [openpyxl.load_workbook(path, read_only=True, data_only=values) for values in (True, False)]
        try:
            yield from _rows_of(path, books[0], books[1], reading)
        finally:
            for book in books:
                book.close()
    except SourceError:
        raise
    except Exception as error:  # a damaged workbook fails anywhere in zip, XML or openpyxl itself
        reason = str(error) or type(error).__name__
        unread = f"{path} is no Excel workbook that can be read ({reason}); save it as .xlsx or .csv"
        raise SourceError(unread) from error


def _refuse_bomb(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > LARGE and size > RATIO * path.stat().st_size:
        times = size // path.stat().st_size
        raise SourceError(f"{path} unpacks to {size:,} bytes, {times} times its size; save it as .csv")


def _rows_of(path: Path, book: Any, formulas: Any, reading: Reading) -> Iterator[Row]:
    named = formulas.sheetnames
    sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    read = None
    for sheet in sheets:
        for row in _sheet_rows(path, sheet, formulas.worksheets[book.worksheets.index(sheet)], reading):
            read = sheet
            yield row
        if read:
            break
    others = [sheet for sheet in book.worksheets if sheet is not read and next(_lines(sheet, sheet, reading), None)]
    hidden = [repr(sheet.title) for sheet in others if sheet not in sheets]
    if read is None:
        advice = f"; unhide the sheet {', '.join(hidden)}" if hidden else ""
        raise SourceError(f"{path} has no rows in {len(named)} sheet{'s'[: len(named) > 1]}{advice}")
    for sheet in others:
        hides = "" if sheet in sheets else " (hidden)"
        reading.notes.add("sheets not read, only the first visible one with rows is", f"{sheet.title!r}{hides}")


def _sheet_rows(path: Path, sheet: Any, formulas: Any, reading: Reading) -> Iterator[Row]:
    names: list[str] = []
    for number, cells in _lines(sheet, formulas, reading):
        if not names:
            names = column_names(path, cells, header=reading.header)
            if reading.header:
                continue
        yield number, dict(zip(names, cells, strict=False))


def _lines(sheet: Any, formulas: Any, reading: Reading) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield the rows that are not blank, with their numbers; UNSAVED stands for a formula without a value."""
    both = zip(sheet.iter_rows(values_only=True), formulas.iter_rows(values_only=True), strict=False)
    last = 0
    for number, (cells, written) in enumerate(both, 1):
        if number - last > MOST_BLANK:
            reading.notes.add(f"rows behind {MOST_BLANK:,} blank ones are not read", repr(sheet.title))
            return
        if not any(str(cell).strip() for cell in written if cell is not None):
            continue
        last = number
        unsaved = [cell is None and str(formula).startswith("=") for cell, formula in zip(cells, written, strict=False)]
        yield number, [UNSAVED if lacking else cell for cell, lacking in zip(cells, unsaved, strict=False)]
