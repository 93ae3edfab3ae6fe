"""What the judges tell about each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from forgekit.errors import ParameterError, did_you_mean
from forgekit.metrics import likeness
from forgekit.store import Store
from forgekit.store.images import shown_file
from forgekit.trends.elements import scene_phrases

AGREED = ["judge", "other", "images", "pearson", "spearman", "same_verdict", "mean_difference"]
AGREEMENT = """
select
    a.vision_model as judge,
    b.vision_model as other,
    list(a.score) as x,
    list(b.score) as y,
    avg(cast((a.score >= a.pass_mark) = (b.score >= b.pass_mark) as integer)) as same_verdict
from scores_in($experiment, null) a
join scores_in($experiment, null) b using (image_id)
where b.vision_model > a.vision_model
group by all
order by all
"""

# Two judges on the same images; of each scene the `per_scene` images that they are furthest apart on, `most` in all.
PAIRS = """
with pairs as (
    select
        a.experiment, a.scene_hash, a.prompt_id, a.image_id,
        a.vision_model as judge,
        b.vision_model as other,
        a.score as x,
        b.score as y,
        abs(a.score - b.score) as gap,
        a.evaluation_id, a.pass_mark,
        b.evaluation_id as other_evaluation_id,
        b.pass_mark as other_pass_mark
    from scores_in($experiment, $judge) a
    join scores_in($experiment, $other) b using (image_id)
    qualify row_number() over (partition by a.scene_hash order by gap desc, a.image_id) <= coalesce($per_scene, 9e9)
    order by gap desc, a.image_id
    limit $most
)
"""

SCORES = f"""{PAIRS}
select judge, other, cast(p.image_id as varchar) as image_id, p.scene_hash, g.image_path, x, y
from pairs p
join generated_images g on g.id = p.image_id
order by gap desc, p.image_id
"""

DISAGREEMENT = [
    "experiment", "scene_hash", "scene_text", "prompt_id", "iteration", "image_id", "seed", "image_path", "file", "judge", "other",
    "x", "y", "gap", "differ",
]  # fmt: skip
DISAGREEMENTS = f"""{PAIRS}
select
    p.experiment, p.scene_hash, s.scene_text,
    cast(p.prompt_id as varchar) as prompt_id,
    v.generation_iteration as iteration,
    cast(p.image_id as varchar) as image_id,
    try_cast(g.generation_metadata ->> '$.seed' as bigint) as seed,
    g.image_path,
    p.judge, p.other, p.x, p.y, p.gap,
    mine.element_scores as said, p.pass_mark,
    theirs.element_scores as other_said, p.other_pass_mark
from pairs p
join scenes s on s.scene_hash = p.scene_hash
join prompts v on v.id = p.prompt_id
join generated_images g on g.id = p.image_id
join image_evaluations mine on mine.id = p.evaluation_id
join image_evaluations theirs on theirs.id = p.other_evaluation_id
order by p.gap desc, p.image_id
"""
JUDGES = "select distinct vision_model from current_scores where $experiment is null or experiment = $experiment order by all"

MEASURES = """
with told as (
    select
        p.experiment, g.round, e.vision_model, e.image_id,
        unnest(json_keys(e.model_output, '$.metrics')) as measure,
        unnest(cast(e.model_output -> '$.metrics.*' as double[])) as value
    from image_evaluations e
    join prompts p on p.id = e.prompt_id
    join judges_in($experiment, $vision_model) j using (experiment, vision_model, judge_key)
    join generated_images g on g.id = e.image_id
    where e.error is null
)
select
    experiment, round, vision_model, measure,
    count(value) as images,
    steady_avg(value) as mean,
    steady_std(value) as std,
    min(value) as lowest,
    max(value) as highest
from told
group by all
having count(value) > 0
order by all
"""


def judge_agreement(store: Store, *, experiment: str | None = None) -> pd.DataFrame:
    """Return how far the judges agree: one row per pair of vision models, over the images that both have scored.

    Columns: `images`, `pearson` and `spearman` (null where a judge gives all images one score), `same_verdict` (share
    of images that both pass or both fail, each by its own pass mark), `mean_difference` (`judge` minus `other`).
    """
    pairs = store.df(AGREEMENT, experiment=experiment)
    rows = [{"judge": p.judge, "other": p.other, **likeness(p.x, p.y, p.same_verdict)} for p in pairs.itertuples()]
    return pd.DataFrame(rows, columns=AGREED)


def judge_pairs(store: Store, judge: str, other: str, *, experiment: str | None = None) -> pd.DataFrame:
    """Return the scores `x` by `judge` and `y` by `other`: one row per image, largest disagreement first."""
    return store.df(SCORES, judge=judge, other=other, experiment=experiment, per_scene=None, most=None)


def disagreements(
    store: Store,
    judge: str,
    other: str,
    *,
    experiment: str | None = None,
    per_scene: int | None = None,
    most: int | None = None,
) -> pd.DataFrame:
    """Return the images that two judges have both scored, those they disagree about most first: one row per image.

    Columns: texts and ids, `iteration` (of the version), `seed`, `image_path` and `file` (absolute; null where it leads
    out of the store's images); the scores `x` by `judge` and `y` by `other`, the `gap` between them in [0, 1]; and
    `differ`, the phrases of the elements that one judge misses, by its own pass mark, and the other does not, the ones
    they are furthest apart on first. `sheets.disagreement_sheet` and `plots.judges` draw it.

    Args:
        per_scene: at most so many images of each scene; None for all.
        most: at most so many images; None for all.

    Raises:
        ParameterError: one of the judges has scored nothing there, or both are the same.
    """
    known = [row["vision_model"] for row in store.rows(JUDGES, experiment=experiment)]
    for name in (judge, other):
        if name not in known:
            listed = ", ".join(known) or "none yet"
            raise ParameterError(
                f"no judge called {name!r} has scores here.{did_you_mean(name, known)} Known: {listed}"
            )
    if judge == other:
        raise ParameterError(f"judge and other are both {judge!r}. Name two of: {', '.join(known)}")
    about = {"experiment": experiment, "per_scene": per_scene, "most": most}
    rows = store.rows(DISAGREEMENTS, judge=judge, other=other, **about)
    phrases = scene_phrases(store, {row["scene_hash"] for row in rows})
    for row in rows:
        row["file"] = shown_file(store.folder, row["image_path"])
        row["differ"] = _differing(row, phrases.get(row["scene_hash"], {}))
    return pd.DataFrame(rows, columns=DISAGREEMENT)


def _differing(row: Mapping[str, Any], phrases: Mapping[str, str]) -> list[str]:
    """Return what one judge misses and the other does not. What only one of them looks at counts as there for the other."""
    said, other = row["said"] or {}, row["other_said"] or {}
    apart = {}
    for key in {**said, **other}:
        x, y = said.get(key, 1.0), other.get(key, 1.0)
        if x is not None and y is not None and (x < row["pass_mark"]) != (y < row["other_pass_mark"]):
            apart[key] = abs(x - y)
    return [phrases.get(key, key) for key in sorted(apart, key=lambda key: -apart[key])]


def measures(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return what judges measure besides adherence: one row per arm, round, judge and measure, over the images drawn in it.

    Such are the preference scores of guard-rails (`pick_score`, `hps_v2`), CLIPScore, VQAScore. Each has a scale of its own:
    compare a measure with itself, along the rounds or between arms. Columns: `images`, `mean`, `std`, `lowest`, `highest`.
    """
    return store.df(MEASURES, experiment=experiment, vision_model=vision_model)
