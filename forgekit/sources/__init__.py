"""Prompt sources: files, folders, DataFrames, PNGs and known benchmarks, read into rows; and templates."""

from __future__ import annotations

from forgekit.sources.benchmarks import NAMES as BENCHMARK_NAMES
from forgekit.sources.plain_lines import PlainLines, plain_lines
from forgekit.sources.reading import FORMATS, read, read_chunks
from forgekit.sources.rows import BadRow, SourceRows
from forgekit.sources.templates import expand, expand_rows, is_template

__all__ = [
    "BENCHMARK_NAMES",
    "FORMATS",
    "BadRow",
    "PlainLines",
    "SourceRows",
    "expand",
    "expand_rows",
    "is_template",
    "plain_lines",
    "read",
    "read_chunks",
]
