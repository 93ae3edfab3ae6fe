"""What a study will cost and can show, before it is run: images to draw, and scenes it takes to show a gain."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import ParameterError
from forgekit.study.plan import Comparison, Study, check_plan
from forgekit.study.results import LEVEL, confirmed, parts_of

if TYPE_CHECKING:
    from forgekit.store import Store

EFFECT, POWER = 0.05, 0.8  # the gain that a study should be able to show, and how surely
SPREADS = (0.1, 0.15, 0.2, 0.3)  # told where none is known
EFFICIENCY = 3 / math.pi  # of the signed-rank test beside the t test, on normal differences (Pitman)
Z = 1.96

# The experiments "study/arm" whose chosen prompts were confirmed, by study.
EARLIER = """
select
    regexp_extract(p.experiment, '^(.*)/[^/]*$', 1) as name,
    list(distinct p.experiment[length(regexp_extract(p.experiment, '^(.*)/[^/]*$', 1)) + 2:]) as arms,
    min(p.created_at) as began
from prompts p
join prompt_learnings l on cast(l.actions ->> '$.child_prompt_id' as uuid) = p.id
where l.actions ->> '$.decision' = 'confirm'
  and p.experiment like '%/%'
  and not starts_with(p.experiment, $prefix)
group by name
order by began desc, name
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

    @property
    def images(self) -> int:
        """Return the images it draws at most, without those that confirm: a scene ends early at its target."""
        return len(self.study.arms) * self.scenes * self.study.images_per_scene

    @property
    def confirming_images(self) -> int:
        """Return the images that confirm the chosen prompts."""
        return len(self.study.arms) * self.scenes * self.study.images_per_prompt

    def needed(self, comparison: Comparison, sd: float) -> int:
        """Return how many scenes the study needs for a comparison of that spread; twice as many where half count."""
        scenes = scenes_needed(sd, comparisons=len(self.spreads))
        return scenes if comparison.scenes == "all" else 2 * scenes

    def __str__(self) -> str:
        arms, study = len(self.study.arms), self.study
        lines = [
            f"study {study.name}, {self.scenes} scenes: at most {self.images + self.confirming_images} images",
            f"  {self.images} to choose by: {arms} arms × {self.scenes} scenes × {study.images_per_scene}",
            f"  {self.confirming_images} to confirm: {arms} arms × {self.scenes} scenes × {study.images_per_prompt}",
            f"scenes to show {EFFECT:+.2f} with {POWER:.0%} power, p < {LEVEL} by Holm among {len(self.spreads)} primary "
            "comparisons:",
        ]
        for comparison, spread in self.spreads.items():
            lines.append(f"  {_named(comparison)}: {self._told(comparison, spread)}")
        if None in self.spreads.values():
            lines.append(
                "give the spread of an earlier study (earlier) or a standard deviation (sd) to choose among these"
            )
        return "\n".join(lines)

    def _told(self, comparison: Comparison, spread: Spread | None) -> str:
        if spread is None:
            table = ", ".join(f"{self.needed(comparison, sd)} at sd {sd}" for sd in SPREADS)
            return f"no earlier spread is known; {table}"
        needed = self.needed(comparison, spread.sd)
        enough = "enough" if needed <= self.scenes else f"the plan has {self.scenes}"
        return f"{needed} at sd {spread.sd:.3f} ({spread.source}): {enough}"


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
        return Expectation(study, scenes, {each: Spread(sd, "given") for each in study.comparisons})
    known = _in_store(store, study) if earlier is None else _in_result(Path(earlier))
    return Expectation(study, scenes, {each: known.get(_key(each)) for each in study.comparisons})


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


def _in_store(store: Store, study: Study) -> dict[tuple[Any, ...], Spread]:
    """Return the spreads of the other studies in the store; where several have one, that of the newest."""
    known: dict[tuple[Any, ...], Spread] = {}
    if not store.path.exists():
        return known
    for row in store.rows(EARLIER, prefix=study.prefix):
        judges = tuple(study.vision_models)
        past = Study(row["name"], arms=tuple(row["arms"]), vision_models=judges, images_per_prompt=1)
        for part, scores in parts_of(confirmed(store, past)).items():
            for judge in judges:
                for arm in past.arms:
                    for other in set(past.arms) - {arm}:
                        change = (scores[arm, judge] - scores[other, judge]).dropna()
                        source = f"study {row['name']} in the store, n = {len(change)}"
                        _note(known, (arm, other, judge, part), change.std(), source)
    return known


def _in_result(path: Path) -> dict[tuple[Any, ...], Spread]:
    """Return the spreads of a result.json; of one that has none, from the width of its intervals."""
    path = path / "result.json" if path.is_dir() else path
    try:
        rows: Sequence[Mapping[str, Any]] = json.loads(path.read_text())["differences"]
        known: dict[tuple[Any, ...], Spread] = {}
        for row in rows:
            key, source = (row["arm"], row["against"], row["vision_model"], row["scenes"]), f"{path}, n = {row['n']}"
            if "sd" in row:
                sd = row["sd"]
            elif row["low"] is not None:
                sd, source = (row["high"] - row["low"]) / (2 * Z) * math.sqrt(row["n"]), f"{source}, by its interval"
            else:
                continue
            _note(known, key, sd, source)
            _note(known, (key[1], key[0], *key[2:]), sd, source)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(
            f"earlier={str(path)!r} is no result of a study ({error!r}); give a result.json or its folder"
        ) from error
    return known


def _note(known: dict[tuple[Any, ...], Spread], key: tuple[Any, ...], sd: float | None, source: str) -> None:
    if sd is not None and math.isfinite(sd) and sd > 0:
        known.setdefault(key, Spread(float(sd), source))


def _key(each: Comparison) -> tuple[str, str, str, str]:
    return each.arm, each.against, each.vision_model, each.scenes


def _named(each: Comparison) -> str:
    part = "" if each.scenes == "all" else f", {each.scenes}"
    return f"{each.arm} against {each.against} by {each.vision_model}{part}"
