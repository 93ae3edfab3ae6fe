"""Statistics over scenes: bootstrap intervals, paired differences, signed ranks, Holm, correlation. Arrays in, numbers out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000
SAME = 1e-12  # values that differ by less are equal: scores have twelve digits
BCA_UP_TO = 2000  # values: beyond, nothing tells a bootstrap of their mean from the normal interval but what it costs
BATCH = 2_000_000  # numbers that are resampled at a time


@dataclass(frozen=True)
class Difference:
    """A mean paired difference, its 95 % interval, the p value of Wilcoxon's signed-rank test, and how they spread."""

    mean: float
    low: float
    high: float
    p: float
    n: int
    sd: float = float("nan")  # of the single differences


def mean_interval(values: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `values`, one value a scene: BCa bootstrap (Efron 1987).

    NaNs drop out. (nan, nan) for fewer than two values; equal values have an interval of no width. Where BCa is not
    defined it is the percentile interval of the same resamples, and beyond `BCA_UP_TO` values the normal one. The same
    values and `seed` give the same interval, in whatever order.
    """
    from scipy.special import ndtri

    data = np.sort(_finite(values))
    if len(data) < 2:
        return float("nan"), float("nan")
    if np.ptp(data) < SAME:
        return float(data[0]), float(data[0])
    if len(data) > BCA_UP_TO:
        reach = ndtri(0.975) * data.std(ddof=1) / len(data) ** 0.5
        return float(data.mean() - reach), float(data.mean() + reach)
    return _bootstrap(data, np.mean, 0.95, resamples, seed)


def clustered_interval(values: ArrayLike, clusters: ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `values` where several may belong to one cluster, such as a scene.

    Whole clusters are resampled; else as `mean_interval`. (nan, nan) for fewer than two clusters.
    """
    data, labels = np.asarray(values, dtype=float), np.asarray(clusters)
    labels, data = labels[np.isfinite(data)], data[np.isfinite(data)]
    _, number = np.unique(labels, return_inverse=True)
    totals, counts = np.bincount(number, weights=data), np.bincount(number)
    order = np.lexsort((counts, totals))
    totals, counts = totals[order], counts[order]
    if len(counts) >= 2 and np.ptp(data) < SAME:
        return float(data[0]), float(data[0])

    def mean_of(picks: NDArray[np.int_], axis: int = -1) -> Any:
        return totals[picks].sum(axis=axis) / counts[picks].sum(axis=axis)

    return resampled_interval(len(counts), mean_of)


def resampled_interval(
    n: int, statistic: Callable[..., Any], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return the interval of any statistic of `n` clusters: `statistic` takes the numbers of those resampled.

    It is called once a resample, or, where it has a parameter `axis`, for many at a time. Resamples for which it is
    nan drop out, and the interval is then the percentile one. (nan, nan) for fewer than two clusters.
    """
    if n < 2:
        return float("nan"), float("nan")
    return _bootstrap(np.arange(n), statistic, level, resamples, seed)


def paired_difference(after: ArrayLike, before: ArrayLike, *, seed: int = 0) -> Difference:
    """Compare two scores of the same items, in the same order; pairs with a missing score drop out.

    Scenes are the items to compare by: images of one scene are not independent of one another.
    """
    change = _finite(np.asarray(after, dtype=float) - np.asarray(before, dtype=float))
    low, high = mean_interval(change, seed=seed)
    mean = float(change.mean()) if len(change) else float("nan")
    sd = float(change.std(ddof=1)) if len(change) > 1 else float("nan")
    return Difference(mean, low, high, signed_rank_p(change), len(change), sd)


def signed_rank_p(changes: ArrayLike) -> float:
    """Return the two-sided p value of Wilcoxon's signed-rank test; 1.0 where nothing changed."""
    from scipy.stats import wilcoxon

    changed = _finite(changes)
    changed = changed[changed != 0]
    return float(wilcoxon(changed).pvalue) if len(changed) else 1.0


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p values corrected for how many there are, in their order, in [0, 1] (Holm 1979).

    Below 0.05 after correction, the chance that any of them is so by luck alone is at most 5 %. A NaN stands for a
    test that could not be made: it counts as 1, and among the tests.
    """
    p = np.nan_to_num(np.asarray(p_values, dtype=float), nan=1.0)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def correlation(x: ArrayLike, y: ArrayLike, *, of_ranks: bool = False) -> float:
    """Return Pearson's correlation, or of the ranks Spearman's; nan where one of the two is the same throughout."""
    from scipy.stats import rankdata

    one, other = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if of_ranks:  # equal means of equal numbers differ in the last digits
        one, other = rankdata(one.round(9)), rankdata(other.round(9))
    varies = len(one) > 1 and np.ptp(one) > 0 and np.ptp(other) > 0
    return float(np.corrcoef(one, other)[0, 1]) if varies else float("nan")


def likeness(x: ArrayLike, y: ArrayLike, same: ArrayLike) -> dict[str, float]:
    """Compare two judges' scores of the same images, in the same order; `same` is where their verdicts are, or how often."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of no images there is no mean: nan
        return {
            "images": len(x),
            "pearson": correlation(x, y),
            "spearman": correlation(x, y, of_ranks=True),
            "same_verdict": float(np.mean(np.asarray(same, dtype=float))),
            "mean_difference": float(np.mean(x - y)),
        }


def transfer_ratio(objective: Difference, heldout: Difference) -> float | None:
    """Return how much of a gain on the steering judge shows on a judge that did not steer; None without a gain.

    There is no gain to speak of where the interval on the steering judge is not above 0.
    """
    return heldout.mean / objective.mean if objective.low > 0 else None


def _bootstrap(
    data: NDArray[Any], statistic: Callable[..., Any], level: float, resamples: int, seed: int
) -> tuple[float, float]:
    from scipy.stats import bootstrap

    method = "BCa" if len(data) <= BCA_UP_TO else "percentile"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of degenerate data, which is seen to below
        found = bootstrap(
            (data,),
            statistic,
            n_resamples=resamples,
            batch=max(1, BATCH // len(data)),
            confidence_level=level,
            method=method,
            rng=np.random.default_rng(seed),
        )
        low, high = found.confidence_interval
        if not np.isfinite([low, high]).all():
            drawn = _finite(found.bootstrap_distribution)
            low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if len(drawn) > 1 else (np.nan, np.nan)
    return float(low), float(high)


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    data = np.asarray(values, dtype=float)
    return data[np.isfinite(data)]
