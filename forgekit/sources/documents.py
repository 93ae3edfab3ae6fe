"""JSON, JSON Lines and YAML: documents that hold a set of prompts in one of the ways people write it down."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from forgekit.errors import SourceError
from forgekit.scene.syntax.parameters import key, known_as
from forgekit.sources.columns import MOST_COLUMNS, is_known, is_text_name
from forgekit.sources.files import open_text
from forgekit.sources.rows import BadRow, Notes, Reading, Row, excerpt

CONTAINERS = {
    "prompts", "texts", "captions", "scenes", "sentences", "rows", "data", "items", "entries", "records", "samples",
    "examples",
}  # fmt: skip
DEFAULTS = frozenset({"default", "defaults"})  # what every row of a set says, unless it says something else
RECORDS = frozenset({"prompt", "text", "caption"})  # an object with one of these is a row, whatever else it has
MERGE = "tag:yaml.org,2002:merge"
LONGEST_NAME = 200  # characters
LARGEST = 10_000_000  # values in a YAML document whose aliases are written out


def read_json_lines(path: Path, reading: Reading) -> Iterator[Row]:
    """Read one JSON value a line: an object is a record, a string a text. A line that is no JSON is bad."""
    with open_text(path, reading) as file:
        for number, line in enumerate(file, 1):
            if line.isspace():
                continue
            try:
                yield _row(number, loads(line))
            except (ValueError, RecursionError) as error:
                yield BadRow(number, f"not valid JSON: {error}", excerpt(line.rstrip("\n")))


def read_json(path: Path, reading: Reading) -> Iterator[Row]:
    """Read a JSON file: a set of prompts (see `records`), or JSON Lines. Rows count from 1."""
    try:
        with open_text(path, reading) as file:
            values = records(loads(file.read()), reading.notes)
    except RecursionError as error:
        raise SourceError(f"{path} is nested too deep to be a prompt set") from error
    except json.JSONDecodeError as error:
        if not is_json_lines(path, reading):
            raise SourceError(f"{path} is not valid JSON: {error}") from error
        yield from read_json_lines(path, reading)
        return
    except ValueError as error:  # a key twice, a number of thousands of digits
        raise SourceError(f"{path} is not valid JSON: {error}") from error
    yield from _rows(path, values)


def loads(text: str) -> Any:
    """Return a JSON document.

    Raises:
        ValueError: it is none, or an object has a key twice: who knows which one was meant.
    """
    return json.loads(text, object_pairs_hook=_once_each)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
        raise ValueError(f"the key {name[:80]!r} stands twice in one object; leave one of them out")
    return found


def read_yaml(path: Path, reading: Reading) -> Iterator[Row]:
    """Read a YAML file: each of its documents is a set of prompts or a prompt. Rows count from 1.

    Words are texts: "yes", dates and 3:01 are no values of another kind, as in YAML 1.2.
    """
    try:
        with open_text(path, reading) as file:
            documents = [document for document in yaml.load_all(file, Loader=_Words) if document is not None]
        if sum(_size(document, {}) for document in documents) > LARGEST:
            too_many = f"aliases of aliases that stand for more than {LARGEST:,} values"
            raise SourceError(f"{path} has {too_many}; write it out")
        found = [records(document, reading.notes) for document in documents]
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SourceError(f"{path} is not valid YAML: {error}") from error
    several = len(found) > 1
    values = [value for document, rows in zip(documents, found, strict=True) for value in rows or [document] * several]
    yield from _rows(path, values or None)


class _Words(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML's safe loader; plain words are numbers, true and false only in the form of JSON, and no key stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != MERGE]
        if twice := [name for name, n in Counter(keys).items() if n > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Words.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag.endswith((":null", ":merge"))]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Words.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(true|false)$"), list("tf"))
_Words.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"-?(0|[1-9]\d*)$"), list("-0123456789"))
_Words.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"-?(0|[1-9]\d*)(\.\d+)(e[+-]\d+)?$"), list("-0123456789")
)


def _size(value: Any, known: dict[int, int]) -> int:
    """Return how many values a document has when its aliases are written out; raises RecursionError for one in itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(part, known) for part in inner)
    return known[id(value)]


def is_json_lines(path: Path, reading: Reading) -> bool:
    """Say whether the first line that is not blank is a JSON object or string of its own."""
    with open_text(path, reading) as file:
        try:
            return isinstance(loads(next((line for line in file if line.strip()), "0")), dict | str)
        except (ValueError, RecursionError):
            return False


