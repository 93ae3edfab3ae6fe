"""Any prompt source, read into rows: which reader, which column holds what, which rows are good."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from forgekit.errors import ForgekitError, ParameterError, SourceError, did_you_mean, listed
from forgekit.ids import canonical_json
from forgekit.scene.syntax.parameters import known_as
from forgekit.sources import benchmarks
from forgekit.sources import columns as columns_of
from forgekit.sources.columnar import as_frame, read_frame
from forgekit.sources.documents import loads
from forgekit.sources.files import head_of
from forgekit.sources.folders import read_folder
from forgekit.sources.parameters import settings
from forgekit.sources.pictures import ENDINGS, read_pictures
from forgekit.sources.pipes import mode_of, written_down
from forgekit.sources.readers import READERS, TABLES, format_of_file
from forgekit.sources.rows import (
    BadRow,
    Notes,
    Reading,
    Row,
    SourceRows,
    excerpt,
    is_missing,
    plain,
    why_unusable,
)

if TYPE_CHECKING:
    import pandas as pd

    Source: TypeAlias = str | Path | pd.DataFrame | pd.Series | Sequence[str] | Sequence[Mapping[str, Any]]

CHUNK = 50_000  # rows handed over at a time: 50k prompts are some 20 MB
FORMATS = (*READERS, "picture", "folder")
LONGEST = 2_000  # characters of a cell that is kept in `scenes.source`
KEPT_APART = frozenset({"scheduler", "scheduler_options"})  # the model has its own; no call sets it
OF_SOME = frozenset({"clip_skip", "guidance_rescale"})  # pipelines: parameters only under these very names
PICTURE_MARKS = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")
TOO_LONG = "columns that are left out, for they hold neither words nor numbers, or very many"
NOWHERE = "\0"  # no column has that name
INDEXES = ("", "Unnamed: 0", "__index_level_0__", "row")  # what pandas, or `read` itself, has beside a table


def read(
    source: Source,
    *,
    format: str | None = None,
    text_column: str | int | None = None,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
) -> SourceRows:
    """Read a prompt source whole: arguments and errors are those of `read_chunks`, which reads large ones piece by piece."""
    import pandas as pd

    chunks = list(read_chunks(source, format=format, text_column=text_column, columns=columns, encoding=encoding))
    frames = [chunk.frame for chunk in chunks if len(chunk.frame)] or [chunks[0].frame]
    bad = [row for chunk in chunks for row in chunk.bad]
    return SourceRows(pd.concat(frames, ignore_index=True), bad, chunks[-1].notes)


def read_chunks(
    source: Source,
    *,
    format: str | None = None,
    text_column: str | int | None = None,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
) -> Iterator[SourceRows]:
    """Read a prompt source in chunks of some 50,000 rows, at least one.

    Args:
        source: a file, a folder (texts, pictures, captions, shards of a table), a DataFrame, or a list of texts or of rows
            such as {"prompt": "a red circle", "seed": 1}.
        format: one of FORMATS or a benchmark (see `benchmarks.NAMES`); told from name and content where not given.
        text_column: the column of the texts; a number (from 0) for a table without header. Told from its name or
            content where not given.
        columns: which columns hold "id", "category", "model", "parameters": {"id": "prompt_id"}. Columns of these
            names are taken without being named, as are those of parameters, such as "steps".
        encoding: of text files, such as "cp1252"; told from the file where not given.

    Raises:
        SourceError: the source cannot be read, or no text column can be told.
        ParameterError: `format`, `encoding` or a role of `columns` is unknown.
    """
    source = as_frame(source)
    with written_down(source) as whole:
        try:
            yield from _chunks(whole, format, text_column, _checked_mapping(columns), encoding)
        except ForgekitError:
            raise
        except Exception as error:  # a damaged file fails anywhere in the libraries that read it
            named = "the DataFrame" if hasattr(source, "itertuples") else source
            raise SourceError(f"{named} cannot be read: {type(error).__name__}: {error}") from error


def _checked_mapping(columns: Mapping[str, str] | None) -> dict[str, str]:
    if not isinstance(columns or {}, Mapping):
        raise ParameterError(f"columns is a {type(columns).__name__}; give a mapping such as {{'id': 'prompt_id'}}")
    for role in columns or ():
        if role not in (known := columns_of.ROLES):
            raise ParameterError(f"columns has no {role!r}.{did_you_mean(role, known)} Known: {', '.join(known)}")
    return dict(columns or {})


def _chunks(
    source: str | Path | pd.DataFrame,
    format: str | None,
    text_column: str | int | None,
    mapping: dict[str, str],
    encoding: str | None,
) -> Iterator[SourceRows]:
    reading = Reading(header=not isinstance(text_column, int), encoding=encoding)
    format = format_of(source, format, reading)
    rows = read_rows(source, format, reading)
    chunk = list(islice(rows, CHUNK))
    names = _names_in(chunk)
    named = "the DataFrame" if format == "frame" else source
    text = columns_of.text_column(named, names, chunk, text_column, reading.notes)
    for name in mapping.values():
        if name not in names:
            raise SourceError(f"no column is called {name!r}.{did_you_mean(name, names)} There are: {listed(names)}")
    lone = text is None  # a single column under no known name: a list of texts, in a table perhaps without header
    text, mapping = (names[0], {}) if text is None else (text, mapping)
    if format in TABLES and text_column is None:
        notes = reading.notes
        if not columns_of.is_header(text, chunk, notes) if lone else columns_of.is_data(text, names):
            reading = Reading(header=False, encoding=encoding)
            text, mapping, rows = str(names.index(text)), {}, read_rows(source, format, reading)
            chunk = list(islice(rows, CHUNK))
            what = "one column, its first line is a text" if lone else "the first line is a row like the others"
            reading.notes.add(f"{what} (text_column=NAME makes it a header)")
    if format == "txt" and text_column is None and columns_of.is_header_line(chunk, reading.notes):
        del chunk[0]
    while True:
        yield _sorted_out(chunk, text, mapping, reading.notes, lenient=text_column is None)
        if not (chunk := list(islice(rows, CHUNK))):
            return


def read_rows(
    source: str | Path | pd.DataFrame, format: str | None = None, reading: Reading | None = None
) -> Iterator[Row]:
    """Return a reader of any source's rows as they stand; errors are those of `format_of`. `reading.notes` has what it assumes."""
    reading = reading or Reading()
    format = format_of(source, format, reading)
    if format == "frame":
        return read_frame(source)
    path = Path(source)
    if format in benchmarks.NAMES:
        return benchmarks.read(format, path, reading)
    if format == "folder":
        return read_folder(path, reading)
    if path.is_dir():
        raise SourceError(f"{path} is a folder; name a file in it, or a benchmark: {', '.join(benchmarks.NAMES)}")
    if format == "picture":
        return read_pictures(path, [path], reading.notes)
    return READERS[format](path, reading)


