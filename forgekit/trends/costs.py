"""What the model calls took: time, failures, images; behind servers also requests, tokens, money."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgekit.store import Store

if TYPE_CHECKING:
    import pandas as pd

# A call may work for several experiments at once: its time and its count are shared out by the prompts or images it
# was about. A call that names neither (an import names its experiment) is nobody's in particular. A request to a server
# that is a part of a call has a row of its own (`request.call`): its tokens and costs count, its time is in the call's.
COST = """
with subjects as (
    select id, prompt_id from api_logs where prompt_id is not null
    union all
    select id, try_cast(unnest(request ->> '$.requests[*].prompt_id') as uuid) from api_logs where prompt_id is null
    union all
    select l.id, i.prompt_id
    from (
        select id, try_cast(unnest(request ->> '$.images[*]') as uuid) as image_id
        from api_logs
        where prompt_id is null
    ) l
    join generated_images i on i.id = l.image_id
),
items as (
    select s.id, p.experiment, count(*) as items
    from subjects s
    join prompts p on p.id = s.prompt_id
    group by all
),
shares as (
    select *, items / sum(items) over (partition by id) as share from items
),
calls as (
    select
        l.*,
        coalesce(s.experiment, l.request ->> '$.experiment') as experiment,
        coalesce(s.items, 0) as items,
        coalesce(s.share, 1) as share,
        l.request ->> '$.call' is not null as part,
        try_cast(l.response ->> '$.usage.prompt_tokens' as double) as prompt_tokens,
        try_cast(l.response ->> '$.usage.completion_tokens' as double) as completion_tokens,
        try_cast(l.response ->> '$.cost' as double) as cost,
        case
            when l.request ->> '$.call' is not null then 1
            else try_cast(l.response ->> '$.requests' as integer)
        end as requests
    from api_logs l
    left join shares s on s.id = l.id
)
select
    experiment, stage, endpoint,
    coalesce(sum(share) filter (not part), 0) as calls,
    coalesce(sum(share) filter (not part and not ok), 0) as failed,
    cast(coalesce(sum(items) filter (not part), 0) as bigint) as items,
    sum(share * duration_ms) filter (not part) / 1000 as seconds,
    quantile_cont(duration_ms, 0.5) filter (not part) / 1000 as median_s,
    quantile_cont(duration_ms, 0.95) filter (not part) / 1000 as p95_s,
    sum(share * requests) as requests,
    sum(share * prompt_tokens) as prompt_tokens,
    sum(share * completion_tokens) as completion_tokens,
    sum(share * cost) as cost,
    min(created_at) as first_call,
    max(created_at) as last_call
from calls
where $experiment is null or experiment = $experiment
group by all
order by seconds desc nulls last, experiment, stage, endpoint
"""


def cost(store: Store, *, experiment: str | None = None) -> pd.DataFrame:
    """Return where the time went (`api_logs`): one row per (experiment, stage, endpoint), the dearest first.

    Columns: `calls` and how many of them `failed`, `items` (the prompts or images they were about), `seconds` in all,
    `median_s` and `p95_s` of a call; of models behind servers also `requests`, `prompt_tokens`, `completion_tokens` and
    `cost` (in the currency of the price that was set; null where none was). A call that worked for several experiments
    counts for each by its share of the items; `experiment` is null where a call belongs to none.
    """
    return store.df(COST, experiment=experiment)
