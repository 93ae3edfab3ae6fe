"""What people's ratings say: how far each judge and the raters agree with them, and which arm they find better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forgekit.judge_tests.agreement import correlate, rated_scores
from forgekit.metrics import SAME, clustered_interval, resampled_interval
from forgekit.store import Store


def people(store: Store, *, source: str | None = None) -> pd.DataFrame:
    """Return how far people agree with each judge and with one another: one row per kind of rating, who, and measure.

    Columns: `n` (images, elements or pairs), `scenes`, `value`, and its 95 % interval, for which scenes are resampled.
    Several raters count by their mean; what they are evenly split on drops out. Measures:

    - `spearman`: a judge's scores against ratings of images (`correlate`).
    - `same answer`: the share of elements that a judge passes where people see them, and fails where they do not, for all
      elements and each kind of them.
    - `same order`: the share of pairs whose better image has the higher score; equal scores count half.
    - `alpha`: Krippendorff's alpha between raters, over what at least two have rated. 1 is perfect, 0 what chance gives.

    Args:
        store: whose ratings.
        source: the import, or "fk.rate" for what was rated by hand; None for all.
    """
    correlated = correlate(rated_scores(store, source=source))
    rows = [
        ("image", row.judge, "spearman", row.images, row.scenes, row.spearman, row.spearman_low, row.spearman_high)
        for row in correlated.itertuples()
    ]
    hits = store.df("select * from judge_hits_in($source) order by all", source=source)
    for (kind, judge), told in hits.groupby(["kind", "judge"]):
        rows.append((kind, judge, "same order" if kind == "pair" else "same answer", *_share(told)))
        for part, some in told.groupby("part"):
            rows.append((kind, judge, f"same answer: {part}", *_share(some)))
    for kind, told in store.df("select * from voices_in($source) order by all", source=source).groupby("kind"):
        if (voices := told["voice"].nunique()) > 1:
            rows.append((kind, f"{voices} raters", "alpha", *krippendorff_alpha(told)))
    return pd.DataFrame(rows, columns=["kind", "who", "measure", "n", "scenes", "value", "low", "high"])


def win_rates(store: Store, *, source: str | None = None) -> pd.DataFrame:
    """Return which arm people find better: one row per two arms that were compared, or two versions of one arm.

    A scene counts once, however many pairs and raters it has: `arm` wins it where it is preferred more often than not.
    Columns: `answers`, `pairs`, `scenes`, `wins`, `ties`; `win_rate` among the scenes that are no tie, with its exact 95 %
    interval (Clopper-Pearson), and the two-sided `p` of the sign test against one half.
    """
    from scipy.stats import binomtest

    rows, preferred = [], store.df("select * from arm_preferences_in($source) order by all", source=source)
    for (arm, against), scenes in preferred.groupby(["arm", "against"]):
        won, tied = int((scenes["preferred"] > 0.5).sum()), int((scenes["preferred"] == 0.5).sum())
        row = {"arm": arm, "against": against, "answers": scenes["answers"].sum(), "pairs": scenes["pairs"].sum()}
        row |= {"scenes": len(scenes), "wins": won, "ties": tied}
        if decided := len(scenes) - tied:
            test = binomtest(won, decided)
            low, high = test.proportion_ci(0.95, "exact")
            row |= {"win_rate": won / decided, "low": low, "high": high, "p": test.pvalue}
        rows.append(row)
    counts = ["arm", "against", "answers", "pairs", "scenes", "wins", "ties"]
    return pd.DataFrame(rows, columns=[*counts, "win_rate", "low", "high", "p"])


def krippendorff_alpha(ratings: pd.DataFrame) -> tuple[int, int, float, float, float]:
    """Return Krippendorff's alpha of `scene`, `thing`, `rating`: things, scenes, alpha, and its interval over scenes.

    Things that only one has rated drop out. By the interval metric, which on two values is the nominal one (Krippendorff
    2011, "Computing Krippendorff's Alpha-Reliability"). nan where all ratings are equal.
    """
    things = ratings.groupby(["scene", "thing"])["rating"].agg(["size", "var", "sum", lambda r: (r**2).sum()])
    things = things[things["size"] > 1]
    things["var"] *= things["size"]  # the disagreement within a thing
    of_scenes = things.groupby("scene").sum().to_numpy(dtype=float)

    def alpha(picks: NDArray[np.int_], axis: int = -1) -> Any:
        n, within, total, squares = np.moveaxis(of_scenes[picks].sum(axis=-2), -1, 0)
        with np.errstate(all="ignore"):
            expected = (squares - total**2 / n) / (n - 1)
            return np.where(expected > SAME, 1 - within / n / expected, np.nan)

    value = float(alpha(np.arange(len(of_scenes))))
    return len(things), len(of_scenes), value, *resampled_interval(len(of_scenes), alpha)


def _share(told: pd.DataFrame) -> tuple[int, int, float, float, float]:
    """Return n, scenes, the share of hits and its interval; exact, as of scenes, where resampling has nothing to vary."""
    from scipy.stats import binomtest

    share, scenes = float(told["hit"].mean()), told["scene"].nunique()
    low, high = clustered_interval(told["hit"], told["scene"])
    if share in (0.0, 1.0):
        low, high = binomtest(round(share * scenes), scenes).proportion_ci(0.95, "exact")
    return len(told), scenes, share, low, high
