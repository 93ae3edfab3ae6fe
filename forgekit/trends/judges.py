"""What the judges tell about each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgekit.store import Store

if TYPE_CHECKING:
    import pandas as pd

# Spearman's correlation is Pearson's of the ranks, equals sharing their mean rank.
AGREEMENT = """
with pairs as (
    select
        a.vision_model as judge,
        b.vision_model as other,
        a.score as x,
        b.score as y,
        cast((a.score >= a.pass_mark) = (b.score >= b.pass_mark) as integer) as same_verdict
    from scores_in($experiment, null) a
    join scores_in($experiment, null) b using (image_id)
    where b.vision_model > a.vision_model
),
ranked as (
    select
        *,
        rank() over by_x + (count(*) over (partition by judge, other, x) - 1) / 2 as rank_x,
        rank() over by_y + (count(*) over (partition by judge, other, y) - 1) / 2 as rank_y
    from pairs
    window by_x as (partition by judge, other order by x), by_y as (partition by judge, other order by y)
)
select
    judge, other,
    count(*) as images,
    corr(x, y) as pearson,
    corr(rank_x, rank_y) as spearman,
    avg(same_verdict) as same_verdict,
    avg(x - y) as mean_difference
from ranked
group by all
order by all
"""

PAIRS = """
select
    a.vision_model as judge,
    b.vision_model as other,
    cast(a.image_id as varchar) as image_id,
    a.scene_hash, g.image_path,
    a.score as x,
    b.score as y
from scores_in($experiment, $judge) a
join scores_in($experiment, $other) b using (image_id)
join generated_images g on g.id = a.image_id
order by abs(a.score - b.score) desc, a.image_id
"""

MEASURES = """
with told as (
    select
        p.experiment, g.round, e.vision_model, e.image_id,
        unnest(json_keys(e.model_output, '$.metrics')) as measure,
        unnest(cast(e.model_output -> '$.metrics.*' as double[])) as value
    from image_evaluations e
    join prompts p on p.id = e.prompt_id
    join judges_in($experiment, $vision_model) j using (experiment, vision_model, judge_key)
    join generated_images g on g.id = e.image_id
    where e.error is null
)
select
    experiment, round, vision_model, measure,
    count(value) as images,
    steady_avg(value) as mean,
    steady_std(value) as std,
    min(value) as lowest,
    max(value) as highest
from told
group by all
having count(value) > 0
order by all
"""


def measures(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return what judges measure besides adherence: one row per arm, round, judge and measure, over the images drawn in it.

    Such are the preference scores of guard-rails (`pick_score`, `hps_v2`), CLIPScore, VQAScore. Each has a scale of its own:
    compare a measure with itself, along the rounds or between arms. Columns: `images`, `mean`, `std`, `lowest`, `highest`.
    """
    return store.df(MEASURES, experiment=experiment, vision_model=vision_model)


def judge_agreement(store: Store, *, experiment: str | None = None) -> pd.DataFrame:
    """Return how far the judges agree: one row per pair of vision models, over the images that both have scored.

    Columns: `images`, `pearson` and `spearman` (null where a judge gives all images one score), `same_verdict` (share
    of images that both pass or both fail, each by its own pass mark), `mean_difference` (`judge` minus `other`).
    """
    return store.df(AGREEMENT, experiment=experiment)


def judge_pairs(store: Store, judge: str, other: str, *, experiment: str | None = None) -> pd.DataFrame:
    """Return the scores `x` by `judge` and `y` by `other`: one row per image, largest disagreement first."""
    return store.df(PAIRS, judge=judge, other=other, experiment=experiment)
