"""Any prompt source, read into rows: which reader, which column holds what, which rows are good."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import ParameterError, SourceError, did_you_mean
from forgekit.sources import benchmarks
from forgekit.sources.files import encoding_of, files_below, read_lines, read_text_folder
from forgekit.sources.json_files import is_json_lines, read_json, read_json_lines
from forgekit.sources.pictures import read_pictures
from forgekit.sources.rows import BadRow, Block, SourceRows, excerpt, is_missing, why_unusable
from forgekit.sources.tables import read_delimited, read_excel, read_frame, read_parquet

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("txt", "csv", "tsv", "excel", "json", "jsonl", "parquet", "png", "folder", "frame")
SUFFIXES = {
    ".txt": "txt", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".xlsx": "excel", ".xlsm": "excel", ".json": "json",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet", ".png": "png",
}  # fmt: skip
TEXT_NAMES = (
    "prompt", "prompts", "text", "caption", "captions", "prompt_en", "prompt_text", "scene_text", "scene",
    "short_description", "meta_prompt", "input.caption", "prompt_zh", "description", "sentence", "instruction",
)  # fmt: skip
ROLES = ("id", "category", "model", "parameters")
ID_NAMES = ("id", "prompt_id", "item_id", "index", "idx")


def read(
    source: str | Path | pd.DataFrame,
    *,
    format: str | None = None,
    text_column: str | int | None = None,
    columns: Mapping[str, str] | None = None,
) -> SourceRows:
    """Read a prompt source whole. See `read_chunks`, which reads large ones piece by piece.

    Raises:
        SourceError: the source cannot be read, or no text column can be told.
        ParameterError: `format` or a role of `columns` is unknown.
    """
    import pandas as pd

    chunks = list(read_chunks(source, format=format, text_column=text_column, columns=columns))
    frames = [chunk.frame for chunk in chunks if len(chunk.frame)] or [chunks[0].frame]
    return SourceRows(
        frame=pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0],
        bad=[row for chunk in chunks for row in chunk.bad],
        format=chunks[0].format,
        text_column=chunks[0].text_column,
        blank=sum(chunk.blank for chunk in chunks),
    )


def read_chunks(
    source: str | Path | pd.DataFrame,
    *,
    format: str | None = None,
    text_column: str | int | None = None,
    columns: Mapping[str, str] | None = None,
) -> Iterator[SourceRows]:
    """Read a prompt source in chunks of some 50,000 rows, at least one.

    Args:
        source: a file, a folder of .txt or .png files, or a DataFrame.
        format: one of FORMATS or a benchmark (see `benchmarks.NAMES`); told from name and content where not given.
        text_column: the column of the texts; a number (from 0) for a table without header. Told from its name where
            not given.
        columns: which columns hold "id", "category", "model", "parameters": {"id": "prompt_id"}. Columns of these
            names are taken without being named.

    Raises:
        SourceError: the source cannot be read, or no text column can be told.
        ParameterError: `format` or a role of `columns` is unknown.
    """
    mapping = _checked_columns(columns)
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            raise SourceError(f"{path} does not exist")
        format = format or format_of(path)
        if format in benchmarks.NAMES:
            yield from _tabulated(benchmarks.read(format, path), format, "text", {})
            return
        blocks = _blocks_of(path, format, text_column)
    elif hasattr(source, "columns") and hasattr(source, "iloc"):
        format, blocks = "frame", read_frame(source)
    else:
        raise SourceError(f"a {type(source).__name__} is no prompt source; give a path or a DataFrame")
    first = next(blocks, None) or Block([], {})
    name = text_column_of(first, text_column, f"{source}" if isinstance(source, str | Path) else "the DataFrame")
    if name is None:  # one column under no known name: a list of texts without header
        yield from _headless(blocks, first, format)
        return
    yield from _tabulated(chain([first], blocks), format, name, mapping)


def _checked_columns(columns: Mapping[str, str] | None) -> dict[str, str]:
    for role in columns or {}:
        if role not in ROLES:
            raise ParameterError(f"columns has no {role!r}.{did_you_mean(role, ROLES)} Known: {', '.join(ROLES)}")
    return dict(columns or {})


def format_of(path: Path) -> str:
    """Return the format that a file's or folder's name tells, else its first bytes."""
    if path.is_dir():
        return "folder"
    known = SUFFIXES.get(path.suffix.lower())
    if known:
        return known
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"\x89PNG"):
        return "png"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK"):
        return "excel"
    encoding_of(path)  # refuses binary files
    return "jsonl" if is_json_lines(path) else "txt"


def _blocks_of(path: Path, format: str, text_column: str | int | None) -> Iterator[Block]:
    if format == "folder":
        pictures, refused = files_below(path, "*.png") if path.is_dir() else ([], [])
        return read_pictures(path, pictures, refused) if pictures else read_text_folder(path)
    if path.is_dir():
        raise SourceError(f"{path} is a folder; name a file in it, or a benchmark: {', '.join(benchmarks.NAMES)}")
    readers = {
        "txt": lambda: read_lines(path),
        "csv": lambda: read_delimited(path, ",", header=not isinstance(text_column, int)),
        "tsv": lambda: read_delimited(path, "\t", header=not isinstance(text_column, int)),
        "excel": lambda: read_excel(path),
        "json": lambda: read_json(path),
        "jsonl": lambda: read_json_lines(path),
        "parquet": lambda: read_parquet(path),
        "png": lambda: read_pictures(path, [path]),
    }
    if format not in readers:
        known = [*FORMATS[:-1], *benchmarks.NAMES]
        raise ParameterError(f"no format is called {format!r}.{did_you_mean(format, known)} Known: {', '.join(known)}")
    return readers[format]()


def text_column_of(block: Block, wanted: str | int | None, source: str) -> str | None:
    """Return the column of the texts, None for a single column under no known name: texts without a header.

    Raises:
        SourceError: there is none of the wanted name, or none can be told.
    """
    names = list(block.columns)
    if wanted is not None:
        name = str(wanted)
        if name not in names:
            raise SourceError(f"{source} has no column {name!r}.{did_you_mean(name, names)} It has: {', '.join(names)}")
        return name
    lower = {name.lower(): name for name in reversed(names)}
    for known in TEXT_NAMES:
        if known in lower:
            return lower[known]
    if len(names) == 1:
        return None
    if not names:
        if block.bad:
            raise SourceError(f"{source} has no readable row: row {block.bad[0].row}: {block.bad[0].reason}")
        raise SourceError(f"{source} has no rows")
    raise SourceError(
        f"no column of {source} is known to hold the texts; it has: {', '.join(names[:30])}. Give text_column=…"
        " (a number, from 0, where there is no header)"
    )


def _headless(blocks: Iterator[Block], first: Block, format: str) -> Iterator[SourceRows]:
    """Read a table of one column without header, whose first text was taken for the column's name."""
    name = next(iter(first.columns))
    head = Block([1], {name: [name]}) if format in ("csv", "tsv", "excel") else Block([], {name: []})
    yield from _tabulated(chain([_joined(head, first, name)], blocks), format, name, {})


