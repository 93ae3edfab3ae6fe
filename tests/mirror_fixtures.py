"""Stores to mirror: the fixtures of tests/test_tracking*.py, a plugin of theirs."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from socket import gethostname

import pytest
import study
from mlflow import MlflowClient

import forgekit as fk
from forgekit.ids import content_hash
from forgekit.store import Store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """An MLflow database without runs: making one takes MLflow seconds, copying it none."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(scope="session")
def judged(tmp_path_factory) -> Store:
    """A store with 3 versions of 2 scenes, each with 2 images that 2 judges have seen; for copies."""
    return study.make(tmp_path_factory.mktemp("judged"), scenes=2, iterations=2, seeds=2)


@pytest.fixture
def studied(tmp_path, judged, empty_database) -> Store:
    """The store, not mirrored yet."""
    return _copied(judged, tmp_path, empty_database)


@pytest.fixture
def small(tmp_path, empty_database) -> Store:
    """A store with one version of one scene, one image and 2 judges, not mirrored yet."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return study.make(tmp_path, scenes=1, iterations=1, seeds=1)


@pytest.fixture(scope="session")
def called_from(tmp_path_factory) -> Path:
    """The folder, an empty one, that `tracked` was mirrored from."""
    return tmp_path_factory.mktemp("called")


@pytest.fixture(scope="session")
def tracked(tmp_path_factory, judged, empty_database, called_from) -> Store:
    """The store, mirrored, for tests that only look."""
    store = _copied(judged, tmp_path_factory.mktemp("tracked"), empty_database)
    with contextlib.chdir(called_from):
        report = fk.track(store)
    assert (report.done, report.failed) == (6, 0), str(report)
    return store


@pytest.fixture
def mirrored(tmp_path, tracked) -> Store:
    """The store with its mirror, for tests that change them: a copy of `tracked` that says it was made where it lies.

    A second call finds nothing to do, as it would where the mirror was made (`test_a_second_call_…`).
    """
    store = _copied(tracked, tmp_path, tracked.folder / "mlflow.db")
    (tmp_path / "mlartifacts" / "lies-in.txt").write_text(str(tmp_path))
    places, names = (str(tracked.folder), str(tmp_path)), (_name_of(tracked), _name_of(store))
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as con, con:
        con.execute("update experiments set artifact_location = replace(artifact_location, ?, ?)", places)
        con.execute("update runs set artifact_uri = replace(artifact_uri, ?, ?)", places)
        con.execute("update tags set value = replace(value, ?, ?) where key = 'forgekit'", names)
    return store


def _copied(store: Store, folder: Path, database: Path) -> Store:
    """Copy a store's folder, and an MLflow database, of which this process may have a part in memory only."""
    shutil.copytree(store.folder, folder, ignore=shutil.ignore_patterns("mlflow.db*"), dirs_exist_ok=True)
    with contextlib.closing(sqlite3.connect(database)) as con:
        con.execute("vacuum into ?", [str(folder / "mlflow.db")])
    return fk.open_store(folder / store.path.name)


def _name_of(store: Store) -> str:
    """Return what the runs of a store know it by."""
    return content_hash([gethostname(), str(store.path)])[:12]
