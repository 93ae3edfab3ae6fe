"""The store's prompt versions in MLflow's prompt registry: one prompt per scene, generator and experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from forgekit.ids import content_hash
from forgekit.tracking.connection import pages
from forgekit.tracking.runs import Run, shorten, slug

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT_IDS = "_mlflow_experiment_ids"  # undocumented: in which experiments' "Prompts" page a prompt is listed
TEXT_LIMIT = 100_000  # characters


@dataclass
class Registry:
    """The prompts of one MLflow experiment. `versions` maps (name, prompt id) to the version in the registry."""

    client: MlflowClient
    experiment_id: str
    opened: set[str] = field(default_factory=set)
    versions: dict[tuple[str, str], str] = field(default_factory=dict)

    def version_of(self, run: Run) -> dict[str, str]:
        """Return name and version of the run's prompt, registering it where it is new."""
        row, prompt_id, name = run.shown[0], run.tags["prompt_id"], registry_name(run)
        if name not in self.opened:
            self._open(name, run)
        if (name, prompt_id) not in self.versions:
            registered = self.client.create_prompt_version(
                name,
                as_template(row["prompt_text"]),
                description=f"version {run.tags['prompt_version']} of: {shorten(row['scene_text'], 400)}",
                tags={"prompt_id": prompt_id, "experiment": row["experiment"]},
            )
            self.versions[name, prompt_id] = str(registered.version)
        return {"name": name, "version": self.versions[name, prompt_id]}

    def _open(self, name: str, run: Run) -> None:
        """Make the prompt, or read which versions it has."""
        from mlflow.exceptions import MlflowException

        listed = f",{self.experiment_id},"
        try:
            self.client.create_prompt(name, shorten(run.shown[0]["scene_text"], 1000), {EXPERIMENT_IDS: listed})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            for version in pages(partial(self.client.search_prompt_versions, name)):
                self.versions[name, version.tags.get("prompt_id", "")] = str(version.version)
            self.client.set_prompt_tag(name, EXPERIMENT_IDS, listed)
        self.opened.add(name)


def registry_name(run: Run) -> str:
    """Return the name in the prompt registry under which the versions of a scene follow each other."""
    row = run.shown[0]
    chain = content_hash([row["experiment"], row["model"], row["scene_hash"]])[:8]
    return f"{slug(row['experiment'])}.{slug(row['scene_text'])}.{chain}"


def as_template(text: str) -> str:
    """Return a prompt's text so that MLflow shows it as it is: doubled braces would make a template of it."""
    return shorten(text.replace("{{", "{ {").replace("{%", "{ %"), TEXT_LIMIT)
