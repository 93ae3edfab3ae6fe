"""What plots share: colours safe for the colour-blind (Okabe-Ito), lines and their names, counts, thumbnails."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

from forgekit import trends
from forgekit.show.sheets import thumbnail
from forgekit.store.images import stored_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from forgekit.store import Store

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv<>"
LINES = ("experiment", "model", "vision_model")
WHOLE = (-0.02, 1.02)  # limits for [0, 1] that do not cut markers in half


def as_table(data: pd.DataFrame | Store, question: str) -> pd.DataFrame:
    """Return the DataFrame itself, or what `trends` answers where `data` is a store."""
    return data if hasattr(data, "columns") else getattr(trends, question)(data)


def split_lines(
    table: pd.DataFrame, among: pd.DataFrame | None = None
) -> list[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """Split the rows into lines, each named by what sets it apart from the others, with its colour and marker.

    Those go by the place in the alphabet `among` all lines, so that a judge looks the same in every plot.
    """
    every = sorted((table if among is None else among).groupby(list(LINES)).groups)
    varying = [column for column in LINES if table[column].nunique() > 1] or ["vision_model"]
    lines = []
    for key, line in table.groupby(list(LINES), sort=False):
        number = every.index(key)
        style = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}
        name = " · ".join(str(line[column].iloc[0]) for column in varying)
        lines.append((name, line.sort_values("round"), style))
    return lines


def counted(numbers: Iterable[float], what: str) -> str:
    """Return "12 scenes", or "8 to 12 scenes" where a line's points stand for different numbers."""
    found = sorted({int(number) for number in numbers})
    return f"{' to '.join(str(n) for n in dict.fromkeys((found[0], found[-1])))} {what}{'' if found == [1] else 's'}"


def error_bars(middle: pd.Series, low: pd.Series, high: pd.Series) -> np.ndarray:
    """Return how far an interval reaches down and up; of a few skewed values it may end short of their mean."""
    ends = [np.asarray(middle, dtype=float) - np.asarray(low, dtype=float), np.asarray(high, dtype=float) - middle]
    return np.clip(np.asarray(ends, dtype=float), 0.0, None)


def new_axes(*, width: float = 8.0, height: float = 4.0) -> Axes:
    """Return the axes of a new figure; `width` and `height` in inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def finish(ax: Axes) -> Axes:
    """Add grid and legend, where there is something to name, and return the axes."""
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False)
    return ax


def place_thumbnail(
    ax: Axes, folder: str, image_path: str, point: tuple[float, float], place: tuple[float, float] | None = None
) -> None:
    """Draw an image of the store in `folder` on `point`, or at `place`, in fractions of the axes, with a line to it.

    A path that leads out of the store's images is a grey field.
    """
    file = stored_file(Path(folder), image_path)
    image = thumbnail(file if isinstance(file, Path) else None).resize((100, 100), Image.Resampling.BICUBIC)
    picture = OffsetImage(np.asarray(image), zoom=0.5)
    beside: dict[str, Any] = {
        "xybox": place,
        "boxcoords": "axes fraction",
        "arrowprops": {"arrowstyle": "-", "color": "gray", "relpos": (0, 0.5)},
    }
    ax.add_artist(AnnotationBbox(picture, point, frameon=True, pad=0.1, **(beside if place else {})))
