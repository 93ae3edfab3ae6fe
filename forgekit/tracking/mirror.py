"""One MLflow experiment: which runs it has, how one is written whole, and what its tags say once for all of them."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlparse
from urllib.request import url2pathname

from forgekit.tracking.connection import pages
from forgekit.tracking.registry import registered
from forgekit.tracking.run import ABOUT, Run, slug
from forgekit.tracking.views import VIEW, saved_views

if TYPE_CHECKING:
    from mlflow import MlflowClient

NOTE, LINKED_PROMPTS = "mlflow.note.content", "mlflow.linkedPrompts"
PICTURE = re.compile(r"!\[\]\(([\w.-]+)\)")  # in a description: an artifact of the run


class Held(NamedTuple):
    """What is known of a run that MLflow holds; `content` is empty where it was never finished."""

    run_id: str
    folder: Path | None  # of its artifacts, where that is one of the mirror's own
    content: str
    store_name: str
    kind: str


@dataclass
class Mirror:
    """An MLflow experiment; `held` are the runs of ours that it had when it was opened, by identity."""

    client: MlflowClient
    experiment_id: str
    artifacts: Path | None
    store_name: str
    tags: dict[str, str]  # of the experiment
    moved: bool = False  # the store lay elsewhere before
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
        existing = client.get_experiment_by_name(name)
        if existing is not None and existing.lifecycle_stage == "deleted":
            client.restore_experiment(existing.experiment_id)
        moved = existing is not None and place not in (None, existing.artifact_location) and VIEW in existing.tags
        if existing is not None and moved:
            client.rename_experiment(existing.experiment_id, f"{name} (before the store was moved, {time.time():.0f})")
            client.delete_experiment(existing.experiment_id)
        if existing is None or moved:
            tags: dict[str, str] = {}
            experiment_id = client.create_experiment(name, artifact_location=place, tags=saved_views((), "", ()))
        else:
            experiment_id, tags = existing.experiment_id, dict(existing.tags)
        mirror = cls(client, experiment_id, artifacts, store_name, tags, moved)
        for run in pages(partial(client.search_runs, [experiment_id], max_results=1000)):
            info, tags = run.info, run.data.tags
            if about := _about(tags):
                content = about["content"] if info.status == "FINISHED" else ""
                folder, kind = _own_folder(info.artifact_uri, artifacts), tags.get("kind", "version")
                held = Held(info.run_id, folder, content, about["store"], kind)
                mirror.held.setdefault(about["identity"], []).append(held)
        return mirror

    @property
    def rounds(self) -> int:
        """How many runs of rounds there are of this store."""
        return sum(held[0].kind == "round" and held[0].store_name == self.store_name for held in self.held.values())

    def is_current(self, identity: str, content: str) -> bool:
        """Whether the run is there once, finished, and shows what it should."""
        return [run.content for run in self.held.get(identity, [])] == [content]

    def write(self, run: Run, files: Callable[[Path], Sequence[str]], *, link_prompt: bool = False) -> None:
        """Write one run with everything in it; the one it replaces goes when the new one is whole.

        Args:
            files: writes the run's artifacts into a folder, and returns the pictures among them that its description may show.
            link_prompt: register the prompt version and link it.
        """
        from mlflow.entities import Metric, Param, RunTag

        tags = {**run.tags, ABOUT: json.dumps({**run.about, "store": self.store_name})}
        if link_prompt:
            prompt_id = run.about["prompt_id"]
            if prompt_id not in self.prompts:  # the judges of a version come one after the other
                self.prompts[prompt_id] = registered(self.client, self.experiment_id, run)
            tags[LINKED_PROMPTS] = json.dumps([self.prompts[prompt_id]])
        info = self.client.create_run(self.experiment_id, run.start_ms, tags, run.name).info
        if own := _own_folder(info.artifact_uri, self.artifacts):
            own.mkdir(parents=True, exist_ok=True)
            shown = files(own)
        else:
            with tempfile.TemporaryDirectory() as folder:
                shown = files(Path(folder))
                self.client.log_artifacts(info.run_id, folder)
        note = run.note.replace("{experiment_id}", self.experiment_id).replace("{run_id}", info.run_id)
        for name in PICTURE.findall(note):
            address = f"![](get-artifact?path={name}&run_uuid={info.run_id})"
            note = note.replace(f"![]({name})", address if name in shown else "")
        metrics = [Metric(name, value, run.end_ms, step) for name, value, step in run.metrics]
        params = [Param(name, value) for name, value in run.params.items()]
        self.client.log_batch(info.run_id, metrics, params, [RunTag(NOTE, note)])
        self.client.set_terminated(info.run_id, "FINISHED", run.end_ms)
        self._delete(run.identity)

    def describe(self, tags: Mapping[str, str]) -> None:
        """Set the experiment's tags: its views, and what all of its runs have in common."""
        for name, value in tags.items():
            if self.tags.get(name) != value:
                self.client.set_experiment_tag(self.experiment_id, name, value)
                self.tags[name] = value

    def remove_others(self, wanted: Collection[str]) -> int:
        """Delete this store's runs of other identities than `wanted`; return how many of them were of versions."""
        others = {
            identity: held[0].kind
            for identity, held in self.held.items()
            if identity not in wanted and held[0].store_name == self.store_name
        }
        for identity in others:
            self._delete(identity)
        return list(others.values()).count("version")

    def _delete(self, identity: str) -> None:
        """Delete the runs that were of an identity. MLflow keeps what it deletes; pictures beside the store go at once."""
        for run in self.held.pop(identity, []):
            self.client.delete_run(run.run_id)
            if run.folder is not None:
                shutil.rmtree(run.folder.parent, ignore_errors=True)


def _about(tags: Mapping[str, str]) -> dict[str, str] | None:
    """Return what the mirror has to know of one of its runs; None for a run that is none of its own."""
    if identity := tags.get("forgekit.identity"):  # of a version before the JSON tag: it is replaced
        return {"identity": identity, "content": "", "store": tags.get("forgekit.store", "")}
    try:
        about = json.loads(tags.get(ABOUT, ""))
        return {name: str(about[name]) for name in ("identity", "content", "store")}
    except (ValueError, TypeError, KeyError):
        return None


def _own_folder(artifact_uri: str, artifacts: Path | None) -> Path | None:
    """Return the folder of a run's artifacts where it is one of the mirror's own; None elsewhere.

    Folders elsewhere are neither linked into nor deleted, whatever a database says that may have come by mail.
    """
    parts = urlparse(artifact_uri)
    folder = Path(url2pathname(parts.path)).resolve()  # mlartifacts/experiment/run/artifacts
    own = artifacts is not None and parts.scheme == "file" and [artifacts.resolve()] == list(folder.parents)[2:3]
    return folder if own else None
