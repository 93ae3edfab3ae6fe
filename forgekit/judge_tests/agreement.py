"""How far judges agree about the same pictures: with one another on error graphs, and with people.

`trends.judge_agreement` compares the judges of a store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from forgekit.errors import ItemError
from forgekit.judge_tests.graph_scores import said
from forgekit.metrics import RESAMPLES, correlation, likeness, resampled_interval
from forgekit.models import VisionModel, load_model
from forgekit.scene import Scene, parse, split_prompt
from forgekit.store import Store
from forgekit.store.images import open_image

WHOLE_TEXT = " (whole text)"
UNCALIBRATED = 0.5  # the pass mark of a judge without one of its own, as in the view `judge_marks`

RATED = "select * from rated_scores_in($source) order by all"


def agreement(table: pd.DataFrame, *, pass_marks: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return how far judges agree: one row per pair, over the pictures that both have scored (`score_graphs`).

    A judge's score of the whole text takes part beside that of its elements, as "NAME (whole text)". Columns as of
    `trends.judge_agreement`: `images`, `pearson` and `spearman` (null where one gives all pictures one score),
    `same_verdict` (share of pictures that both pass or both fail, each by its own of `pass_marks`, 0.5 where it
    has none), `mean_difference`.
    """
    opinions = _opinions(table)
    marks = {name: (pass_marks or {}).get(name.removesuffix(WHOLE_TEXT), UNCALIBRATED) for name in opinions.columns}
    rows = []
    for judge, other in combinations(opinions.columns, 2):
        both = opinions[[judge, other]].dropna()
        same = (both[judge] >= marks[judge]) == (both[other] >= marks[other])
        rows.append({"judge": judge, "other": other, **likeness(both[judge], both[other], same)})
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


def rated_scores(store: Store, *, source: str | None = None) -> pd.DataFrame:
    """Return one row per (judge, rated image) of the store: `judge`, `scene`, `image_id`, `score`, `rating`.

    `rating` is the mean over raters, 0 for the lowest and 1 for the highest of the scale. Scores are those under the
    newest settings of each judge. `source` picks one import; None takes all.
    """
    return store.df(RATED, source=source)


def judge_rated(judges: Sequence[VisionModel | str], ratings: pd.DataFrame, folder: str | Path) -> pd.DataFrame:
    """Judge rated pictures that are in no store, such as AGIQA-3K's; return them as `rated_scores` does.

    `ratings` is what `read_ratings` returns, with `text` and `image` as paths relative to `folder`. A picture that
    cannot be read or judged has a null score and a `reason`.
    """
    mean = ratings.assign(rating=(ratings["rating"] - ratings["low"]) / (ratings["high"] - ratings["low"]))
    mean = mean.groupby(["image", "text"], sort=False)["rating"].mean().reset_index()
    pictures = [open_image(Path(folder) / image, image) for image in mean["image"]]
    refused = {place: picture for place, picture in enumerate(pictures) if isinstance(picture, ItemError)}
    asked = [place for place in range(len(pictures)) if place not in refused]
    scenes = [Scene(split_prompt(text).asked, parse(text)) for text in mean["text"]]
    rows = []
    for judge in (load_model("vision_model", judge) for judge in judges):
        answers = judge.judge([pictures[i] for i in asked], [scenes[i] for i in asked])
        verdicts = refused | dict(zip(asked, answers, strict=True))
        for place, row in enumerate(mean.itertuples()):
            told = said(verdicts[place], scenes[place])
            rows.append((judge.name, row.text, row.image, told["score"], row.rating, told["reason"]))
    return pd.DataFrame(rows, columns=["judge", "scene", "image_id", "score", "rating", "reason"])


def correlate(table: pd.DataFrame, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Return how judges' scores go with human ratings (`rated_scores`, `judge_rated`): one row per judge.

    Columns: `images`, `scenes`, `spearman` and `pearson`, each with the ends of its bootstrap interval
    (`spearman_low` …, see `forgekit.metrics`). Scenes are resampled, with all their images: images of one scene are
    not independent. Values are null with fewer than three images or where all have one score or rating, intervals
    also with one scene only.
    """
    rows = []
    for judge, group in table.dropna(subset=["score", "rating"]).groupby("judge", sort=False):
        scores, ratings = (group[column].to_numpy(dtype=float) for column in ("score", "rating"))
        scenes = [np.flatnonzero(group["scene"].to_numpy() == scene) for scene in group["scene"].unique()]
        row = {"judge": judge, "images": len(group), "scenes": len(scenes)}
        for name in ("spearman", "pearson"):
            of_images = partial(_correlation, scores, ratings, of_ranks=name == "spearman")
            of_scenes = partial(_of_scenes, of_images, scenes)
            ends = resampled_interval(len(scenes), of_scenes, level=level, resamples=resamples, seed=seed)
            row |= {name: of_images(np.arange(len(group))), f"{name}_low": ends[0], f"{name}_high": ends[1]}
        rows.append(row)
    return pd.DataFrame(rows)


def _correlation(scores: np.ndarray, ratings: np.ndarray, images: np.ndarray, *, of_ranks: bool) -> float:
    return correlation(scores[images], ratings[images], of_ranks=of_ranks) if len(images) > 2 else float("nan")


def _of_scenes(of_images: Callable[[np.ndarray], float], scenes: Sequence[np.ndarray], picks: np.ndarray) -> float:
    """Measure the images of the scenes that a resample picked."""
    return of_images(np.concatenate([scenes[i] for i in picks]))


def _opinions(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per picture and one column per judge and kind of score."""
    texts = table.assign(judge=table["judge"] + WHOLE_TEXT, score=table["text_score"])
    both = pd.concat([table, texts])[["image_path", "judge", "score"]]
    return both.astype({"score": float}).pivot(index="image_path", columns="judge", values="score")
