"""The store's prompt versions in MLflow's prompt registry: one prompt per scene, generator and experiment."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from forgekit.ids import content_hash
from forgekit.tracking.connection import pages
from forgekit.tracking.run import DIGITS, Run, shorten, slug

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT_IDS = "_mlflow_experiment_ids"  # undocumented: in which experiments' "Prompts" page a prompt is listed
TEXT_LIMIT = 100_000  # characters


def registered(client: MlflowClient, experiment_id: str, run: Run) -> dict[str, str]:
    """Return name and version of the run's prompt in the registry; it is registered where it is new.

    Versions count from 1 there, so each says which of ours it is. The alias `best` is on the one with the best mean by
    the steering judge, its tag `score`; it is picked by its own images, so luck has a part in it.
    """
    row, prompt_id = run.shown[0], run.about["prompt_id"]
    chain = content_hash([row["experiment"], row["model"], row["scene_hash"]])[:8]
    name = f"{slug(row['experiment'])}.{slug(row['scene_text'])}.{chain}"
    listed = f",{experiment_id},"
    if client.get_prompt(name) is None:
        client.create_prompt(name, shorten(row["scene_text"], 1000), {EXPERIMENT_IDS: listed})
    else:
        client.set_prompt_tag(name, EXPERIMENT_IDS, listed)  # of another experiment before, where the store was moved
    known = {version.tags.get("prompt_id"): version for version in pages(partial(client.search_prompt_versions, name))}
    score = {} if row["current_score"] is None else {"score": f"{row['current_score']:.{DIGITS}f}"}
    if prompt_id not in known:
        label = f"v{run.tags['prompt_version']}"
        text = (
            row["prompt_text"].replace("{{", "{ {").replace("{%", "{ %")
        )  # doubled braces would make a template of it
        known[prompt_id] = client.create_prompt_version(
            name,
            shorten(text, TEXT_LIMIT),
            description=f"{label} of: {shorten(row['scene_text'], 400)}",
            tags={"prompt_id": prompt_id, "experiment": row["experiment"], "version": label, **score},
        )
    version, best = known[prompt_id], known.get(row["best_prompt_id"])
    if score and version.tags.get("score") != score["score"]:
        client.set_prompt_version_tag(name, version.version, "score", score["score"])
    if best is not None and "best" not in best.aliases:
        client.set_prompt_alias(name, "best", best.version)
    return {"name": name, "version": str(version.version)}
