"""How a study went, iteration by iteration: adherence, distributions, kinds of elements, terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgekit.store import Store
from forgekit.trends.scores import FAILED_BELOW, NO_TERMS, SCORES, TERMS, scene_terms

if TYPE_CHECKING:
    import pandas as pd

ADHERENCE = f"""
with {SCORES},
counted as (
    select
        c.experiment,
        c.model,
        s.vision_model,
        c.iteration,
        count(s.mean_score) as scenes,
        steady_avg(s.mean_score) as adherence,
        1.96 * steady_std(s.mean_score) / sqrt(count(s.mean_score)) as margin,
        steady_avg(s.max_score) as best_image
    from counted_versions c
    join scores s on s.prompt_id = c.prompt_id
    group by all
),
spent as (
    select experiment, model, vision_model, generation_iteration as iteration, sum(images) as images
    from scores
    group by all
)
select
    c.experiment,
    c.model,
    c.vision_model,
    coalesce(j.vision_model = c.vision_model, false) as steers,
    c.iteration,
    c.scenes,
    cast(sum(coalesce(s.images, 0)) over (
        partition by c.experiment, c.model, c.vision_model
        order by c.iteration
    ) as bigint) as images,
    c.adherence,
    case when c.margin is not null then greatest(0, c.adherence - c.margin) end as low,
    case when c.margin is not null then least(1, c.adherence + c.margin) end as high,
    c.best_image
from counted c
left join spent s using (experiment, model, vision_model, iteration)
left join steering_judges j on j.experiment = c.experiment
order by c.experiment, c.model, steers desc, c.vision_model, c.iteration
"""

DISTRIBUTIONS = f"""
with {SCORES}
select
    c.experiment,
    c.model,
    i.vision_model,
    c.iteration,
    count(*) as images,
    steady_avg(i.soft_tifa_gm) as mean,
    steady_std(i.soft_tifa_gm) as std,
    quantile_cont(i.soft_tifa_gm, 0.05) as q05,
    quantile_cont(i.soft_tifa_gm, 0.25) as q25,
    quantile_cont(i.soft_tifa_gm, 0.5) as q50,
    quantile_cont(i.soft_tifa_gm, 0.75) as q75,
    quantile_cont(i.soft_tifa_gm, 0.95) as q95,
    map_values(histogram(least(19, cast(floor(i.soft_tifa_gm * 20) as integer)), range(20))) as histogram
from counted_versions c
join scores s on s.prompt_id = c.prompt_id
join image_scores i
    on i.prompt_id = s.prompt_id
    and i.vision_model = s.vision_model
    and i.judge_key = s.judge_key
where i.soft_tifa_gm is not null
group by all
order by c.experiment, c.model, i.vision_model, c.iteration
"""

# Restricted to the scored versions before any document is read.
BY_ELEMENT = f"""
with {SCORES},
seen as (
    select e.prompt_id, e.vision_model, e.scene_hash, e.element, e.kind, e.score
    from element_scores e
    join scores s
        on s.prompt_id = e.prompt_id
        and s.vision_model = e.vision_model
        and s.judge_key = e.judge_key
    where e.score is not null
),
{TERMS},
named as (
    select s.prompt_id, s.vision_model, coalesce(t.term, s.kind) as label, s.score
    from seen s
    left join terms t using (scene_hash, element)
    where $by = 'kind' or t.term is not null
),
by_version as (
    select
        prompt_id,
        vision_model,
        label,
        sum(score) as total,
        count(*) as n,
        count(*) filter (score < {FAILED_BELOW}) as failed
    from named
    group by all
)
select
    c.experiment,
    c.model,
    v.vision_model,
    v.label,
    c.iteration,
    count(distinct c.scene_hash) as scenes,
    sum(v.total) / sum(v.n) as score,
    sum(v.failed) / sum(v.n) as failure_rate
from counted_versions c
join by_version v on v.prompt_id = c.prompt_id
group by all
order by c.experiment, c.model, v.vision_model, v.label, c.iteration
"""


def adherence(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return how faithful the images are, iteration by iteration: one row per (experiment, model, vision model,
    iteration).

    Columns: `steers` (this judge chooses), `scenes` with a score, `images` drawn and judged so far, `adherence` (mean
    over scenes of the mean over the images of the counted version), `low` and `high` (its 95 % interval over scenes;
    null for one scene), `best_image` (mean over scenes of the best image of the counted version).
    """
    return store.df(ADHERENCE, experiment=experiment, vision_model=vision_model)


def distributions(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return how the scores of single images spread: one row per (experiment, model, vision model, iteration).

    Columns: `images`, `mean`, `std`, quantiles `q05` … `q95`, and `histogram`: 20 counts, bin i holding [i/20,
    (i+1)/20).
    """
    return store.df(DISTRIBUTIONS, experiment=experiment, vision_model=vision_model)


def by_element_kind(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return what is drawn well and what is not: one row per (experiment, model, vision model, kind, iteration).

    Columns: `scenes` that ask for the kind, `score` (mean probability over elements and images), `failure_rate`
    (share of them below 0.5).
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
