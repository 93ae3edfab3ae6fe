"""Plots of what `trends` tells: a DataFrame or a store in, a matplotlib Axes out.

The DataFrame is that of the trends function named in the plot's docstring; a store is asked for it. A colour is an arm
(those of Okabe and Ito, safe for the colour-blind), a stroke and a marker are a judge; where several judge several arms,
each judge has a panel. `save` writes a figure for a paper. Contact sheets are pictures, not axes: see `contact_sheet`.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill, shorten
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from forgekit import trends
from forgekit.errors import ParameterError
from forgekit.show.plot_parts import (
    COLORS,
    JUDGE,
    LINES,
    MARKERS,
    as_table,
    counted,
    error_bars,
    finish,
    in_order,
    new_axes,
    place_thumbnail,
    save,
    shared_prefix,
    split_lines,
    split_panels,
)
from forgekit.show.plots_of_judges import judges, reliability
from forgekit.show.sheets import contact_sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from forgekit.store import Store

__all__ = [
    "COLORS", "adherence", "contact_sheet", "deltas", "distribution", "elements", "gains", "judges", "lineage", "pareto",
    "reliability", "save",
]  # fmt: skip

OVER_SCENES = "95 % intervals over scenes"
PARENTS = "; parents were chosen with luck: no effect lies below 0"
FEW = 3  # arms that can lie over each other and still be told apart
MOST_TERMS = 25  # rows of a heat map


def adherence(data: pd.DataFrame | Store, *, confirmed: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """Draw cross-fitted adherence by round with its 95 % band (`trends.adherence`); the steering judge's line is solid.

    An open mark at the right end, with its interval, is what the chosen versions score on fresh seeds: `confirmed` is
    `trends.confirmed`. Where no version has images in both halves there is only the best version so far to draw; the
    legend then says "selected". Returns the first panel; its figure has them all.
    """
    if confirmed is None and not hasattr(data, "columns"):
        confirmed = as_table(data, "confirmed")
    data = as_table(data, "adherence")
    panels = split_panels(data, ax)
    for place, judge, rows in panels:
        for name, line, style in split_lines(rows, among=data):
            shown = "adherence" if line["adherence"].notna().any() else "selected"
            label = f"{name} ({_role(line)})" if not judge else name
            place.plot(line["round"], line[shown], label=label + ", selected" * (shown == "selected"), **style)
            place.fill_between(line["round"], line["low"], line["high"], color=style["color"], alpha=0.12, linewidth=0)
            if confirmed is not None and len(confirmed):
                _mark_confirmed(place, confirmed, line, style)
        place.xaxis.set_major_locator(MaxNLocator(integer=True))
        place.set(xlabel="round of drawing", ylabel="adherence")
        place.set_title(f"{judge} ({_role(rows)})" if judge else "Adherence by round, cross-fitted")
        caption = f"n = {counted(rows['scenes'], 'scene')}; bands: {OVER_SCENES}"
        marks = "; open: fresh seeds" * bool(place.containers)
        finish(place, caption + marks, legend=place is _last(panels))
    return panels[0][0]


def _last(panels: list[tuple[Axes, str, pd.DataFrame]]) -> Axes:
    """Return the panel that has the legend beside it: the last of the first row."""
    return panels[min(1, len(panels) - 1)][0]


def _role(rows: pd.DataFrame) -> str:
    return "steers" if rows["steers"].iloc[0] else "held out"


def _mark_confirmed(ax: Axes, confirmed: pd.DataFrame, line: pd.DataFrame, style: Mapping[str, Any]) -> None:
    """Draw what a line's chosen versions score on fresh seeds, right of its end."""
    key = line.iloc[0]
    for _, row in confirmed[(confirmed[list(LINES)] == key[list(LINES)]).all(axis=1)].iterrows():
        place, number = line["round"].max() + 0.35, len(ax.containers)
        errors = error_bars(row[["confirmed"]], row[["low"]], row[["high"]])
        look: dict[str, Any] = {**style, "markerfacecolor": "white", "linestyle": "none", "capsize": 3}
        ax.errorbar([place + 0.08 * number], [row["confirmed"]], yerr=errors, **look)


