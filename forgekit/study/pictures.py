"""The plots of a study's report: each a panel per judge, with how many scenes it stands on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = Mapping[str, Any]
TITLES = {
    "best_image": "Best image so far, selected by the judge that steers",
    "blocks": "From block to block",
    "kinds": "By kind of element",
}


def draw(name: str, result: Result, path: Path) -> None:
    """Draw one of `PLOTS`, a panel per judge, into a file."""
    import matplotlib.pyplot as plt

    judges = result["study"]["vision_models"]
    figure, axes = plt.subplots(1, len(judges), figsize=(5.5 * len(judges), 4), layout="constrained", sharey=True)
    PLOTS[name](result, list(axes))
    for judge, ax in zip(judges, axes, strict=True):
        n = _scenes(result, judge)
        ax.set_title(f"{judge} ({'steers' if judge == judges[0] else 'held out'}), n = {n} scenes")
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(f"{TITLES[name]} (exploratory)")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _scenes(result: Result, judge: str) -> str:
    """How many scenes stand behind a judge's panel: of the differences over all scenes, fewest to most."""
    counts = [d["n"] for d in result["differences"] if d["vision_model"] == judge and d["scenes"] == "all"]
    low, high = min(counts, default=0), max(counts, default=0)
    return str(high) if low == high else f"{low} to {high}"


def _draw_best_image(result: Result, axes: Sequence[Axes]) -> None:
    _lines(result, axes, result["best_image"], x="images")
    axes[0].set(xlabel="images drawn for a scene", ylabel="score of the best one")


def _draw_blocks(result: Result, axes: Sequence[Axes]) -> None:
    _lines(result, axes, result["by_block"], x="group", marker="o")
    axes[0].set(xlabel="block of scenes, in the order taken up", ylabel="confirmed score")


def _draw_kinds(result: Result, axes: Sequence[Axes]) -> None:
    from forgekit.show.plots import COLORS

    arms, rows = result["study"]["arms"], result["by_kind"]
    kinds = sorted({row["kind"] for row in rows})
    for judge, ax in zip(result["study"]["vision_models"], axes, strict=True):
        scores = {(r["arm"], r["kind"]): r["score"] for r in rows if r["vision_model"] == judge}
        for number, arm in enumerate(arms):
            x = [i + 0.2 * (number - (len(arms) - 1) / 2) for i in range(len(kinds))]
            heights = [float("nan") if (score := scores.get((arm, kind))) is None else score for kind in kinds]
            ax.bar(x, heights, width=0.18, color=COLORS[number], label=arm)
        counts = {kind: min(r["scenes"] for r in rows if r["kind"] == kind) for kind in kinds}
        ax.set_xticks(range(len(kinds)), [f"{kind}\nn = {counts[kind]}" for kind in kinds])
    axes[0].set(ylabel="mean element score, confirmed", ylim=(0, 1))


def _lines(
    result: Result, axes: Sequence[Axes], rows: Sequence[Mapping[str, Any]], *, x: str, marker: str = ""
) -> None:
    from forgekit.show.plots import COLORS

    for judge, ax in zip(result["study"]["vision_models"], axes, strict=True):
        for number, arm in enumerate(result["study"]["arms"]):
            line = [r for r in rows if r["vision_model"] == judge and r["arm"] == arm and r["score"] is not None]
            ax.plot([r[x] for r in line], [r["score"] for r in line], color=COLORS[number], marker=marker, label=arm)


PLOTS: Mapping[str, Callable[[Result, Sequence[Axes]], None]] = {
    "best_image": _draw_best_image,
    "blocks": _draw_blocks,
    "kinds": _draw_kinds,
}
