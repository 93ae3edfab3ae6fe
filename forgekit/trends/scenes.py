"""Scenes one by one: which gained, what each version's images show, what was decided about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgekit.store import Store
from forgekit.trends.scores import ONE_JUDGE, SCENE_VALUES, scene_phrases

if TYPE_CHECKING:
    import pandas as pd

# A scene has one version, and one drawing of it, at round 0: there `selected` is its plain mean.
SCENES = f"""
with {ONE_JUDGE},
{SCENE_VALUES},
ends as (
    select
        experiment,
        model,
        scene_hash,
        arg_min(coalesce(adherence, selected), round) as first_score,
        arg_max(adherence, round) as last_score,
        arg_max(selected, round) as selected_score
    from scene_values
    group by all
),
confirmed as (
    select p.experiment, p.model, p.scene_hash, steady_avg(e.soft_tifa_gm) as confirmed_score
    from image_scores e
    join prompts p on p.id = e.prompt_id
    join judges using (experiment, vision_model, judge_key)
    where e.prompt_id in (from confirming_versions)
    group by all
),
versions as (
    select experiment, model, scene_hash, count(*) as versions, min(created_at) as started_at
    from prompts
    where $experiment is null or experiment = $experiment
    group by all
)
select
    v.experiment,
    v.model,
    v.scene_hash,
    s.scene_text,
    v.versions,
    e.first_score,
    e.last_score,
    e.last_score - e.first_score as gain,
    c.confirmed_score,
    e.selected_score
from versions v
join scenes s using (scene_hash)
left join ends e using (experiment, model, scene_hash)
left join confirmed c using (experiment, model, scene_hash)
order by v.experiment, v.model, gain desc nulls last, v.started_at, v.scene_hash
"""

VERSION_ELEMENTS = """
with phrases as (
    select unnest($elements::varchar[]) as element, unnest($phrases::varchar[]) as phrase
)
select
    e.vision_model,
    e.element,
    e.kind,
    any_value(coalesce(p.phrase, e.element)) as phrase,
    count(e.score) as images,
    avg(e.score) as score,
    min(e.score) as min_score,
    any_value(j.pass_mark) as pass_mark
from element_scores e
join prompts v on v.id = e.prompt_id
join judge_marks j
    on j.experiment = v.experiment
    and j.vision_model = e.vision_model
    and j.judge_key = e.judge_key
left join phrases p using (element)
where e.prompt_id = $prompt_id::uuid
group by all
order by e.vision_model, score nulls first, e.element
"""

DECISIONS = """
with changes as (
    select
        l.id,
        avg(c.change) filter (c.vision_model = l.actions ->> '$.objective') as objective_change,
        avg(c.change) filter (c.vision_model <> l.actions ->> '$.objective') as heldout_change
    from prompt_learnings l
    join prompts p on p.id = l.prompt_id
    join version_changes c on c.prompt_id = cast(l.actions ->> '$.child_prompt_id' as uuid)
    where p.scene_hash = $scene_hash
    group by l.id
)
select
    p.experiment,
    p.model,
    p.generation_iteration as iteration,
    cast(l.prompt_id as varchar) as prompt_id,
    l.actions ->> '$.decision' as decision,
    l.actions ->> '$.reason' as reason,
    l.actions ->> '$.action' as action,
    l.actions ->> '$.kind' as kind,
    l.actions ->> '$.detail' as detail,
    c.objective_change,
    c.heldout_change
from prompt_learnings l
join prompts p on p.id = l.prompt_id
left join changes c on c.id = l.id
where p.scene_hash = $scene_hash
  and ($experiment is null or p.experiment = $experiment)
order by p.experiment, p.model, iteration, l.created_at, l.id
"""


def scenes(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return which scenes gained most: one row per (experiment, model, scene), the largest gain first.

    Columns: `scene_text`, `versions`, and by `vision_model` (None: the one that steers) `first_score` and `last_score`,
    cross-fitted, with the `gain` between the two; `confirmed_score` on fresh seeds; `selected_score` of the best
    version so far, which rises by luck alone. Null where nothing tells: one image a version has no two halves.
    """
    return store.df(SCENES, experiment=experiment, vision_model=vision_model)


def version_elements(store: Store, prompt_id: str) -> pd.DataFrame:
    """Return what a version's images show: one row per (vision model, element), the worst first.

    Columns: `phrase` of the element, `images` with a verdict on it, `score` (mean over them) and `min_score`, null
    where the judge could not say; the judge's `pass_mark`, below which an element counts as missing.
    """
    asked = store.rows("select scene_hash from prompts where id = $id::uuid", id=prompt_id)
    named = [
        item for names in scene_phrases(store, [row["scene_hash"] for row in asked]).values() for item in names.items()
    ]
    keys, phrases = [key for key, _ in named], [phrase for _, phrase in named]
    return store.df(VERSION_ELEMENTS, prompt_id=prompt_id, elements=keys, phrases=phrases)


def decisions(store: Store, scene_hash: str, *, experiment: str | None = None) -> pd.DataFrame:
    """Return what the refiner decided about a scene and what came of it: one row per decision, in order.

    Columns: `decision` and its `reason`; for a rewrite `action`, `kind`, `detail`, and how the score changed from
    version to version on the same seeds: `objective_change` by the judge that steered, `heldout_change` the mean over
    the others.
    """
    return store.df(DECISIONS, scene_hash=scene_hash, experiment=experiment)
