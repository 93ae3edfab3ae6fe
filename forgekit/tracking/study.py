"""One MLflow experiment: which runs it has, how one is written whole, and its saved view."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from forgekit.tracking.artifacts import THREADS, write_files
from forgekit.tracking.bulk import Tables
from forgekit.tracking.connection import Connection
from forgekit.tracking.registry import Registry
from forgekit.tracking.runs import Run, slug

if TYPE_CHECKING:
    from mlflow import MlflowClient

METRICS_PER_BATCH = 900  # MLflow takes 1,000 things at a time, params among them
IDENTITY, CONTENT, STORE = "forgekit.identity", "forgekit.content", "forgekit.store"
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


@dataclass
class Study:
    """An MLflow experiment. `run_ids` and `content` are what it holds, by the identity that a run carries as a tag."""

    client: MlflowClient
    name: str
    experiment_id: str
    registry: Registry
    store_name: str
    owns_artifacts: bool
    tables: Tables | None = None  # where many runs can be written in one go
    run_ids: dict[str, list[str]] = field(default_factory=dict)
    content: dict[str, str] = field(default_factory=dict)
    experiment_of: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, connection: Connection, name: str, store_name: str) -> Study:
        """Find the experiment, or make it, and read which runs it has."""
        client, own = connection.client, connection.artifacts is not None
        existing = client.get_experiment_by_name(name)
        if existing is None:
            place = (connection.artifacts / slug(name)).as_uri() if own else None
            experiment_id = client.create_experiment(name, artifact_location=place, tags={VIEW: saved_view()})
        else:
            experiment_id = existing.experiment_id
            if existing.lifecycle_stage == "deleted":
                client.restore_experiment(experiment_id)
        study = cls(client, name, experiment_id, Registry(client, experiment_id), store_name, own)
        if connection.database is not None:
            location = client.get_experiment(experiment_id).artifact_location
            tables = Tables(connection.database, experiment_id, location)
            study.tables = tables if tables.are_known() else None
        if existing is not None:
            study._read()
        return study

    def is_current(self, identity: str, content: str) -> bool:
        """Whether the run is there once, finished, and shows what it should."""
        return len(self.run_ids.get(identity, [])) == 1 and self.content.get(identity) == content

    def tags_of(self, run: Run, *, link_prompt: bool) -> dict[str, str]:
        """Return the run's tags as MLflow is to have them; its prompt is registered where it is to be linked."""
        tags = {**run.tags, STORE: self.store_name}
        tags[NOTE] = run.tags[NOTE].replace("{experiment_id}", self.experiment_id)
        if link_prompt:
            name, version = self.registry.version_of(run)
            tags[LINKED_PROMPTS] = json.dumps([{"name": name, "version": version}])
        return tags

    def write(self, run: Run, tags: dict[str, str], files: Callable[[Path], None]) -> None:
        """Write one run with everything in it; the one it replaces goes when the new one is whole."""
        from mlflow.entities import Metric, Param

        info = self.client.create_run(self.experiment_id, run.start_ms, tags, run.name).info
        metrics = [Metric(name, value, run.end_ms, step) for name, value, step in run.metrics]
        for start in range(0, max(1, len(metrics)), METRICS_PER_BATCH):
            params = [Param(name, value) for name, value in run.params.items()] if start == 0 else []
            self.client.log_batch(info.run_id, metrics[start : start + METRICS_PER_BATCH], params)
        self._write_artifacts(info.run_id, _local_path(info.artifact_uri), files)
        self.client.set_terminated(info.run_id, "FINISHED", run.end_ms)
        self._replace(run, info.run_id)

    def write_together(self, tagged: Sequence[tuple[Run, dict[str, str]]], store_folder: Path) -> None:
        """Write runs with their tags as `write` does, in two transactions: without their files, and when those are there."""
        by_id = {uuid.uuid4().hex: (run, tags) for run, tags in tagged}
        self.tables.begin(by_id)
        versions = groupby(by_id, key=lambda run_id: by_id[run_id][0].tags["prompt_id"])  # their judges share previews

        def write_version(run_ids: Sequence[str]) -> None:
            for run_id in run_ids:
                place = _local_path(self.tables.place_of(run_id))
                self._write_artifacts(run_id, place, partial(write_files, by_id[run_id][0], store_folder))

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(write_version, [list(run_ids) for _, run_ids in versions]))
        self.tables.finish({run_id: run.end_ms for run_id, (run, _) in by_id.items()})
        for run_id, (run, _) in by_id.items():
            self._replace(run, run_id)

    def remove_stale(self, current: Collection[str], experiments: Collection[str]) -> int:
        """Delete this store's runs of `experiments` that it would not write today; return how many."""
        stale = [
            identity
            for identity, experiment in self.experiment_of.items()
            if experiment in experiments and identity not in current
        ]
        for identity in stale:
            self._delete(self.run_ids.pop(identity))
        return len(stale)

    def _replace(self, run: Run, run_id: str) -> None:
        """Take the run, which is whole, for the one of its identity; delete those that were."""
        self._delete(self.run_ids.get(run.identity, []))
        self.run_ids[run.identity], self.content[run.identity] = [run_id], run.tags[CONTENT]

    def _read(self) -> None:
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], max_results=1000, page_token=token)
            for run in page:
                self._note(run)
            token = page.token
            if not token:
                return

    def _note(self, run: Any) -> None:
        """Remember a run of ours. One that was never finished has no content, so it is written again."""
        tags = run.data.tags
        identity = tags.get(IDENTITY)
        if identity is None:
            return
        self.run_ids.setdefault(identity, []).append(run.info.run_id)
        self.content[identity] = tags.get(CONTENT, "") if run.info.status == "FINISHED" else ""
        if tags.get(STORE) == self.store_name and "prompt_id" in tags:
            self.experiment_of[identity] = tags.get("experiment", "")
        for prompt in json.loads(tags.get(LINKED_PROMPTS, "[]")):
            self.registry.versions[tags["prompt_id"]] = prompt["name"], str(prompt["version"])

    def _write_artifacts(self, run_id: str, place: Path | None, files: Callable[[Path], None]) -> None:
        if place is not None and self.owns_artifacts:
            place.mkdir(parents=True, exist_ok=True)
            files(place)
            return
        with tempfile.TemporaryDirectory() as folder:
            files(Path(folder))
            self.client.log_artifacts(run_id, folder)

    def _delete(self, run_ids: Collection[str]) -> None:
        """Delete runs. MLflow keeps what it deletes; the pictures beside the store are taken away at once."""
        for run_id in run_ids:
            place = _local_path(self.client.get_run(run_id).info.artifact_uri) if self.owns_artifacts else None
            self.client.delete_run(run_id)
            if place is not None:
                shutil.rmtree(place.parent, ignore_errors=True)


def saved_view() -> str:
    """Return the view "by vision model", which groups the runs by judge, as MLflow's UI keeps it in a tag.

    How is not documented. No other part needs it: an MLflow that does not understand the tag shows no such view.
    """
    state = {
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "vision_model"}]},
        "selectedColumns": [f"{kind}.`{name}`" for kind, name in VIEW_COLUMNS],
        "runsHiddenMode": "SHOWALL",
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    return json.dumps({"name": "by vision model", "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"})


def _local_path(artifact_uri: str) -> Path | None:
    """Return the folder that a file URI names; None where artifacts are kept elsewhere."""
    parts = urlparse(artifact_uri)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None
