"""Parquet, Arrow and DataFrames: of their columns only those that can say something of a prompt, never the pictures in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import SourceError
from forgekit.sources.files import head_of, why_no_prompts
from forgekit.sources.rows import Reading, Row
from forgekit.sources.tables import column_names

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

BATCH = 10_000  # rows taken at a time
SHORT = ("float32", "float16", "float", "halffloat")  # read by their digits: 0.1 is not 0.10000000149


def read_parquet(path: Path, reading: Reading) -> Iterator[Row]:
    """Read Parquet in batches, without its columns of bytes and of many numbers. Rows count from 1."""
    import pyarrow.parquet as pq

    with _readable(path, "Parquet"):
        file = pq.ParquetFile(path)
        kept = _kept(file.schema_arrow, reading)
        names = [file.schema_arrow.names[place] for place in kept]
        yield from _batches(path, file.iter_batches(batch_size=BATCH, columns=names))


def read_arrow(path: Path, reading: Reading) -> Iterator[Row]:
    """Read an Arrow file or stream, such as a shard of `datasets`, without its columns of bytes. Rows count from 1."""
    import pyarrow as pa

    with _readable(path, "Arrow"), pa.memory_map(str(path)) as mapped:
        is_file = mapped.read(6) == b"ARROW1"
        opened = pa.ipc.open_file if is_file else pa.ipc.open_stream
        mapped.seek(0)
        kept = _kept(opened(mapped).schema, reading)
        mapped.seek(0)
        file = opened(mapped, options=pa.ipc.IpcReadOptions(included_fields=kept))
        yield from _batches(path, map(file.get_batch, range(file.num_record_batches)) if is_file else iter(file))


def as_frame(source: Any) -> Any:
    """Return a list or Series of texts, or of rows such as {"prompt": …, "seed": 1}, as a DataFrame; all else as it is."""
    import pandas as pd

    if isinstance(source, pd.Series | list | tuple) and len(source):
        values = list(source)
        if all(isinstance(value, Mapping) for value in values):
            return pd.DataFrame.from_records([dict(value) for value in values])
        if not any(isinstance(value, Mapping | list | tuple) for value in values):
            return pd.DataFrame({"prompt": values})
    return source


def read_frame(frame: pd.DataFrame) -> Iterator[Row]:
    """Read a DataFrame. Rows count from 1."""
    names = column_names("the DataFrame", frame.columns)
    columns = [frame.iloc[:, place] for place in range(len(names))]
    told = [column.astype(str).astype(float) if str(column.dtype) in SHORT else column for column in columns]
    for number, cells in enumerate(zip(*told, strict=True), 1):
        yield number, dict(zip(names, cells, strict=True))


@contextmanager
def _readable(path: Path, kind: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        head = head_of(path)
        if not head.startswith((b"PAR1", b"ARROW1")) and (reason := why_no_prompts(head)):
            raise SourceError(f"{path} {reason}") from error
        raise SourceError(f"{path} is no {kind} file that can be read: {error}") from error


def _kept(schema: pa.Schema, reading: Reading) -> list[int]:
    """Return the places of the columns that are read; those of pictures, sounds and embeddings are noted."""
    kept = [place for place, field in enumerate(schema) if not _is_heavy(field.type)]
    for place in set(range(len(schema))) - set(kept):
        reading.notes.add("columns not read (pictures, bytes, embeddings)", repr(schema.names[place]))
    return kept


def _is_heavy(kind: pa.DataType) -> bool:
    """Say whether a column holds bytes anywhere, or a list of numbers for each row."""
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return bool(types.is_floating(kind.value_type)) or _is_heavy(kind.value_type)
    if types.is_struct(kind):
        return any(_is_heavy(kind.field(place).type) for place in range(kind.num_fields))
    if hasattr(kind, "storage_type"):
        return _is_heavy(kind.storage_type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _batches(path: Path, batches: Iterator[Any]) -> Iterator[Row]:
    import pyarrow as pa

    number = 0
    for batch in batches:
        names = column_names(path, batch.schema.names)
        for start in range(0, len(batch), BATCH):
            columns = batch.slice(start, BATCH).columns
            told = [c.cast(pa.string()).cast(pa.float64()) if str(c.type) in SHORT else c for c in columns]
            records = pa.RecordBatch.from_arrays(told, names=names).to_pylist()
            yield from enumerate(records, number + 1)
            number += len(records)
