"""Calibration: what a judge's probabilities mean, and from which score on its "adheres" is right often enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from forgekit.errors import ParameterError
from forgekit.ids import content_id
from forgekit.judge_tests.graph_scores import score_graphs
from forgekit.judge_tests.ordering import EMBEDDED
from forgekit.models import VisionModel, load_model
from forgekit.store import Store
from forgekit.store.pass_marks import keep_pass_mark
from forgekit.store.rows import insert_rows

GRAPHS, RATINGS = "error graphs", "human ratings"
BINS = 10
CONFIDENCE = 0.9  # of intervals; one-sided, that the precision at the threshold is no lower than wanted
COLUMNS = ("vision_model", "truth", "wanted_precision", "threshold", "precision", "precision_low", "recall", "images")

RATED = "select * from rated_scores_of($vision_model, $judge_key) order by image_id"
REPLACE = "delete from judge_calibrations where id = $id"

# The images that this judge has scored follow its pass mark.
MARK_ADHERING = """
update generated_images
set is_adhering = adherence_score >= $pass_mark,
    evaluation_details = json_merge_patch(evaluation_details, json_object('adhering_at', $pass_mark::double))
where adherence_score is not null
  and evaluation_details ->> '$.vision_model' = $vision_model
  and evaluation_details ->> '$.judge_key' = $judge_key
