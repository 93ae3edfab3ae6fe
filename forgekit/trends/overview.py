"""A store at a glance: its experiments, how faithful they are, what is due in each, and what the model calls took."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import pandas as pd

from forgekit.errors import ParameterError, did_you_mean
from forgekit.progress import as_text
from forgekit.store import Store
from forgekit.trends.rounds import adherence, confirmed, gain

NOTE = """adherence is cross-fitted: no image judges a version that it helped to choose (docs/trends.md). selected and
best_image are of the best version so far, by the images that chose it: they would rise by luck alone."""

STAGES = ("complete", "generate", "evaluate", "refine")

COUNTS = """
with stages as (
    select
        id, experiment, scene_hash,
        case
            when status in ('imported', 'incomplete') then 'complete'
            when status in ('completed', 'needs_refinement', 'generating') then 'generate'
            when status in ('generated', 'evaluating') then 'evaluate'
            when status = 'evaluated' then 'refine'
            else status::varchar
        end as stage
    from prompts
    where experiment in (select unnest($experiments::varchar[]))
),
images as (
    select
        i.prompt_id,
        count(distinct i.id) as images,
        count(e.id) filter (e.error is null) as verdicts,
        count(e.error) as failed
    from generated_images i
    left join image_evaluations e on e.image_id = i.id
    group by all
)
select
    experiment,
    count(distinct scene_hash) as scenes,
    count(*) filter (stage = 'draft') as draft,
    count(*) filter (stage = 'complete') as complete,
    count(*) filter (stage = 'generate') as generate,
    count(*) filter (stage = 'evaluate') as evaluate,
    count(*) filter (stage = 'refine') as refine,
    count(*) filter (stage = 'archived') as archived,
    coalesce(sum(images), 0)::bigint as images,
    coalesce(sum(verdicts), 0)::bigint as verdicts,
    coalesce(sum(failed), 0)::bigint as failed_verdicts
from stages s
left join images i on i.prompt_id = s.id
group by all
order by all
"""

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


@dataclass(frozen=True)
class Overview:
    """Three tables of `trends`; printed, those of them that have rows."""

    adherence: pd.DataFrame
    gain: pd.DataFrame
    confirmed: pd.DataFrame

    def __str__(self) -> str:
        parts = [
            ("By round", self.adherence),
            ("Gain from round 0 to the last, within scenes", self.gain),
            ("The chosen versions on fresh seeds", self.confirmed),
        ]
        tables = [f"{title}\n{as_text(table)}" for title, table in parts if len(table)]
        return "\n\n".join([*tables, NOTE]) if tables else "Nothing is judged yet; run `forgekit evaluate` first"


def arms(store: Store, study: str | None = None) -> list[str]:
    """Return the experiments of a study: the one of that name and all `study`/…; None for all in the store.

    Raises:
        ParameterError: there is no such experiment.
    """
    known = [row["experiment"] for row in store.rows("select distinct experiment from prompts order by all")]
    wanted = [name for name in known if study is None or name == study or name.startswith(f"{study}/")]
    if study is not None and not wanted:
        listed = ", ".join(known) or "none yet"
        raise ParameterError(f"no experiment is called {study!r}.{did_you_mean(study, known)} The store has: {listed}")
    return wanted


def overview(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> Overview:
    """Tell how faithful the images are: by round, what was gained, and what fresh seeds say of it.

    Args:
        experiment: only this one.
        vision_model: only this judge.
    """
    about = {"experiment": experiment, "vision_model": vision_model}
    return Overview(adherence(store, **about), gain(store, **about), confirmed(store, **about))


@dataclass(frozen=True)
class Status:
    """`counts` has one row per experiment: prompts due in `complete` … `refine`, and what is done; `next` is a command."""

    counts: pd.DataFrame
    next: str

    def __str__(self) -> str:
        if not len(self.counts):
            return f"The store is empty. Next: {self.next}"
        due = {column: f"to {column}" for column in STAGES}
        table = as_text(self.counts.rename(columns=due))
        return f"Prompts by what is due\n{table}\n\nNext: {self.next}"


def status(store: Store, *, experiment: str | None = None) -> Status:
    """Count what is due in each stage, and tell the next command.

    Args:
        experiment: an experiment, or a study whose arms are `experiment`/…; everything where not given.

    Raises:
        ParameterError: there is no such experiment.
    """
    counts = store.df(COUNTS, experiments=arms(store, experiment))
    return Status(counts, _next(store, counts))


def _next(store: Store, counts: pd.DataFrame) -> str:
    """Return the command of the first stage that has something due."""
    named = f" --store {shlex.quote(str(store.path))}"
    for stage in STAGES:
        if len(due := counts.loc[counts[stage] > 0, "experiment"]):
            only = f" --experiment {shlex.quote(due.iloc[0])}" if len(counts) > 1 else ""
            return f"forgekit {stage}{named}{only}"
    return f"forgekit {'adherence' if len(counts) else 'import FILE'}{named}"


def cost(store: Store, *, experiment: str | None = None) -> pd.DataFrame:
    """Return where the time went (`api_logs`): one row per (experiment, stage, endpoint), the dearest first.

    Columns: `calls` and how many of them `failed`, `items` (the prompts or images they were about), `seconds` in all,
    `median_s` and `p95_s` of a call; of models behind servers also `requests`, `prompt_tokens`, `completion_tokens` and
    `cost` (in the currency of the price that was set; null where none was). A call that worked for several experiments
    counts for each by its share of the items; `experiment` is null where a call belongs to none.
    """
    return store.df(COST, experiment=experiment)