def format_of(source: str | Path | pd.DataFrame, format: str | None, reading: Reading) -> str:
    """Return the `format` given, else what a file's name tells, else its first bytes; "frame" for a DataFrame.

    Raises:
        SourceError: there is no such file, or it is nothing that prompts are read from.
        ParameterError: `format` is unknown.
    """
    if hasattr(source, "itertuples"):
        return "frame"
    if not isinstance(source, str | Path):
        raise SourceError(f"a {type(source).__name__} is no prompt source; give a path, a DataFrame or a list of texts")
    path = Path(source)
    if not str(source).strip():
        raise SourceError("the source is an empty text; give a path, a DataFrame or a list of texts")
    if not (stat.S_ISREG(mode := mode_of(source)) or stat.S_ISDIR(mode)):
        raise SourceError(f"{path} is neither a file nor a folder; write what comes from it into a file")
    known = [*FORMATS, *benchmarks.NAMES]
    format = "picture" if format == "png" else format  # its name before other pictures were read
    if format is not None and format not in known:
        raise ParameterError(f"no format is called {format!r}.{did_you_mean(format, known)} Known: {', '.join(known)}")
    if format is not None or path.is_dir():
        return format or "folder"
    if path.suffix.lower() in ENDINGS or head_of(path).startswith(PICTURE_MARKS):
        return "picture"
    return format_of_file(path, reading)