def gains(data: pd.DataFrame | Store, *, ax: Axes | None = None) -> Axes:
    """Draw what each arm gained from round 0 to its last round, paired within scenes, with 95 % intervals (`trends.gain`).

    One row per arm, so here colours, too, are judges. An arm that only draws again shows what luck is worth.
    """
    data = as_table(data, "gain")
    arms = list(dict.fromkeys(zip(data["experiment"], data["model"], strict=True)))
    judges = in_order(data)
    ax = ax or new_axes(height=1.6 + max(0.4, 0.16 * len(judges)) * len(arms))
    prefix, several = shared_prefix(name for name, _ in arms), len({model for _, model in arms}) > 1
    for number, judge in enumerate(judges):
        rows = data[data[JUDGE] == judge]
        y = [
            arms.index(arm) + 0.8 * (number + 1) / (len(judges) + 1) - 0.4
            for arm in zip(rows["experiment"], rows["model"], strict=True)
        ]
        errors = error_bars(rows["gain"], rows["low"], rows["high"])
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        look: dict[str, Any] = {"color": color, "marker": marker, "linestyle": "none", "capsize": 3}
        ax.errorbar(rows["gain"], y, xerr=errors, label=f"{judge} ({_role(rows)})", **look)
    ax.axvline(0, color="gray", linewidth=0.8)
    ax.set_yticks(range(len(arms)), [name.removeprefix(prefix) + f" · {model}" * several for name, model in arms])
    ax.set_ylim(max(1, len(arms)) - 0.5, -0.5)
    ax.set(xlabel="gain, cross-fitted", title="From round 0 to the last round")
    return finish(ax, f"n = {counted(data['scenes'], 'scene')}; bars: {OVER_SCENES}")


def pareto(data: pd.DataFrame | Store, *, ax: Axes | None = None) -> Axes:
    """Draw cross-fitted adherence against the images it took, with its 95 % band, an arm per line, for the steering judge
    (`trends.adherence`).

    The grey steps are the Pareto front: the best adherence that so many images have bought in any arm.
    """
    data = as_table(data, "adherence")
    ax = ax or new_axes()
    steering = data[data["steers"]] if data["steers"].any() else data
    front = steering.dropna(subset="adherence").sort_values(["images", "adherence"])
    ax.step(front["images"], front["adherence"].cummax(), where="post", color="gray", linewidth=5, alpha=0.25)
    for name, line, style in split_lines(steering, among=data):
        ax.plot(line["images"], line["adherence"], label=name, **style)
        ax.fill_between(line["images"], line["low"], line["high"], color=style["color"], alpha=0.12, linewidth=0)
        numbered = line.dropna(subset="adherence") if steering.groupby(list(LINES)).ngroups <= FEW else line.head(0)
        for _, point in numbered.iterrows():
            here = (point["images"], point["adherence"])
            ax.annotate(f"{point['round']:.0f}", here, (4, 4), textcoords="offset points")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="images drawn", ylabel="adherence, cross-fitted", title="What the images bought")
    n, numbers = counted(steering["scenes"], "scene"), "numbers: round; " * bool(ax.texts)
    caption = f"n = {n}; by {', '.join(in_order(steering))}; bands: {OVER_SCENES}"
    return finish(ax, f"{caption}; {numbers}grey: Pareto front")


