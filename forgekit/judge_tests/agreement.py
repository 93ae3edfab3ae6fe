"""How far judges agree about the same pictures of error graphs; `trends.judge_agreement` does the same for a store."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

WHOLE_TEXT = " (whole text)"
UNCALIBRATED = 0.5  # the pass mark of a judge without one of its own, as in the view `judge_marks`


def agreement(table: pd.DataFrame, *, pass_marks: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return how far judges agree: one row per pair, over the pictures that both have scored (`score_graphs`).

    A judge's score of the whole text takes part beside that of its elements, as "NAME (whole text)". Columns as of
    `trends.judge_agreement`: `images`, `pearson` and `spearman` (null where one gives all pictures one score),
    `same_verdict` (share of pictures that both pass or both fail, each by its own of `pass_marks`, 0.5 where it
    has none), `mean_difference`.
    """
    import pandas as pd

    opinions = _opinions(table)
    marks = {name: (pass_marks or {}).get(name.removesuffix(WHOLE_TEXT), UNCALIBRATED) for name in opinions.columns}
    rows = []
    for judge, other in combinations(opinions.columns, 2):
        both = opinions[[judge, other]].dropna()
        ranks = both.round(9).rank()  # equal means of equal numbers differ in the last digits
        rows.append(
            {
                "judge": judge,
                "other": other,
                "images": len(both),
                "pearson": both[judge].corr(both[other]),
                "spearman": ranks[judge].corr(ranks[other]),
                "same_verdict": ((both[judge] >= marks[judge]) == (both[other] >= marks[other])).mean(),
                "mean_difference": (both[judge] - both[other]).mean(),
            }
        )
    return pd.DataFrame(rows)


def disagreements(table: pd.DataFrame, judge: str, other: str) -> pd.DataFrame:
    """Return pictures by how much two judges disagree, most first: columns as of `trends.judge_pairs`, plus `errors`.

    `plots.judges` draws them; `file` is added by `write_pictures`.
    """
    opinions = _opinions(table)[[judge, other]].dropna().rename(columns={judge: "x", other: "y"}).reset_index()
    known = table.drop_duplicates("image_path")[["image_path", "scene_text", "errors", "error"]]
    pairs = opinions.merge(known, on="image_path").assign(judge=judge, other=other)
    gap = (pairs["x"] - pairs["y"]).abs()
    return pairs.loc[gap.sort_values(ascending=False, kind="stable").index].reset_index(drop=True)


def _opinions(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per picture and one column per judge and kind of score."""
    import pandas as pd

    texts = table.assign(judge=table["judge"] + WHOLE_TEXT, score=table["text_score"])
    both = pd.concat([table, texts])[["image_path", "judge", "score"]]
    return both.astype({"score": float}).pivot(index="image_path", columns="judge", values="score")
