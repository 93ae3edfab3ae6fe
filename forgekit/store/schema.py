"""The schema of a store: numbered migrations, applied once and in order, and views, made anew when their text changes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

import duckdb

from forgekit.errors import StoreError
from forgekit.ids import content_hash

SCHEMA_VERSION = "2.1.0"
FOLDER = resources.files("forgekit.store") / "sql"
MIGRATION = re.compile(r"\d{3}_\w+\.sql")
VIEWS = ("scores.sql", "rounds.sql", "effects.sql")  # each builds on those before it

STATE_TABLE = """
create table if not exists schema_state (migration integer primary key, schema_version varchar, views_hash varchar)
"""
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
        except duckdb.CatalogException:
            return False

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


@cache
def load_schema(folder: Traversable = FOLDER) -> Schema:
    """Read the schema: the files `001_….sql`, `002_….sql` … of `folder`, and its files of views."""
    numbered = sorted(file.name for file in folder.iterdir() if MIGRATION.fullmatch(file.name))
    read = [(folder / name).read_text() for name in (*numbered, *VIEWS)]
    return Schema(tuple(read[: len(numbered)]), "\n".join(read[len(numbered) :]))
