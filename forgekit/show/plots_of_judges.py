"""Plots of judges: two of them against each other, and what one says against what is so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forgekit import judge_tests, trends
from forgekit.errors import ParameterError
from forgekit.show.plot_parts import COLORS, MARKERS, WHOLE, counted, error_bars, finish, new_axes, place_thumbnail

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from forgekit.store import Store


def judges(
    data: pd.DataFrame | Store,
    judge: str | None = None,
    other: str | None = None,
    *,
    folder: str | None = None,
    thumbnails: int = 4,
    ax: Axes | None = None,
) -> Axes:
    """Draw two judges' scores of the same images (`trends.judge_pairs`), with the images they disagree about most.

    Args:
        data: the table, or a store.
        judge, other: whom to ask a store about; None for the two that agree least.
        folder: the store's folder, that image paths are relative to; without it there are no thumbnails.
        thumbnails: how many, of a scene one at the most.

    Raises:
        ParameterError: fewer than two judges have judged the store's images.
    """
    table: Any = data
    if not hasattr(data, "columns"):
        folder = folder or str(data.folder)
        table = trends.judge_pairs(data, *(_least_agreeing(data) if judge is None or other is None else (judge, other)))
    most = table.drop_duplicates("scene_hash") if "scene_hash" in table else table
    shown = most.head(thumbnails if folder else 0).sort_values("y")  # so that the lines to them do not cross
    ax = ax or new_axes(width=7 if len(shown) else 6, height=6)
    ax.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
    dense = min(0.4, 400 / max(1, len(table)) ** 0.8)  # thousands of points would be a blot
    ax.scatter(table["x"], table["y"], s=14, color=COLORS[0], alpha=dense, linewidth=0)
    column = 0.165 * (min(6, max(1, len(shown))) - 1)  # six fill the height of the axes
    lowest = np.clip((shown["y"].mean() if len(shown) else 0.5) - column / 2, 0.09, 0.915 - column)
    for number, (_, row) in enumerate(shown.iterrows()):  # beside the axes: inside they would hide the points they show
        place = (1.12 + 0.17 * (number // 6), lowest + 0.165 * (number % 6))
        place_thumbnail(ax, folder or "", row["image_path"], (row["x"], row["y"]), place)
    names = dict(zip(("xlabel", "ylabel"), table[["judge", "other"]].iloc[0], strict=True)) if len(table) else {}
    ax.set(**names, xlim=WHOLE, ylim=WHOLE, aspect="equal", title="Two judges of the same images")
    return finish(ax, f"n = {counted([len(table)], 'image')}")


def _least_agreeing(store: Store) -> tuple[str, str]:
    pairs = trends.judge_agreement(store).sort_values("spearman", na_position="last")
    if pairs.empty:
        raise ParameterError("no two judges have judged the same images: evaluate with two vision models")
    return pairs["judge"].iloc[0], pairs["other"].iloc[0]


def reliability(data: pd.DataFrame | Store, *, ax: Axes | None = None) -> Axes:
    """Draw what judges said against what is so, with 90 % intervals (`judging.reliability`); a line per `judge`.

    Of a store: scores against what people said, an image being so where they give it half of their scale or more.
    """
    table: Any = data
    if not hasattr(data, "columns"):
        rated = judge_tests.rated_scores(data)
        curves = [
            judge_tests.reliability(rows["score"], rows["rating"] >= 0.5).assign(judge=judge)
            for judge, rows in rated.groupby("judge")
        ]
        if not curves:
            raise ParameterError("nobody has rated images of the store: `forgekit import-ratings` first")
        table = pd.concat(curves)
    ax = ax or new_axes(width=8, height=5)
    ax.plot([0, 1], [0, 1], color="gray", linewidth=0.8, linestyle="--")
    curves = table.groupby("judge") if "judge" in table else [("judge", table)]
    for number, (name, curve) in enumerate(curves):
        errors = error_bars(curve["so"], curve["so_low"], curve["so_high"])
        label = f"{name}, n = {counted([curve['n'].sum()], 'answer')}" if "n" in curve else name
        style: dict[str, Any] = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}
        ax.errorbar(curve["said"], curve["so"], yerr=errors, capsize=3, label=label, **style)
    ax.set(xlabel="probability said", ylabel="share that is so", xlim=WHOLE, ylim=WHOLE, aspect="equal")
    ax.set_title("Reliability")
    return finish(ax, "bars: 90 % intervals")
