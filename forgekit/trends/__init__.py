"""Trends: tidy DataFrames about a store, one function per question, one row per thing its docstring names.

Scores are Soft-TIFA geometric means in [0, 1]. Trends run by round: how many decisions of the refiner led to a drawing.
What a scene is worth is cross-fitted: its version is chosen on one half of the images and judged on the other, so that
luck in choosing does not look like progress (docs/trends.md); columns named `selected` are maxima, and do reward luck.
`experiment` and `vision_model` narrow a question; None means all.
"""

from forgekit.trends.benchmarks import benchmark
from forgekit.trends.elements import by_element_kind, by_term, failing_together, version_elements
from forgekit.trends.judges import disagreements, judge_agreement, judge_pairs, measures
from forgekit.trends.learnings import follow
from forgekit.trends.overview import arms, cost, overview, status
from forgekit.trends.pictures import before_after, pictures
from forgekit.trends.rounds import adherence, confirmed, distributions, gain, round_gains, version_deltas
from forgekit.trends.scenes import decisions, lineage, rewrites, scenes, unread

__all__ = [
    "adherence", "arms", "before_after", "benchmark", "by_element_kind", "by_term", "confirmed", "cost", "decisions",
    "disagreements", "distributions", "failing_together", "follow", "gain", "judge_agreement", "judge_pairs", "lineage",
    "measures", "overview", "pictures", "rewrites", "round_gains", "scenes", "status", "unread", "version_deltas",
    "version_elements",
]  # fmt: skip