def distribution(data: pd.DataFrame | Store, *, vision_model: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the scores of single images as one ridge per round, median marked (`trends.distributions`).

    Arms lie over each other in different colours, judges in panels of their own; `vision_model` picks one judge.
    """
    data = as_table(data, "distributions")
    data = data if vision_model is None else data[data["vision_model"] == vision_model]
    rounds = sorted(data["round"].unique())
    centers = (np.arange(20) + 0.5) / 20
    panels = split_panels(data, ax, height=1.4 + 0.9 * len(rounds))
    for place, judge, rows in panels:
        for name, line, style in split_lines(rows, among=data):
            look = {name: style[name] for name in ("color", "linestyle")}
            for _, row in line.iterrows():
                base = rounds.index(row["round"])
                counts = np.asarray(row["histogram"], dtype=float)
                # Repeating the outer bars keeps the height of those at 0 and 1, where most scores are.
                smooth = np.convolve(np.pad(counts, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
                ridge = base + 0.9 * smooth / max(counts.max(), 1)
                if rows.groupby(list(LINES)).ngroups <= FEW:
                    place.fill_between(centers, base, ridge, color=look["color"], alpha=0.25, linewidth=0)
                place.plot(centers, ridge, label=name if row["round"] == line["round"].iloc[0] else None, **look)
                place.plot([row["q50"]] * 2, [base, base + 0.25], linewidth=2.5, **look)
        place.set_yticks(range(len(rounds)), [f"round {number}" for number in rounds])
        place.set(xlabel="score of an image", xlim=(0, 1), ylim=(-0.1, len(rounds) + 0.1))
        place.set_title(judge or "Distribution of scores")
        n = counted(rows["images"], "image")
        finish(place, f"n = {n} a round; bars: medians", legend=place is _last(panels))
    return panels[0][0]


def elements(data: pd.DataFrame | Store, *, most: int = MOST_TERMS, ax: Axes | None = None) -> Axes:
    """Draw heat maps of mean score by element kind and round (`trends.by_element_kind`, or `by_term` for words).

    One panel per experiment, generator and judge, never averaged, judges side by side; of more than `most` kinds or
    words the hardest. Returns the first; its figure has them all.

    Raises:
        ParameterError: `ax` is given, which takes one panel, and the data has several.
    """
    data = as_table(data, "by_element_kind")
    panels = list(data.groupby([column for column in LINES if column in data.columns], sort=True))
    if ax is not None and len(panels) > 1:
        keys = "; ".join(" · ".join(key) for key, _ in panels)
        raise ParameterError(f"one Axes cannot take {len(panels)} panels ({keys}): give the rows of one, or no ax")
    label, columns = "term" if "term" in data.columns else "kind", max(1, data[JUDGE].nunique())
    rows = max(1, -(-len(panels) // columns))
    height = 1.6 + 0.32 * min(most, max((panel[label].nunique() for _, panel in panels), default=1))
    size = (max(8.0, (1.5 + 0.7 * data["round"].nunique()) * columns), rows * height)
    grid = [ax] if ax else plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)[1].ravel()
    prefix = shared_prefix(key[0] for key, _ in panels)
    several = len({key[1:-1] for key, _ in panels}) > 1  # generators
    for place, (key, panel) in zip(grid, panels, strict=False):
        name = " · ".join([key[0].removeprefix(prefix), *(key[1:-1] if several else ()), key[-1]])
        _heat_map(place, panel, label, name, most)
    for spare in grid[max(1, len(panels)) :]:
        spare.remove()
    return grid[0]


def _heat_map(ax: Axes, panel: pd.DataFrame, label: str, name: str, most: int) -> None:
    grid = panel.pivot(index=label, columns="round", values="score").pipe(lambda g: g.sort_values(g.columns[0]))
    hardest = f"hardest first, {most} of {len(grid)}" if len(grid) > most else "hardest first"
    grid = grid.head(most)
    ax.imshow(grid.to_numpy(), cmap="cividis", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(grid.columns)), grid.columns)
    ax.set_yticks(range(len(grid)), grid.index)
    for (row, column), score in np.ndenumerate(grid.to_numpy()):
        if not np.isnan(score):
            ax.text(column, row, f"{score:.2f}", ha="center", va="center", color="white" if score < 0.5 else "black")
    lines = (f"{name}, n = {counted(panel['scenes'], 'scene')}", f"mean score by {label}, {hardest}")
    figure: Any = ax.get_figure(root=True)
    letters = max(12, int(ax.get_window_extent().width / figure.dpi * 16))
    ax.set_title("\n".join(fill(line, letters) for line in lines), fontsize=10)
    ax.set_xlabel("round of drawing")


def deltas(data: pd.DataFrame | Store, *, ax: Axes | None = None) -> Axes:
    """Draw what each new version changed, with 95 % intervals over scenes (`trends.version_deltas`, against parents)."""
    data = as_table(data, "version_deltas")
    panels = split_panels(data, ax)
    for place, judge, rows in panels:
        lines = split_lines(rows, among=data)
        for number, (name, line, style) in enumerate(lines):
            apart = min(0.08, 0.8 / len(lines))
            x = line["round"] + apart * (number - (len(lines) - 1) / 2)  # side by side around their round
            errors = error_bars(line["delta"], line["low"], line["high"])
            place.errorbar(x, line["delta"], yerr=errors, capsize=3, label=name, **(style | {"linestyle": "none"}))
        place.axhline(0, color="gray", linewidth=0.8)
        ticks = sorted(data["round"].unique())
        place.set_xticks(ticks)
        if ticks:
            place.set_xlim(ticks[0] - 0.5, ticks[-1] + 0.5)
        place.set(xlabel="round that drew it first", ylabel="change in score")
        place.set_title(judge or "What a new version changed")
        n = counted(rows["scenes"], "scene")
        finish(place, f"n = {n}, same seeds; bars: {OVER_SCENES}{PARENTS}", legend=place is _last(panels))
    return panels[0][0]


def lineage(
    data: pd.DataFrame | Store, scene: str | None = None, *, folder: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the life of a scene as a tree (`trends.lineage`): versions to the right, score upwards.

    What was done stands at the arrows, and thumbnails on the versions, where there is one arm: of several they would
    hide each other.

    Args:
        data: the table, or a store.
        scene: the `scene_hash` to ask a store about; None for the scene with the largest cross-fitted gain, in that arm.
        folder: the store's folder, that image paths are relative to; without it there are no thumbnails.
    """
    table: Any = data
    if not hasattr(data, "columns"):
        scenes = trends.scenes(data)
        if scene is None and scenes.empty:
            raise ParameterError("no scene of the store is judged yet: run `forgekit evaluate` first")
        best = scenes.iloc[0]
        table, folder = trends.lineage(data, scene or best["scene_hash"]), folder or str(data.folder)
        table = table if scene else table[table["experiment"] == best["experiment"]]
    ax = ax or new_axes(width=max(8.0, 1.0 + 1.9 * table["iteration"].nunique()), height=4.5)
    places = {row["prompt_id"]: (row["iteration"], row["current_score"]) for _, row in table.iterrows()}
    colors = {experiment: COLORS[i % len(COLORS)] for i, experiment in enumerate(table["experiment"].unique())}
    prefix, alone = shared_prefix(colors), len(colors) < 2
    gap = 27 if folder and alone else 5  # points between an arrow and the middle of the thumbnail or dot
    for _, row in table[table["current_score"].notna()].iterrows():
        here, parent = places[row["prompt_id"]], places.get(row["parent_prompt_id"])
        color = colors[row["experiment"]]
        if parent is not None and not np.isnan(parent[1]):
            arrow = {"arrowstyle": "-|>", "color": color, "shrinkA": gap, "shrinkB": gap}
            ax.annotate("", here, parent, arrowprops=arrow, zorder=1)
            done = row["action"] if alone and isinstance(row["action"], str) else ""
            # At the arrow's head: half-way another version may lie on it.
            ax.annotate(done, here, (-gap - 4, 4), textcoords="offset points", ha="right", va="bottom", fontsize=8)
        ax.plot(
            *here, marker="o", color=color, label=row["experiment"].removeprefix(prefix) if parent is None else None
        )
        if folder and alone and isinstance(row["best_image"], str):
            place_thumbnail(ax, folder, row["best_image"], here)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.margins(0.15)
    ax.set_title(shorten(table["scene_text"].iloc[0], 90, placeholder="…") if len(table) else "")
    ax.set(xlabel="version", ylabel="score of the version, by its own images")
    return finish(ax, f"n = {counted([table['images'].sum()], 'image')}", legend=not alone)
