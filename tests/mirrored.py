"""How to look at what MLflow has of a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient

import forgekit as fk


def client_of(store) -> MlflowClient:
    uri = fk.tracking.default_uri(store)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def runs_of(store, filter_string="", experiment="main"):
    client = client_of(store)
    experiment_id = client.get_experiment_by_name(experiment).experiment_id
    return client.search_runs([experiment_id], filter_string, order_by=["attributes.run_name"])


def version_runs(store, experiment="main"):
    return runs_of(store, "tags.kind = 'version'", experiment)


def about(run) -> dict[str, Any]:
    """What only machines ask for: one JSON tag."""
    return json.loads(run.data.tags["forgekit"])


def artifacts(store, run) -> dict[str, Path]:
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}


def geometric_means(store, run) -> list[float]:
    """The scores of a run's images, from the stored documents alone."""
    documents = store.rows(
        "select element_scores from image_evaluations where prompt_id = $prompt_id and vision_model = $vision_model",
        prompt_id=about(run)["prompt_id"],
        vision_model=run.data.tags["vision_model"],
    )
    return sorted(float(np.exp(np.mean(np.log(list(d["element_scores"].values()))))) for d in documents)
