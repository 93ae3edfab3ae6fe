"""The schema of a store: numbered migrations, applied once and in order, and views, made anew when their text changes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from importlib.resources.abc import Traversable

import duckdb

from forgekit.errors import StoreError
from forgekit.ids import content_hash

SCHEMA_VERSION = "2.3.0"
FOLDER = resources.files("forgekit.store") / "sql"
MIGRATION = re.compile(r"\d{3}_\w+\.sql")
VIEWS = ("scores.sql", "rounds.sql", "effects.sql", "ratings.sql")  # each builds on those before it

STATE_TABLE = """
create table if not exists schema_state (migration integer primary key, schema_version varchar, views_hash varchar)
"""
OBJECTS = (
    "select table_name from duckdb_tables() union select view_name from duckdb_views() where not internal order by all"
)
STATE_COLUMNS = "select column_name from duckdb_columns() where table_name = 'schema_state' order by column_index"
# What a schema has made. DuckDB writes the names behind "exclude" in any order, so views are compared by their words.
MADE = (
    r"select 'view', view_name, list_sort(regexp_extract_all(sql, '\w+'))::varchar from duckdb_views() where not internal",
    "select 'table', table_name, column_name || ' ' || data_type || is_nullable from duckdb_columns() where table_name in "
    "(select table_name from duckdb_tables())",
    "select 'constraint of', table_name, constraint_text from duckdb_constraints()",
    "select 'macro', function_name, coalesce(macro_definition, '') from duckdb_functions() where not internal",
    "select 'rows of', 'status_transitions', from_status || ' ' || to_status from status_transitions",
)
STATE = "select migration, views_hash from schema_state order by migration desc limit 1"


@dataclass(frozen=True)
class Schema:
    """What a store is made by: migrations, the first of which makes the tables, and the SQL of all views."""

    migrations: tuple[str, ...]
    views: str

    def is_that_of(self, con: duckdb.DuckDBPyConnection) -> bool:
        """Say whether the store has all of it."""
        try:
            return con.execute(STATE).fetchone() == (len(self.migrations), content_hash(self.views))
        except (duckdb.CatalogException, duckdb.BinderException):
            return False

    def refuse_other(self, con: duckdb.DuckDBPyConnection, path: str) -> None:
        """Look whose tables a database has that is not up to date; one without any is as good as new.

        Raises:
            StoreError: there are tables or views, and no note by forgekit of what made them.
        """
        found = [name for (name,) in con.execute(OBJECTS).fetchall()]
        columns = [name for (name,) in con.execute(STATE_COLUMNS).fetchall()]
        if found and columns != ["migration", "schema_version", "views_hash"]:
            shown = ", ".join(found[:8]) + (", …" if found[8:] else "")
            raise StoreError(
                f"{path} is a DuckDB database, but no store that this forgekit knows (it has {shown}); it was left as it "
                f"is. A store from before schema {SCHEMA_VERSION[0]}.0.0 is opened by the forgekit that made it; else "
                "name another file, and a new store is made there"
            )

    def apply(self, con: duckdb.DuckDBPyConnection, path: str) -> None:
        """Bring the store at `path`, new or older, up to this schema.

        Raises:
            StoreError: it has migrations that this forgekit does not know.
        """
        con.execute(STATE_TABLE)
        applied = (con.execute(STATE).fetchone() or (0,))[0]
        if applied > len(self.migrations):
            raise StoreError(
                f"{path} has schema migration {applied}, this forgekit knows {len(self.migrations)}; it was left as it "
                "is. It is of a newer forgekit (pip install --upgrade forgekit), or of one before schema "
                f"{SCHEMA_VERSION} was released: open it with the one that made it"
            )
        for number, sql in enumerate(self.migrations[applied:], applied + 1):
            con.execute(sql)
            con.execute("insert into schema_state values ($n, $version, '')", {"n": number, "version": SCHEMA_VERSION})
        con.execute(self.views)
        con.execute("update schema_state set views_hash = $hash", {"hash": content_hash(self.views)})

    def remake(self, con: duckdb.DuckDBPyConnection) -> None:
        """Make anew what holds no data: the views, and which status changes are allowed."""
        with duckdb.connect(":memory:") as fresh:
            self.apply(fresh, ":memory:")
            allowed = fresh.execute("select from_status, to_status from status_transitions").fetchall()
        con.execute("delete from status_transitions")
        con.execute(f"insert into status_transitions values {', '.join(map(str, allowed))}")
        con.execute(self.views)

    def differences(self, con: duckdb.DuckDBPyConnection) -> list[str]:
        """Return the tables, columns, constraints, views and allowed status changes that are not as this schema makes them."""
        made, wanted = _made(con), self.made
        names = {name for _, name, _ in wanted}  # what a user added beside stays
        return sorted(
            {f"{kind} {name}" for kind, name, _ in (wanted - made) | {r for r in made - wanted if r[1] in names}}
        )

    @cached_property
    def made(self) -> set[tuple[str, str, str]]:
        """What a new store has of it."""
        with duckdb.connect(":memory:") as fresh:
            self.apply(fresh, ":memory:")
            return _made(fresh)


def _made(con: duckdb.DuckDBPyConnection) -> set[tuple[str, str, str]]:
    return {row for sql in MADE for row in con.execute(sql).fetchall()}


@cache
def load_schema(folder: Traversable = FOLDER) -> Schema:
    """Read the schema: the files `001_….sql`, `002_….sql` … of `folder`, and its files of views."""
    numbered = sorted(file.name for file in folder.iterdir() if MIGRATION.fullmatch(file.name))
    read = [(folder / name).read_text("utf-8") for name in (*numbered, *VIEWS)]
    return Schema(tuple(read[: len(numbered)]), "\n".join(read[len(numbered) :]))
