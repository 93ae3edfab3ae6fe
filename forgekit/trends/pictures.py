"""The images themselves with what is known about each, for contact sheets."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from forgekit.store import Store
from forgekit.store.images import shown_file
from forgekit.trends.elements import missing_phrases, scene_phrases
from forgekit.trends.scenes import scenes

BEFORE, SELECTED = "before", "best so far, selected"

PICTURES = """
with chosen as (
    select p.*, coalesce($vision_model, j.vision_model) as vision_model
    from prompts p
    left join steering_judges j using (experiment)
    where ($experiment is null or p.experiment = $experiment)
      and ($ids is null or p.id in (select unnest($ids::uuid[])))
)
select
    c.experiment, c.model, c.scene_hash, s.scene_text,
    cast(c.id as varchar) as prompt_id,
    c.generation_iteration as iteration,
    i.round, c.prompt_text,
    cast(i.id as varchar) as image_id,
    try_cast(i.generation_metadata ->> '$.seed' as bigint) as seed,
    i.image_path, e.vision_model,
    x.soft_tifa_gm as score,
    e.element_scores, k.pass_mark
from chosen c
join scenes s on s.scene_hash = c.scene_hash
join generated_images i on i.prompt_id = c.id
left join judge_marks k on k.experiment = c.experiment and k.vision_model = c.vision_model
left join image_evaluations e
    on e.image_id = i.id
    and e.vision_model = k.vision_model
    and e.judge_key = k.judge_key
left join image_scores x on x.evaluation_id = e.id
order by c.experiment, s.created_at, c.scene_hash, c.model, c.generation_iteration, c.id, seed, i.id
"""

# The version of a scene's first drawing, and the one that has the best mean over all images.
ENDS = """
select
    cast(prompt_id as varchar) as prompt_id,
    round = min(round) over scene as is_first,
    round = max(round) over scene as is_best
from standing_versions
where half is null
  and ($experiment is null or experiment = $experiment)
window scene as (partition by experiment, model, scene_hash)
"""


def pictures(
    store: Store,
    *,
    experiment: str | None = None,
    vision_model: str | None = None,
    prompt_ids: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the images of some versions: one row per image, by scene, version and seed.

    Columns: texts and ids, `round` of the drawing, `seed`, `file` (absolute path; null where it leads out of the
    store's images), and what `vision_model` (None: the one that steers) says: `score`, `element_scores` (JSON), and
    `failed`, the phrases of the elements below its `pass_mark`; null where it gave no verdict.
    """
    ids = None if prompt_ids is None else list(prompt_ids)
    images = store.df(PICTURES, experiment=experiment, vision_model=vision_model, ids=ids)
    phrases = scene_phrases(store, images["scene_hash"].unique())
    said = zip(images["scene_hash"], images["element_scores"], images["pass_mark"], strict=True)
    failed = [
        missing_phrases(json.loads(scores) if isinstance(scores, str) else None, mark, phrases.get(scene, {}))
        for scene, scores, mark in said
    ]
    files = [shown_file(store.folder, path) for path in images.pop("image_path")]
    return images.assign(failed=pd.Series(failed, index=images.index, dtype=object), file=files)


def before_after(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return the images of each scene's first drawing and of its best version so far: `pictures` with two columns more.

    `moment` is "before", or "best so far, selected": those images chose their version, so their scores are flattered.
    `gain` is the scene's, cross-fitted, by `vision_model` (None: the one that steers), as `scenes` has it. In each
    experiment the scenes that gained most come first. A scene whose first version is its best one has it under both.
    """
    ends = store.df(ENDS, experiment=experiment)
    first, best = (set(ends["prompt_id"][ends[column]]) for column in ("is_first", "is_best"))
    images = pictures(store, experiment=experiment, vision_model=vision_model, prompt_ids=sorted(first | best))
    first = images[images["prompt_id"].isin(first) & (images["round"] == 0)]
    best = images[images["prompt_id"].isin(best)]
    both = pd.concat([first.assign(moment=BEFORE), best.assign(moment=SELECTED)])
    gains = scenes(store, experiment=experiment, vision_model=vision_model)
    gains = gains.assign(place=range(len(gains)))[["experiment", "model", "scene_hash", "gain", "place"]]
    ranked = both.merge(gains, on=["experiment", "model", "scene_hash"], how="left")
    return ranked.sort_values("place", kind="stable", ignore_index=True).drop(columns="place")
