"""What forgekit says of worlds whose truth is known: how often it claims what is not so, and misses what is.

    python benchmarks/null_world.py [--json] [--quick] [--studies 200] [--worlds null,effect,planned,early,real]

Worlds (`tests/null_world.py`; 80 scenes, three arms, six rounds of 4 images, then 4 that confirm):

    null     nothing helps. One held-out judge has a view of its own, another shares nine tenths of the steering judge's
             view of each picture; what that one says is "flattered". Curves and batches are told of this world too.
    effect   the last arm adds +0.10 on average, with a standard deviation of 0.10 over scenes
    planned  it adds +0.05 on as many scenes as `forgekit study --plan-only` asks for; half as many studies
    early    nothing helps, and good luck reaches the target in three of ten scenes, which then stop
    real     a null study through the real stages and policies, with fakes as models: there the refiner selects

In all but "real", evidence is drawn by numpy, selection included, and written into real tables; `results`, `verdicts`,
`trends` and `batch.summary` say what it shows. A slope is the least-squares slope over the rounds of each scene's
cross-fitted values, its interval `metrics.mean_interval` over scenes. "ends" is the last minus the first point of
`trends.adherence`. Each figure comes with its Monte Carlo error (`_error`: one standard error, studies being the unit).
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported
TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

import null_world as nw  # noqa: E402

from forgekit import trends  # noqa: E402
from forgekit.store import open_store  # noqa: E402
from forgekit.study.power import EFFECT, scenes_needed  # noqa: E402

SCENES = 80  # of a study: intervals over fewer cover a little less than they say
TOGETHER = 10  # studies in one store
SPREAD = 0.1  # over scenes, of the effect where there is one
EARLY = 0.6  # the target that three of ten scenes of a null world reach by luck before their last round
QUICK = 20
Figures = dict[str, float]


@dataclass(frozen=True)
class Told:
    """What was said of a world: a row per primary comparison, per line of a curve, and per execution of a batch."""

    claims: pd.DataFrame
    curves: pd.DataFrame
    batch: pd.DataFrame


def told_of(world: nw.World, count: int, *, claims: bool = True, curves: bool = False) -> Told:
    """Draw studies of a world, some to a store, and return what is said of them; batches of the first half."""
    told: list[Told] = []
    for start in range(0, count, TOGETHER):
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(Path(folder) / "forge.duckdb")
            plans = nw.write_studies(store, world, min(TOGETHER, count - start), seed=start)
            none = pd.DataFrame()
            told.append(
                Told(
                    nw.claims_of(store, plans) if claims else none,
                    nw.curves_of(store) if curves else none,
                    nw.summary_of(store, plans) if curves and claims and start < count / 2 else none,
                )
            )
    return Told(*(pd.concat([getattr(each, part) for each in told]) for part in ("claims", "curves", "batch")))


def share(name: str, by_row: pd.Series, study: pd.Series) -> Figures:
    """Return a mean over rows and its standard error over studies; of a share of 0 or 1, one study's worth."""
    by_study = by_row.astype(float).groupby(study).mean().to_numpy()
    n = len(by_study)
    spread = by_study.std(ddof=1) if n > 1 else math.nan
    return {name: float(by_study.mean()), f"{name}_error": float(spread / math.sqrt(n)) if spread > 0 else 1 / n}


def holds(table: pd.DataFrame, truth: float, low: str = "low", high: str = "high") -> pd.Series:
    """Return which intervals hold the truth."""
    return (table[low] <= truth) & (table[high] >= truth)


def claim_figures(name: str, claims: pd.DataFrame, truth: float) -> Figures:
    """Return what was claimed in a world, and how often the intervals held the truth."""
    study = claims["study"]
    figures = {f"{name}_studies": study.nunique()}
    figures |= share(f"{name}_coverage", holds(claims, truth), study) | share(f"{name}_mean", claims["mean"], study)
    if truth:
        return figures | share(f"{name}_power", claims["said"], study)
    any_said = claims.groupby("study")["said"].any()
    return figures | share(f"{name}_false_shown", any_said, any_said.index.to_series())


def curve_figures(name: str, curves: pd.DataFrame) -> Figures:
    """Return what the curves of a world without progress gain, by judge, and how often they own up to 0."""
    figures: Figures = {}
    for judge, lines in curves.groupby("vision_model"):
        short = f"{name}_curve_{{}}_{judge.split(':')[1]}"
        for figure in ("gain", "ends", "slope", "selected"):
            figures |= share(short.format(figure), lines[figure], lines["study"])
        again = lines["arm"] == "resample"
        figures |= share(short.format("gain_resample"), lines["gain"][again], lines["study"][again])
    figures |= share(f"{name}_curve_coverage", holds(curves, 0), curves["study"])
    return figures | share(f"{name}_slope_coverage", holds(curves, 0, "slope_low", "slope_high"), curves["study"])


