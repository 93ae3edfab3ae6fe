"""Draw docs/images/null-world.png, and measure what is left of luck in a curve where nothing improves.

    python benchmarks/null_curve.py [--worlds 2000] [--json]

The picture is of one store: 200 scenes, 4 images a drawing, 6 rounds, every picture a fair draw around what its scene is
worth. The figures are means over many such worlds of 40 scenes, with and without a target that good luck can reach.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
SCENES, IMAGES, ROUNDS, SPREAD = 40, 4, 6, 0.2
TARGET = 0.6  # scenes are worth 0.35 to 0.65


def simulate(rng: np.random.Generator, arm: str, target: float | None) -> dict[str, float]:
    """Return the gains over one world of fair draws, by the three ways of telling them."""
    worth = rng.uniform(0.35, 0.65, SCENES)
    gains = []
    for scene in range(SCENES):
        drawn = rng.normal(worth[scene], SPREAD, (ROUNDS, IMAGES)).clip(0, 1)
        means = (
            np.maximum.accumulate(drawn.mean(1)) if arm == "rewrite" else drawn.mean(1).cumsum() / range(1, ROUNDS + 1)
        )
        reached = np.flatnonzero(means >= target) if target is not None else []
        shown = drawn[: reached[0] + 1 if len(reached) else ROUNDS]
        even, odd = shown[:, 0::2].mean(1), shown[:, 1::2].mean(1)
        if arm == "rewrite":
            last, selected = (odd[even.argmax()] + even[odd.argmax()]) / 2, shown.mean(1).max()
        else:  # one version: all its images count
            last = selected = shown.mean()
        fresh = rng.normal(worth[scene], SPREAD, IMAGES).clip(0, 1).mean()
        gains.append(np.array([selected, last, fresh]) - shown[0].mean())
    return dict(zip(("selected", "cross-fitted", "fresh seeds"), np.mean(gains, axis=0), strict=True))


def measure(worlds: int) -> list[dict[str, object]]:
    """Return the mean gain over the worlds, by arm, target and way of telling it, with its standard error."""
    rows = []
    for arm in ("rewrite", "redraw"):
        for target in (None, TARGET):
            rng = np.random.default_rng(0)
            found = [simulate(rng, arm, target) for _ in range(worlds)]
            for told in found[0]:
                values = np.array([gains[told] for gains in found])
                error = values.std(ddof=1) / np.sqrt(worlds)
                rows.append({"arm": arm, "target": target, "told": told, "gain": values.mean(), "error": error})
    return rows


def draw(file: Path) -> None:
    """Fill a store with such a world and draw what `trends` says of it."""
    import matplotlib

    matplotlib.use("agg")
    import fair_world
    import matplotlib.pyplot as plt

    from forgekit import plots, trends
    from forgekit.store import open_store

    with tempfile.TemporaryDirectory() as folder:
        store = fair_world.World(scenes=200, confirm=True).fill(open_store(Path(folder) / "forge.duckdb"))
        table, confirmed = trends.adherence(store), trends.confirmed(store)
    _, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharey=True)
    for ax, arm in zip(axes, fair_world.ARMS, strict=True):
        arm_table = table[table["experiment"] == arm]
        plots.adherence(arm_table, confirmed=confirmed, ax=ax)
        for number, (_, line) in enumerate(arm_table.groupby("vision_model", sort=False)):
            label = "best so far, selected" if number == 0 else None
            ax.plot(line["round"], line["selected"], ":", color=plots.COLORS[number], linewidth=2, label=label)
        ax.set(ylim=(0.4, 0.7), title=f"Nothing improves: {arm}")
        ax.legend(frameon=False, fontsize=8, loc="upper left")
    plt.savefig(file, dpi=90)


def main() -> None:
    """Draw the picture, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    draw(ROOT / "docs" / "images" / "null-world.png")
    rows = measure(arguments.worlds)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['arm']:8} target {row['target']!s:5} {row['told']:13} {row['gain']:+.4f} ± {row['error']:.4f}")


if __name__ == "__main__":
    main()
