"""How a study went, round by round: adherence, what was gained, confirmed and changed, how single images spread.

`low` and `high` are the 95 % interval over scenes of the mean before them, null for one scene; `steers`: this judge chooses.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from forgekit.errors import ParameterError
from forgekit.metrics import mean_interval
from forgekit.store import Store

# `figures` are the values that an interval is taken over, one per scene.
ADHERENCE = """
with counted as (
    select
        r.experiment, r.model, v.vision_model, v.steers, r.round,
        count(v.adherence) as scenes,
        sum(v.images) filter (r.round = r.drawn_round) as images,
        steady_avg(v.adherence) as adherence,
        coalesce(list(v.adherence) filter (v.adherence is not null), []) as figures,
        steady_avg(v.selected) as selected,
        steady_avg(v.best_image) as best_image
    from scene_rounds r
    join scene_values_in($experiment, $vision_model) v using (experiment, model, scene_hash)
    where v.round = r.drawn_round
    group by all
    having count(v.adherence) + count(v.selected) > 0
)
select * replace (cast(sum(images) over (partition by experiment, model, vision_model order by round) as bigint) as images)
from counted
order by experiment, model, steers desc, vision_model, round
"""

GAIN = """
with ends as (
    select
        experiment, model, vision_model, steers, scene_hash,
        max(adherence) filter (round = 0) as first,
        arg_max(adherence, round) as last
    from scene_values_in($experiment, $vision_model)
    group by all
)
select
    experiment, model, vision_model, steers, rounds,
    count(*) as scenes,
    steady_avg(first) as first,
    steady_avg(last) as last,
    steady_avg(last - first) as gain,
    list(last - first) as figures
from ends e
join (select experiment, model, max(round) as rounds from scene_rounds group by all) using (experiment, model)
where e.first is not null
  and e.last is not null
group by all
order by experiment, model, steers desc, vision_model
"""

# A scene that is finished is carried forward: it gains nothing more, and counts.
ROUND_GAINS = """
with carried as (
    select r.round, v.* exclude (round)
    from scene_rounds r
    join scene_values_in($experiment, $vision_model) v using (experiment, model, scene_hash)
    where v.round = r.drawn_round
      and v.adherence is not null
)
select
    n.experiment, n.model, n.vision_model, n.steers, n.round,
    count(*) as scenes,
    steady_avg(n.adherence - b.adherence) as gain,
    list(n.adherence - b.adherence) as figures
from carried n
join carried b using (experiment, model, vision_model, scene_hash)
where b.round = n.round - 1
group by all
order by n.experiment, n.model, n.steers desc, n.vision_model, n.round
"""

CONFIRMED = """
with scored as (
    select
        s.experiment, s.model, s.vision_model, s.steers, s.scene_hash,
        steady_avg(case when i.round = 0 then s.score end) as first,
        steady_avg(case when c.prompt_id is not null then s.score end) as confirmed,
        count(c.prompt_id) as images
    from scores_in($experiment, $vision_model) s
    join generated_images i on i.id = s.image_id
    left join confirming_versions c on c.prompt_id = s.prompt_id
    group by all
)
select
    experiment, model, vision_model, steers,
    count(*) as scenes,
    cast(sum(images) as bigint) as images,
    steady_avg(first) as first,
    steady_avg(confirmed) as confirmed,
    list(confirmed) as figures,
    steady_avg(confirmed - first) as gain,
    list(confirmed - first) as gain_figures
from scored s
where s.first is not null
  and s.confirmed is not null
group by all
order by experiment, model, steers desc, vision_model
"""

DELTAS = """
select
    experiment, model, vision_model, any_value(steers) as steers, round,
    count(*) as scenes,
    cast(sum(pairs) as bigint) as pairs,
    steady_avg(change) as delta,
    list(change) as figures,
    avg(cast(change > 0 as integer)) as improved
from version_changes_in($experiment, $vision_model, $against)
where round is not null
  and prompt_id not in (from confirming_versions)
group by all
order by experiment, model, vision_model, round
"""

DISTRIBUTIONS = """
select
    s.experiment, s.model, s.vision_model, any_value(s.steers) as steers, v.round,
    count(distinct s.scene_hash) as scenes,
    count(*) as images,
    steady_avg(s.score) as mean,
    steady_std(s.score) as std,
    quantile_cont(s.score, 0.05) as q05,
    quantile_cont(s.score, 0.25) as q25,
    quantile_cont(s.score, 0.5) as q50,
    quantile_cont(s.score, 0.75) as q75,
    quantile_cont(s.score, 0.95) as q95,
    map_values(histogram(least(19, cast(floor(s.score * 20) as integer)), range(20))) as histogram
