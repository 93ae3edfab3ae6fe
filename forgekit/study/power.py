"""What a study will cost and can show, before it is run: images to draw, and scenes it takes to show a gain."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

from forgekit.errors import ParameterError
from forgekit.store import Store
from forgekit.study.plan import Comparison, Study, check_plan
from forgekit.study.results import LEVEL, confirmed, parts_of

EFFECT, POWER = 0.05, 0.8  # the gain that a study should be able to show, and how surely
SPREADS = (0.1, 0.15, 0.2, 0.3)  # told where none is known
EFFICIENCY = 3 / math.pi  # of the signed-rank test beside the t test, on normal differences (Pitman)

# The experiments "study/arm" whose chosen prompts were confirmed, by study.
EARLIER = """
with arms as (
    select regexp_extract(experiment, '^(.*)/([^/]*)$', ['name', 'arm']) as split, created_at
    from prompts
    where id in (from confirming_versions)
      and experiment like '%/%'
      and not starts_with(experiment, $prefix)
)
select split.name as name, list(distinct split.arm) as arms
from arms
group by name
order by min(created_at) desc, name
"""


@dataclass(frozen=True)
class Spread:
    """The standard deviation of the scenes' paired differences of a comparison, and where it was seen."""

    sd: float
    source: str


@dataclass(frozen=True)
class Expectation:
    """What a plan will draw, and the scenes that each primary comparison needs to show a gain of 0.05."""

    study: Study
    scenes: int
    spreads: Mapping[Comparison, Spread | None]

    def __str__(self) -> str:
        scenes, arms = self.scenes, len(self.study.arms)
        chosen, confirming = self.study.images_per_scene, self.study.images_per_prompt  # of a scene in an arm, at most
        told = [
            f"study {self.study.name}, {scenes} scenes: at most {arms * scenes * (chosen + confirming)} images",
            f"  {arms * scenes * chosen} to choose by: {arms} arms × {scenes} scenes × {chosen}",
            f"  {arms * scenes * confirming} to confirm: {arms} arms × {scenes} scenes × {confirming}",
            f"scenes to show {EFFECT:+z.2f} with {POWER:.0%} power, p < {LEVEL} by Holm among {len(self.spreads)} primary "
            "comparisons:",
        ]
        for claim, spread in self.spreads.items():
            part = "" if claim.scenes == "all" else f", {claim.scenes}"
            said = self._told(claim, spread)
            told.append(f"  {claim.arm} against {claim.against} by {claim.vision_model}{part}: {said}")
        if None in self.spreads.values():
            told.append(
                "give the spread of an earlier study (earlier) or a standard deviation (sd) to choose among these"
            )
        return "\n".join(told)

    def _told(self, claim: Comparison, spread: Spread | None) -> str:
        if spread is None:
            table = ", ".join(f"{self._needed(claim, sd)} at sd {sd}" for sd in SPREADS)
            return f"no earlier spread is known; {table}"
        needed = self._needed(claim, spread.sd)
        enough = "enough" if needed <= self.scenes else f"the plan has {self.scenes}"
        return f"{needed} at sd {spread.sd:.3f} ({spread.source}): {enough}"

    def _needed(self, claim: Comparison, sd: float) -> int:
        scenes = scenes_needed(sd, comparisons=len(self.spreads))
        return scenes if claim.scenes == "all" else 2 * scenes  # half of them count


def expect(
    store: Store, study: Study, scenes: int, *, earlier: str | None = None, sd: float | None = None
) -> Expectation:
    """Return what a study of so many scenes will draw and can show. Draws and writes nothing.

    The spread of each primary comparison is `sd`, or that in the result.json at `earlier`, or that of the newest
    other study in the store with the same arms and judge; unknown otherwise.

    Raises:
        ParameterError: the plan cannot be run, `sd` is not above 0, both are given, or `earlier` holds no result.
    """
    check_plan(study)
    if earlier is not None and sd is not None:
        raise ParameterError("give either earlier=, a result.json, or sd=, a standard deviation")
    if sd is not None:
        if not (math.isfinite(sd) and sd > 0):
            raise ParameterError(f"sd={sd} must be above 0, such as 0.2")
        return Expectation(study, scenes, dict.fromkeys(study.comparisons, Spread(sd, "given")))
    known: dict[Comparison, Spread] = {}
    for claim, spread in _in_store(store, study) if earlier is None else _in_result(Path(earlier)):
        if math.isfinite(spread.sd) and spread.sd > 0:
            known.setdefault(claim, spread)
    return Expectation(study, scenes, {claim: known.get(claim) for claim in study.comparisons})


def scenes_needed(sd: float, *, effect: float = EFFECT, power: float = POWER, comparisons: int = 1) -> int:
    """Return how many scenes show a mean paired difference of `effect` with that power, where they spread by `sd`.

    The paired t test's exact power (noncentral t, two-sided) at the level that Holm asks of the smallest p among
    `comparisons`, 0.05 / comparisons; then by the efficiency of the signed-rank test that is used, 3/π. The interval's
    being above 0 asks for less than that. Never fewer than make such a p possible at all.
    """
    from scipy.stats import nct, norm, t

    level = LEVEL / comparisons
    possible = 1 + math.ceil(math.log2(1 / level))  # the smallest exact p of n signs is 2 / 2^n
    z = norm.ppf(1 - level / 2) + norm.ppf(power)
    n = max(2, math.floor((z * sd / effect) ** 2))  # the t test needs as many as the z test, or a few more
    while True:
        critical, shift = t.ppf(1 - level / 2, n - 1), effect / sd * math.sqrt(n)
        if nct.sf(critical, n - 1, shift) >= power:
            return max(possible, math.ceil(n / EFFICIENCY))
        n += 1


def _in_store(store: Store, study: Study) -> Iterator[tuple[Comparison, Spread]]:
    """Yield the spreads of the other studies in the store, those of the newest first."""
    for row in store.rows(EARLIER, prefix=study.prefix) if store.path.exists() else []:
        past = Study(row["name"], arms=row["arms"], vision_models=study.vision_models, images_per_prompt=1)
        parts = parts_of(confirmed(store, past))
        for (arm, other), judge, part in product(permutations(past.arms, 2), past.vision_models, parts):
            change = (parts[part][arm, judge] - parts[part][other, judge]).dropna()
            source = f"study {row['name']} in the store, n = {len(change)}"
            yield Comparison(arm, other, judge, part), Spread(float(change.std()), source)


def _in_result(path: Path) -> Iterator[tuple[Comparison, Spread]]:
    """Yield the spreads of a result.json, of each comparison both ways round."""
    path = path / "result.json" if path.is_dir() else path
    try:
        for row in json.loads(path.read_text("utf-8"))["differences"]:
            spread = Spread(float("nan" if row["sd"] is None else row["sd"]), f"{path}, n = {row['n']}")
            for arm, other in permutations((row["arm"], row["against"])):
                yield Comparison(arm, other, row["vision_model"], row["scenes"]), spread
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(
            f"earlier={str(path)!r} is no result of a study ({error!r}); give a result.json or its folder"
        ) from error