def _names_in(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows if not isinstance(row, BadRow) for name in row[1]))


def _sorted_out(
    rows: Sequence[Row], text_column: str, mapping: Mapping[str, str], notes: Notes, lenient: bool
) -> SourceRows:
    """Keep of the rows those with a usable text: their roles, their parameters, and as "source" what they say besides.

    Where `lenient`, a record without the text column, as in lists of many hands, may have its text under another known
    name.
    """
    import pandas as pd

    names = _names_in(rows)
    roles = {"text": text_column, **columns_of.roles(names, text_column, mapping)}
    others = [name for name in names if lenient and name != text_column and columns_of.is_text_name(name)]
    said = [name for name in names if name not in roles.values() and name not in INDEXES]
    if said or "source" in roles:
        roles = {"parameters": NOWHERE, "source": NOWHERE, **roles}
    good: dict[str, list[Any]] = {name: [] for name in ("text", "row", *roles)}
    bad = []
    for row in rows:
        if isinstance(row, BadRow):
            bad.append(row)
            continue
        number, record = row
        taken, text_name = {role: record.get(name) for role, name in roles.items()}, text_column
        if text_column not in record and others:
            text_name = next((name for name in others if name in record), text_column)
            taken["text"] = record.get(text_name)
        reason = why_unusable(taken["text"]) if text_name in record else f"it has no {text_column!r}"
        if not reason and "parameters" in taken:
            taken["parameters"], reason = _parameters(taken["parameters"])
        if reason:
            raw = record.get(text_name, record)
            bad.append(BadRow(number, reason, "" if raw is None else excerpt(raw), taken.get("file") or ""))
            continue
        for role in ("id", "category", "file"):
            if isinstance(value := taken.get(role), str) and len(value) > LONGEST:
                notes.add(TOO_LONG, repr(roles[role]))
                taken[role] = None
        if "source" in taken:
            _add_settings(taken, {name: record[name] for name in said if name in record and name != text_name}, notes)
        for role, value in (("row", number), *taken.items()):
            good[role].append(value)
    good["text"] = [text if type(text) is str else str(text) for text in good["text"]]  # numpy's are none
    if "model" in good:
        good["model"] = [None if is_missing(model) or model == "" else model for model in good["model"]]
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in good.items()})
    return SourceRows(frame, bad, notes)


def _add_settings(taken: dict[str, Any], said: Mapping[str, Any], notes: Notes) -> None:
    """Give a row the parameters that its other columns are; what else they say is its source, and noted."""
    parameters, rest = settings(said, notes)
    moved = parameters.keys() & (KEPT_APART | (OF_SOME - said.keys()))
    apart = {name: parameters.pop(name) for name in sorted(moved)}
    source: dict[str, Any] = {}
    if isinstance(taken["source"], dict):  # of a reader of ours
        source = taken["source"]
    elif not is_missing(taken["source"]):
        rest["source"] = taken["source"]
    for name, value in (rest | apart).items():
        try:
            value = plain(value)
            long = len(value if isinstance(value, str) else canonical_json(value)) > LONGEST or len(name) > LONGEST
        except (ValueError, RecursionError):
            value, long = None, True
        if value is None or long:
            notes.add(TOO_LONG, repr(name[:80]))
            continue
        source[name] = value
        if name in apart or not known_as(name):
            notes.add("settings and columns that draw nothing, kept in scenes.source", repr(name))
    taken["parameters"] = {**parameters, **taken["parameters"]}
    taken["source"] = source or None


def _parameters(cell: Any) -> tuple[dict[str, Any], str | None]:
    """Return a cell as parameters, or why it holds none. What is missing in it, or NaN, is no value."""
    if is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
        return {}, None
    if isinstance(cell, str):
        try:
            cell = loads(cell)
        except (ValueError, RecursionError) as error:
            return {}, f"its parameters are not valid JSON: {error}"
    if not isinstance(cell, Mapping):
        return {}, "its parameters are no JSON object"
    try:
        return plain(cell), None
    except (ValueError, RecursionError) as error:
        return {}, f"its parameters cannot be used: {error}"
