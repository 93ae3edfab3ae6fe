"""What plots share: colours of arms, lines of judges, their names, panels, counts, thumbnails, and a file for a paper."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from posixpath import commonpath
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

from forgekit import trends
from forgekit.errors import ParameterError
from forgekit.show.sheets import thumbnail
from forgekit.store.images import shown_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from forgekit.store import Store

# Okabe-Ito and a brown
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MANY = "turbo"  # the colour map for more arms than that
STROKES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = "os^Dv<>"
ARM, JUDGE = ("experiment", "model"), "vision_model"
LINES = (*ARM, JUDGE)
WHOLE = (-0.02, 1.02)  # limits for [0, 1] that do not cut markers in half
WIDTHS = {"column": 3.25, "text": 6.75}  # inches, of a two-column page
FONT = 7.0 / 10.0  # of a paper's figure, against a screen's
NAME = 32  # letters a line of a legend beside axes
CAPTION = 42  # letters a line, which a column of a page holds in that type


def as_table(data: pd.DataFrame | Store, question: str) -> pd.DataFrame:
    """Return the DataFrame itself, or what `trends` answers where `data` is a store."""
    return data if hasattr(data, "columns") else getattr(trends, question)(data)


def split_panels(table: pd.DataFrame, ax: Axes | None, *, height: float = 4.0) -> list[tuple[Axes, str, pd.DataFrame]]:
    """Return axes, title and rows of each panel: one per judge where several judge several arms, else one.

    All in `ax` where it is given. The judge that steers comes first.
    """
    judges = in_order(table)
    arms = len(table.groupby(list(ARM)))
    if ax is not None or len(judges) < 2 or arms < 2:
        return [(ax or new_axes(height=height), "", table)]
    columns = min(2, len(judges))
    rows = -(-len(judges) // columns)
    size = (5.0 * columns + 2.0, height * rows)
    grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, sharex=True, sharey=True)[1]
    for spare in grid.flat[len(judges) :]:
        spare.remove()
    return [(place, judge, table[table[JUDGE] == judge]) for place, judge in zip(grid.flat, judges, strict=False)]


def in_order(table: pd.DataFrame) -> list[str]:
    """Return the judges of a table: those that steer first, then by name."""
    steering = set(table.loc[table["steers"], JUDGE]) if "steers" in table else set()
    return sorted(table[JUDGE].unique(), key=lambda judge: (judge not in steering, judge))


def split_lines(
    table: pd.DataFrame, among: pd.DataFrame | None = None
) -> list[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """Split the rows into lines, each named by what sets it apart, with its colour, stroke and marker.

    An arm has a colour, a judge a stroke and a marker, by their places `among` all lines: in every plot of the same
    table they look the same, and no two lines are alike.
    """
    every = table if among is None else among
    arms, judges = sorted(every.groupby(list(ARM)).groups), in_order(every)
    colors = COLORS if len(arms) <= len(COLORS) else plt.get_cmap(MANY)(np.linspace(0.05, 0.95, len(arms)))
    prefix = shared_prefix(name for name, _ in arms)
    varying = [column for column in LINES if table[column].nunique() > 1] or [JUDGE]
    lines = []
    for key, line in table.groupby(list(LINES), sort=False):
        judge = judges.index(key[-1])
        style = {
            "color": colors[arms.index(key[:-1])],
            "linestyle": STROKES[judge % len(STROKES)],
            "marker": MARKERS[judge % len(MARKERS)],
        }
        named = dict(zip(LINES, key, strict=True))
        named["experiment"] = named["experiment"].removeprefix(prefix)
        lines.append((" · ".join(named[column] for column in varying), line.sort_values("round"), style))
    return sorted(lines, key=lambda each: (judges.index(each[1][JUDGE].iloc[0]), each[1][list(ARM)].iloc[0].tolist()))


def shared_prefix(names: Iterable[str]) -> str:
    """Return the folders that all names of experiments lie in, such as "words/"; "" for a single name."""
    folders = [name.rpartition("/")[0] for name in set(names)]
    shared = commonpath(folders) if len(folders) > 1 else ""
    return f"{shared}/" if shared else ""


def counted(numbers: Iterable[float], what: str) -> str:
    """Return "12 scenes", or "8 to 12 scenes" where a line's points stand for different numbers."""
    found = {int(number) for number in numbers} or {0}
    return f"{' to '.join(map(str, sorted({min(found), max(found)})))} {what}{'' if found == {1} else 's'}"


