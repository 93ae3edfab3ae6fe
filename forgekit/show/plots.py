"""Plots of what `trends` tells: a DataFrame in, a matplotlib Axes out.

The DataFrame is that of the trends function named in the plot's docstring; a store is asked for it. Colours are safe for
the colour-blind (Okabe-Ito). Contact sheets are pictures, not axes: see `contact_sheet`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from forgekit.errors import ParameterError
from forgekit.show.plot_parts import (
    COLORS,
    LINES,
    MARKERS,
    WHOLE,
    as_table,
    counted,
    error_bars,
    finish,
    new_axes,
    place_thumbnail,
    split_lines,
)
from forgekit.show.sheets import contact_sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from forgekit.store import Store

__all__ = [
    "adherence",
    "contact_sheet",
    "deltas",
    "distribution",
    "elements",
    "judges",
    "lineage",
    "pareto",
]

ON_LINE = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}


def adherence(data: pd.DataFrame | Store, *, confirmed: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """Draw cross-fitted adherence by round with its 95 % band (`trends.adherence`); held-out judges are dashed.

    A dot at the right end, with its interval, is what the chosen versions score on fresh seeds: `confirmed` is
    `trends.confirmed`. Where no version has images in both halves there is only the best version so far to draw; the
    legend then says "selected".
    """
    if confirmed is None and not hasattr(data, "columns"):
        confirmed = as_table(data, "confirmed")
    data = as_table(data, "adherence")
    ax = ax or new_axes()
    for name, line, style in split_lines(data):
        steers = bool(line["steers"].iloc[0])
        shown = "adherence" if line["adherence"].notna().any() else "selected"
        label = f"{name} ({'steers' if steers else 'held out'}), {counted(line['scenes'], 'scene')}"
        label = label if shown == "adherence" else f"{name}: best version so far, selected"
        ax.plot(line["round"], line[shown], linestyle="-" if steers else "--", label=label, **style)
        ax.fill_between(line["round"], line["low"], line["high"], color=style["color"], alpha=0.12, linewidth=0)
        if confirmed is not None and len(confirmed):
            _mark_confirmed(ax, confirmed, line, style["color"])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="round of drawing", ylabel="adherence", ylim=WHOLE, title="Adherence by round, cross-fitted")
    return finish(ax)


def _mark_confirmed(ax: Axes, confirmed: pd.DataFrame, line: pd.DataFrame, color: str) -> None:
    """Draw what a line's chosen versions score on fresh seeds, right of its end."""
    key = line.iloc[0]
    for _, row in confirmed[(confirmed[list(LINES)] == key[list(LINES)]).all(axis=1)].iterrows():
        place, number = line["round"].max() + 0.35, len(ax.containers)
        errors = error_bars(row[["confirmed"]], row[["low"]], row[["high"]])
        label = f"  on fresh seeds, {counted([row['scenes']], 'scene')}"
        style: dict[str, Any] = {
            "color": color,
            "marker": "D",
            "markerfacecolor": "white",
            "linestyle": "none",
            "capsize": 3,
        }
        ax.errorbar([place + 0.08 * number], [row["confirmed"]], yerr=errors, label=label, **style)


def pareto(data: pd.DataFrame | Store, *, ax: Axes | None = None) -> Axes:
    """Draw cross-fitted adherence against the images it took, an arm per line, for the steering judge
    (`trends.adherence`).

    The grey steps are the Pareto front: the best adherence that so many images have bought in any arm.
    """
    data = as_table(data, "adherence")
    ax = ax or new_axes()
    steering = data[data["steers"]] if data["steers"].any() else data
    front = steering.dropna(subset="adherence").sort_values(["images", "adherence"])
    ax.step(front["images"], front["adherence"].cummax(), where="post", color="gray", linewidth=5, alpha=0.25)
    for name, line, style in split_lines(steering, among=data):
        ax.plot(line["images"], line["adherence"], label=f"{name}, {counted(line['scenes'], 'scene')}", **style)
        for _, point in line.dropna(subset="adherence").iterrows():
            ax.annotate(
                f"{point['round']:.0f}", (point["images"], point["adherence"]), (4, 4), textcoords="offset points"
            )
    ax.set(
        xlabel="images drawn",
        ylabel="adherence, cross-fitted",
        ylim=WHOLE,
        title="What the images bought (numbers: round; grey: Pareto front)",
    )
    return finish(ax)


