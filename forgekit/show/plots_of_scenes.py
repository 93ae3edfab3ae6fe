"""The plot of one scene: its versions as a tree."""

from __future__ import annotations

from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from forgekit import trends
from forgekit.errors import ParameterError
from forgekit.show.plot_parts import COLORS, counted, finish, new_axes, place_thumbnail

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from forgekit.store import Store


def lineage(
    data: pd.DataFrame | Store, scene: str | None = None, *, folder: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the life of a scene as a tree (`trends.lineage`): versions to the right, score upwards, what was done at the
    arrows.

    Args:
        data: the table, or a store.
        scene: the `scene_hash` to ask a store about; None for the scene with the largest cross-fitted gain.
        folder: the store's folder, that image paths are relative to; without it there are no thumbnails.
    """
    table: Any = data
    if not hasattr(data, "columns"):
        scenes = trends.scenes(data)
        if scene is None and scenes.empty:
            raise ParameterError("no scene of the store is judged yet: run `forgekit evaluate` first")
        table, folder = trends.lineage(data, scene or scenes["scene_hash"].iloc[0]), folder or str(data.folder)
    ax = ax or new_axes(width=max(8.0, 1.0 + 1.9 * table["iteration"].nunique()), height=4.5)
    places = {row["prompt_id"]: (row["iteration"], row["current_score"]) for _, row in table.iterrows()}
    gap = 27 if folder else 5  # points between an arrow and the middle of the thumbnail or dot
    colors = {experiment: COLORS[i % len(COLORS)] for i, experiment in enumerate(table["experiment"].unique())}
    for _, row in table[table["current_score"].notna()].iterrows():
        here, parent = places[row["prompt_id"]], places.get(row["parent_prompt_id"])
        color = colors[row["experiment"]]
        if parent is not None and not np.isnan(parent[1]):
            arrow = {"arrowstyle": "-|>", "color": color, "shrinkA": gap, "shrinkB": gap}
            ax.annotate("", here, parent, arrowprops=arrow, zorder=1)
            done = row["action"] if isinstance(row["action"], str) else ""
            # At the arrow's head: half-way another version may lie on it.
            ax.annotate(done, here, (-gap - 4, 4), textcoords="offset points", ha="right", va="bottom", fontsize=8)
        ax.plot(*here, marker="o", color=color, label=row["experiment"] if parent is None else None)
        if folder and isinstance(row["best_image"], str):
            place_thumbnail(ax, folder, row["best_image"], here)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.margins(0.15)
    ax.set_title(shorten(table["scene_text"].iloc[0], 90, placeholder="…") if len(table) else "")
    ax.set(xlabel="version", ylabel="score of the version, by its own images")
    return finish(ax, f"n = {counted([table['images'].sum()], 'image')}", legend=len(colors) > 1)
