"""Statistics of paired differences: bootstrap intervals, signed ranks, transfer. Arrays in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
MANY = 1000


@dataclass(frozen=True)
class Difference:
    """A mean paired difference with its 95 % bootstrap interval and the p value of Wilcoxon's signed-rank test."""

    mean: float
    low: float
    high: float
    p: float
    n: int


def bootstrap_interval(
    values: ArrayLike, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean (Efron 1979); (nan, nan) for fewer than two values."""
    data = _finite(values)
    if len(data) < 2:
        return float("nan"), float("nan")
    picks = np.random.default_rng(seed).integers(len(data), size=(resamples, len(data)))
    low, high = np.quantile(data[picks].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_interval(
    values: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the bias-corrected and accelerated bootstrap interval of the mean (BCa, Efron 1987).

    (nan, nan) for fewer than two finite values; both ends are the mean where all values are equal. Above `MANY` values
    resampling would take seconds and tell nothing new: the ends are then those that BCa tends to (Hall 1988).
    """
    data = _finite(values)
    if len(data) < 2:
        return float("nan"), float("nan")
    if np.ptp(data) < 1e-12:
        return float(data.mean()), float(data.mean())
    if len(data) > MANY:
        return _expanded_interval(data, level)
    from scipy.stats import bootstrap

    found = bootstrap((data,), np.mean, confidence_level=level, n_resamples=resamples, method="BCa", rng=seed)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _expanded_interval(data: NDArray[np.float64], level: float) -> tuple[float, float]:
    from scipy.stats import norm, skew

    z = norm.ppf([(1 - level) / 2, (1 + level) / 2])
    error = data.std() / np.sqrt(len(data))
    low, high = data.mean() + error * (z + skew(data) / (6 * np.sqrt(len(data))) * (2 * z**2 + 1))
    return float(low), float(high)


def paired_difference(after: ArrayLike, before: ArrayLike, *, seed: int = 0) -> Difference:
    """Compare two scores of the same items, in the same order; pairs with a missing score drop out.

    Scenes are the items to compare by: images of one scene are not independent of one another.
    """
    change = _finite(np.asarray(after, dtype=float) - np.asarray(before, dtype=float))
    low, high = bootstrap_interval(change, seed=seed)
    mean = float(change.mean()) if len(change) else float("nan")
    return Difference(mean, low, high, signed_rank_p(change), len(change))


def signed_rank_p(changes: ArrayLike) -> float:
    """Return the two-sided p value of Wilcoxon's signed-rank test; 1.0 where nothing changed."""
    from scipy.stats import wilcoxon

    changed = _finite(changes)
    changed = changed[changed != 0]
    return float(wilcoxon(changed).pvalue) if len(changed) else 1.0


def transfer_ratio(objective: Difference, heldout: Difference) -> float | None:
    """Return how much of a gain on the steering judge shows on a judge that did not steer; None without a gain."""
    return heldout.mean / objective.mean if objective.mean > 0 else None


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    data = np.asarray(values, dtype=float)
    return data[np.isfinite(data)]
