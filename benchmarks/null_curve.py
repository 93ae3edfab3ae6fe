"""Draw docs/images/null-world.png: what `trends` says of a world where nothing improves.

    python benchmarks/null_curve.py [FILE]

200 scenes, 4 images a drawing, 6 rounds, every picture a fair draw around what its scene is worth. How far off the
curves are, over many such worlds, is measured by null_world.py.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import fair_world  # noqa: E402

from forgekit import trends  # noqa: E402
from forgekit.show import plots  # noqa: E402
from forgekit.store import open_store  # noqa: E402


def draw(file: Path) -> None:
    """Fill a store with such a world and draw what `trends` says of it."""
    with tempfile.TemporaryDirectory() as folder:
        store = fair_world.World(scenes=200, confirm=True).fill(open_store(Path(folder) / "forge.duckdb"))
        table, confirmed = trends.adherence(store), trends.confirmed(store)
    _, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharey=True)
    for ax, arm in zip(axes, fair_world.ARMS, strict=True):
        arm_table = table[table["experiment"] == arm]
        plots.adherence(arm_table, confirmed=confirmed, ax=ax)
        for number, (_, line) in enumerate(arm_table.groupby("vision_model", sort=False)):
            label = "best so far, selected" if number == 0 else None
            ax.plot(line["round"], line["selected"], ":", color="gray", linewidth=2, label=label)
        ax.set(ylim=(0.4, 0.7), title=f"Nothing improves: {arm}")
        ax.legend(frameon=False, fontsize=8, loc="upper left")
    plt.savefig(file, dpi=90)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "null-world.png")
