"""Trends: tidy DataFrames about a store, one function per question, one row per thing its docstring names.

Scores are Soft-TIFA geometric means in [0, 1]. The version of a scene that counts at an iteration is its best one so
far by the steering judge, for every judge, so that a held-out judge does not choose what it is asked to confirm.
Finished scenes are carried forward. `experiment` and `vision_model` narrow a question; None means all.
"""

from forgekit.trends.arms import arms
from forgekit.trends.costs import cost
from forgekit.trends.iterations import adherence, by_element_kind, by_term, distributions
from forgekit.trends.judges import failing_together, judge_agreement, judge_pairs
from forgekit.trends.learnings import follow
from forgekit.trends.pictures import before_after, pictures
from forgekit.trends.scenes import decisions, scenes, version_elements
from forgekit.trends.versions import bootstrap_interval, lineage, version_deltas

__all__ = [
    "adherence",
    "arms",
    "before_after",
    "bootstrap_interval",
    "by_element_kind",
    "by_term",
    "cost",
    "decisions",
    "distributions",
    "failing_together",
    "follow",
    "judge_agreement",
    "judge_pairs",
    "lineage",
    "pictures",
    "scenes",
    "version_deltas",
    "version_elements",
]
