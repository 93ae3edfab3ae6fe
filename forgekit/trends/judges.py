"""What the judges tell about each other and about what fails together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from forgekit.errors import ParameterError
from forgekit.store import Store
from forgekit.trends.scores import JUDGES, NO_TERMS, TERMS, scene_terms

if TYPE_CHECKING:
    import pandas as pd

IMAGES = f"""
{JUDGES},
images as (
    select i.image_id, i.vision_model, i.evaluation_id, i.soft_tifa_gm as score, j.pass_mark
    from image_scores i
    join prompts p on p.id = i.prompt_id
    join judges j
        on j.experiment = p.experiment
        and j.vision_model = i.vision_model
        and j.judge_key = i.judge_key
    where i.soft_tifa_gm is not null
)"""

# Spearman's correlation is Pearson's of the ranks, equals sharing their mean rank.
AGREEMENT = f"""
with {IMAGES},
pairs as (
    select
        a.vision_model as judge,
        b.vision_model as other,
        a.score as x,
        b.score as y,
        cast((a.score >= a.pass_mark) = (b.score >= b.pass_mark) as integer) as same_verdict
    from images a
    join images b on b.image_id = a.image_id and b.vision_model > a.vision_model
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
    judge,
    other,
    count(*) as images,
    corr(x, y) as pearson,
    corr(rank_x, rank_y) as spearman,
    avg(same_verdict) as same_verdict,
    avg(x - y) as mean_difference
from ranked
group by all
order by all
"""

# A kind, or a term, fails in an image where any of its elements does.
FAILING_TOGETHER = f"""
with {IMAGES},
{TERMS},
named as (
    select
        e.evaluation_id,
        e.vision_model,
        case $by when 'kind' then e.kind else t.term end as label,
        cast(min(e.score) < any_value(i.pass_mark) as integer) as failed
    from element_scores e
    join images i using (evaluation_id)
    left join terms t on t.scene_hash = e.scene_hash and t.element = e.element
    group by all
)
select
    a.vision_model,
    a.label,
    b.label as other,
    count(*) as images,
    avg(a.failed) as failed,
    avg(b.failed) as other_failed,
    avg(a.failed * b.failed) as both_failed,
    avg(a.failed * b.failed) / nullif(avg(a.failed) * avg(b.failed), 0) as lift
from named a
join named b on b.evaluation_id = a.evaluation_id and b.label > a.label
group by all
order by a.vision_model, lift desc nulls last, both_failed desc, a.label, other
"""

SCORE_PAIRS = f"""
with {IMAGES}
select
    a.vision_model as judge,
    b.vision_model as other,
    cast(a.image_id as varchar) as image_id,
    g.image_path,
    a.score as x,
    b.score as y
from images a
join images b on b.image_id = a.image_id
join generated_images g on g.id = a.image_id
where a.vision_model = $judge and b.vision_model = $other
order by abs(a.score - b.score) desc, a.image_id
"""


def judge_agreement(store: Store, *, experiment: str | None = None) -> pd.DataFrame:
    """Return how far the judges agree: one row per pair of vision models, over the images that both have scored.

    Columns: `images`, `pearson` and `spearman` (null where a judge gives all images one score), `same_verdict` (share
    of images that both pass or both fail, each by its own pass mark), `mean_difference` (`judge` minus `other`).
    """
    return store.df(AGREEMENT, experiment=experiment, vision_model=None)


def judge_pairs(store: Store, judge: str, other: str, *, experiment: str | None = None) -> pd.DataFrame:
    """Return the scores `x` by `judge` and `y` by `other`: one row per image, largest disagreement first."""
    return store.df(SCORE_PAIRS, judge=judge, other=other, experiment=experiment, vision_model=None)


def failing_together(
    store: Store,
    *,
    by: Literal["kind", "term"] = "kind",
    experiment: str | None = None,
    vision_model: str | None = None,
) -> pd.DataFrame:
    """Return what fails together: one row per (vision model, kind, other kind), highest lift first.

    `by` "term" takes the words of the scene texts instead of the kinds of elements. Columns: `images` that are asked
    for both, the shares of them in which each and both failed, and `lift`, how many times more often both fail than if
    they failed independently (null where one never fails).

    Raises:
        ParameterError: `by` is neither "kind" nor "term".
    """
    if by not in ("kind", "term"):
        raise ParameterError(f"by={by!r}: give 'kind' or 'term'")
    terms = scene_terms(store) if by == "term" else NO_TERMS
    table = store.df(FAILING_TOGETHER, by=by, experiment=experiment, vision_model=vision_model, **terms)
    return table.rename(columns={"label": by})