def _rows(path: Path, values: list[Any] | None) -> Iterator[Row]:
    if values is None:
        raise SourceError(f"{path} holds one value; a prompt set is a list, an object of lists, or JSON Lines")
    for number, value in enumerate(values, 1):
        yield _row(number, value)


def _row(number: int, value: Any) -> Row:
    if isinstance(value, str):
        return number, {"text": value}
    if not isinstance(value, dict):
        return BadRow(number, "neither an object nor a text", excerpt(value))
    if len(value) > MOST_COLUMNS or any(len(str(name)) > LONGEST_NAME for name in value):
        return BadRow(number, f"more than {MOST_COLUMNS:,} names, or one of more than {LONGEST_NAME} characters")
    return number, value if all(type(name) is str for name in value) else {str(n): v for n, v in value.items()}


def records(root: Any, notes: Notes) -> list[Any] | None:
    """Return the rows of a document, None where it has none.

    A set is a list of texts, records or lists below a header; an object of columns; an object with such a set under
    "prompts", "data" or the like, whose parameters are then those of every row; one of lists by category; one of records
    or of texts by id. Any other object is one row.
    """
    if isinstance(root, list):
        header = root[0] if root and all(isinstance(row, list) for row in root) else []
        if any(isinstance(name, str) and is_text_name(name) for name in header):
            return [dict(zip(map(str, header), row, strict=False)) for row in root[1:]]
        return root
    if not isinstance(root, dict):
        return None
    root = _of_pandas({str(name): value for name, value in root.items()})
    values = list(root.values())
    kinds = {list if isinstance(value, list) else dict if isinstance(value, dict) else type(value) for value in values}
    if any(key(name) in RECORDS and isinstance(value, str) for name, value in root.items()):
        return [root]
    if kinds == {list} and _are_columns(root):
        return [dict(zip(root, row, strict=True)) for row in zip(*values, strict=True)]
    if (name := _container(root)) is not None:
        return _contained(root, name, notes)
    if kinds == {list}:
        return [_named(value, "category", name) for name, rows in root.items() for value in rows]
    if kinds == {dict} or (kinds == {str} and not any(map(is_text_name, root))):
        return [_named(value, "id", name) for name, value in root.items()]
    return [root]


def _of_pandas(root: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a table as `DataFrame.to_json` writes it, by column and row or split; any other object as it is."""
    names, data = root.get("columns"), root.get("data")
    if isinstance(names, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        return {str(name): list(column) for name, column in zip(names, zip(*data, strict=False), strict=False)}
    columns = [value for value in root.values() if isinstance(value, dict)]
    rows = [list(column) for column in columns if all(str(label).isdecimal() for label in column)]
    named = any(is_text_name(name) and key(name) not in CONTAINERS for name in root)
    if named and len(rows) == len(root) and all(labels == rows[0] for labels in rows):
        return {name: list(column.values()) for name, column in root.items()}
    return root


def _are_columns(root: Mapping[str, list[Any]]) -> bool:
    cells = [cell for column in root.values() for cell in column]
    plain = not any(isinstance(cell, dict) for cell in cells)
    named = any(map(is_known, root)) or any(not isinstance(cell, str) for cell in cells)
    return plain and named and len({len(column) for column in root.values()}) == 1


def _container(root: Mapping[str, Any]) -> str | None:
    """Return the name under which an object has its set of prompts."""
    sets = [name for name, value in root.items() if isinstance(value, list | dict) and value]
    named = [name for name in sets if key(name) in CONTAINERS]
    lists = [name for name in sets if isinstance(root[name], list) and all(isinstance(v, dict) for v in root[name])]
    return named[0] if named else lists[0] if len(lists) == 1 else None


def _contained(root: Mapping[str, Any], name: str, notes: Notes) -> list[Any] | None:
    rest = {other: value for other, value in root.items() if other != name}
    shared = {other: value for other, value in rest.items() if known_as(other) or other == "parameters"}
    defaults = [other for other, value in rest.items() if key(other) in DEFAULTS and isinstance(value, dict)]
    for other in rest.keys() - shared.keys() - set(defaults):
        notes.add("parts of the file that are not read", repr(other))
    for other in defaults:
        shared = rest[other] | shared
    rows = records(root[name], notes)
    if not shared or rows is None:
        return rows
    return [shared | (row if isinstance(row, dict) else {"text": row}) for row in rows]


def _named(value: Any, role: str, name: str) -> Any:
    """Return a value as a record that has its name by that role; what can be no record as it is."""
    if isinstance(value, dict):
        return {role: name, **value}
    return {role: name, "text": value} if isinstance(value, str) else value
