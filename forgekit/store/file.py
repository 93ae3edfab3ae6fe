"""The store: one DuckDB file with the research record, opened for moments only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from forgekit.errors import StatusError, StoreError
from forgekit.store.opening import opened
from forgekit.store.remote import VARIABLE, keep_at
from forgekit.store.rows import fetch_dicts
from forgekit.store.schema import load_schema

if TYPE_CHECKING:
    import pandas as pd

RECORD_TABLES = ("scenes", "prompts", "generated_images", "image_evaluations", "prompt_learnings", "api_logs")

REFUSED = """
select p.id, p.status, (
    select string_agg(t.to_status, ', ' order by t.to_status) from status_transitions t where t.from_status = p.status
)
from prompts p
where p.id in (select unnest($ids::uuid[]))
  and p.status <> $to
  and not exists (from status_transitions t where t.from_status = p.status and t.to_status = $to)
order by p.id
limit 1
"""
MOVE = """
update prompts set status = $to, last_updated = now() at time zone 'utc'
where id in (select unnest($ids::uuid[]))
  and (status = $to or exists (from status_transitions t where t.from_status = status and t.to_status = $to))
"""
DISK = re.compile(r"Could not write|No space left|File too large|Read-only file system")
STATUSES = "select status, count(*) from prompts group by status order by status"


@dataclass(frozen=True)
class Store:
    """A path to a DuckDB file and short transactions on it.

    DuckDB lets one process write a file at a time and a writer shuts readers out, so nothing is held
    open: every method opens, works, commits and closes, and waits up to `timeout_s` for another
    process to let go. Images lie beside the file, in `images/`.
    """

    path: Path
    timeout_s: float = 60.0

    @property
    def folder(self) -> Path:
        """The folder that image paths are relative to."""
        return self.path.parent

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open for writing; commit at the end of the block, roll back on an error, close either way.

        Raises:
            StoreError: another process has held the file for all of `timeout_s`, or the disk is full.
        """
        with self._open(read_only=False) as con:
            con.begin()
            try:
                yield con
                con.commit()
            except BaseException as error:
                with suppress(duckdb.Error):  # a full disk leaves nothing to roll back
                    con.rollback()
                if isinstance(error, duckdb.Error) and DISK.search(str(error)):
                    raise StoreError(
                        f"{self.path} cannot be written: {error}. Nothing of this step was stored; make room there, and "
                        "run it again"
                    ) from error
                raise

    def df(self, sql: str, **values: Any) -> pd.DataFrame:
        """Run a query and return its rows; `$name` in the SQL is bound to the keyword `name`."""
        with self._open(read_only=True) as con:
            return con.execute(sql, values or None).df()

    def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """Run a query and return its rows as dicts, JSON columns decoded, UUIDs as text."""
        with self._open(read_only=True) as con:
            return fetch_dicts(con.execute(sql, values or None))

    def move_prompts(self, con: duckdb.DuckDBPyConnection, ids: Sequence[str], to: str) -> None:
        """Set the status of prompts.

        Raises:
            StatusError: the table `status_transitions` does not allow the change for one of them.
        """
        values = {"ids": list(ids), "to": to}
        [(moved,)] = con.execute(MOVE, values).fetchall()
        if moved < len(set(ids)) and (refused := con.execute(REFUSED, values).fetchone()):
            prompt_id, status, allowed = refused
            raise StatusError(
                f"prompt {prompt_id} is {status!r} and cannot become {to!r}. "
                f"From {status!r} it can become: {allowed or 'nothing'}"
            )

    def __repr__(self) -> str:
        counts = self._counts()
        statuses = ", ".join(f"{n} {status}" for status, n in counts["statuses"])
        return (
            f"Store({str(self.path)!r}: {counts['scenes']} scenes, {counts['prompts']} prompts"
            f"{f' ({statuses})' if statuses else ''}, {counts['generated_images']} images, "
            f"{counts['image_evaluations']} evaluations, {counts['prompt_learnings']} learnings)"
        )

    def _repr_html_(self) -> str:
        counts = self._counts()
        rows = [(f"prompts: {status}", n) for status, n in counts["statuses"]]
        rows += [(table.replace("_", " "), counts[table]) for table in RECORD_TABLES if table != "prompts"]
        body = "".join(f"<tr><td style='text-align:left'>{name}</td><td>{n:,}</td></tr>" for name, n in rows)
        return f"<table><caption>{escape(str(self.path))}</caption>{body}</table>"

    def _counts(self) -> dict[str, Any]:
        """Count the rows of each table, and the prompts by status."""
        with self._open(read_only=True) as con:
            counts = {table: con.execute(f"select count(*) from {table}").fetchall()[0][0] for table in RECORD_TABLES}
            return {**counts, "statuses": con.execute(STATUSES).fetchall()}

    @contextmanager
    def held_still(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open for reading, and keep every process from writing for the length of the block: it sees one moment of the store."""
        with self._open(read_only=True) as con:
            yield con

    def _open(self, *, read_only: bool) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return opened(self.path, read_only=read_only, timeout_s=self.timeout_s)


def open_store(path: str | Path, *, images: str | None = None, timeout_s: float = 60.0) -> Store:
    """Open the store at `path`, making it (and its folder) or bringing its schema up to date where needed.

    With `images`, or FORGEKIT_IMAGES, an address such as s3://bucket/prefix, each image is kept there as well: those stored are
    sent, and those that are not in the store's folder are fetched, for as long as this process lives.

    Raises:
        StoreError: the file is no store, is damaged, was written by a newer forgekit, stays locked, or cannot be made.
        ParameterError: `images` is no address, holds a password, or nothing installed speaks to it.
    """
    schema = load_schema()
    try:
        store = Store(Path(path).resolve(), timeout_s)
        if images := images or os.environ.get(VARIABLE):
            keep_at(store.folder, images)
        exists = store.path.exists()
        if exists:
            with store._open(read_only=True) as con:
                if schema.is_that_of(con):
                    return store
                schema.refuse_other(con, str(path))
        store.path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(
            f"{str(path)[:200]!r} cannot be a store: {error}; give a path such as data/forge.duckdb"
        ) from error
    with store.transaction() as con:
        schema.apply(con, str(path))
    return store
