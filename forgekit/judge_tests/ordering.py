"""How well judges order error graphs and tell their steps apart, measured as T2IScoreScore does (Saxon et al. 2024)."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forgekit.errors import ParameterError, UnknownModelError
from forgekit.judge_tests.graph_scores import score_graphs
from forgekit.models import VisionModel, load_model
from forgekit.progress import as_text

EMBEDDED = ("mini-clip", "mini-owl")
DIGITS = 4


@dataclass
class JudgeTest:
    """What `judge_test` found. `figures` is by judge; `table` has what each judge said about each picture."""

    figures: dict[str, dict[str, Any]]
    table: pd.DataFrame = field(repr=False)
    failures: dict[str, str] = field(default_factory=dict)
    json: bool = False

    @property
    def failed(self) -> int:
        """How many judges could not judge."""
        return len(self.failures)

    def frame(self) -> pd.DataFrame:
        """Return one row per (judge, kind of error) with ordering and separation; kind "all" is the whole."""
        rows = []
        for judge, figures in self.figures.items():
            parts = {"all": figures, "whole text": figures.get("whole_text", {}), **figures.get("by_error", {})}
            rows += [
                {"judge": judge, "error": kind, "ordering": part.get("ordering"), "separation": part.get("separation")}
                for kind, part in parts.items()
            ]
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        if self.json:
            return json_format.dumps(self.figures, indent=2)
        return "\n".join([as_text(self.frame()), *(f"{judge}: {reason}" for judge, reason in self.failures.items())])

    __repr__ = __str__


def judge_test(
    *,
    judges: Sequence[VisionModel | str] = EMBEDDED,
    graphs: int = 200,
    drawings: int = 3,
    seed: int = 0,
    json: bool = False,
) -> JudgeTest:
    """Test judges on pictures of the mini world that are right, then have one, two and three errors.

    A judge that is not known or cannot be loaded is reported with its reason, and the others are tested.

    Args:
        judges: vision models to test.
        graphs: how many graphs; each has four steps.
        drawings: pictures of each step, the same things at other places.
        seed: another one draws other graphs.
        json: print the figures as JSON.

    Raises:
        ParameterError: `graphs` or `drawings` is below 1, or no judge is given.
    """
    from forgekit.mini.error_graphs import error_graphs

    if not judges:
        raise ParameterError("judges=[]: give at least one, such as mini-clip")
    models, failures = [], {}
    for judge in judges:
        try:
            models.append(load_model("vision_model", judge))
        except UnknownModelError as error:
            failures[str(judge)] = str(error)
    made = error_graphs(graphs, drawings=drawings, seed=seed)
    table, more = score_graphs(models, made, seed=seed)
    failures |= more
    figures: dict[str, dict[str, Any]] = {name: {"error": reason} for name, reason in failures.items()}
    figures |= {judge: _figures(rows) for judge, rows in table.groupby("judge", sort=False)}
    return JudgeTest(figures, table, failures, json)


def _figures(table: pd.DataFrame) -> dict[str, Any]:
    """Return what is told of one judge; `table` has its rows of `score_graphs`."""
    scores = _array(table, "score")
    added = table[table["errors"] > 0].drop_duplicates(["graph", "errors"])
    kinds = added.pivot(index="graph", columns="errors", values="error").to_numpy()
    return {
        **_measure(scores),
        "by_error": {
            kind: {**_measure(_steps(scores, kinds == kind)), "graphs": int((kinds == kind).sum())}
            for kind in sorted(set(kinds.ravel()))
        },
        "whole_text": _measure(_array(table, "text_score")),
        "pictures": len(table),
        "without_score": int(table["score"].isna().sum()),
    }


def _measure(scores: NDArray[np.float64]) -> dict[str, float | None]:
    values = {"ordering": ordering(scores), "separation": separation(scores)}
    return {name: None if np.isnan(value) else round(value, DIGITS) for name, value in values.items()}


def _array(table: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return scores by (graph, drawing, number of errors); nan where there is none."""
    ordered = table.sort_values(["graph", "drawing", "errors"])
    shape = tuple(table[name].nunique() for name in ("graph", "drawing", "errors"))
    return ordered[column].astype(float).to_numpy().reshape(shape)


def _steps(scores: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the scores just before and just after the errors that `chosen` (graph, error) names: (m, drawings, 2)."""
    return np.stack([scores[graph][:, step : step + 2] for graph, step in np.argwhere(chosen)])


def ordering(scores: NDArray[np.float64]) -> float:
    """Return how well scores fall with the number of errors: the mean over walks of minus Spearman's correlation.

    `scores` is (graphs, drawings, steps), best step first; each drawing of a graph is one walk. 1 is the right order
    throughout, 0 none, -1 the wrong one. A walk of one score throughout counts 0. Missing scores (nan) are left out;
    nan where fewer than two are left in every walk.
    """
    from scipy.stats import spearmanr

    walks = []
    for walk in scores.reshape(-1, scores.shape[-1]):
        there = np.flatnonzero(~np.isnan(walk))
        if len(there) >= 2:
            said = walk[there]
            walks.append(0.0 if np.ptp(said) == 0 else -spearmanr(there, said).statistic)
    return float(np.mean(walks)) if walks else float("nan")


def separation(scores: NDArray[np.float64]) -> float:
    """Return how far the scores of different steps lie apart: the mean Kolmogorov-Smirnov statistic, in [0, 1].

    `scores` is (graphs, drawings, steps); the drawings of two steps of a graph are the two samples, and all pairs of
    steps count, as in T2IScoreScore. It does not tell which step has the higher scores: that is what `ordering` says.
    """
    from scipy.stats import ks_2samp

    found = [
        ks_2samp(one, other).statistic
        for graph in scores
        for one, other in combinations([step[~np.isnan(step)] for step in graph.T], 2)
        if len(one) and len(other)
    ]
    return float(np.mean(found)) if found else float("nan")
