"""Stores to mirror: the fixtures of tests/test_tracking*.py, a plugin of theirs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import study
from mlflow import MlflowClient

import forgekit as fk


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """An MLflow database without runs: making one takes MLflow seconds, copying it none."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def studied(tmp_path, empty_database):
    """A store with 3 versions of 2 scenes, each with 2 images that 2 judges have seen."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return study.make(tmp_path, scenes=2, iterations=2, seeds=2)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, empty_database):
    """The same store, mirrored, for tests that only look."""
    folder = tmp_path_factory.mktemp("tracked")
    shutil.copy(empty_database, folder / "mlflow.db")
    store = study.make(folder, scenes=2, iterations=2, seeds=2)
    report = fk.track(store)
    assert (report.done, report.failed) == (6, 0), str(report)
    return store
