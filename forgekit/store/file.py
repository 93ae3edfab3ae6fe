"""The store: one DuckDB file with the research record, opened for moments only."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from forgekit.errors import StatusError, StoreError
from forgekit.ids import content_hash
from forgekit.store.rows import fetch_dicts

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = "2.0.0"
RECORD_TABLES = (
    "scenes",
    "prompts",
    "generated_images",
    "image_evaluations",
    "prompt_learnings",
    "api_logs",
)
# A store may come from a stranger: its views must reach no other file, and no extension is fetched for them.
ALONE = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
}

SCHEMA_STATE_TABLE = """
create table if not exists schema_state (migration integer primary key, schema_version varchar, views_hash varchar)
"""
SCHEMA_STATE = "select migration, views_hash from schema_state order by migration desc limit 1"


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
            StoreError: another process has held the file for all of `timeout_s`.
        """
        with self._open(read_only=False) as con:
            con.begin()
            try:
                yield con
            except BaseException:
                con.rollback()
                raise
            con.commit()

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
        refused = con.execute(
            """
            select p.id, p.status
            from prompts p
            where p.id in (select unnest($ids::uuid[]))
              and p.status <> $to
              and not exists (from status_transitions t where t.from_status = p.status and t.to_status = $to)
            order by p.id
            """,
            {"ids": list(ids), "to": to},
        ).fetchall()
        if refused:
            prompt_id, status = refused[0]
            allowed = [
                row[0]
                for row in con.execute(
                    "select to_status from status_transitions where from_status = $status order by all",
                    {"status": status},
                ).fetchall()
            ]
            raise StatusError(
                f"prompt {prompt_id} is {status!r} and cannot become {to!r}. "
                f"From {status!r} it can become: {', '.join(allowed) or 'nothing'}"
            )
        con.execute(
            """
            update prompts set status = $to, last_updated = now() at time zone 'utc'
            where id in (select unnest($ids::uuid[]))
            """,
            {"ids": list(ids), "to": to},
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
        with self._open(read_only=True) as con:
            counts: dict[str, Any] = {
                table: con.execute(f"select count(*) from {table}").fetchone()[0] for table in RECORD_TABLES
            }
            counts["statuses"] = con.execute(
                "select status, count(*) from prompts group by status order by status"
            ).fetchall()
        return counts

    @contextmanager
    def _open(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        con = self._connect(read_only)
        try:
            # A misspelt table name must be an error, not whatever Python variable has that name.
            con.execute("set python_enable_replacements = false")
            yield con
        finally:
            con.close()

    def _connect(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + self.timeout_s
        pause_s = 0.005
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=read_only, config=ALONE)
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                busy = "lock" in str(error) or "different configuration" in str(error)
                if not busy:
                    raise StoreError(
                        f"{self.path} cannot be opened: {error}. `forgekit.open_store(path)` makes a new store; "
                        "a damaged one must be restored from a copy"
                    ) from error
                if time.monotonic() > deadline:
                    holder = re.search(r"PID (\d+)", str(error))
                    raise StoreError(
                        f"{self.path} has been held by {f'process {holder[1]}' if holder else 'another process'} "
                        f"for {self.timeout_s:.0f} s. Close its connection, or open the store with a longer timeout_s"
                    ) from error
            time.sleep(pause_s * random.uniform(0.5, 1.5))  # jitter, so that waiting workers do not march in step
            pause_s = min(pause_s * 1.5, 0.2)


def open_store(path: str | Path, *, timeout_s: float = 60.0) -> Store:
    """Open the store at `path`, making it (and its folder) or bringing its schema up to date where needed.

    Raises:
        StoreError: the file is no store, is damaged, was written by a newer forgekit, or stays locked.
    """
    store = Store(Path(path).resolve(), timeout_s)
    migrations = _migrations()
    if store.path.exists() and _state(store) == (len(migrations), _views_hash()):
        return store
    store.path.parent.mkdir(parents=True, exist_ok=True)
    with store.transaction() as con:
        con.execute(SCHEMA_STATE_TABLE)
        row = con.execute(SCHEMA_STATE).fetchone()
        applied = row[0] if row else 0
        if applied > len(migrations):
            raise StoreError(
                f"{path} has schema migration {applied}, this forgekit knows {len(migrations)}. "
                "Upgrade forgekit: pip install --upgrade forgekit"
            )
        for number, sql in enumerate(migrations[applied:], applied + 1):
            con.execute(sql)
            con.execute("insert into schema_state values ($n, $version, '')", {"n": number, "version": SCHEMA_VERSION})
        con.execute(_views_sql())
        con.execute("update schema_state set views_hash = $hash", {"hash": _views_hash()})
    return store


@cache
def _migrations() -> tuple[str, ...]:
    folder = resources.files("forgekit.store") / "sql"
    return tuple(
        (folder / name).read_text()
        for name in sorted(p.name for p in folder.iterdir())
        if re.match(r"\d{3}_.*\.sql$", name)
    )


@cache
def _views_sql() -> str:
    return (resources.files("forgekit.store") / "sql" / "views.sql").read_text()


def _views_hash() -> str:
    return content_hash(_views_sql())


def _state(store: Store) -> tuple[int, str] | None:
    with store._open(read_only=True) as con:
        try:
            return con.execute(SCHEMA_STATE).fetchone()
        except duckdb.CatalogException:
            return None
