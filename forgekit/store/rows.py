"""Rows between Python and DuckDB: dicts in and out, JSON encoded and decoded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb

from forgekit.ids import canonical_json

# Which decision or verdict is the last one is told by its time: where the clock was set back, a store's goes on.
NOW = "greatest(now() at time zone 'utc', (select max(created_at) from {table}) + interval 1 microsecond)"


def insert_rows(con: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows in one batch, leaving alone those whose key is already there; return how many were new.

    Dicts and lists become JSON. All rows have the keys of the first.
    """
    if not rows:
        return 0
    time = "" if "created_at" in rows[0] else f", {NOW.format(table=table)} as created_at"
    with _registered(con, rows):
        [(new,)] = con.execute(
            f"insert into {table} by name select *{time} from new_rows on conflict do nothing"
        ).fetchall()
    return new


def update_rows(
    con: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]], *, key: str = "id"
) -> None:
    """Set the columns of existing rows in one batch; each row names its `key`. Dicts and lists become JSON."""
    if not rows:
        return
    columns = ", ".join(f"{column} = new_rows.{column}" for column in rows[0] if column != key)
    with _registered(con, rows):
        con.execute(f"update {table} set {columns} from new_rows where {table}.{key} = new_rows.{key}")


@contextmanager
def _registered(con: duckdb.DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    import pyarrow as pa

    con.register(
        "new_rows", pa.Table.from_pylist([{key: _encode(value) for key, value in row.items()} for row in rows])
    )
    try:
        yield
    finally:
        con.unregister("new_rows")


def fetch_dicts(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Return the rows of an executed query as dicts, JSON columns decoded, UUIDs as text."""
    columns = [(name, str(kind)) for name, kind, *_ in result.description]
    return [
        {name: _decode(value, kind) for (name, kind), value in zip(columns, row, strict=True)}
        for row in result.fetchall()
    ]


def _encode(value: Any) -> Any:
    return canonical_json(value) if isinstance(value, dict | list | tuple) else value


def _decode(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "JSON":
        return json.loads(value)
    return str(value) if kind == "UUID" else value
