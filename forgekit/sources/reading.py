"""Any prompt source, read into rows: which reader, which column holds what, which rows are good."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import ParameterError, SourceError, did_you_mean
from forgekit.ids import canonical_json
from forgekit.sources import benchmarks
from forgekit.sources.files import files_below
from forgekit.sources.pictures import read_pictures
from forgekit.sources.readers import READERS, SUFFIXES, TABLES, is_json_lines, read_frame, read_text_folder
from forgekit.sources.rows import BadRow, Row, SourceRows, excerpt, is_missing, why_unusable

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 50_000  # rows handed over at a time: 50k prompts are some 20 MB
FORMATS = (*READERS, "png", "folder")
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
    return SourceRows(pd.concat(frames, ignore_index=True), [row for chunk in chunks for row in chunk.bad])


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
    mapping = dict(columns or {})
    for role in mapping:
        if role not in ROLES:
            raise ParameterError(f"columns has no {role!r}.{did_you_mean(role, ROLES)} Known: {', '.join(ROLES)}")
    format = format_of(source, format)
    header = not isinstance(text_column, int)
    rows = read_rows(source, format, header=header)
    chunk = list(islice(rows, CHUNK))
    names = _names_in(chunk)
    text = _text_column("the DataFrame" if format == "frame" else source, names, chunk, text_column)
    for name in mapping.values():
        if name not in names:
            raise SourceError(f"no column is called {name!r}.{did_you_mean(name, names)} There are: {', '.join(names)}")
    if text is None:  # a single column under no known name: a list of texts, in a table without header
        text, mapping = names[0], {}
        if header and format in TABLES:
            text, rows = "0", read_rows(source, format, header=False)
            chunk = list(islice(rows, CHUNK))
    while True:
        yield _sorted_out(chunk, text, mapping)
        if not (chunk := list(islice(rows, CHUNK))):
            return


def read_rows(source: str | Path | pd.DataFrame, format: str | None = None, *, header: bool = True) -> Iterator[Row]:
    """Return a reader of any source's rows as they stand; without `header` a table's columns are "0", "1", …

    Raises:
        SourceError: there is no such file, or it is nothing that can be read.
        ParameterError: `format` is unknown.
    """
    format = format_of(source, format)
    if format == "frame":
        return read_frame(source)
    path = Path(source)
    if format in benchmarks.NAMES:
        return benchmarks.read(format, path)
    if format == "folder":
        pictures, refused = files_below(path, "*.png")
        return read_pictures(path, pictures, refused) if pictures else read_text_folder(path)
    if path.is_dir():
        raise SourceError(f"{path} is a folder; name a file in it, or a benchmark: {', '.join(benchmarks.NAMES)}")
    if format == "png":
        return read_pictures(path, [path])
    return READERS[format](path, header=header) if format in TABLES else READERS[format](path)


def format_of(source: str | Path | pd.DataFrame, format: str | None = None) -> str:
    """Return the `format` given, else what a file's name tells, else its first bytes; "frame" for a DataFrame.

    Raises:
        SourceError: there is no such file, or it is nothing that can be read.
        ParameterError: `format` is unknown.
    """
    if hasattr(source, "itertuples"):
        return "frame"
    if not isinstance(source, str | Path):
        raise SourceError(f"a {type(source).__name__} is no prompt source; give a path or a DataFrame")
    path = Path(source)
    if not path.exists():
        raise SourceError(f"{path} does not exist")
    known = [*FORMATS, *benchmarks.NAMES]
    if format is not None and format not in known:
        raise ParameterError(f"no format is called {format!r}.{did_you_mean(format, known)} Known: {', '.join(known)}")
    told = format or ("folder" if path.is_dir() else SUFFIXES.get(path.suffix.lower()))
    return told or _format_inside(path)


def _format_inside(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(8)
    for mark, format in ((b"\x89PNG", "png"), (b"PAR1", "parquet"), (b"PK", "excel")):
        if head.startswith(mark):
            return format
    return "jsonl" if is_json_lines(path) else "txt"


def _names_in(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows if not isinstance(row, BadRow) for name in row[1]))


def _text_column(source: Any, names: list[str], rows: Sequence[Row], wanted: str | int | None) -> str | None:
    """Return the column of the texts, None for a single column under no known name.

    Raises:
        SourceError: there is none of the wanted name, or none can be told.
    """
    if not names:
        bad = next((row for row in rows if isinstance(row, BadRow)), None)
        raise SourceError(f"{source} has no " + (f"readable row: row {bad.row}: {bad.reason}" if bad else "rows"))
    if wanted is not None:
        name = str(wanted)
        if name not in names:
            raise SourceError(f"{source} has no column {name!r}.{did_you_mean(name, names)} It has: {', '.join(names)}")
        return name
    lower = {name.lower(): name for name in reversed(names)}
    known = next((lower[name] for name in TEXT_NAMES if name in lower), None)
    if known is None and len(names) > 1:
        raise SourceError(
            f"no column of {source} is known to hold the texts; it has: {', '.join(names[:30])}. Give text_column=…"
            " (a number, from 0, where there is no header)"
        )
    return known


def _sorted_out(rows: Sequence[Row], text_column: str, mapping: Mapping[str, str]) -> SourceRows:
    """Keep of the rows those with a usable text, and of their columns those that have a role."""
    import pandas as pd

    roles = {"text": text_column, **_roles(_names_in(rows), text_column, mapping)}
    good: dict[str, list[Any]] = {name: [] for name in ("text", "row", *roles)}
    bad = []
    for row in rows:
        if isinstance(row, BadRow):
            bad.append(row)
            continue
        number, record = row
        taken = {role: record.get(name) for role, name in roles.items()}
        reason = why_unusable(taken["text"])
        if not reason and "parameters" in taken:
            taken["parameters"], reason = _parameters(taken["parameters"])
        if reason:
            text = "" if taken["text"] is None else taken["text"]
            bad.append(BadRow(number, reason, excerpt(text), taken.get("file") or ""))
            continue
        if "model" in taken and (is_missing(taken["model"]) or taken["model"] == ""):
            taken["model"] = None
        for role, value in (("row", number), *taken.items()):
            good[role].append(value)
    return SourceRows(pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in good.items()}), bad)


def _roles(names: Sequence[str], text_column: str, mapping: Mapping[str, str]) -> dict[str, str]:
    """Return which column has which role: as named by the caller, else by the columns' own names."""
    roles = dict(mapping)
    for role in (*ROLES, "file", "elements"):
        usual = ID_NAMES if role == "id" else (role,)
        name = next((name for name in usual if name in names and name != text_column), None)
        if name is not None:
            roles.setdefault(role, name)
    return roles


def _parameters(cell: Any) -> tuple[dict[str, Any], str | None]:
    """Return a cell as parameters, or why it holds none."""
    if is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
        return {}, None
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError) as error:
            return {}, f"its parameters are not valid JSON: {error}"
    if not isinstance(cell, dict):
        return {}, "its parameters are no JSON object"
    try:
        canonical_json(cell).encode()
    except UnicodeEncodeError:
        return {}, "its parameters have half a surrogate pair in them"
    return cell, None
