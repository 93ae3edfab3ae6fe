"""What refinements have taught: evidence per action, drawn from by Thompson sampling, and told in plain words."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from forgekit.refiner.actions import Candidate
from forgekit.store import Store

if TYPE_CHECKING:
    import pandas as pd

# The model behind the draws: the mean change of a candidate is the sum of a prior and of one random effect per level.
# What one candidate teaches therefore counts in part for every other one that shares a level with it.
PRIOR_CHANGE = 0.01  # what an untried candidate is expected to gain
PRIOR_CHANGES = {"use_plain_word": 0.05}  # where the first study knows better: docs/refinement.md
LEVELS = {  # standard deviation of the effects of each level
    "rewrite": 0.03,  # any rewrite at all
    "action": 0.1,  # any use_plain_word
    "kind": 0.06,  # use_plain_word on a colour
    "outcome": 0.04,  # any replacement by "red"
    "detail": 0.04,  # "scarlet -> red" for a colour
}
CHANGE_STD = 0.2  # how far the change of one version (4 images or so) lies from its candidate's mean

TOLD_FROM = 3  # trials: what happened once or twice is no lesson

# Only finished comparisons by the steering judge count. The order makes runs repeatable.
EVIDENCE = """
select kind, action, detail, tried, round(list_sum(changes), 12) as total_change
from evidence_in($experiment)
where model = $model
  and tried > 0
  and detail is not null
order by all
"""

COUNTED = """
select *
from evidence_in($experiment)
where tried >= greatest($min_tried, 1)
  and ($model is null or model = $model)
  and (detail is not null or $summed)