def distribution(data: pd.DataFrame | Store, *, vision_model: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the scores of single images as one ridge per round, median marked (`trends.distributions`).

    Several judges or arms lie over each other in different colours; `vision_model` picks one judge.
    """
    data = as_table(data, "distributions")
    data = data if vision_model is None else data[data["vision_model"] == vision_model]
    rounds = sorted(data["round"].unique())
    ax = ax or new_axes(height=1.2 + 0.9 * len(rounds))
    centers = (np.arange(20) + 0.5) / 20
    lines = split_lines(data)
    for name, line, style in lines:
        color, label = style["color"], f"{name}, {counted(line['images'], 'image')}"
        for _, row in line.iterrows():
            base = rounds.index(row["round"])
            counts = np.asarray(row["histogram"], dtype=float)
            # Repeating the outer bars keeps the height of those at 0 and 1, where most scores are.
            smooth = np.convolve(np.pad(counts, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
            ridge = base + 0.9 * smooth / max(counts.max(), 1)
            ax.fill_between(centers, base, ridge, color=color, alpha=0.35, linewidth=0)
            ax.plot(centers, ridge, color=color, label=label if row["round"] == line["round"].iloc[0] else None)
            ax.plot([row["q50"]] * 2, [base, base + 0.25], color=color, linewidth=2.5)
    ax.set_ylim(-0.1, len(rounds) + 0.25 * len(lines))  # room for the legend above the ridges
    ax.set_yticks(range(len(rounds)), [f"round {number}" for number in rounds])
    ax.set(xlabel="score of an image", xlim=(0, 1), title="Distribution of scores (bar: median)")
    return finish(ax)


def elements(data: pd.DataFrame | Store, *, ax: Axes | None = None) -> Axes:
    """Draw heat maps of mean score by element kind and round (`trends.by_element_kind`, or `by_term` for words).

    One panel per experiment, generator and judge, never averaged. Returns the first; its figure has them all.

    Raises:
        ParameterError: `ax` is given, which takes one panel, and the data has several.
    """
    data = as_table(data, "by_element_kind")
    panels = list(data.groupby([column for column in LINES if column in data.columns], sort=True))
    if ax is not None and len(panels) > 1:
        keys = "; ".join(" · ".join(key) for key, _ in panels)
        raise ParameterError(f"one Axes cannot take {len(panels)} panels ({keys}): give the rows of one, or no ax")
    label, rows = "term" if "term" in data.columns else "kind", max(1, len(panels))
    size = (8.0, rows * (1.5 + 0.35 * data[label].nunique()))
    places = [ax] if ax else plt.subplots(rows, figsize=size, layout="constrained", squeeze=False)[1][:, 0]
    for place, (key, panel) in zip(places, panels, strict=False):
        _heat_map(place, panel, label, " · ".join(map(str, key)))
    return places[0]


def _heat_map(ax: Axes, panel: pd.DataFrame, label: str, name: str) -> None:
    grid = panel.pivot(index=label, columns="round", values="score").pipe(lambda g: g.sort_values(g.columns[0]))
    ax.imshow(grid.to_numpy(), cmap="cividis", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(grid.columns)), grid.columns)
    ax.set_yticks(range(len(grid)), grid.index)
    for (row, column), score in np.ndenumerate(grid.to_numpy()):
        if not np.isnan(score):
            ax.text(column, row, f"{score:.2f}", ha="center", va="center", color="white" if score < 0.5 else "black")
    n = " to ".join(map(str, sorted({panel["scenes"].min(), panel["scenes"].max()})))
    ax.set(xlabel="round of drawing", title=f"{name}, n = {n} scenes\nmean score by {label}, hardest first")


def deltas(data: pd.DataFrame | Store, *, ax: Axes | None = None) -> Axes:
    """Draw what each new version changed, with 95 % intervals over scenes (`trends.version_deltas`)."""
    data = as_table(data, "version_deltas")
    ax = ax or new_axes()
    lines = split_lines(data)
    for number, (name, line, style) in enumerate(lines):
        x = line["round"] + 0.08 * (number - (len(lines) - 1) / 2)  # side by side around their round
        label = f"{name}, {counted(line['scenes'], 'scene')}"
        errors = error_bars(line["delta"], line["low"], line["high"])
        ax.errorbar(x, line["delta"], yerr=errors, linestyle="none", capsize=3, label=label, **style)
    ax.axhline(0, color="gray", linewidth=0.8)
    ax.set_xticks(sorted(data["round"].unique()))
    ax.margins(x=0.15)
    if len(ax.get_xticks()) == 1:
        ax.set_xlim(ax.get_xticks()[0] - 0.5, ax.get_xticks()[0] + 0.5)
    ax.set(xlabel="round that drew it first", ylabel="change in score, same seeds", title="What a new version changed")
    return finish(ax)


def judges(data: pd.DataFrame, *, folder: str | None = None, thumbnails: int = 4, ax: Axes | None = None) -> Axes:
    """Draw two judges' scores of the same images (`trends.judge_pairs`), with the images they disagree about most.

    `folder` is the store's folder, that image paths are relative to; without it there are no thumbnails.
    """
    shown = data.head(thumbnails if folder else 0).sort_values("y")  # so that the lines to them do not cross
    ax = ax or new_axes(width=7 if len(shown) else 6, height=6)
    ax.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
    ax.scatter(data["x"], data["y"], s=14, color=COLORS[0], alpha=0.4, linewidth=0)
    column = 0.165 * (min(6, max(1, len(shown))) - 1)  # six fill the height of the axes
    lowest = np.clip((shown["y"].mean() if len(shown) else 0.5) - column / 2, 0.09, 0.915 - column)
    for number, (_, row) in enumerate(shown.iterrows()):  # beside the axes: inside they would hide the points they show
        place = (1.12 + 0.17 * (number // 6), lowest + 0.165 * (number % 6))
        place_thumbnail(ax, folder or "", row["image_path"], (row["x"], row["y"]), place)
    names = dict(zip(("xlabel", "ylabel"), data[["judge", "other"]].iloc[0], strict=True)) if len(data) else {}
    ax.set(
        **names, xlim=WHOLE, ylim=WHOLE, aspect="equal", title=f"Two judges, the same {counted([len(data)], 'image')}"
    )
    return ax


def reliability(data: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what judges said against what is so, with 90 % intervals (`judging.reliability`); a line per `judge`."""
    ax = ax or new_axes(width=6, height=6)
    ax.plot([0, 1], [0, 1], color="gray", linewidth=0.8, linestyle="--")
    curves = data.groupby("judge") if "judge" in data else [("judge", data)]
    for number, (name, curve) in enumerate(curves):
        errors = error_bars(curve["so"], curve["so_low"], curve["so_high"])
        label = f"{name}, {counted([curve['n'].sum()], 'answer')}" if "n" in curve else name
        style: dict[str, Any] = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}
        ax.errorbar(curve["said"], curve["so"], yerr=errors, capsize=3, label=label, **style)
    ax.set(xlabel="probability said", ylabel="share that is so", xlim=WHOLE, ylim=WHOLE, aspect="equal")
    ax.set_title("Reliability")
    return finish(ax)


