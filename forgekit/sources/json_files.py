"""JSON and JSON Lines, whatever the file is called and whatever its root is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from forgekit.errors import SourceError
from forgekit.sources.files import BLOCK, decoding, open_text, read_whole
from forgekit.sources.rows import BadRow, Block, excerpt, records_to_columns


def read_json_lines(path: Path, *, block: int = BLOCK) -> Iterator[Block]:
    """Read one JSON value a line: an object is a record, a string a text. A line that is no JSON is bad."""
    with decoding(path), open_text(path) as file:
        number = 0
        while lines := list(islice(file, block)):
            yield _parse_lines(lines, number)
            number += len(lines)


def _parse_lines(lines: list[str], number: int) -> Block:
    try:  # one call for the whole block is twice as fast as a call a line
        records = json.loads("[" + ",".join(lines) + "]")
        if len(records) == len(lines) and all(type(record) is dict for record in records):
            return Block(range(number + 1, number + 1 + len(lines)), records_to_columns(records))
    except (ValueError, RecursionError):
        pass
    rows, records, bad, blank = [], [], [], 0
    for row, line in enumerate(lines, number + 1):
        if not line.strip():
            blank += 1
            continue
        try:
            record = as_record(json.loads(line))
        except (ValueError, RecursionError) as error:
            bad.append(BadRow(row, f"not valid JSON: {error}", excerpt(line.rstrip("\n"))))
            continue
        if record is None:
            bad.append(BadRow(row, "neither an object nor a text", excerpt(line.rstrip("\n"))))
            continue
        rows.append(row)
        records.append(record)
    return Block(rows, records_to_columns(records), bad, blank)


def as_record(value: Any) -> dict[str, Any] | None:
    """Return a JSON value as a record, a string as {"text": …}, None for what is neither."""
    if isinstance(value, str):
        return {"text": value}
    return value if isinstance(value, dict) else None


def load_json(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises:
        json.JSONDecodeError: it is not one JSON value (it may be JSON Lines).
        SourceError: it cannot be read or is nested too deep.
    """
    content = read_whole(path)
    if not content.strip():
        raise SourceError(f"{path} is empty")
    try:
        return json.loads(content)
    except RecursionError as error:
        raise SourceError(f"{path} is nested too deep to be a prompt set") from error


def read_json(path: Path) -> Iterator[Block]:
    """Read a JSON file: a list of records or texts, an object of lists (columns) or of records (by id), or JSON Lines.

    An object that holds one list of records ({"data": […]}) stands for that list. Rows count from 1.
    """
    try:
        root = load_json(path)
    except json.JSONDecodeError as error:
        if is_json_lines(path):
            yield from read_json_lines(path)
            return
        raise SourceError(f"{path} is not valid JSON: {error}") from error
    values = root_values(root)
    if values is None:
        raise SourceError(
            f"{path} holds a {type(root).__name__}; a prompt set is a list, an object of lists, or JSON Lines"
        )
    rows, records, bad = [], [], []
    for row, value in enumerate(values, 1):
        record = as_record(value)
        if record is None:
            bad.append(BadRow(row, "neither an object nor a text", excerpt(value)))
        else:
            rows.append(row)
            records.append(record)
    yield Block(rows, records_to_columns(records), bad)


def root_values(root: Any) -> list[Any] | None:
    """Return the rows of a JSON root, None where it has none."""
    if isinstance(root, list):
        return root
    if not isinstance(root, dict):
        return None
    values = list(root.values())
    lists = [value for value in values if isinstance(value, list)]
    if values and len(lists) == len(values) and len({len(value) for value in lists}) == 1 and not _records(lists[0]):
        return [dict(zip(root, row, strict=True)) for row in zip(*values, strict=True)]
    if len(lists) == 1 and _records(lists[0]):
        return lists[0]
    if values and all(isinstance(value, dict) for value in values):
        return [{"id": key, **value} for key, value in root.items()]
    if values and all(isinstance(value, str) for value in values) and not set(root) & {"prompt", "text", "caption"}:
        return [{"id": key, "text": value} for key, value in root.items()]
    return [root]


def _records(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, dict) for value in values)


def is_json_lines(path: Path) -> bool:
    """Say whether the first line that is not blank is a JSON object or string of its own."""
    with decoding(path), open_text(path) as file:
        for line in file:
            if line.strip():
                try:
                    return isinstance(json.loads(line), dict | str)
                except (ValueError, RecursionError):
                    return False
    return False