def early_figures(world: nw.World, curves: pd.DataFrame) -> Figures:
    """Return what is left of luck where scenes stop by their score, and what fresh seeds say of it."""
    drawn = world.draw("scene", {arm: arm for arm in world.arms}, np.random.default_rng(0))
    drawn = drawn[drawn["decision"] == "rewrite"]
    last = drawn.groupby(["experiment", "scene"])["round"].max()
    figures = {"early_share": float((last < world.rounds - 1).mean())}
    for kind, lines in (
        ("rewriting", curves[curves["arm"] != "resample"]),
        ("resample", curves[curves["arm"] == "resample"]),
    ):
        for figure in ("gain", "selected", "confirmed"):
            figures |= share(f"early_{figure}_{kind}", lines[figure], lines["study"])
    held = holds(curves, 0, "confirmed_low", "confirmed_high")
    return figures | share("early_confirmed_coverage", held, curves["study"])


def batch_figures(name: str, batch: pd.DataFrame) -> Figures:
    """Return the gains that `batch.summary` tells in a world without progress, and how often they own up to 0."""
    batch = batch.astype({"gain": float, "low": float, "high": float})
    study = batch["execution"].str.partition("/")[0]
    figures = share(f"{name}_batch_coverage", holds(batch, 0), study)
    for arm in batch["arm"].unique():
        of_arm = batch["arm"] == arm
        figures |= share(f"{name}_batch_gain_{arm}", batch["gain"][of_arm], study[of_arm])
    return figures


def real_figures(scenes: int) -> Figures:
    """Return what is said of one null study through the real stages: by arm and judge, curves and fresh seeds."""
    figures: Figures = {"real_scenes": scenes}
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "forge.duckdb")
        world = nw.World(scenes=scenes, judges=(nw.STEERING, nw.WATCHING, nw.FLATTERING))
        plan = nw.run_real(store, world)
        claims, curves = nw.claims_of(store, [plan]), nw.curves_of(store)
        batch = nw.summary_of(store, [plan]).set_index("arm")
        rounds = trends.adherence(store).groupby("experiment")["round"].max()
    figures |= {"real_claims": len(claims), "real_shown": int(claims["said"].sum())}
    for line in curves.to_dict("records"):
        name = f"{line['arm']}_{line['vision_model'].split(':')[1]}"
        told = ("selected", "ends", "gain", "low", "high", "slope", "slope_low", "slope_high", "confirmed")
        figures |= {f"real_{figure}_{name}": line[figure] for figure in told}
    figures |= {f"real_rounds_{arm.rpartition('/')[2]}": n for arm, n in rounds.items()}
    return figures | {
        f"real_batch_{figure}_{arm}": row[figure] for arm, row in batch.iterrows() for figure in ("low", "high")
    }


def worlds() -> dict[str, nw.World]:
    """Return the worlds that numpy draws, by name."""
    null = nw.World(scenes=SCENES)
    noise = math.hypot(nw.LUCK, nw.OPINION) * math.sqrt(2 / null.images)  # of a scene's difference
    enough = scenes_needed(math.hypot(noise, SPREAD), comparisons=2)
    return {
        "null": replace(null, judges=(nw.STEERING, nw.WATCHING, nw.FLATTERING)),
        "effect": replace(null, effect=0.1, spread=SPREAD),
        "planned": replace(null, effect=EFFECT, spread=SPREAD, scenes=enough),
        "early": replace(null, target=EARLY),
    }


def measure(names: Sequence[str], studies: int, real_scenes: int) -> Figures:
    """Return all figures of the worlds that are named."""
    figures: Figures = {}
    for name, world in worlds().items():
        if name not in names:
            continue
        started = time.monotonic()
        count = studies // 2 if name == "planned" else studies
        told = told_of(world, count, claims=name != "early", curves=name in ("null", "early"))
        if name == "early":
            figures |= early_figures(replace(world, scenes=4000), told.curves)
        else:
            figures |= claim_figures(name, told.claims, world.effect)
        if name == "null":
            flattered = told.claims["vision_model"] == nw.FLATTERING
            figures |= claim_figures("flattered", told.claims[flattered], 0.0)
            figures |= curve_figures(name, told.curves) | batch_figures(name, told.batch)
        print(f"{name}: {count} studies, {time.monotonic() - started:.0f} s", file=sys.stderr)
    return figures | (real_figures(real_scenes) if "real" in names else {})


def main() -> None:
    """Print the figures as a table, or as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200, help="in each world that is drawn by numpy")
    parser.add_argument("--worlds", default="null,effect,planned,early,real", help="which of them")
    parser.add_argument("--scenes", type=int, default=40, help="of the study through the real stages")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} studies, 10 real scenes: a look, no evidence")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    studies, scenes = (QUICK, 10) if options.quick else (options.studies, options.scenes)
    load, started = os.getloadavg()[0], time.monotonic()
    found = measure(options.worlds.split(","), studies, scenes)
    found |= {"seconds": time.monotonic() - started, "load_before": load, "load_after": os.getloadavg()[0]}
    figures = {name: round(float(value), 4) if np.isfinite(value) else None for name, value in found.items()}
    if options.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:40} {'–' if value is None else format(value, 'g')}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
