"""The store's prompt versions in MLflow's prompt registry: one prompt per scene, generator and experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forgekit.ids import content_hash
from forgekit.tracking.runs import Run, shorten, slug

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT_IDS = "_mlflow_experiment_ids"  # undocumented: in which experiments' "Prompts" page a prompt is listed
TEXT_LIMIT = 100_000  # characters


@dataclass
class Registry:
    """The prompts of one MLflow experiment. `versions` maps a prompt id to its (name, version) in the registry."""

    client: MlflowClient
    experiment_id: str
    versions: dict[str, tuple[str, str]] = field(default_factory=dict)
    looked_up: set[str] = field(default_factory=set)

    def version_of(self, run: Run) -> tuple[str, str]:
        """Return (name, version) of the run's prompt, registering it where it is new."""
        prompt_id, name = run.tags["prompt_id"], registry_name(run)
        if prompt_id not in self.versions and name not in self.looked_up:
            self._open(name, run)
        if prompt_id not in self.versions:
            tags = {"prompt_id": prompt_id, "experiment": run.tags["experiment"]}
            message = f"version {run.row['iteration']} of: {shorten(run.row['scene_text'], 400)}"
            text = as_template(run.row["prompt_text"])
            version = self.client.create_prompt_version(name, text, description=message, tags=tags).version
            self.versions[prompt_id] = name, str(version)
        return self.versions[prompt_id]

    def _open(self, name: str, run: Run) -> None:
        """Make the prompt, or read which versions it has: a call that was killed may have left one without a run."""
        from mlflow.exceptions import MlflowException

        self.looked_up.add(name)
        tags = {EXPERIMENT_IDS: f",{self.experiment_id},"}
        try:
            self.client.create_prompt(name, description=shorten(run.row["scene_text"], 1000), tags=tags)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            self._read(name)

    def _read(self, name: str) -> None:
        token = None
        while True:
            page = self.client.search_prompt_versions(name, page_token=token)
            for version in page:
                self.versions.setdefault(version.tags.get("prompt_id", ""), (name, str(version.version)))
            token = page.token
            if not token:
                return


def registry_name(run: Run) -> str:
    """Return the name in the prompt registry under which the versions of a scene follow each other."""
    row = run.row
    chain = content_hash([row["experiment"], row["model"], row["scene_hash"]])[:8]
    return f"{slug(row['experiment'])}.{slug(row['scene_text'])}.{chain}"


def as_template(text: str) -> str:
    """Return a prompt's text so that MLflow shows it as it is: doubled braces would make a template of it."""
    return shorten(text.replace("{{", "{ {").replace("{%", "{ %"), TEXT_LIMIT)
