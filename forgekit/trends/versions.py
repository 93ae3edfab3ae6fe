"""What changed from version to version: paired differences, and the life of one scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from forgekit.errors import ParameterError
from forgekit.metrics import mean_interval
from forgekit.store import Store
from forgekit.trends.scores import JUDGES

if TYPE_CHECKING:
    import pandas as pd

# The versions of a scene share their seeds: image against image of the same seed. A version stands at the round that
# drew it first.
SCENE_DELTAS = f"""
with {JUDGES},
versions as (
    select
        id as prompt_id,
        scene_hash,
        experiment,
        model,
        case $against
            when 'parent' then parent_prompt_id
            else first_value(id) over (
                partition by experiment, model, scene_hash
                order by generation_iteration, created_at, id
            )
        end as baseline_id
    from prompts
),
images as (
    select c.prompt_id, c.round, i.vision_model, i.soft_tifa_gm as score, g.generation_metadata ->> '$.seed' as seed
    from image_scores i
    join competing_images c using (image_id)
    join judges j
        on j.experiment = c.experiment
        and j.vision_model = i.vision_model
        and j.judge_key = i.judge_key
    join generated_images g on g.id = i.image_id
    where i.soft_tifa_gm is not null
)
select
    v.experiment,
    v.model,
    new.vision_model,
    min(new.round) as round,
    v.scene_hash,
    count(*) as pairs,
    avg(new.score - old.score) as delta
from versions v
join images new on new.prompt_id = v.prompt_id
join images old
    on old.prompt_id = v.baseline_id
    and old.vision_model = new.vision_model
    and old.seed = new.seed
where v.baseline_id <> v.prompt_id
group by v.experiment, v.model, new.vision_model, v.scene_hash, v.prompt_id
order by all
"""

LINEAGE = """
with judged as (
    select prompt_id, map(list(vision_model order by vision_model), list(mean_score order by vision_model)) as scores
    from current_scores
    where scene_hash = $scene_hash
    group by prompt_id
),
drawn as (
    select prompt_id, count(*) as images from generated_images group by prompt_id
),
steps as (
    select
        cast(actions ->> '$.child_prompt_id' as uuid) as child_prompt_id,
        arg_max(
            {
                'decision': actions ->> '$.decision',
                'action': actions ->> '$.action',
                'element': actions ->> '$.element'
            },
            created_at
        ) as step
    from prompt_learnings
    where actions ->> '$.child_prompt_id' is not null
    group by all
)
select
    p.experiment,
    p.model,
    p.generation_iteration as iteration,
    cast(p.id as varchar) as prompt_id,
    cast(p.parent_prompt_id as varchar) as parent_prompt_id,
    cast(p.status as varchar) as status,
    p.prompt_text,
    s.step.decision as decision,
    s.step.action as action,
    s.step.element as element,
    coalesce(d.images, 0) as images,
    p.current_score,
    j.scores,
    i.image_path as best_image
from prompts p
left join judged j on j.prompt_id = p.id
left join drawn d on d.prompt_id = p.id
left join steps s on s.child_prompt_id = p.id
left join generated_images i on i.id = p.best_image_id
where p.scene_hash = $scene_hash
order by p.experiment, p.model, p.generation_iteration, p.created_at, p.id
"""


def version_deltas(
    store: Store,
    *,
    against: Literal["parent", "first"] = "parent",
    experiment: str | None = None,
    vision_model: str | None = None,
) -> pd.DataFrame:
    """Return what a new version changed: one row per (experiment, model, vision model, round that drew it first).

    Images are compared seed by seed with those of the parent version, or of the scene's first one. Columns: `scenes`,
    `pairs` of images, `delta` (mean over scenes of the mean over pairs), `low` and `high` (its 95 % interval over
    scenes; null for one scene), `improved` (share of scenes with a delta above 0). A parent was the best so far, in
    part by luck, so its children look worse than they are; a first version had no luck to lose.

    Raises:
        ParameterError: `against` is neither "parent" nor "first".
    """
    import pandas as pd

    if against not in ("parent", "first"):
        raise ParameterError(f"against={against!r}: give 'parent' or 'first'")
    by_scene = store.df(SCENE_DELTAS, against=against, experiment=experiment, vision_model=vision_model)
    rows = []
    for key, group in by_scene.groupby(["experiment", "model", "vision_model", "round"], sort=True):
        deltas = group["delta"].to_numpy()
        low, high = mean_interval(deltas)
        rows.append((*key, len(deltas), group["pairs"].sum(), deltas.mean(), low, high, (deltas > 0).mean()))
    columns = [
        "experiment",
        "model",
        "vision_model",
        "round",
        "scenes",
        "pairs",
        "delta",
        "low",
        "high",
        "improved",
    ]
    return pd.DataFrame(rows, columns=columns)


def lineage(store: Store, scene_hash: str) -> pd.DataFrame:
    """Return the life of one scene: one row per prompt version, parents before children.

    Columns: `decision` ("rewrite", or "confirm" for the chosen text on fresh seeds), `action` and `element` (what the
    refiner did to the parent to make it; null for a first version), `images`,
    `current_score`, `scores` (vision model → mean score), `best_image` (path relative to the store's folder).
    """
    return store.df(LINEAGE, scene_hash=scene_hash)