from shown_versions v
join competing_images c
    on c.prompt_id = v.prompt_id
    and c.half = v.half
    and c.round <= v.drawn_round
join scores_in($experiment, $vision_model) s using (image_id)
group by all
order by s.experiment, s.model, s.vision_model, v.round
"""


def adherence(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return how faithful the images are, round by round: one row per (experiment, model, vision model, round).

    Round r is what r decisions of the refiner have led to; a finished scene is carried forward to the last round.
    Columns: `steers` (this judge chooses), `scenes` with a value, `images` drawn and judged so far, `adherence` (mean
    over scenes of the cross-fitted score: a version is chosen on one half of the scene's seeds and scored on the
    other, and the other way round) with its interval `low` to `high`, `selected` (the best version so far with its own
    images: it rises by luck alone) and `best_image` (its best image). Versions that confirm do not compete; see
    `confirmed`. With one image a version there are no halves: `adherence` is null.
    """
    return _with_interval(store.df(ADHERENCE, experiment=experiment, vision_model=vision_model))


def gain(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return what was gained from round 0 to the last round: one row per (experiment, model, vision model).

    Columns: `steers`, `rounds` (the last one), `scenes` with a value at both ends, `first` and `last` (mean of their
    cross-fitted scores, as `adherence` has them), `gain` (mean over scenes of the difference) with `low` and `high`.
    """
    return _with_interval(store.df(GAIN, experiment=experiment, vision_model=vision_model))


def round_gains(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return what each round gained on the round before: one row per (experiment, model, vision model, round from 1 on).

    Scenes are compared with themselves, finished ones are carried forward and count as 0. Columns: `steers`, `scenes`
    with a value at both, `gain` (mean over scenes of the difference of their cross-fitted scores) with `low` and `high`.
    """
    return _with_interval(store.df(ROUND_GAINS, experiment=experiment, vision_model=vision_model))


def confirmed(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return what the chosen versions score on fresh seeds: one row per (experiment, model, vision model).

    No image that chose a version, or ended its scene, is among these: this figure is free of selection. Empty where
    nothing was drawn to confirm. Columns: `steers`, `scenes`, `images` that confirm, `first` (mean score of these
    scenes' first drawing), `confirmed` with `low` and `high`, `gain` between the two with `gain_low` and `gain_high`.
    """
    table = store.df(CONFIRMED, experiment=experiment, vision_model=vision_model)
    return _with_interval(_with_interval(table), prefix="gain_")


def version_deltas(
    store: Store,
    *,
    against: Literal["parent", "first"] = "parent",
    experiment: str | None = None,
    vision_model: str | None = None,
) -> pd.DataFrame:
    """Return what a new version changed: one row per (experiment, model, vision model, round that drew it first).

    Images are compared seed by seed with those of the parent version, or of the scene's first one. Columns: `steers`,
    `scenes`, `pairs` of images, `delta` (mean over scenes of the mean over pairs) with `low` and `high`, `improved` (share
    of scenes with a delta above 0). A parent was the best so far, in part by luck, so its children look worse than they
    are; a first version had no luck to lose.

    Raises:
        ParameterError: `against` is neither "parent" nor "first".
    """
    if against not in ("parent", "first"):
        raise ParameterError(f"against={against!r}: give 'parent' or 'first'")
    return _with_interval(store.df(DELTAS, against=against, experiment=experiment, vision_model=vision_model))


def distributions(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return how the scores of single images spread: one row per (experiment, model, vision model, round).

    The images of a scene are those that had no part in choosing the version they show, as in `adherence`. Columns:
    `steers`, `scenes`, `images`, `mean`, `std`, quantiles `q05` … `q95`, and `histogram`: 20 counts, bin i holding [i/20,
    (i+1)/20).
    """
    return store.df(DISTRIBUTIONS, experiment=experiment, vision_model=vision_model)


def _with_interval(table: pd.DataFrame, *, prefix: str = "") -> pd.DataFrame:
    """Replace the column of lists `figures`, one number per scene, by `low` and `high`, the interval of their mean."""
    place = table.columns.get_loc(f"{prefix}figures")
    ends = np.array([mean_interval(values) for values in table.pop(f"{prefix}figures")], dtype=float).reshape(-1, 2)
    for number, name in enumerate(("low", "high")):
        table.insert(place + number, f"{prefix}{name}", ends[:, number])
    return table