def error_bars(middle: pd.Series, low: pd.Series, high: pd.Series) -> np.ndarray:
    """Return how far an interval reaches down and up; of a few skewed values it may end short of their mean."""
    mean, low, high = (np.asarray(values, dtype=float) for values in (middle, low, high))
    return np.clip([mean - low, high - mean], 0.0, None)


def new_axes(*, width: float = 8.0, height: float = 4.0) -> Axes:
    """Return the axes of a new figure; `width` and `height` in inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def finish(ax: Axes, caption: str = "", *, legend: bool = True) -> Axes:
    """Add grid, caption and legend (beside the axes, where there is something to name), and return the axes.

    A caption begins below the left end of the axes, in short lines: layout makes room for its height alone, and a column
    of a page must hold it.
    """
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("\n".join(filter(None, (ax.get_xlabel(), fill(caption, CAPTION)))), loc="left")
    handles, names = ax.get_legend_handles_labels()
    if legend and handles:
        names = [fill(name, NAME) for name in names]
        ax.legend(handles, names, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return ax


def save(drawn: Figure | Axes, file: str | Path, *, width: Literal["column", "text"] | float = "column") -> Path:
    """Write a figure as a paper wants it and return the file: 7 pt type, fonts embedded, 300 dots an inch.

    Args:
        drawn: the figure, or axes of it, which stay as they are.
        file: its ending says the format: pdf, svg, png.
        width: "column" (3.25 inches), "text" (6.75), or inches. The height goes with it, to half of what it was at the least.

    Raises:
        ParameterError: another width.
    """
    inches = WIDTHS.get(width, width) if isinstance(width, str) else width
    if not isinstance(inches, int | float) or isinstance(inches, bool) or not 0 < inches < 100:
        raise ParameterError(f"width={width!r}: give {' or '.join(map(repr, WIDTHS))}, or inches")
    figure: Any = drawn if hasattr(drawn, "savefig") else drawn.get_figure(root=True)
    size = figure.get_size_inches().copy()
    sizes: list[tuple[Any, float]] = [(text.set_fontsize, text.get_fontsize()) for text in figure.findobj(plt.Text)]
    sizes += [(line.set_markersize, line.get_markersize()) for line in figure.findobj(plt.Line2D)]
    # Of all ticks: in another size there may be more of them.
    sizes += [(partial(_size_ticks, ax), float(plt.rcParams["font.size"])) for ax in figure.axes]
    legends = [ax.get_legend() for ax in figure.axes if ax.get_legend() and inches < WIDTHS["text"]]
    height = size[1] * max(inches / size[0], 0.5)
    try:
        for set_size, points in sizes:
            set_size(points * FONT)
        for legend in legends:  # beside the axes it would leave them no room
            legend.set_visible(False)
            handles, names = legend.axes.get_legend_handles_labels()
            columns = 1 if max(map(len, names)) > CAPTION // 2 else 2
            look = {"ncols": columns, "frameon": False, "fontsize": 10 * FONT}
            figure.legend(handles, names, loc="outside lower left", **look)
            height += 0.16 * -(-len(names) // columns)
        figure.set_size_inches(inches, height)
        with plt.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}):
            figure.savefig(file, dpi=300)
    finally:
        figure.set_size_inches(size)
        figure.legends.clear()
        for legend in legends:
            legend.set_visible(True)
        for set_size, points in sizes:
            set_size(points)
    return Path(file)


def _size_ticks(ax: Axes, points: float) -> None:
    ax.tick_params(labelsize=points)


def place_thumbnail(
    ax: Axes, folder: str, image_path: str, point: tuple[float, float], place: tuple[float, float] | None = None
) -> None:
    """Draw an image of the store in `folder` on `point`, or at `place`, in fractions of the axes, with a line to it.

    A path that leads out of the store's images is a grey field.
    """
    image = thumbnail(shown_file(Path(folder), image_path)).resize((100, 100), Image.Resampling.BICUBIC)
    picture = OffsetImage(np.asarray(image), zoom=0.5)
    beside: dict[str, Any] = {
        "xybox": place,
        "boxcoords": "axes fraction",
        "arrowprops": {"arrowstyle": "-", "color": "gray", "relpos": (0, 0.5)},
    }
    ax.add_artist(AnnotationBbox(picture, point, frameon=True, pad=0.1, **(beside if place else {})))