order by objective_change desc, tried desc, model, kind, action, detail
"""


@dataclass(frozen=True)
class Evidence:
    """How often something was tried, and the sum of the changes it made.

    A change is the mean difference of adherence scores, in [-1, 1], between a version and its parent on
    the same seeds, by the objective judge.
    """

    kind: str
    action: str
    detail: str
    tried: int
    total_change: float


@dataclass(frozen=True)
class Memory:
    """Evidence, and what it lets expect of candidates: a normal model with a random effect per level.

    The posterior is exact (a Gaussian process whose kernel adds a variance for each level that two
    candidates share: any; action; action and element kind; action and outcome; all of it with the term).
    """

    evidence: tuple[Evidence, ...] = ()

    def foresee(self, candidates: Sequence[Candidate]) -> tuple[np.ndarray, np.ndarray]:
        """Return mean (n,) and covariance (n, n) of the changes to expect of `candidates`."""
        asked = _keys((c.kind, c.action, c.detail) for c in candidates)
        mean, covariance = np.array([_prior(c.action) for c in candidates]), _kernel(asked, asked)
        if not self.evidence:
            return mean, covariance
        known, inverse, surprise = self._learnt
        shared = _kernel(asked, known)
        return mean + shared @ (inverse @ surprise), covariance - shared @ inverse @ shared.T

    def draw(self, candidates: Sequence[Candidate], rng: random.Random) -> list[float]:
        """Draw the change to expect of each candidate from the joint posterior (Thompson sampling)."""
        if not candidates:  # as of most actions for most elements
            return []
        mean, covariance = self.foresee(candidates)
        root = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(mean)))
        return list(map(float, mean + root @ [rng.gauss(0.0, 1.0) for _ in candidates]))

    def chances(self, candidates: Sequence[Candidate]) -> list[float]:
        """Return for each candidate the probability, in [0, 1], that it makes the prompt better."""
        from scipy.special import ndtr

        mean, covariance = self.foresee(candidates)
        return ndtr(mean / np.sqrt(np.maximum(covariance.diagonal(), 1e-12))).tolist()

    @cached_property
    def _learnt(self) -> tuple[list[tuple[Any, ...]], np.ndarray, np.ndarray]:
        known = _keys((e.kind, e.action, e.detail) for e in self.evidence)
        noise = np.diag([CHANGE_STD**2 / e.tried for e in self.evidence])
        surprise = np.array([e.total_change / e.tried - _prior(e.action) for e in self.evidence])
        return known, np.linalg.inv(_kernel(known, known) + noise), surprise


def _prior(action: str) -> float:
    return PRIOR_CHANGES.get(action, PRIOR_CHANGE)


def _keys(triples: Iterable[tuple[str, str, str]]) -> list[tuple[Any, ...]]:
    """Return the key of each level, in the order of LEVELS, for (kind, action, detail)."""
    return [
        ((), action, (action, kind), (action, detail.split(" -> ")[-1]), (action, kind, detail))
        for kind, action, detail in triples
    ]


def _kernel(one: Sequence[tuple[Any, ...]], other: Sequence[tuple[Any, ...]]) -> np.ndarray:
    total = np.zeros((len(one), len(other)))
    for level, std in enumerate(LEVELS.values()):
        numbers: dict[Any, int] = {}
        rows, columns = ([numbers.setdefault(key[level], len(numbers)) for key in keys] for keys in (one, other))
        total += std**2 * (np.array(rows)[:, None] == np.array(columns)[None, :])
    return total


def remember(store: Store, *, model: str, experiment: str | None = None) -> Memory:
    """Collect the evidence on one image generator, from one experiment or from all of them."""
    return Memory(tuple(Evidence(**row) for row in store.rows(EVIDENCE, model=model, experiment=experiment)))


def evidence(
    store: Store, *, model: str | None = None, experiment: str | None = None, min_tried: int = 1, summed: bool = False
) -> pd.DataFrame:
    """Return one row per (generator, element kind, action, detail): tried, helped, hurt, scenes, mean changes.

    `helped` and `hurt` count changes beyond ±0.02; `low` and `high` bound the mean objective change at 95 % (bootstrap
    over scenes, see `forgekit.metrics`; null below two scenes). With `summed`, rows without a detail sum up each action
    on a kind.
    """
    from forgekit.metrics import clustered_interval

    frame = store.df(COUNTED, model=model, experiment=experiment, min_tried=min_tried, summed=summed)
    trials = zip(frame.pop("changes"), frame.pop("their_scenes"), strict=True)
    intervals = [clustered_interval(changes, scenes) for changes, scenes in trials]
    return frame.assign(low=[low for low, _ in intervals], high=[high for _, high in intervals])


def lessons(
    store: Store, *, model: str | None = None, experiment: str | None = None, min_tried: int = TOLD_FROM
) -> list[str]:
    """Say in plain words what has been learnt, best first, with counts and 95 % intervals.

    A lesson is about one replacement ("'scarlet' → 'red'") or about an action on a kind of element as a whole. What
    was tried fewer than three times is none, whatever `min_tried`: `evidence` lists it.
    """
    min_tried = max(min_tried, TOLD_FROM)
    found = evidence(store, model=model, experiment=experiment, min_tried=min_tried, summed=True)
    return [_in_words(row) for row in found.to_dict("records")]


def _in_words(row: Mapping[str, Any]) -> str:
    verb, times = ("helped", row["helped"]) if row["objective_change"] >= 0 else ("hurt", row["hurt"])
    said = f"{verb} {times:.0f} of {row['tried']:.0f} times" if times else f"changed little in {row['tried']:.0f} tries"
    interval = f" [{row['low']:+z.2f}, {row['high']:+z.2f}]" if row["low"] == row["low"] else ""
    heldout = f", held-out judges {row['heldout_change']:+z.2f}" if row["heldout_tried"] else ""
    return (
        f"{row['model']}: {_what(row)} {said}, "
        f"{row['objective_change']:+z.2f}{interval} on {row['scenes']:.0f} scenes{heldout}"
    )


def _what(row: Mapping[str, Any]) -> str:
    detail = row["detail"] if isinstance(row["detail"], str) else None
    if detail is None:
        return f"{row['action']} on {row['kind']}, whatever the words,"
    before, arrow, after = detail.partition(" -> ")
    said = f"'{before}' → '{after}'" if arrow and ";" not in detail else detail
    return said if row["action"] in ("use_plain_word", "substitute") else f"{row['action']} ({said}) on {row['kind']}"
