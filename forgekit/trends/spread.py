"""How single images and single elements fare, round by round: distributions, kinds of elements, terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgekit.store import Store
from forgekit.trends.scores import JUDGES, NO_TERMS, TERMS, scene_terms

if TYPE_CHECKING:
    import pandas as pd

# The version that one half of the images chose, to be shown by the other half; and the other way round.
SHOWN = """
shown as (
    select r.experiment, r.model, r.scene_hash, r.round, v.prompt_id, v.half, v.round as drawn_round
    from scene_rounds r
    join standing_versions v
        on v.experiment = r.experiment
        and v.model = r.model
        and v.scene_hash = r.scene_hash
        and v.round = r.drawn_round
    where v.half is not null
)"""

DISTRIBUTIONS = f"""
with {JUDGES},
{SHOWN}
select
    s.experiment,
    s.model,
    i.vision_model,
    s.round,
    count(distinct s.scene_hash) as scenes,
    count(*) as images,
    steady_avg(i.soft_tifa_gm) as mean,
    steady_std(i.soft_tifa_gm) as std,
    quantile_cont(i.soft_tifa_gm, 0.05) as q05,
    quantile_cont(i.soft_tifa_gm, 0.25) as q25,
    quantile_cont(i.soft_tifa_gm, 0.5) as q50,
    quantile_cont(i.soft_tifa_gm, 0.75) as q75,
    quantile_cont(i.soft_tifa_gm, 0.95) as q95,
    map_values(histogram(least(19, cast(floor(i.soft_tifa_gm * 20) as integer)), range(20))) as histogram
from shown s
join competing_images c
    on c.prompt_id = s.prompt_id
    and c.half = s.half
    and c.round <= s.drawn_round
join image_scores i on i.image_id = c.image_id
join judges j
    on j.experiment = s.experiment
    and j.vision_model = i.vision_model
    and j.judge_key = i.judge_key
where i.soft_tifa_gm is not null
group by all
order by s.experiment, s.model, i.vision_model, s.round
"""

# Counted once for each drawing of a version before rounds are made of them.
BY_ELEMENT = f"""
with {JUDGES},
{SHOWN},
{TERMS},
named as (
    select
        c.prompt_id,
        c.half,
        c.round,
        e.vision_model,
        coalesce(t.term, e.kind) as label,
        e.score,
        cast(e.score < j.pass_mark as integer) as failed
    from element_scores e
    join competing_images c using (image_id)
    join judges j
        on j.experiment = c.experiment
        and j.vision_model = e.vision_model
        and j.judge_key = e.judge_key
    left join terms t on t.scene_hash = e.scene_hash and t.element = e.element
    where e.score is not null
      and ($by = 'kind' or t.term is not null)
),
drawn as (
    select
        prompt_id,
        half,
        round,
        vision_model,
        label,
        sum(score) as total,
        sum(failed) as failed,
        count(*) as n
    from named
    group by all
)
select
    s.experiment,
    s.model,
    d.vision_model,
    d.label,
    s.round,
    count(distinct s.scene_hash) as scenes,
    sum(d.total) / sum(d.n) as score,
    sum(d.failed) / sum(d.n) as failure_rate
from shown s
join drawn d
    on d.prompt_id = s.prompt_id
    and d.half = s.half
    and d.round <= s.drawn_round
group by all
order by s.experiment, s.model, d.vision_model, d.label, s.round
"""


def distributions(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return how the scores of single images spread: one row per (experiment, model, vision model, round).

    The images of a scene are those that had no part in choosing the version they show, as in `adherence`. Columns:
    `scenes`, `images`, `mean`, `std`, quantiles `q05` … `q95`, and `histogram`: 20 counts, bin i holding [i/20,
    (i+1)/20).
    """
    return store.df(DISTRIBUTIONS, experiment=experiment, vision_model=vision_model)


def by_element_kind(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return what is drawn well and what is not: one row per (experiment, model, vision model, kind, round).

    Over the same images as `distributions`. Columns: `scenes` that ask for the kind, `score` (mean probability over
    elements and images), `failure_rate` (share of them below the judge's pass mark).
    """
    return _by_element(store, "kind", experiment, vision_model, NO_TERMS)


def by_term(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return the same as `by_element_kind` per word of the scene texts: "scarlet", "disc", "to the left of"."""
    return _by_element(store, "term", experiment, vision_model, scene_terms(store))


def _by_element(
    store: Store, by: str, experiment: str | None, vision_model: str | None, terms: dict[str, list[str]]
) -> pd.DataFrame:
    table = store.df(BY_ELEMENT, by=by, experiment=experiment, vision_model=vision_model, **terms)
    return table.rename(columns={"label": by})
