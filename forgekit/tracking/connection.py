"""How MLflow is reached: the database beside the store or a server, with patience for seconds and not for minutes."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"  # the mirror beside the store
MIRROR_NOTE = f"{ARTIFACTS}/lies-in.txt"  # where the folder lay when `forgekit track` wrote there
HEALTH_TIMEOUT_S = 3.0
SQLITE = "sqlite:///"
# MLflow's own defaults try for four minutes before they say that a server is gone.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}

_opened: dict[Path, int] = {}  # the databases that this process has opened, each with the number of its file


def default_uri(store: Store) -> str:
    """Return the tracking URI that is used where none is given: an SQLite file beside the store."""
    return f"{SQLITE}{store.folder / DATABASE}"


def connect(uri: str, database: Path | None) -> MlflowClient:
    """Open MLflow at `uri`; `database` is its file where it is the mirror beside the store.

    Raises:
        OSError: no server answers; the file is not the one that this process opened before.
        MlflowException, SQLAlchemyError, sqlite3.Error: the database is damaged or has another version's tables.
    """
    if uri.startswith(("http://", "https://")):
        ask_for_health(uri)
    elif database is None and uri.startswith(SQLITE):
        with contextlib.closing(sqlite3.connect(uri.removeprefix(SQLITE))) as connection:
            connection.execute("pragma schema_version")  # MLflow would try for minutes to open what cannot be opened
    if database is not None:
        _refuse_another(database)
        _use_write_ahead_log(database)
        _opened[database] = database.stat().st_ino
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
    from mlflow import MlflowClient

    for narrator in ("alembic", "mlflow.store.db.utils"):  # they tell at length how a database is made
        logging.getLogger(narrator).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def what_can_go_wrong() -> tuple[type[Exception], ...]:
    """Return the exceptions by which MLflow says that it is down, slow, full or damaged, or that a database has no driver here."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError


def pages(search: Callable[..., Any]) -> Iterator[Any]:
    """Yield everything that one of the client's searches finds; `search` is called with `page_token` for each page."""
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


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


def ask_for_health(uri: str) -> None:
    """Ask an MLflow server whether it is there.

    Raises:
        ConnectionError: none answers.
    """
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=HEALTH_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        pass  # it answers, and MLflow will say better what it does not like
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ConnectionError(f"no MLflow server answers ({reason}). Start it with `make ui`") from error


def _refuse_another(database: Path) -> None:
    """Find out that a file was deleted or replaced: MLflow keeps the one it has opened, and would write to what nobody sees."""
    known = _opened.get(database)
    if known is not None and not (database.exists() and database.stat().st_ino == known):
        raise ConnectionError(
            f"{database} was deleted or replaced while this process had it open; restart the process or kernel, "
            "and `forgekit track` makes the mirror again"
        )


def _use_write_ahead_log(database: Path) -> None:
    """Have the UI read while runs are written, which the file remembers; a damaged file is found out at once.

    MLflow itself would try for minutes to open one.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("pragma journal_mode = wal")