def _joined(head: Block, block: Block, name: str) -> Block:
    return Block([*head.rows, *block.rows], {name: [*head.columns[name], *block.columns[name]]}, block.bad, block.blank)


def _tabulated(
    blocks: Iterator[Block], format: str, text_column: str, mapping: Mapping[str, str]
) -> Iterator[SourceRows]:
    """Keep of each block the rows with a usable text, and of its columns those that have a role."""
    for block in blocks:
        roles = columns_of_roles(block, text_column, mapping)
        texts = block.columns.get(text_column) or [None] * len(block.rows)
        reasons = {i: reason for i, text in enumerate(texts) if (reason := why_unusable(text))}
        taken = {role: block.columns[name] for role, name in roles.items()}
        if "parameters" in taken:
            taken["parameters"] = _parameters(taken["parameters"], reasons)
        if "model" in taken:
            taken["model"] = [None if is_missing(value) or value == "" else value for value in taken["model"]]
        yield _rows(block, texts, taken, reasons, format, text_column)


def _rows(
    block: Block, texts: list[Any], taken: dict[str, list[Any]], reasons: dict[int, str], format: str, text_column: str
) -> SourceRows:
    import pandas as pd

    data: dict[str, Any] = {"text": texts, "row": list(block.rows), **taken}
    bad = list(block.bad)
    if reasons:
        files = taken.get("file")
        bad += [
            BadRow(block.rows[i], reason, excerpt("" if texts[i] is None else texts[i]), files[i] if files else "")
            for i, reason in reasons.items()
        ]
        data = {name: [v for i, v in enumerate(values) if i not in reasons] for name, values in data.items()}
    frame = pd.DataFrame(
        {name: pd.Series(values, dtype=int if name == "row" else object) for name, values in data.items()}
    )
    return SourceRows(frame, sorted(bad, key=lambda row: (row.file, row.row)), format, text_column, block.blank)


def columns_of_roles(block: Block, text_column: str, mapping: Mapping[str, str]) -> dict[str, str]:
    """Return which column has which role: as named by the caller, else by the columns' own names."""
    roles = {}
    for role in (*ROLES, "file", "elements"):
        if role in mapping:
            if mapping[role] not in block.columns:
                names = list(block.columns)
                hint = did_you_mean(mapping[role], names)
                raise SourceError(f"no column is called {mapping[role]!r}.{hint} There are: {', '.join(names)}")
            roles[role] = mapping[role]
            continue
        own = ID_NAMES if role == "id" else (role,)
        name = next((name for name in own if name in block.columns and name != text_column), None)
        if name is not None:
            roles[role] = name
    return roles


def _parameters(values: list[Any], reasons: dict[int, str]) -> list[dict[str, Any]]:
    """Return each cell as a dict; a cell that is no JSON object makes its row bad."""
    result: list[dict[str, Any]] = []
    for i, value in enumerate(values):
        if isinstance(value, str) and value.strip():
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                reasons.setdefault(i, f"its parameters are not valid JSON: {error}")
        empty = value is None or value != value or value == ""
        if not empty and not isinstance(value, dict):
            reasons.setdefault(i, "its parameters are no JSON object")
        result.append(value if isinstance(value, dict) else {})
    return result
