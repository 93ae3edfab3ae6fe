"""Scenes one by one: which gained, what each version's images show, what was decided about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgekit.store import Store

if TYPE_CHECKING:
    import pandas as pd

SCENES = """
with scored as (
    select
        experiment,
        model,
        scene_hash,
        count(*) as versions,
        arg_min(current_score, (generation_iteration, created_at, id)) as first_score,
        max(current_score) as best_score,
        min(created_at) as started_at
    from prompts
    where $experiment is null or experiment = $experiment
    group by all
)
select
    p.experiment,
    p.model,
    p.scene_hash,
    s.scene_text,
    p.versions,
    p.first_score,
    p.best_score,
    p.best_score - p.first_score as gain
from scored p
join scenes s using (scene_hash)
order by p.experiment, p.model, gain desc nulls last, p.started_at, p.scene_hash
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
    min(e.score) as min_score
from element_scores e
join current_scores c
    on c.prompt_id = e.prompt_id
    and c.vision_model = e.vision_model
    and c.judge_key = e.judge_key
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


def scenes(store: Store, *, experiment: str | None = None) -> pd.DataFrame:
    """Return which scenes gained most: one row per (experiment, model, scene), the largest gain first.

    Columns: `scene_text`, `versions`, `first_score` and `best_score` of them by the steering judge, `gain` between the
    two; null where nothing has been judged.
    """
    return store.df(SCENES, experiment=experiment)


def version_elements(store: Store, prompt_id: str) -> pd.DataFrame:
    """Return what a version's images show: one row per (vision model, element), the worst first.

    Columns: `phrase` of the element, `images` with a verdict on it, `score` (mean over them) and `min_score`; null
    where the judge could not say.
    """
    from forgekit.scene import list_elements

    asked = store.rows(
        "select s.elements from prompts p join scenes s using (scene_hash) where p.id = $id::uuid", id=prompt_id
    )
    elements = [element for row in asked if row["elements"] for element in list_elements(row["elements"])]
    keys, phrases = [element.key for element in elements], [element.phrase for element in elements]
    return store.df(VERSION_ELEMENTS, prompt_id=prompt_id, elements=keys, phrases=phrases)


def decisions(store: Store, scene_hash: str, *, experiment: str | None = None) -> pd.DataFrame:
    """Return what the refiner decided about a scene and what came of it: one row per decision, in order.

    Columns: `decision` and its `reason`; for a rewrite `action`, `kind`, `detail`, and how the score changed from
    version to version on the same seeds: `objective_change` by the judge that steered, `heldout_change` the mean over
    the others.
    """
    return store.df(DECISIONS, scene_hash=scene_hash, experiment=experiment)