"""

STORED = """
select *
from judge_calibrations
where ($vision_model is null or vision_model = $vision_model)
order by vision_model, truth = 'human ratings' desc, created_at desc
"""


@dataclass(frozen=True)
class Threshold:
    """The lowest score from which on "adheres" is right as often as wanted; None where no score is enough.

    `precision` and `recall` are what the sample shows at it, `precision_low` the lower end of the precision's interval
    (Wilson, one-sided 90 %), which is what reaches the wanted precision.
    """

    threshold: float | None
    precision: float | None
    precision_low: float | None
    recall: float | None


def threshold_for(scores: ArrayLike, truths: ArrayLike, precision: float) -> Threshold:
    """Find the threshold that reaches `precision` on scores in [0, 1] and truths (does the image adhere?).

    A precision depends on how many images adhere at all: it holds where that share is like the sample's, or higher.

    Raises:
        ParameterError: `precision` does not lie between 0 and 1.
    """
    from scipy.stats import binomtest

    _check_precision(precision)
    scores, truths = _pairs(scores, truths)
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], np.cumsum(truths[order])
    found = Threshold(None, None, None, None)
    for place in np.flatnonzero(np.diff(scores, append=np.nan) != 0):  # the last of equal scores: they go together
        n = place + 1
        low = binomtest(int(right[place]), n, alternative="greater").proportion_ci(CONFIDENCE, "wilson").low
        if low >= precision:
            found = Threshold(*map(float, (scores[place], right[place] / n, low, right[place] / right[-1])))
    return found


def reliability(scores: ArrayLike, truths: ArrayLike, *, bins: int = BINS) -> pd.DataFrame:
    """Return the reliability curve: one row per bin of scores that has any.

    Columns: `low` and `high` (the bin's edges), `said` (mean score), `so` (share that is true), `so_low` and `so_high`
    (its 90 % Wilson interval), `n`. A calibrated judge has `said` = `so`.
    """
    from scipy.stats import binomtest

    scores, truths = _pairs(scores, truths)
    place = np.minimum((scores * bins).astype(int), bins - 1)
    rows = []
    for number in np.unique(place):
        said, so = scores[place == number], truths[place == number]
        low, high = binomtest(int(so.sum()), len(so)).proportion_ci(CONFIDENCE, "wilson")
        rows.append((number / bins, (number + 1) / bins, said.mean(), so.mean(), low, high, len(so)))
    return pd.DataFrame(rows, columns=["low", "high", "said", "so", "so_low", "so_high", "n"])


def calibrate(
    store: Store,
    *,
    judges: Sequence[VisionModel | str] = EMBEDDED,
    precision: float = 0.9,
    graphs: int = 200,
    rated_at: float | None = None,
    seed: int = 1,
) -> pd.DataFrame:
    """Find from which score on "adheres" is right as often as wanted, and store it with each judge.

    It becomes the judge's pass mark (table `pass_marks`): `evaluate_images` sets `is_adhering` by it from then on, and
    images that the judge has scored already follow. A second call replaces what the first one found. Where both truths
    were used, human ratings count.

    Args:
        judges: vision models to calibrate.
        precision: how often an image that is called adhering is to be so.
        graphs: how many error graphs to draw where these are the truth; a quarter of their pictures is correct.
        rated_at: take human ratings for the truth: an image adheres from this mean rating on, 0 the lowest and 1 the
            highest of its scale. Of an image that was rated element by element only, each must reach it. Where not given,
            error graphs are.
        seed: another one draws other graphs; `judge-test` draws those of 0.

    Returns:
        One row per judge; `threshold` is null where no score reaches the precision; the pass mark is then what it is without this
        truth: the other truth's threshold, else the judge's `adhering_at`.

    Raises:
        UnknownModelError: a judge that nobody knows or whose weights are not there.
        ParameterError: `precision` or `rated_at` outside its range, or no image has both a rating and a score.
    """
    _check_precision(precision)
    if rated_at is not None and not 0 < rated_at <= 1:
        raise ParameterError(f"rated_at={rated_at} must lie above 0, up to 1 (the highest rating of the scale)")
    models = [load_model("vision_model", judge) for judge in judges]
    samples = [
        _graph_sample(model, graphs, seed) if rated_at is None else _rated_sample(store, model, rated_at)
        for model in models
    ]
    truth = GRAPHS if rated_at is None else RATINGS
    rows = [_row(model, truth, precision, *sample) for model, sample in zip(models, samples, strict=True)]
    with store.transaction() as con:
        for model, row in zip(models, rows, strict=True):
            con.execute(REPLACE, {"id": row["id"]})
            insert_rows(con, "judge_calibrations", [row])
            mark = keep_pass_mark(con, model.name, row["judge_key"], adhering_at=model.adhering_at)
            identity = {name: row[name] for name in ("vision_model", "judge_key")}
            con.execute(MARK_ADHERING, {**identity, "pass_mark": mark})
    return pd.DataFrame(rows)[list(COLUMNS)]


def calibration_of(store: Store, vision_model: str | None = None) -> pd.DataFrame:
    """Return the stored calibrations, the one that counts first for each judge: `curve` holds the reliability curve."""
    return store.df(STORED, vision_model=vision_model)


def _check_precision(precision: float) -> None:
    if not 0 < precision < 1:
        raise ParameterError(f"precision={precision} must lie between 0 and 1, such as 0.9")


def _graph_sample(judge: VisionModel, graphs: int, seed: int) -> tuple[Any, Any]:
    from forgekit.mini.error_graphs import error_graphs

    table, failures = score_graphs([judge], error_graphs(graphs, drawings=1, seed=seed), seed=seed)
    if failures:
        raise ParameterError(f"{judge.name} cannot be calibrated: {failures[judge.name]}")
    return table["score"].astype(float), table["errors"] == 0


def _rated_sample(store: Store, judge: VisionModel, rated_at: float) -> tuple[Any, Any]:
    rated = store.df(RATED, vision_model=judge.name, judge_key=judge.judge_key)
    if rated.empty:
        raise ParameterError(
            f"no image has both a human rating and a score by {judge.name}: rate images (`fk.rate`, or `forgekit "
            "import-ratings`) and have them judged (`forgekit evaluate --backfill`)"
        )
    return rated["score"], rated["rating"] >= rated_at


def _row(judge: VisionModel, truth: str, precision: float, scores: Any, truths: Any) -> dict[str, Any]:
    identity = {"vision_model": judge.name, "judge_key": judge.judge_key, "truth": truth}
    return {
        "id": content_id("calibration", **identity),
        **identity,
        "wanted_precision": precision,
        **asdict(threshold_for(scores, truths, precision)),
        "images": int(np.isfinite(np.asarray(scores, dtype=float)).sum()),
        "curve": reliability(scores, truths).to_dict("records"),
    }


def _pairs(scores: ArrayLike, truths: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the pairs that have a score, as arrays."""
    scores, truths = np.asarray(scores, dtype=float), np.asarray(truths, dtype=bool)
    known = np.isfinite(scores)
    return scores[known], truths[known]
