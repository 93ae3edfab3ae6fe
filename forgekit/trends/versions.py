"""What changed from version to version: paired differences, and the life of one scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from forgekit.errors import ParameterError
from forgekit.store import Store
from forgekit.trends.scores import SCORES

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 2000

# The versions of a scene share their seeds: image against image of the same seed.
SCENE_DELTAS = f"""
with {SCORES},
versions as (
    select
        id as prompt_id,
        scene_hash,
        experiment,
        model,
        generation_iteration as iteration,
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
    select i.prompt_id, i.vision_model, i.soft_tifa_gm as score, g.generation_metadata ->> '$.seed' as seed
    from image_scores i
    join scores s
        on s.prompt_id = i.prompt_id
        and s.vision_model = i.vision_model
        and s.judge_key = i.judge_key
    join generated_images g on g.id = i.image_id
    where i.soft_tifa_gm is not null
)
select
    v.experiment,
    v.model,
    new.vision_model,
    v.iteration,
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
group by all
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
        arg_max({'action': actions ->> '$.action', 'element': actions ->> '$.element'}, created_at) as step
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
    seed: int = 0,
) -> pd.DataFrame:
    """Return what a new version changed: one row per (experiment, model, vision model, iteration).

    Images are compared seed by seed with those of the parent version, or of the scene's first one. Columns: `scenes`,
    `pairs` of images, `delta` (mean over scenes of the mean over pairs), `low` and `high` (its 95 % interval by
    bootstrap over scenes, `seed` fixing the resamples; null for one scene), `improved` (share of scenes with a delta
    above 0).

    Raises:
        ParameterError: `against` is neither "parent" nor "first".
    """
    import pandas as pd

    if against not in ("parent", "first"):
        raise ParameterError(f"against={against!r}: give 'parent' or 'first'")
    by_scene = store.df(SCENE_DELTAS, against=against, experiment=experiment, vision_model=vision_model)
    rows = []
    for key, group in by_scene.groupby(["experiment", "model", "vision_model", "iteration"], sort=True):
        deltas = group["delta"].to_numpy()
        low, high = bootstrap_interval(deltas, seed=seed)
        rows.append((*key, len(deltas), group["pairs"].sum(), deltas.mean(), low, high, (deltas > 0).mean()))
    columns = [
        "experiment",
        "model",
        "vision_model",
        "iteration",
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

    Columns: `action` and `element` (what the refiner did to the parent to make it; null for a first version), `images`,
    `current_score`, `scores` (vision model → mean score), `best_image` (path relative to the store's folder).
    """
    return store.df(LINEAGE, scene_hash=scene_hash)


def bootstrap_interval(values: np.ndarray, *, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of `values`; (nan, nan) for fewer than two."""
    if len(values) < 2:
        return np.nan, np.nan
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