def lineage(data: pd.DataFrame, *, folder: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the life of a scene as a tree (`trends.lineage`): versions to the right, score upwards, what was done on
    the edges.

    `folder` is the store's folder, that image paths are relative to; without it there are no thumbnails.
    """
    ax = ax or new_axes(height=4.5)
    places = {row["prompt_id"]: (row["iteration"], row["current_score"]) for _, row in data.iterrows()}
    gap = 30 if folder else 5  # points between an arrow and the middle of the thumbnail or dot
    colors = {experiment: COLORS[i % len(COLORS)] for i, experiment in enumerate(data["experiment"].unique())}
    for _, row in data[data["current_score"].notna()].iterrows():
        here, parent = places[row["prompt_id"]], places.get(row["parent_prompt_id"])
        color = colors[row["experiment"]]
        if parent is not None and not np.isnan(parent[1]):
            arrow = {"arrowstyle": "-|>", "color": color, "shrinkA": gap, "shrinkB": gap}
            ax.annotate("", here, parent, arrowprops=arrow, zorder=1)
            middle = ((here[0] + parent[0]) / 2, (here[1] + parent[1]) / 2)
            ax.text(
                *middle,
                row["action"] if isinstance(row["action"], str) else "",
                ha="center",
                va="center",
                fontsize=8,
                bbox=ON_LINE,
            )
        ax.plot(*here, marker="o", color=color)
        if folder and isinstance(row["best_image"], str):
            place_thumbnail(ax, folder, row["best_image"], here)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.margins(0.15)
    images = counted([data["images"].sum()], "image")
    ax.set(xlabel="version", ylabel="score of the version, by its own images", title=f"Versions of the scene, {images}")
    return ax
