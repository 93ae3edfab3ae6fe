"""Figures of how scores spread, with the scores on the axis: of one version's images, and of a round by all judges."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

DPI = 80


def scores_figure(scores: Sequence[float], pass_mark: float, file: Path) -> None:
    """Draw the score of each image as a dot on one axis, their mean as a line, the judge's pass mark as a dotted one."""
    figure, (dots, mean, mark) = _strip()
    dots.set_data(scores, [0.5 + 0.12 * (number % 5 - 2) for number in range(len(scores))])  # dots on one spot are seen
    mean.set_xdata([sum(scores) / len(scores) if scores else float("nan")] * 2)
    mark.set_xdata([pass_mark] * 2)
    figure.axes[0].set_xlabel(f"score of an image, n = {len(scores)} (line: mean, dotted: pass mark)")
    figure.savefig(file, dpi=DPI)


def distribution_figure(spread: pd.DataFrame, title: str) -> bytes:
    """Draw distributions of scores over each other (`trends.distributions`), a colour each; return the PNG."""
    return _distributions(spread.to_json(orient="records"), title)


@lru_cache(maxsize=64)
def _distributions(spread: str, title: str) -> bytes:
    """Draw each once: all judges of a round show the same, and so does the summary of a study with one arm."""
    import pandas as pd
    from matplotlib.figure import Figure

    from forgekit.show import plots

    figure, buffer = Figure(figsize=(7, 3)), io.BytesIO()  # not pyplot's: nothing is to appear in a notebook
    ax = figure.add_axes(
        (0.1, 0.25, 0.62, 0.65)
    )  # beside it the legend; laying out by itself would take longer than drawing
    plots.distribution(pd.read_json(io.StringIO(spread)), ax=ax).set_title(title, fontsize=10)
    figure.savefig(buffer, dpi=DPI, format="png")
    return buffer.getvalue()


@cache
def _strip() -> tuple[Figure, tuple[Line2D, ...]]:
    """Return the figure that all versions are drawn in, and what changes in it: making one takes longer than drawing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 1.2))
    ax = figure.add_axes((0.03, 0.44, 0.94, 0.52))
    (dots,) = ax.plot([], [], "o", color="#0072B2", alpha=0.6, markeredgewidth=0)
    mean, mark = ax.axvline(0, color="#D55E00"), ax.axvline(0, color="gray", linewidth=0.8, linestyle=":")
    ax.set(xlim=(-0.02, 1.02), ylim=(0, 1), yticks=[])
    return figure, (dots, mean, mark)
