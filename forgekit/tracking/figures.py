"""Figures of how scores spread, with the scores on the axis: of one version's images, of a round's, of all judges at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 80


def scores_figure(scores: Sequence[float], pass_mark: float, title: str, file: Path) -> None:
    """Draw the score of each image as a dot on one axis, and their mean."""
    figure, ax = _strip()
    ax.clear()
    heights = [0.5 + 0.12 * (number % 5 - 2) for number in range(len(scores))]  # dots on one spot can be told apart
    ax.axvline(pass_mark, color="gray", linewidth=0.8, linestyle=":")
    ax.plot(scores, heights, "o", color="#0072B2", alpha=0.6, markeredgewidth=0)
    if scores:
        ax.axvline(sum(scores) / len(scores), color="#D55E00")
    ax.set(xlim=(-0.02, 1.02), ylim=(0, 1), yticks=[], xlabel=f"score of an image, n = {len(scores)} (line: mean)")
    ax.set_title(title, fontsize=9)
    figure.savefig(file, dpi=DPI)


def distribution_figure(spread: pd.DataFrame, title: str, file: Path) -> None:
    """Draw distributions of scores over each other (`trends.distributions`), a colour each."""
    from matplotlib.figure import Figure

    from forgekit.show import plots

    figure = Figure(figsize=(7, 3), layout="constrained")  # not pyplot's: nothing is to appear in a notebook
    plots.distribution(spread, ax=figure.subplots()).set_title(title, fontsize=10)
    figure.savefig(file, dpi=DPI)


@cache
def _strip() -> tuple[Figure, Axes]:
    """Return the figure that all versions are drawn in: making one takes longer than drawing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 1.5))
    return figure, figure.add_axes((0.03, 0.36, 0.94, 0.48))
