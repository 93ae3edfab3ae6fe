"""How judges' scores go with human ratings, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forgekit.errors import ItemError
from forgekit.judge_tests.graph_scores import image_score
from forgekit.metrics import RESAMPLES, resampled_interval
from forgekit.models import Judgement, VisionModel, load_model
from forgekit.scene import Scene, parse
from forgekit.store import Store
from forgekit.store.images import open_image

if TYPE_CHECKING:
    import pandas as pd

SCORED = """
select
    e.vision_model as judge,
    p.scene_hash as scene,
    cast(e.image_id as varchar) as image_id,
    any_value(e.soft_tifa_gm) as score,
    avg((r.rating - r.scale_low) / (r.scale_high - r.scale_low)) as rating
from human_ratings r
join image_scores e on e.image_id = r.image_id
join prompts p on p.id = e.prompt_id
join current_scores c
    on c.prompt_id = e.prompt_id
    and c.vision_model = e.vision_model
    and c.judge_key = e.judge_key
where e.soft_tifa_gm is not null
  and ($source is null or r.source = $source)
group by all
order by all
"""


def rated_scores(store: Store, *, source: str | None = None) -> pd.DataFrame:
    """Return one row per (judge, rated image) of the store: `judge`, `scene`, `image_id`, `score`, `rating`.

    `rating` is the mean over raters, 0 for the lowest and 1 for the highest of the scale. Scores are those under the
    newest settings of each judge. `source` picks one import; None takes all.
    """
    return store.df(SCORED, source=source)


def judge_rated(judges: Sequence[VisionModel | str], ratings: pd.DataFrame, folder: str | Path) -> pd.DataFrame:
    """Judge rated pictures that are in no store, such as AGIQA-3K's; return them as `rated_scores` does.

    `ratings` is what `read_ratings` returns, with `text` and `image` as paths relative to `folder`. A picture that
    cannot be read or judged has a null score and a `reason`.
    """
    import pandas as pd

    mean = ratings.assign(rating=(ratings["rating"] - ratings["low"]) / (ratings["high"] - ratings["low"]))
    mean = mean.groupby(["image", "text"], sort=False)["rating"].mean().reset_index()
    pictures = [open_image(Path(folder) / image, image) for image in mean["image"]]
    scenes = [Scene(text, parse(text)) for text in mean["text"]]
    rows = []
    for judge in (load_model("vision_model", judge) for judge in judges):
        asked = [i for i, picture in enumerate(pictures) if not isinstance(picture, ItemError)]
        verdicts: list[Judgement | ItemError] = list(pictures)
        for i, verdict in zip(
            asked, judge.judge([pictures[i] for i in asked], [scenes[i] for i in asked]), strict=True
        ):
            verdicts[i] = verdict
        for row, verdict in zip(mean.itertuples(), verdicts, strict=True):
            failed = isinstance(verdict, ItemError)
            score, reason = (None, verdict.reason) if failed else (image_score(verdict.element_scores), None)
            told = {"judge": judge.name, "scene": row.text, "image_id": row.image}
            rows.append({**told, "score": score, "rating": row.rating, "reason": reason})
    return pd.DataFrame(rows)


def correlate(table: pd.DataFrame, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Return how judges' scores go with human ratings (`rated_scores`, `judge_rated`): one row per judge.

    Columns: `images`, `scenes`, `spearman` and `pearson`, each with the ends of its bootstrap interval
    (`spearman_low` …, see `forgekit.metrics`). Scenes are resampled, with all their images: images of one scene are
    not independent. Values are null with fewer than three images or where all have one score or rating, intervals
    also with one scene only.
    """
    import pandas as pd

    rows = []
    for judge, group in table.dropna(subset=["score", "rating"]).groupby("judge", sort=False):
        scores, ratings = (group[column].to_numpy(dtype=float) for column in ("score", "rating"))
        scenes = [np.flatnonzero(group["scene"].to_numpy() == scene) for scene in group["scene"].unique()]
        row = {"judge": judge, "images": len(group), "scenes": len(scenes)}
        for name, measure in (("spearman", _spearman), ("pearson", _pearson)):
            row[name] = measure(scores, ratings)
            of_scenes = partial(_of_scenes, measure=measure, scenes=scenes, scores=scores, ratings=ratings)
            ends = resampled_interval(len(scenes), of_scenes, level=level, resamples=resamples, seed=seed)
            row[f"{name}_low"], row[f"{name}_high"] = ends
        rows.append(row)
    return pd.DataFrame(rows)


def _of_scenes(
    picks: np.ndarray,
    measure: Callable[[np.ndarray, np.ndarray], float],
    scenes: Sequence[np.ndarray],
    scores: np.ndarray,
    ratings: np.ndarray,
) -> float:
    """Measure the images of the scenes that a resample picked."""
    images = np.concatenate([scenes[i] for i in picks])
    return measure(scores[images], ratings[images])


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    from scipy.stats import rankdata

    return _pearson(rankdata(x), rankdata(y))


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])
