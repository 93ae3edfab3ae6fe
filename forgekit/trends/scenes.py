"""Scenes one by one: which gained, how each developed, what was decided about it and rewritten."""

from __future__ import annotations

import pandas as pd

from forgekit.store import Store

# A scene has one version, and one drawing of it, at round 0: there `selected` is its plain mean.
SCENES = """
with ends as (
    select
        experiment, model, scene_hash,
        arg_min(coalesce(adherence, selected), round) as first_score,
        arg_max(adherence, round) as last_score,
        arg_max(selected, round) as selected_score
    from scene_values_in($experiment, $vision_model)
    where $vision_model is not null or steers
    group by all
),
confirmed as (
    select experiment, model, scene_hash, steady_avg(score) as confirmed_score
    from scores_in($experiment, $vision_model)
    where prompt_id in (from confirming_versions)
      and ($vision_model is not null or steers)
    group by all
),
versions as (
    select experiment, model, scene_hash, count(*) as versions, min(created_at) as started_at
    from prompts
    where $experiment is null or experiment = $experiment
    group by all
)
select
    experiment, model, scene_hash, scene_text, versions, first_score, last_score,
    last_score - first_score as gain,
    confirmed_score, selected_score
from versions
join scenes using (scene_hash)
left join ends using (experiment, model, scene_hash)
left join confirmed using (experiment, model, scene_hash)
order by experiment, model, gain desc nulls last, started_at, scene_hash
"""

UNREAD = """
select p.experiment, p.model, s.scene_hash, s.scene_text, s.read_by ->> '$.reason' as reason, count(*) as versions
from scenes s
join prompts p using (scene_hash)
where s.read_by ->> '$.reader' = 'nobody'
  and ($experiment is null or p.experiment = $experiment)
group by all
order by p.experiment, p.model, min(p.created_at), s.scene_hash
"""

# What led to each version that was made from another.
STEPS = """
    select
        cast(actions ->> '$.child_prompt_id' as uuid) as child_prompt_id,
        arg_max(
            struct_pack(
                decision := actions ->> '$.decision',
                action := actions ->> '$.action',
                element := actions ->> '$.element'
            ),
            created_at
        ) as step
    from prompt_learnings
    where actions ->> '$.child_prompt_id' is not null
    group by all
"""
LINEAGE = f"""
with judged as (
    select prompt_id, map(list(vision_model order by vision_model), list(mean_score order by vision_model)) as scores
    from current_scores
    where scene_hash = $scene_hash
    group by prompt_id
),
drawn as (
    select prompt_id, count(*) as images from generated_images group by prompt_id
),
steps as ({STEPS})
select
    p.experiment, p.model,
    p.generation_iteration as iteration,
    cast(p.id as varchar) as prompt_id,
    cast(p.parent_prompt_id as varchar) as parent_prompt_id,
    cast(p.status as varchar) as status,
    p.prompt_text, t.scene_text,
    s.step.decision as decision,
    s.step.action as action,
    s.step.element as element,
    coalesce(d.images, 0) as images,
    p.current_score, j.scores,
    i.image_path as best_image
from prompts p
join scenes t on t.scene_hash = p.scene_hash
left join judged j on j.prompt_id = p.id
left join drawn d on d.prompt_id = p.id
left join steps s on s.child_prompt_id = p.id
left join generated_images i on i.id = p.best_image_id
where p.scene_hash = $scene_hash
order by p.experiment, p.model, p.generation_iteration, p.created_at, p.id
"""

DECISIONS = """
with decided as (
    select
        experiment, model,
        generation_iteration as iteration,
        cast(prompt_id as varchar) as prompt_id,
        decision, reason, action, kind, detail,
        avg(change) filter (is_objective) as objective_change,
        avg(change) filter (not is_objective) as heldout_change,
        learning_id, created_at
    from learning_effects
    where scene_hash = $scene_hash
      and ($experiment is null or experiment = $experiment)
    group by all
)
select * exclude (learning_id, created_at)
from decided
order by experiment, model, iteration, created_at, learning_id
"""

REWRITES = """
select
    c.experiment, s.scene_text,
    p.prompt_text as before,
    c.prompt_text as after,
    v.pairs, v.change
from prompts c
join prompts p on p.id = c.parent_prompt_id
join scenes s on s.scene_hash = c.scene_hash
join steering_judges j on j.experiment = c.experiment
join version_changes v on v.prompt_id = c.id and v.vision_model = j.vision_model
where ($experiment is null or c.experiment = $experiment)
  and c.prompt_text <> p.prompt_text
order by abs(v.change) desc, c.id
"""


def scenes(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return which scenes gained most: one row per (experiment, model, scene), the largest gain first.

    Columns: `scene_text`, `versions`, and by `vision_model` (None: the one that steers) `first_score` and `last_score`,
    cross-fitted, with the `gain` between the two; `confirmed_score` on fresh seeds; `selected_score` of the best
    version so far, which rises by luck alone. Null where nothing tells: one image a version has no two halves.
    """
    return store.df(SCENES, experiment=experiment, vision_model=vision_model)


def unread(store: Store, *, experiment: str | None = None) -> pd.DataFrame:
    """One row per (experiment, generator, scene) that nobody understood, with the reason: judges see it as a whole text only.

    A language model may read them: `import_prompts(…, language_model=…)`.
    """
    return store.df(UNREAD, experiment=experiment)


def lineage(store: Store, scene_hash: str) -> pd.DataFrame:
    """Return the life of one scene: one row per prompt version, parents before children.

    Columns: `decision` ("rewrite", or "confirm" for the chosen text on fresh seeds), `action` and `element` (what the
    refiner did to the parent to make it; null for a first version), `images`,
    `current_score`, `scores` (vision model → mean score), `best_image` (path relative to the store's folder).
    """
    return store.df(LINEAGE, scene_hash=scene_hash)


def decisions(store: Store, scene_hash: str, *, experiment: str | None = None) -> pd.DataFrame:
    """Return what the refiner decided about a scene and what came of it: one row per decision, in order.

    Columns: `decision` and its `reason`; for a rewrite `action`, `kind`, `detail`, and how the score changed from
    version to version on the same seeds: `objective_change` by the judge that steered, `heldout_change` the mean over
    the others.
    """
    return store.df(DECISIONS, scene_hash=scene_hash, experiment=experiment)


def rewrites(store: Store, *, experiment: str | None = None) -> pd.DataFrame:
    """Return what rewriting a prompt changed: one row per rewritten version, the largest change first.

    Columns: `scene_text`, the prompt `before` and `after`, and by the judge that steers the `change` of the score, mean
    over the `pairs` of images that share a seed. The first rows are picked for their size: larger than they would be
    again.
    """
    return store.df(REWRITES, experiment=experiment)
