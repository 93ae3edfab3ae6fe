"""The saved views of an MLflow experiment, and the address that opens on them.

The UI loads a hundred runs and takes the means of groups over those alone, so a view never asks for more. How views are
kept, in tags of the experiment, is not documented. No other part needs them: an MLflow that does not understand such a
tag shows no such view.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Sequence
from typing import Any

from forgekit.errors import without_secrets
from forgekit.tracking.run import WORKFLOW, Run

SHARED = "mlflow.sharedViewState."
VIEW = f"{SHARED}forgekit"  # of rounds; an experiment that has it is one of ours
LOADED = 100  # runs
ROUND_COLUMNS = (
    *("gain/mean", "gain/low", "gain/high", "adherence/mean", "adherence/low", "adherence/high"),
    *("n/scenes", "n/images"),
)
JUDGE_COLUMNS = ("adherence/mean", "score/mean", "score/q50", "n/images")
VERSION_COLUMNS = ("score/mean", "score/min", "score/max", "score/change_from_parent", "images/drawn")
NAME_WIDTH, TAG_WIDTH, METRIC_WIDTH, MEAN_WIDTH = 230, 100, 104, 190  # pixels; a mean has all of its digits


def saved_views(rounds: Sequence[Run], scene: str, arms: Sequence[str]) -> dict[str, str]:
    """Return the experiment's tags that hold its views: of rounds, of judges, and of the versions of a `scene`.

    Args:
        rounds: the runs of kind "round" that the experiment has.
        arms: the tags by which its arms are told apart.
    """
    few, now = _that_fit(rounds), max((run.end_ms for run in rounds), default=0)
    by_judge = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "vision_model"}]}
    named = f"LIKE '{scene.replace(chr(39), '_')}'" if "'" in scene else f"= '{scene}'"  # "_" is any letter there
    of_rounds = {"searchFilter": f"tags.kind != 'version'{few}"}
    of_judges = {"searchFilter": f"tags.kind = 'round'{few}", "groupBy": by_judge}
    of_scene = {"searchFilter": f"tags.kind = 'version' AND tags.scene {named}", "orderByAsc": True}
    return {
        VIEW: _view("rounds", now, of_rounds, arms, ROUND_COLUMNS),
        f"{VIEW}-judges": _view("judges by round", now, of_judges, arms, JUDGE_COLUMNS, width=MEAN_WIDTH),
        f"{VIEW}-scene": _view("versions of a scene", now, of_scene, [*arms, "role", "round"], VERSION_COLUMNS),
    }


def address(uri: str, experiment_id: str) -> str:
    """Return where the UI opens on the view of rounds, at a first visit too; of a database, where `make ui` serves it."""
    local = f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT', '5000')}"
    server = without_secrets(uri).rstrip("/") if uri.startswith(("http://", "https://")) else local
    return f"{server}/#/experiments/{experiment_id}/runs?{WORKFLOW}&viewStateShareKey={VIEW.removeprefix(SHARED)}"


def _that_fit(rounds: Sequence[Run]) -> str:
    """Return what to add to a filter so that it finds fewer than a hundred of the runs: of many, those that tell most."""
    last = {"place": ("last",)}
    for where in ({}, {"place": ("first", "last")}, last, last | {"role": ("objective",)}):
        found = [run for run in rounds if all(run.tags[name] in values for name, values in where.items())]
        if len(found) < LOADED:
            break
    else:
        where = {"place": ("none",)}
    return "".join(f" AND tags.{name} IN {(*values, 'all')!r}" for name, values in where.items())


def _view(
    name: str,
    now: int,
    state: dict[str, Any],
    tags: Sequence[str],
    metrics: Sequence[str],
    *,
    width: int = METRIC_WIDTH,
) -> str:
    run_name = "attributes.`Run Name`"
    widths = {f"tags.`{tag}`": TAG_WIDTH for tag in tags} | {f"metrics.`{metric}`": width for metric in metrics}
    state = {
        "runsHiddenMode": "SHOWALL",
        "selectedColumns": list(widths),
        "columnOrder": [run_name, *widths],
        "columnWidths": {run_name: NAME_WIDTH, **widths},
        **state,
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps({"name": name, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"})
