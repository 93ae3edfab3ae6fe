"""What refinements have taught: evidence per action, drawn from by Thompson sampling, and told in plain words."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forgekit.actions import Candidate

if TYPE_CHECKING:
    import pandas as pd

    from forgekit.store import Store

# The model behind the draws: changes scatter around a mean per detail, those around one per action, those around a prior.
PRIOR_CHANGE = 0.02  # what an untried action is expected to gain
ACTION_STD = 0.10  # how far the means of actions lie from the prior
DETAIL_STD = 0.15  # how far the means of details ("scarlet -> red") lie from their action's
CHANGE_STD = 0.15  # how far the change of one version (4 images or so) lies from its detail's mean
Z_95 = 1.96

# Only what another experiment or an earlier scene has finished counts; the order makes runs repeatable.
EVIDENCE = """
select kind, action, detail, count(*) as tried, sum(change) as total_change
from learning_effects
where model = $model
  and is_objective
  and change is not null
  and ($experiment is null or experiment = $experiment)
group by all
order by all
"""

LESSONS = """
select *
from action_evidence
where tried >= $min_tried
  and ($model is null or model = $model)
order by objective_change desc, tried desc, model, kind, action, detail
"""


@dataclass
class Memory:
    """Evidence counts by (kind, action) and by (kind, action, detail): how often tried, total change.

    A change is the mean difference of adherence scores, in [-1, 1], between a version and its parent on
    the same seeds, by the objective judge.
    """

    by_action: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    by_detail: dict[tuple[str, str, str], tuple[int, float]] = field(default_factory=dict)

    def draw(self, candidate: Candidate, rng: random.Random) -> float:
        """Draw the gain to expect of a candidate from its posterior (Thompson sampling).

        A hierarchical normal model: what is known of an action is the prior for each of its details.
        """
        tried, total = self.by_action.get((candidate.kind, candidate.action), (0, 0.0))
        mean, variance = _posterior(PRIOR_CHANGE, ACTION_STD**2, tried, total, DETAIL_STD**2 + CHANGE_STD**2)
        tried, total = self.by_detail.get((candidate.kind, candidate.action, candidate.detail), (0, 0.0))
        mean, variance = _posterior(mean, variance + DETAIL_STD**2, tried, total, CHANGE_STD**2)
        return rng.gauss(mean, variance**0.5)


def _posterior(mean: float, variance: float, n: int, total: float, noise: float) -> tuple[float, float]:
    """Update a normal prior with `n` observations of sum `total` and noise variance `noise`."""
    precision = 1 / variance + n / noise
    return (mean / variance + total / noise) / precision, 1 / precision


def remember(store: Store, *, model: str, experiment: str | None = None) -> Memory:
    """Collect the evidence on one image generator, from one experiment or from all of them."""
    by_action: dict[tuple[str, str], tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    by_detail = {}
    for row in store.rows(EVIDENCE, model=model, experiment=experiment):
        tried, total = by_action[row["kind"], row["action"]]
        by_action[row["kind"], row["action"]] = (tried + row["tried"], total + row["total_change"])
        by_detail[row["kind"], row["action"], row["detail"]] = (row["tried"], row["total_change"])
    return Memory(dict(by_action), by_detail)


def evidence(store: Store, *, model: str | None = None, min_tried: int = 1) -> pd.DataFrame:
    """Return one row per (generator, element kind, action, detail): tried, helped, hurt, scenes, mean changes.

    `helped` and `hurt` count changes beyond ±0.02; `low` and `high` bound the mean objective change at 95 %
    (normal approximation; null below two trials).
    """
    frame = store.df(LESSONS, model=model, min_tried=min_tried)
    margin = Z_95 * frame["objective_std"] / frame["tried"] ** 0.5
    return frame.assign(low=frame["objective_change"] - margin, high=frame["objective_change"] + margin)


def lessons(store: Store, *, model: str | None = None, min_tried: int = 2) -> list[str]:
    """Say in plain words what has been learnt, best first, with counts and intervals."""
    return [_in_words(row) for row in evidence(store, model=model, min_tried=min_tried).to_dict("records")]


def _in_words(row: Mapping[str, Any]) -> str:
    verb, times = ("helped", row["helped"]) if row["objective_change"] >= 0 else ("hurt", row["hurt"])
    interval = f" [{row['low']:+.2f}, {row['high']:+.2f}]" if row["low"] == row["low"] else ""
    heldout = f", held-out judges {row['heldout_change']:+.2f}" if row["heldout_tried"] else ""
    return (
        f"{row['model']}: {row['action']} ({row['detail']}) for {row['kind']} {verb} {times} of {row['tried']} times, "
        f"{row['objective_change']:+.2f}{interval} on {row['scenes']} scenes{heldout}"
    )
