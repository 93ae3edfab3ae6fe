"""The plots of a study's report: each a panel per judge, with how many scenes it stands on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from forgekit.show.plot_parts import COLORS, counted, finish

Result = Mapping[str, Any]
# Each plot by its name: its title, the rows of the result that it shows, what they are drawn along, how.
PLOTS: Mapping[str, tuple[str, str, str, Mapping[str, Any]]] = {
    "best_image": (
        "Best image so far, selected by the judge that steers",
        "best_image",
        "images",
        {"xlabel": "images drawn for a scene", "ylabel": "score of the best one"},
    ),
    "blocks": (
        "From block to block",
        "by_block",
        "group",
        {"marker": "o", "xlabel": "block of scenes, in the order taken up", "ylabel": "confirmed score"},
    ),
    "kinds": (
        "By kind of element",
        "by_kind",
        "kind",
        {
            "kind": "bar",
            "width": 0.72,
            "rot": 0,
            "ylim": (0, 1),
            "xlabel": "",
            "ylabel": "mean element score, confirmed",
        },
    ),
}


def draw(name: str, result: Result, path: Path) -> None:
    """Draw one of `PLOTS`, a panel per judge, into a file."""
    arms, judges = result["study"]["arms"], result["study"]["vision_models"]
    title, rows, along, how = PLOTS[name]
    table = pd.DataFrame(result[rows], columns=["arm", "vision_model", along, "scenes", "score"])
    if along == "kind":
        table["kind"] += "\nn = " + table.groupby("kind")["scenes"].transform("min").astype(str)
    figure, axes = plt.subplots(1, len(judges), figsize=(5.5 * len(judges), 4), layout="constrained", sharey=True)
    for judge, ax in zip(judges, axes, strict=True):
        lines = table[table["vision_model"] == judge].pivot(index=along, columns="arm", values="score")
        if len(lines):
            lines.reindex(columns=arms).astype(float).plot(ax=ax, color=COLORS[: len(arms)], legend=False, **how)
        # How many scenes stand behind the panel: of the differences over all scenes, fewest to most.
        n = [d["n"] for d in result["differences"] if d["vision_model"] == judge and d["scenes"] == "all"]
        ax.set_title(f"{judge} ({'steers' if judge == judges[0] else 'held out'}), n = {counted(n, 'scene')}")
        finish(ax, legend=False)
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(arms), frameon=False)
    figure.suptitle(f"{title} (exploratory)")
    figure.savefig(path, dpi=90)
    plt.close(figure)
