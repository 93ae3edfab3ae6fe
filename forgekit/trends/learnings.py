"""One learning from the request to its effect: who decided what, what was drawn and judged for it, what it changed."""

from __future__ import annotations

import pandas as pd

from forgekit.errors import ParameterError
from forgekit.store import Store

FOUND = "select cast(id as varchar) as id from prompt_learnings where cast(id as varchar) = lower($learning_id)"

# What a learning led to. A decision is followed by drawing its child, or its base once more; the images of that are those
# of the round that it began.
IMAGES = """
with chain as (
    select
        l.id, l.actions, l.created_at,
        row_number() over arm as round,
        lead(l.created_at) over arm as ended_at
    from prompt_learnings l
    join prompts p on p.id = l.prompt_id
    window arm as (partition by p.scene_hash, p.experiment, p.model order by l.created_at, p.generation_iteration, l.id)
),
decided as (
    select
        *,
        actions ->> '$.decision' as decision,
        cast(actions ->> '$.base_prompt_id' as uuid) as base_id,
        coalesce(
            cast(actions ->> '$.child_prompt_id' as uuid),
            case when actions ->> '$.decision' = 'redraw' then cast(actions ->> '$.base_prompt_id' as uuid) end
        ) as drawn_id
    from chain
    where id = $learning_id::uuid
),
images as (
    select i.id
    from decided d
    join generated_images i on i.prompt_id = d.drawn_id and i.round = d.round
),
verdicts as (
    select s.*, s.soft_tifa_gm as score
    from image_scores s
    join decided d on s.prompt_id in (d.base_id, d.drawn_id)
    where s.soft_tifa_gm is not null
    qualify s.judge_key = arg_max(s.judge_key, s.created_at) over (partition by s.vision_model)
),
judged as (
    select vision_model, judge_key, avg(score) as score, count(*) as n, max(created_at) as happened_at
    from verdicts
    where image_id in (select id from images)
    group by all
),
before as (
    select v.vision_model, v.judge_key, avg(v.score) as score, count(*) as n
    from verdicts v
    join decided d on v.prompt_id = d.base_id
    join generated_images i on i.id = v.image_id
    where i.round < d.round
    group by all
),
"""

# Columns that a step does not name are null. A rewrite is compared with its parent on the seeds that both have. New seeds
# of the same text have no partner: there the mean of the new images stands against that of the ones before.
STEPS = """
steps as (
    select
        1 as rank,
        'decision' as step,
        l.created_at as happened_at,
        l.endpoint,
        concat_ws(': ', d.decision, d.actions ->> '$.reason') as what,
        l.duration_ms,
        null::double as value,
        l.request, l.response
    from api_logs l
    join decided d on d.id = l.learning_id
    where l.stage = 'refine'
    union all by name
    select
        2 as rank,
        case when d.decision = 'redraw' then 'redraw' else 'version' end as step,
        d.created_at as happened_at,
        p.prompt_text as what,
        json_object('prompt_id', p.id, 'parameters', p.base_parameters) as request
    from decided d
    join prompts p on p.id = d.drawn_id
    union all by name
    select
        3 as rank,
        'drawing' as step,
        l.created_at as happened_at,
        l.endpoint,
        format('{} of {} images', len(list_filter(drawn, lambda id: id = d.drawn_id)), len(drawn)) as what,
        l.duration_ms, l.request, l.response
    from (
        select *, cast(request ->> '$.requests[*].prompt_id' as uuid[]) as drawn
        from api_logs
        where stage = 'generate'
    ) l
    join decided d
        on l.learning_id = d.id
        or list_contains(l.drawn, d.drawn_id)
        and l.created_at >= d.created_at
        and (d.ended_at is null or l.created_at < d.ended_at)
    union all by name
    select
        4 as rank,
        'judging' as step,
        l.created_at as happened_at,
        l.endpoint,
        format('{} of {} images', count(i.id), any_value(len(l.judged))) as what,
        l.duration_ms, l.request, l.response
    from (
        select *, cast(request ->> '$.images[*]' as uuid[]) as judged
        from api_logs
        where stage = 'evaluate'
    ) l
    join decided d on true
    left join images i on list_contains(l.judged, i.id)
    where l.learning_id = d.id
       or i.id is not null
    group by l.id, l.created_at, l.endpoint, l.duration_ms, l.request, l.response
    union all by name
    select
        5 as rank,
        'effect' as step,
        max(j.happened_at) over () as happened_at,
        j.vision_model as endpoint,
        case
            when d.decision = 'rewrite' then format('{} pairs of images on the same seeds', c.pairs)
            else format('{} new images against {} before', j.n, b.n)
        end as what,
        case when d.decision = 'rewrite' then c.change else round(j.score - b.score, 12) end as value,
        j.vision_model = d.actions ->> '$.objective' as steers
    from judged j
    join decided d on true
    left join before b using (vision_model, judge_key)
    left join version_changes c
        on c.prompt_id = d.drawn_id
        and c.vision_model = j.vision_model
        and c.judge_key = j.judge_key
)
select step, happened_at as "at", endpoint, what, duration_ms / 1000 as duration_s, value, request, response
from steps
order by rank, happened_at, coalesce(steers, false) desc, endpoint
"""


def follow(store: Store, learning_id: str) -> pd.DataFrame:
    """Return what a learning came from and what it led to: one row per step, in order of time.

    `step` is "decision" (each call that made it: of the policy, or of a language model), "version" or "redraw" (what
    was to be drawn), "drawing" and "judging" (each call in which the images had a part), and "effect" (one row per
    vision model, the steering one first). Columns besides: `at` (UTC), `endpoint` (who was called or judged), `what` (in
    words), `duration_s` (of the whole call), `value` (of an effect: the change of the mean score, in [-1, 1]), `request`
    and `response` (JSON, as `api_logs` has them). An accepted prompt has its decision alone.

    Raises:
        ParameterError: there is no such learning.
    """
    if store.df(FOUND, learning_id=learning_id).empty:
        raise ParameterError(
            f"no learning is called {learning_id!r}. Ids are in `store.df('select id from prompt_learnings')`"
        )
    return store.df(IMAGES + STEPS, learning_id=learning_id)
