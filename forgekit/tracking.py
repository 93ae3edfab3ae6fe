"""The MLflow mirror: the store's prompt versions as runs that the MLflow UI can group, sort and compare.

The store is the truth. What is mirrored follows from it (`forgekit.mirror`), so the mirror can be deleted at any time.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import logging
import os
import sqlite3
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit import mirror, summary
from forgekit.stages.report import StageReport, running
from forgekit.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

VERSIONS_PER_READ = 32
SERVER_TIMEOUT_S = 3.0
METRICS_PER_BATCH = 900  # MLflow takes 1,000 at a time
NOTE, LINKED_PROMPTS = "mlflow.note.content", "mlflow.linkedPrompts"
VIEW = "mlflow.sharedViewState.forgekit"
VIEW_COLUMNS = (
    ("tags", "vision_model"),
    ("tags", "prompt_version"),
    ("tags", "experiment"),
    ("metrics", "score/mean"),
    ("metrics", "score/min"),
    ("metrics", "score/max"),
)


def track(
    store: Store,
    *,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    registry: bool = True,
    rebuild: bool = False,
) -> StageReport:
    """Bring MLflow up to date with the store: one run per (prompt version, vision model).

    Only what is new or has changed is written; a changed run is replaced. Parts of an experiment's name before "/"
    are the MLflow experiment, so the arms of a study lie side by side. Where MLflow cannot be reached or refuses, the
    report says so and nothing is raised; the next call does the rest.

    Args:
        tracking_uri: a server or database; None for `mlflow.db` beside the store, with its artifacts in `mlartifacts`.
        experiment: mirror this experiment only.
        registry: keep the prompt versions in MLflow's prompt registry too, linked to their runs.
        rebuild: write every run again.
    """
    with running("track", total=0, unit="run") as (report, _), _only_one(store) as alone:
        if not alone:
            report.count("left to another process that is mirroring this store")
            return report
        due = mirror.due_runs(store, experiment)
        if due:
            _mirror(store, report, tracking_uri or default_uri(store), due, registry=registry, rebuild=rebuild)
    if report.failures:
        log.warning("the MLflow mirror is behind: %s", next(iter(report.failures.values())))
    return report


def default_uri(store: Store) -> str:
    """Return the tracking URI that is used where none is given: an SQLite file beside the store."""
    return f"sqlite:///{store.folder / 'mlflow.db'}"


def _mirror(
    store: Store, report: StageReport, uri: str, due: Sequence[mirror.Due], *, registry: bool, rebuild: bool
) -> None:
    if reason := _unreachable(uri):
        report.failures["mlflow"] = reason
        return
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    for narrator in ("alembic", "mlflow.store.db.utils"):  # they tell at length how a database is made
        logging.getLogger(narrator).setLevel(logging.WARNING)
    own = uri == default_uri(store)
    artifacts = store.folder / "mlartifacts" if own else None  # elsewhere it is the server's to say
    try:
        if own:
            _use_write_ahead_log(store.folder / "mlflow.db")
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        for study in dict.fromkeys(run.study for run in due):
            target = _Study.open(client, study, artifacts / mirror.slug(study) if artifacts else None)
            wanted = [run for run in due if run.study == study]
            fresh = [run for run in wanted if rebuild or target.content.get(run.identity) != run.content]
            report.skipped += len(wanted) - len(fresh)
            for run in _batched_runs(store, fresh):
                target.write(run, store.folder, registry=registry)
                report.done += 1
            if fresh:
                target.summarise(store)
    except (MlflowException, OSError) as error:
        report.failures["mlflow"] = f"{uri}: {error}. The next call mirrors the rest"


def _batched_runs(store: Store, due: Sequence[mirror.Due]) -> Iterator[mirror.Run]:
    remaining = iter(due)
    while batch := list(islice(remaining, VERSIONS_PER_READ)):
        yield from mirror.read_runs(store, batch)


@dataclass
class _Study:
    """One MLflow experiment and what is in it: run ids and contents by identity, registered prompts by prompt id."""

    client: MlflowClient
    name: str
    experiment_id: str
    run_ids: dict[str, list[str]] = field(default_factory=dict)
    content: dict[str, str] = field(default_factory=dict)
    prompts: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def open(cls, client: MlflowClient, name: str, artifacts: Path | None) -> _Study:
        """Find the experiment, or make it, and read which runs it has."""
        existing = client.get_experiment_by_name(name)
        if existing is None:
            place = artifacts.as_uri() if artifacts else None
            study = cls(client, name, client.create_experiment(name, artifact_location=place))
            study.save_view()
            return study
        if existing.lifecycle_stage == "deleted":
            client.restore_experiment(existing.experiment_id)
        study = cls(client, name, existing.experiment_id)
        token = None
        while True:
            page = client.search_runs([study.experiment_id], max_results=1000, page_token=token)
            for run in page:
                study.note(run)
            token = page.token
            if not token:
                return study

    def note(self, run: Any) -> None:
        """Remember a run of ours. One that was never finished has no content, so it is written again."""
        tags = run.data.tags
        identity = tags.get("forgekit.identity")
        if identity is None:
            return
        self.run_ids.setdefault(identity, []).append(run.info.run_id)
        if run.info.status == "FINISHED":
            self.content[identity] = tags.get("forgekit.content", "")
        for prompt in json.loads(tags.get(LINKED_PROMPTS, "[]")):
            self.prompts[tags["prompt_id"]] = (prompt["name"], prompt["version"])

    def write(self, run: mirror.Run, store_folder: Path, *, registry: bool) -> None:
        """Write one run with everything in it; the one it replaces goes first."""
        tags = {**run.tags, NOTE: run.tags[NOTE].replace("{experiment_id}", self.experiment_id)}
        if registry:
            name, version = self._registered(run)
            tags[LINKED_PROMPTS] = json.dumps([{"name": name, "version": version}])
        with tempfile.TemporaryDirectory() as folder:
            run.write_files(store_folder, Path(folder))
            self._replace(run, tags, folder)

    def summarise(self, store: Store) -> None:
        """Write the study's summary run: its trend as metrics, contact sheets of all versions."""
        with tempfile.TemporaryDirectory() as folder:
            run = summary.summary_run(store, self.name, Path(folder))
            self._replace(run, run.tags, folder)

    def save_view(self) -> None:
        """Save a view "by vision model": the runs grouped by judge. An undocumented tag, which no other part needs."""
        state = {
            "groupBy": {
                "aggregateFunction": "average",
                "groupByKeys": [{"mode": "tag", "groupByData": "vision_model"}],
            },
            "selectedColumns": [f"{kind}.`{name}`" for kind, name in VIEW_COLUMNS],
            "runsHiddenMode": "SHOWALL",
        }
        packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
        now = int(time.time() * 1000)
        view = {"name": "by vision model", "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
        self.client.set_experiment_tag(self.experiment_id, VIEW, json.dumps(view))

    def _replace(self, run: mirror.Run, tags: dict[str, str], folder: str) -> None:
        from mlflow.entities import Metric, Param

        for run_id in self.run_ids.pop(run.identity, []):
            self.client.delete_run(run_id)
        run_id = self.client.create_run(self.experiment_id, run.start_ms, tags, run.name).info.run_id
        metrics = [Metric(name, value, run.end_ms, step) for name, value, step in run.metrics]
        for start in range(0, max(1, len(metrics)), METRICS_PER_BATCH):
            params = [Param(name, value) for name, value in run.params.items()] if start == 0 else []
            self.client.log_batch(run_id, metrics[start : start + METRICS_PER_BATCH], params)
        self.client.log_artifacts(run_id, folder)
        self.client.set_terminated(run_id, "FINISHED", run.end_ms)
        self.run_ids[run.identity] = [run_id]

    def _registered(self, run: mirror.Run) -> tuple[str, str]:
        """Return (name, version) of the prompt in the registry, registering it where it is new."""
        prompt_id = run.tags["prompt_id"]
        if prompt_id not in self.prompts:
            # Double braces would make a template of the prompt.
            text = run.row["prompt_text"].replace("{{", "{ {").replace("{%", "{ %")
            tags = {"prompt_id": prompt_id, "experiment": run.tags["experiment"]}
            name = mirror.registry_name(run)
            version = self.client.register_prompt(name, text, commit_message=run.tags["scene"], tags=tags)
            self.prompts[prompt_id] = (name, str(version.version))
        return self.prompts[prompt_id]


def _unreachable(uri: str) -> str | None:
    """Say why the server does not answer. MLflow itself would try for minutes."""
    if not uri.startswith(("http://", "https://")):
        return None
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=SERVER_TIMEOUT_S):
            return None
    except (urllib.error.URLError, OSError) as error:
        return f"no MLflow server answers at {uri} ({error}). Start it with `make ui`; the next call mirrors everything"


def _use_write_ahead_log(database: Path) -> None:
    """Have SQLite commit with one flush instead of four, and the UI read while runs are written. The file remembers it."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("pragma journal_mode = wal")


@contextlib.contextmanager
def _only_one(store: Store) -> Iterator[bool]:
    """Yield whether this process is the one that mirrors the store now. Two would write every run twice."""
    with store.path.with_suffix(".track").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
