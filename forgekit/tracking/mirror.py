"""One MLflow experiment: which runs it has, how one is written whole, and its saved view."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlparse
from urllib.request import url2pathname

from forgekit.tracking.connection import pages
from forgekit.tracking.registry import registered
from forgekit.tracking.run_contents import CONTENT, IDENTITY, Run, slug

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

STORE = "forgekit.store"  # the tag that says which store a run on a shared server is of
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


class Held(NamedTuple):
    """What is known of a run that MLflow holds; `content` is empty where it was never finished."""

    run_id: str
    folder: Path | None  # of its artifacts, where that is one of the mirror's own
    content: str
    store_name: str


@dataclass
class Mirror:
    """An MLflow experiment; `held` are the runs of ours that it had when it was opened, by identity."""

    client: MlflowClient
    experiment_id: str
    artifacts: Path | None
    store_name: str
    held: dict[str, list[Held]] = field(default_factory=dict)
    prompts: dict[str, dict[str, str]] = field(default_factory=dict)  # in the registry, by prompt id

    @classmethod
    def open(cls, client: MlflowClient, name: str, *, artifacts: Path | None, store_name: str) -> Mirror:
        """Find the experiment, or make it, and read which runs it has.

        Args:
            artifacts: the folder beside the store that artifacts are kept in; None: where the server says.
            store_name: what runs of this store are known by.
        """
        place = None if artifacts is None else (artifacts / slug(name)).as_uri()
        existing = _found(client, name, place)
        if existing is None:
            experiment_id = client.create_experiment(name, artifact_location=place, tags={VIEW: saved_view()})
        else:
            experiment_id = existing.experiment_id
        mirror = cls(client, experiment_id, artifacts, store_name)
        for run in pages(partial(client.search_runs, [experiment_id], max_results=1000)):
            info, tags = run.info, run.data.tags
            if IDENTITY in tags:
                content = tags.get(CONTENT, "") if info.status == "FINISHED" else ""
                held = Held(info.run_id, _own_folder(info.artifact_uri, artifacts), content, tags.get(STORE, ""))
                mirror.held.setdefault(tags[IDENTITY], []).append(held)
        return mirror

    def is_current(self, identity: str, content: str) -> bool:
        """Whether the run is there once, finished, and shows what it should."""
        return [run.content for run in self.held.get(identity, [])] == [content]

    def write(self, run: Run, files: Callable[[Path], None], *, link_prompt: bool = False) -> None:
        """Write one run with everything in it; the one it replaces goes when the new one is whole.

        Args:
            files: writes the run's artifacts into a folder.
            link_prompt: register the prompt version and link it.
        """
        from mlflow.entities import Metric, Param

        tags = {**run.tags, STORE: self.store_name}
        tags[NOTE] = run.tags[NOTE].replace("{experiment_id}", self.experiment_id)
        if link_prompt:
            prompt_id = run.tags["prompt_id"]
            if prompt_id not in self.prompts:  # the judges of a version come one after the other
                self.prompts[prompt_id] = registered(self.client, self.experiment_id, run)
            tags[LINKED_PROMPTS] = json.dumps([self.prompts[prompt_id]])
        info = self.client.create_run(self.experiment_id, run.start_ms, tags, run.name).info
        metrics = [Metric(name, value, run.end_ms, step) for name, value, step in run.metrics]
        params = [Param(name, value) for name, value in run.params.items()]
        self.client.log_batch(info.run_id, metrics, params)
        self._write_artifacts(info.run_id, _own_folder(info.artifact_uri, self.artifacts), files)
        self.client.set_terminated(info.run_id, "FINISHED", run.end_ms)
        self._delete(run.identity)

    def remove_others(self, wanted: Collection[str]) -> int:
        """Delete this store's runs of other identities than `wanted`; return how many."""
        others = [
            identity
            for identity, held in self.held.items()
            if identity not in wanted and held[0].store_name == self.store_name
        ]
        for identity in others:
            self._delete(identity)
        return len(others)

    def _write_artifacts(self, run_id: str, own: Path | None, files: Callable[[Path], None]) -> None:
        if own is not None:
            own.mkdir(parents=True, exist_ok=True)
            files(own)
            return
        with tempfile.TemporaryDirectory() as folder:
            files(Path(folder))
            self.client.log_artifacts(run_id, folder)

    def _delete(self, identity: str) -> None:
        """Delete the runs that were of an identity. MLflow keeps what it deletes; pictures beside the store go at once."""
        for run in self.held.pop(identity, []):
            self.client.delete_run(run.run_id)
            if run.folder is not None:
                shutil.rmtree(run.folder.parent, ignore_errors=True)


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


def _found(client: MlflowClient, name: str, place: str | None) -> Experiment | None:
    """Return the experiment of that name; one of ours whose store was moved, artifacts and all, makes room for another."""
    existing = client.get_experiment_by_name(name)
    if existing is None:
        return None
    if existing.lifecycle_stage == "deleted":
        client.restore_experiment(existing.experiment_id)
    if place in (None, existing.artifact_location) or VIEW not in existing.tags:
        return existing
    client.rename_experiment(existing.experiment_id, f"{name} (before the store was moved, {time.time():.0f})")
    client.delete_experiment(existing.experiment_id)
    return None


def _own_folder(artifact_uri: str, artifacts: Path | None) -> Path | None:
    """Return the folder of a run's artifacts where it is one of the mirror's own; None elsewhere.

    Folders elsewhere are neither linked into nor deleted, whatever a database says that may have come by mail.
    """
    parts = urlparse(artifact_uri)
    folder = Path(url2pathname(parts.path)).resolve()  # mlartifacts/experiment/run/artifacts
    own = artifacts is not None and parts.scheme == "file" and [artifacts.resolve()] == list(folder.parents)[2:3]
    return folder if own else None
