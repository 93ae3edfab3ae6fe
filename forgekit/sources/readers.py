"""Which reader a file has: by the format named, the end of its name, or its first bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from forgekit.errors import SourceError
from forgekit.sources.columnar import read_arrow, read_parquet
from forgekit.sources.documents import is_json_lines, loads, read_json, read_json_lines, read_yaml
from forgekit.sources.files import head_of, open_text, why_no_prompts
from forgekit.sources.rows import Reading, Row
from forgekit.sources.tables import is_table, read_table
from forgekit.sources.texts import is_infotext, read_infotexts, read_lines
from forgekit.sources.workbooks import read_excel

# Formats by name, and by the endings of files.
READERS: dict[str, Callable[[Path, Reading], Iterator[Row]]] = {
    "txt": read_lines, "csv": partial(read_table, usual=","), "tsv": partial(read_table, usual="\t"), "excel": read_excel,
    "json": read_json, "jsonl": read_json_lines, "infotext": read_infotexts, "yaml": read_yaml, "parquet": read_parquet,
    "arrow": read_arrow,
}  # fmt: skip
TABLES = ("csv", "tsv", "excel")  # those with a header that may be missing
SUFFIXES = {
    ".txt": "txt", ".text": "txt", ".prompt": "txt", ".prompts": "txt", ".list": "txt", ".lst": "txt", ".caption": "txt",
    ".csv": "csv", ".psv": "csv", ".tsv": "tsv", ".tab": "tsv", ".xlsx": "excel", ".xlsm": "excel", ".json": "json",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".yaml": "yaml", ".yml": "yaml", ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".feather": "arrow",
}  # fmt: skip
SNIFFED = 1 << 10  # characters, of which one is no blank
BEGINNINGS = ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"PK", "excel"))


def format_of_file(path: Path, reading: Reading) -> str:
    """Return the format of a file: what the end of its name tells, else what is in it. A .txt may be more than lines.

    Raises:
        SourceError: it is nothing that prompts are read from; the error names what it is.
    """
    suffix = path.suffix.lower()
    if refused := why_no_prompts(suffix=suffix):
        raise SourceError(f"{path} {refused}")
    format = SUFFIXES.get(suffix) or _format_inside(path, reading)
    if format != "txt":
        return format
    if is_infotext(path, reading):
        return "infotext"
    return _json_inside(path, reading) or ("csv" if is_table(path, reading) else "txt")


def _json_inside(path: Path, reading: Reading) -> str:
    """Return the format of a text that is JSON all through, a document or one on each line; "" where it is none."""
    with open_text(path, reading) as file:
        begin = file.read(SNIFFED).lstrip()
        if begin[:1] not in ("{", "["):  # which weights and templates begin with, too
            return ""
        if is_json_lines(path, reading) and begin[0] == "{":
            return "jsonl"
        file.seek(0)
        try:
            loads(file.read())
        except (ValueError, RecursionError):
            return ""
    return "json"


def _format_inside(path: Path, reading: Reading) -> str:
    head = head_of(path)
    for mark, format in BEGINNINGS:
        if head.startswith(mark):
            return format
    with open_text(path, reading) as file:
        begin = file.read(1)
    if begin in ("{", "[", '"'):
        return "jsonl" if is_json_lines(path, reading) else "json"
    if path.suffix:
        raise SourceError(
            f"{path}: {path.suffix} is no format that is known; where it is a text with a prompt on each line, give"
            f" format='txt'. Known: {', '.join(SUFFIXES)}, and pictures"
        )
    return "txt"
