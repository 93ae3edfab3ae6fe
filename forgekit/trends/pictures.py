"""The images themselves with what is known about each, for contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forgekit.errors import ItemError
from forgekit.images import stored_file
from forgekit.store import Store

if TYPE_CHECKING:
    import pandas as pd

PICTURES = """
with chosen as (
    select p.*, coalesce($vision_model, j.vision_model) as vision_model
    from prompts p
    left join steering_judges j using (experiment)
    where ($experiment is null or p.experiment = $experiment)
      and ($ids is null or p.id in (select unnest($ids::uuid[])))
),
settings as (
    select prompt_id, vision_model, judge_key from current_scores
)
select
    c.experiment,
    c.model,
    c.scene_hash,
    s.scene_text,
    cast(c.id as varchar) as prompt_id,
    c.generation_iteration as iteration,
    c.prompt_text,
    cast(i.id as varchar) as image_id,
    try_cast(i.generation_metadata ->> '$.seed' as bigint) as seed,
    i.image_path,
    e.vision_model,
    coalesce(e.soft_tifa_gm, x.soft_tifa_gm) as score,
    cast(e.adherence_analysis -> '$.missing_elements' as varchar[]) as failed,
    e.element_scores
from chosen c
join scenes s on s.scene_hash = c.scene_hash
join generated_images i on i.prompt_id = c.id
left join settings k on k.prompt_id = c.id and k.vision_model = c.vision_model
left join image_evaluations e
    on e.image_id = i.id
    and e.vision_model = k.vision_model
    and e.judge_key = k.judge_key
left join image_scores x on x.evaluation_id = e.id
order by c.experiment, s.created_at, c.scene_hash, c.model, c.generation_iteration, c.id, seed, i.id
"""

FIRST_AND_BEST = """
with best as (
    select scene_hash, prompt_id
    from counted_versions
    where $experiment is null or experiment = $experiment
    qualify iteration = max(iteration) over (partition by experiment, model)
),
first as (
    select experiment, model, scene_hash, arg_min(id, (generation_iteration, created_at, id)) as prompt_id
    from prompts
    where $experiment is null or experiment = $experiment
    group by all
)
select 'before' as moment, cast(prompt_id as varchar) as prompt_id, scene_hash from first
union all
select 'after', cast(prompt_id as varchar), scene_hash from best
"""


def pictures(
    store: Store,
    *,
    experiment: str | None = None,
    vision_model: str | None = None,
    prompt_ids: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the images of some versions: one row per image, by scene, version and seed.

    Columns: texts and ids, `seed`, `file` (absolute path; null where it leads out of the store's images), and what
    `vision_model` (None: the one that steers) says: `score`, `failed` (phrases of the elements it misses),
    `element_scores` (JSON); null where it gave no verdict.
    """
    ids = None if prompt_ids is None else list(prompt_ids)
    images = store.df(PICTURES, experiment=experiment, vision_model=vision_model, ids=ids)
    files = [stored_file(store.folder, path) for path in images.pop("image_path")]
    return images.assign(file=[None if isinstance(file, ItemError) else str(file) for file in files])


def before_after(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return the images of each scene's first version and of its best one: `pictures` with a column `moment`.

    In each experiment the scenes whose mean score gained most come first, each with its "before" and then its "after".
    A scene whose first version is its best one has those images under both.
    """
    moments = store.df(FIRST_AND_BEST, experiment=experiment)
    images = pictures(
        store, experiment=experiment, vision_model=vision_model, prompt_ids=sorted(set(moments["prompt_id"]))
    )
    both = images.merge(moments[["prompt_id", "moment"]], on="prompt_id")
    both = both.assign(after=both["moment"] == "after")
    scene = ["experiment", "model", "scene_hash"]
    means = both.groupby([*scene, "after"])["score"].mean().unstack().reindex(columns=[False, True])
    gain = (means[True] - means[False]).rename("gain").reset_index()
    ranked = both.merge(gain, on=scene).sort_values(
        ["experiment", "gain", "scene_hash", "model", "after"],
        ascending=[True, False, True, True, True],
        kind="stable",
        ignore_index=True,
    )
    return ranked.drop(columns=["after", "gain"])
