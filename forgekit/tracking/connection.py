"""How MLflow is reached: the database beside the store or a server, with patience for seconds and not for minutes."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from forgekit.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
HEALTH_TIMEOUT_S = 3.0
# MLflow's own defaults try for four minutes before they say that a server is gone.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


@dataclass(frozen=True)
class Connection:
    """An MLflow that answers. `artifacts` is where new experiments keep theirs; None: where the server says."""

    client: MlflowClient
    uri: str
    artifacts: Path | None
    database: Path | None  # the file, where it is the mirror beside the store


def default_uri(store: Store) -> str:
    """Return the tracking URI that is used where none is given: an SQLite file beside the store."""
    return sqlite_uri(store.folder / DATABASE)


def sqlite_uri(database: Path) -> str:
    """Return the URI of a database file."""
    return f"sqlite:///{database}"


def connect(store: Store, uri: str, database: Path | None) -> Connection:
    """Open MLflow at `uri`; `database` is its file where it is the mirror beside the store.

    Raises:
        OSError: no server answers.
        MlflowException, SQLAlchemyError, sqlite3.Error: the database is damaged or has another version's tables.
    """
    _ask_for_health(uri)
    if database is not None:
        _use_write_ahead_log(database)
        _spare_flushes(database)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
    from mlflow import MlflowClient

    for narrator in ("alembic", "mlflow.store.db.utils"):  # they tell at length how a database is made
        logging.getLogger(narrator).setLevel(logging.WARNING)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    return Connection(client, uri, store.folder / ARTIFACTS if database is not None else None, database)


def what_can_go_wrong() -> tuple[type[Exception], ...]:
    """Return the exceptions by which MLflow says that it is down, slow, full or damaged."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, sqlite3.Error, OSError


@contextlib.contextmanager
def little_patience() -> Iterator[None]:
    """Have MLflow's client give up after seconds inside the block, unless the user has set how long it should try."""
    added = {name: value for name, value in PATIENCE.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _ask_for_health(uri: str) -> None:
    if not uri.startswith(("http://", "https://")):
        return
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=HEALTH_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        pass  # it answers, and MLflow will say better what it does not like
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ConnectionError(f"no MLflow server answers ({reason}). Start it with `make ui`") from error


def _use_write_ahead_log(database: Path) -> None:
    """Have SQLite commit with one flush instead of four, and the UI read while runs are written.

    The file remembers it.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("pragma journal_mode = wal")


@cache
def _spare_flushes(database: Path) -> None:
    """Have this process's connections to the mirror leave the flush to SQLite's checkpoints.

    A power cut then costs the last runs at most, never the database, and the next `track` writes them again. MLflow's
    SQLite URI takes no such setting. Listeners stay for good, so there is one a database however often it is opened.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def on_connect(connection, record) -> None:
        if isinstance(connection, sqlite3.Connection):
            file = connection.execute("pragma database_list").fetchone()[2]
            if Path(file) == database.resolve():
                connection.execute("pragma synchronous = normal")

    event.listen(Engine, "connect", on_connect)
