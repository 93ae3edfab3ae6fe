"""How a study went, round by round: adherence, what was gained and confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forgekit.metrics import mean_interval
from forgekit.store import Store
from forgekit.trends.scores import JUDGES, SCENE_VALUES

if TYPE_CHECKING:
    import pandas as pd

# `figures` are the values that the interval is taken over, one per scene.
ADHERENCE = f"""
with {JUDGES},
{SCENE_VALUES},
counted as (
    select
        r.experiment,
        r.model,
        v.vision_model,
        r.round,
        count(v.adherence) as scenes,
        steady_avg(v.adherence) as adherence,
        coalesce(list(v.adherence order by r.scene_hash) filter (v.adherence is not null), []) as figures,
        steady_avg(v.selected) as selected,
        steady_avg(v.best_image) as best_image
    from scene_rounds r
    join scene_values v
        on v.experiment = r.experiment
        and v.model = r.model
        and v.scene_hash = r.scene_hash
        and v.round = r.drawn_round
    group by all
),
spent as (
    select experiment, model, vision_model, round, sum(n) as images
    from judged
    group by all
)
select
    c.experiment,
    c.model,
    c.vision_model,
    coalesce(j.vision_model = c.vision_model, false) as steers,
    c.round,
    c.scenes,
    cast(sum(coalesce(s.images, 0)) over (
        partition by c.experiment, c.model, c.vision_model
        order by c.round
    ) as bigint) as images,
    c.adherence,
    c.figures,
    c.selected,
    c.best_image
from counted c
left join spent s using (experiment, model, vision_model, round)
left join steering_judges j on j.experiment = c.experiment
order by c.experiment, c.model, steers desc, c.vision_model, c.round
"""

GAIN = f"""
with {JUDGES},
{SCENE_VALUES},
ends as (
    select
        v.experiment,
        v.model,
        v.vision_model,
        v.scene_hash,
        arg_min(v.adherence, v.round) filter (v.round = 0) as first,
        arg_max(v.adherence, v.round) as last
    from scene_values v
    group by all
)
select
    e.experiment,
    e.model,
    e.vision_model,
    coalesce(j.vision_model = e.vision_model, false) as steers,
    r.rounds,
    count(*) as scenes,
    steady_avg(e.first) as first,
    steady_avg(e.last) as last,
    steady_avg(e.last - e.first) as gain,
    list(e.last - e.first order by e.scene_hash) as figures
from ends e
join (select experiment, model, max(round) as rounds from scene_rounds group by all) r using (experiment, model)
left join steering_judges j on j.experiment = e.experiment
where e.first is not null
  and e.last is not null
group by all
order by e.experiment, e.model, steers desc, e.vision_model
"""

CONFIRMED = f"""
with {JUDGES},
scored as (
    select
        p.experiment,
        p.model,
        p.scene_hash,
        e.vision_model,
        i.prompt_id in (from confirming_versions) as confirms,
        steady_avg(e.soft_tifa_gm) as score,
        count(*) as images
    from image_scores e
    join generated_images i on i.id = e.image_id
    join prompts p on p.id = i.prompt_id
    join judges j
        on j.experiment = p.experiment
        and j.vision_model = e.vision_model
        and j.judge_key = e.judge_key
    where e.soft_tifa_gm is not null
      and (i.round = 0 or i.prompt_id in (from confirming_versions))
    group by all
)
select
    c.experiment,
    c.model,
    c.vision_model,
    coalesce(j.vision_model = c.vision_model, false) as steers,
    count(*) as scenes,
    cast(sum(c.images) as bigint) as images,
    steady_avg(f.score) as first,
    steady_avg(c.score) as confirmed,
    list(c.score order by c.scene_hash) as figures,
    steady_avg(c.score - f.score) as gain,
    list(c.score - f.score order by c.scene_hash) as gain_figures
from scored c
join scored f
    on f.experiment = c.experiment
    and f.model = c.model
    and f.scene_hash = c.scene_hash
    and f.vision_model = c.vision_model
    and not f.confirms
left join steering_judges j on j.experiment = c.experiment
where c.confirms
group by all
order by c.experiment, c.model, steers desc, c.vision_model
"""


def adherence(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return how faithful the images are, round by round: one row per (experiment, model, vision model, round).

    Round r is what r decisions of the refiner have led to; a finished scene is carried forward to the last round.
    Columns: `steers` (this judge chooses), `scenes` with a value, `images` drawn and judged so far, `adherence` (mean
    over scenes of the cross-fitted score: a version is chosen on one half of the scene's seeds and scored on the
    other, and the other way round), `low` and `high` (its 95 % interval over scenes; null for one scene), `selected`
    (the best version so far with its own images: it rises by luck alone) and `best_image` (its best image). Versions
    that confirm do not compete; see `confirmed`. With one image a version there are no halves: `adherence` is null.
    """
    table = store.df(ADHERENCE, experiment=experiment, vision_model=vision_model)
    return _with_interval(table, "figures", "low", "high")


def gain(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return what was gained from round 0 to the last round: one row per (experiment, model, vision model).

    Columns: `steers`, `rounds` (the last one), `scenes` with a value at both ends, `first` and `last` (mean of their
    cross-fitted scores, as `adherence` has them), `gain` (mean over scenes of the difference), `low` and `high` (its
    95 % interval over scenes; null for one scene).
    """
    table = store.df(GAIN, experiment=experiment, vision_model=vision_model)
    return _with_interval(table, "figures", "low", "high")


def confirmed(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return what the chosen versions score on fresh seeds: one row per (experiment, model, vision model).

    No image that chose a version, or ended its scene, is among these: this figure is free of selection. Empty where
    nothing was drawn to confirm. Columns: `steers`, `scenes`, `images` that confirm, `first` (mean score of these
    scenes' first drawing), `confirmed` with `low` and `high`, `gain` between the two with `gain_low` and `gain_high`
    (95 % intervals over scenes; null for one scene).
    """
    table = store.df(CONFIRMED, experiment=experiment, vision_model=vision_model)
    return _with_interval(_with_interval(table, "figures", "low", "high"), "gain_figures", "gain_low", "gain_high")


def _with_interval(table: pd.DataFrame, figures: str, low: str, high: str) -> pd.DataFrame:
    """Replace a column of lists, one number per scene, by the two ends of the interval of their mean."""
    place = table.columns.get_loc(figures)
    ends = np.array([mean_interval(values) for values in table.pop(figures)], dtype=float).reshape(-1, 2)
    table.insert(place, low, ends[:, 0])
    table.insert(place + 1, high, ends[:, 1])
    return table
