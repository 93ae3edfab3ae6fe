"""Where a store stands: how many prompts are due in each stage, and the command that comes next."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forgekit.progress import as_text
from forgekit.store import Store
from forgekit.trends.overview import arms

if TYPE_CHECKING:
    import pandas as pd

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
        experiment: an experiment, or a study whose arms are `experiment`/…; None for everything in the store.

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
