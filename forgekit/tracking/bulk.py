"""Many runs written in one transaction, straight into the tables of the mirror's own database.

MLflow's client has no call for that: it takes 25 ms for a run of forty metric points, this takes one. The tables are
MLflow's own business, so it is done only where they have exactly the columns that are known here (MLflow 3.17); to other
versions and to servers the client writes (`study.py`). A test compares what both leave behind.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgekit.tracking.runs import Run

METRIC = ("key", "value", "timestamp", "step", "is_nan", "run_uuid")
COLUMNS = {
    "runs": (
        *("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status", "start_time"),
        *("end_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id", "deleted_time"),
    ),
    "tags": ("key", "value", "run_uuid"),
    "params": ("key", "value", "run_uuid"),
    "metrics": METRIC,
    "latest_metrics": METRIC,
}
PATIENCE_S = 30


@dataclass(frozen=True)
class Tables:
    """The tables of one database, and the experiment whose runs are written."""

    database: Path
    experiment_id: str
    artifact_location: str

    def are_known(self) -> bool:
        """Say whether the database has the tables as they are known here."""
        with self._open() as connection:
            found = {table: {row[1] for row in connection.execute(f"pragma table_info({table})")} for table in COLUMNS}
        return found == {table: set(columns) for table, columns in COLUMNS.items()}

    def begin(self, runs: Mapping[str, tuple[Run, Mapping[str, str]]]) -> None:
        """Write runs, given as (run, tags) by their new id, with all but their files. They count as running.

        Raises:
            sqlite3.Error: the database is locked for longer than half a minute, full or damaged; nothing is written then.
        """
        rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in COLUMNS}
        for run_id, (run, tags) in runs.items():
            rows["runs"].append(self._row(run_id, run))
            named = {**tags, "mlflow.runName": run.name}
            rows["tags"] += [(key, value, run_id) for key, value in named.items()]
            rows["params"] += [(key, value, run_id) for key, value in run.params.items()]
            points = [_point(run_id, run.end_ms, *metric) for metric in run.metrics]
            rows["metrics"] += points
            rows["latest_metrics"] += _latest(points)
        with self._open() as connection, connection:
            for table, columns in COLUMNS.items():
                marks = ", ".join("?" * len(columns))
                connection.executemany(f"insert into {table} ({', '.join(columns)}) values ({marks})", rows[table])

    def finish(self, end_ms: Mapping[str, int]) -> None:
        """Call the runs finished; `end_ms` is when each ended, in milliseconds since 1970."""
        with self._open() as connection, connection:
            connection.executemany(
                "update runs set status = 'FINISHED', end_time = ? where run_uuid = ?",
                [(end, run_id) for run_id, end in end_ms.items()],
            )

    def place_of(self, run_id: str) -> str:
        """Return the URI of the folder in which the run's files lie."""
        return f"{self.artifact_location}/{run_id}/artifacts"

    def _row(self, run_id: str, run: Run) -> tuple[Any, ...]:
        return (
            *(run_id, run.name, "UNKNOWN", "", "", "unknown", "RUNNING", run.start_ms),
            *(None, "", "active", self.place_of(run_id), int(self.experiment_id), None),
        )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=PATIENCE_S)) as connection:
            connection.execute("pragma synchronous = normal")  # as the client's connections to it: `connection.py`
            yield connection


def _point(run_id: str, time_ms: int, name: str, value: float, step: int) -> tuple[Any, ...]:
    is_nan = value != value
    return name, 0.0 if is_nan else value, time_ms, step, is_nan, run_id


def _latest(points: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the point of each metric that MLflow shows as its value: the one of the last step."""
    latest: dict[str, tuple[Any, ...]] = {}
    for point in points:
        known = latest.get(point[0])
        if known is None or (point[3], point[1]) > (known[3], known[1]):
            latest[point[0]] = point
    return list(latest.values())
