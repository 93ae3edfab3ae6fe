"""Prompt sources: files, folders, DataFrames, pictures and known benchmarks, read into rows; and templates."""

from __future__ import annotations

from forgekit.sources.benchmarks import NAMES as BENCHMARK_NAMES
from forgekit.sources.reading import FORMATS, read, read_chunks, read_rows
from forgekit.sources.rows import BadRow, Notes, Reading, SourceRows
from forgekit.sources.templates import expand, expand_rows

__all__ = [
    "BENCHMARK_NAMES", "FORMATS", "BadRow", "Notes", "Reading", "SourceRows", "expand", "expand_rows", "read",
    "read_chunks", "read_rows",
]  # fmt: skip
