"""What forgekit says of worlds whose truth is known: how often it claims what is not so, and misses what is.

    python benchmarks/null_world.py [--studies 200] [--worlds null,effect,planned,real] [--real 1] [--json]

Worlds (`tests/null_world.py`): "null", nothing helps; one held-out judge has a view of its own, another shares nine
tenths of the steering judge's view of each picture ("flattered" is what that one says). "effect", the last arm adds
+0.10 on average. "planned", it adds +0.05 on as many scenes as `forgekit study --plan-only` asks for. In these, evidence
is drawn by numpy, selection included, and written into real tables; `results` and `verdicts` say what it shows. "real"
are null studies through the real stages and policies with fakes as models: there the refiner selects, and the curves
are drawn.

Each share comes with its Monte Carlo error (one standard error, studies being the unit).
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported
TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

import null_world as nw  # noqa: E402

from forgekit.store import open_store  # noqa: E402
from forgekit.study import Study  # noqa: E402
from forgekit.study.power import EFFECT, scenes_needed  # noqa: E402
from forgekit.study.report import verdicts  # noqa: E402
from forgekit.study.results import results  # noqa: E402

TOGETHER = 10  # studies in one store
REAL_SCENES = 40
SPREAD = 0.1  # over scenes, of the effect where there is one


def primary(result: dict) -> list[dict]:
    """Return the primary comparisons of a result, with what its report says of each."""
    rows = [row for row in result["differences"] if row["role"] == "primary"]
    said = [verdict.startswith("shown") for verdict in verdicts(result)]
    return [{**row, "study": result["study"]["name"], "said": told} for row, told in zip(rows, said, strict=False)]


def simulated(world: nw.World, count: int) -> pd.DataFrame:
    """Return the primary comparisons of `count` studies of a world."""
    rows = []
    for start in range(0, count, TOGETHER):
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(Path(folder) / "forge.duckdb")
            for plan in nw.write_studies(store, world, min(TOGETHER, count - start), seed=start):
                rows += primary(results(store, plan))
    return pd.DataFrame(rows)


def figures_of(name: str, found: pd.DataFrame, truth: float) -> dict[str, float]:
    """Return what was claimed in a world, and how often the intervals held the truth, by study."""
    covered = (found["low"] <= truth) & (found["high"] >= truth)
    any_said = found["said"].groupby(found["study"]).any().to_numpy(dtype=float)
    by_study = covered.groupby(found["study"]).mean().to_numpy()
    figures = {
        f"{name}_studies": len(any_said),
        f"{name}_coverage": covered.mean(),
        f"{name}_coverage_error": error(by_study),
    }
    figures[f"{name}_mean"] = found["mean"].mean()
    if truth == 0:
        return figures | {f"{name}_false_shown": any_said.mean(), f"{name}_false_shown_error": error(any_said)}
    power = found["said"].groupby(found["study"]).mean().to_numpy()
    return figures | {f"{name}_power": power.mean(), f"{name}_power_error": error(power)}


def error(by_study: np.ndarray) -> float:
    """Return the standard error of a mean over studies; of a share of 0 or 1, one study's worth."""
    n = len(by_study)
    spread = by_study.std(ddof=1) if n > 1 else math.nan
    return float(spread / math.sqrt(n)) if spread > 0 else 1 / n


def real(count: int, scenes: int) -> Iterator[tuple[list[dict], pd.DataFrame, pd.Series]]:
    """Run null studies through the real stages; yield their comparisons, the gains of curves, and those of a batch."""
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(Path(folder) / "forge.duckdb")
            world = nw.World(scenes=scenes, heldout=(nw.WATCHING, nw.FLATTERING), images=4, versions=6)
            plan: Study = nw.run_real(store, world, f"real-{number}")
            yield primary(results(store, plan)), nw.curve_gains(store), nw.summary_gains(store, plan)


def real_figures(count: int, scenes: int) -> dict[str, float]:
    """Return what real null studies show, and what their curves gain: by the steering and by the held-out judges."""
    told, curves, batches = zip(*real(count, scenes), strict=True)
    found, gains = pd.DataFrame([row for rows in told for row in rows]), pd.concat(curves)
    refining = gains[~gains["experiment"].str.endswith("/resample")]
    figures = figures_of("real", found, 0.0)
    for judge in (nw.STEERING, nw.WATCHING, nw.FLATTERING):
        name, of_judge = judge.split(":")[1], gains[gains["vision_model"] == judge]["gain"]
        figures[f"curve_gain_{name}"] = of_judge.mean()
        figures[f"curve_gain_{name}_rewriting"] = refining[refining["vision_model"] == judge]["gain"].mean()
    batch = pd.concat(batches)
    return figures | {f"batch_gain_{arm}": of_arm.astype(float).mean() for arm, of_arm in batch.groupby(level=0)}


def main() -> None:
    """Print the figures as a table, or as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200, help="in each world that is drawn by numpy")
    parser.add_argument("--worlds", default="null,effect,planned,real", help="which of them")
    parser.add_argument("--real", type=int, default=1, help="studies through the real stages; a minute or two each")
    parser.add_argument("--scenes", type=int, default=REAL_SCENES, help="of each real study")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    chosen = options.worlds.split(",")
    null, noise = nw.World(), math.hypot(nw.LUCK, nw.OPINION) * math.sqrt(2 / nw.World().images)
    enough = scenes_needed(math.hypot(noise, SPREAD), comparisons=2)
    worlds = {
        "null": replace(null, heldout=(nw.WATCHING, nw.FLATTERING)),
        "effect": replace(null, effect=0.1, spread=SPREAD),
        "planned": replace(null, effect=EFFECT, spread=SPREAD, scenes=enough),
    }
    figures: dict[str, float] = {}
    for name, world in worlds.items():
        if name in chosen:
            print(f"{name}: {options.studies} studies of {world.scenes} scenes", file=sys.stderr)
            found = simulated(world, options.studies)
            figures |= figures_of(name, found, world.effect)
            if name == "null":
                figures |= figures_of("flattered", found[found["vision_model"] == nw.FLATTERING], 0.0)
    if "real" in chosen:
        figures |= real_figures(options.real, options.scenes)
    figures = {name: round(float(value), 4) if np.isfinite(value) else None for name, value in figures.items()}
    if options.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:36} {'–' if value is None else format(value, 'g')}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
