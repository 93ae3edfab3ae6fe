"""The elements of scenes: what they are called, and how they fare by kind, by word, together, and in one version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import pandas as pd

from forgekit.errors import ParameterError
from forgekit.scene import list_elements, parse
from forgekit.store import Store

TEXTS = "select scene_hash, elements from scenes where elements is not null order by scene_hash"
ASKED = """
select scene_hash, scene_text, elements
from scenes
where scene_hash in (select unnest($scenes::varchar[]))
"""

# Element scores with what they are counted by: the kind of the element, or the word that it came from.
LABELLED = """
terms as (
    select
        unnest($scenes::varchar[]) as scene_hash,
        unnest($elements::varchar[]) as element,
        unnest($terms::varchar[]) as term
),
labelled as (
    select e.*, case $by when 'kind' then e.kind else t.term end as label
    from element_scores e
    left join terms t using (scene_hash, element)
)"""

# Counted once for each drawing of a version before rounds are made of them.
BY_ELEMENT = f"""
with {LABELLED},
drawn as (
    select
        c.prompt_id, c.half, c.round, e.vision_model, e.label,
        sum(e.score) as total,
        count(*) filter (e.score < j.pass_mark) as failed,
        count(*) as n
    from labelled e
    join competing_images c using (image_id)
    join prompts p on p.id = c.prompt_id
    join judges_in($experiment, $vision_model) j using (experiment, vision_model, judge_key)
    where e.score is not null
      and e.label is not null
    group by all
)
select
    v.experiment, v.model, d.vision_model, d.label, v.round,
    count(distinct v.scene_hash) as scenes,
    sum(d.total) / sum(d.n) as score,
    sum(d.failed) / sum(d.n) as failure_rate
from shown_versions v
join drawn d
    on d.prompt_id = v.prompt_id
    and d.half = v.half
    and d.round <= v.drawn_round
group by all
order by v.experiment, v.model, d.vision_model, d.label, v.round
"""

# A kind, or a term, fails in an image where any of its elements does.
FAILING_TOGETHER = f"""
with {LABELLED},
judged as (
    select evaluation_id, e.vision_model, e.label, cast(min(e.score) < any_value(s.pass_mark) as integer) as failed
    from scores_in($experiment, $vision_model) s
    join labelled e using (evaluation_id)
    group by all
)
select
    a.vision_model, a.label,
    b.label as other,
    count(*) as images,
    avg(a.failed) as failed,
    avg(b.failed) as other_failed,
    avg(a.failed * b.failed) as both_failed,
    avg(a.failed * b.failed) / nullif(avg(a.failed) * avg(b.failed), 0) as lift
from judged a
join judged b on b.evaluation_id = a.evaluation_id and b.label > a.label
group by all
order by a.vision_model, lift desc nulls last, both_failed desc, a.label, other
"""

VERSION_ELEMENTS = """
with phrases as (
    select unnest($elements::varchar[]) as element, unnest($phrases::varchar[]) as phrase
),
outputs as (
    select id as evaluation_id, json_keys(model_output, '$.not_askable') as unasked
    from image_evaluations
    where prompt_id = $prompt_id::uuid
)
select
    e.vision_model, e.element, e.kind,
    any_value(coalesce(p.phrase, e.element)) as phrase,
    count(e.score) as images,
    avg(e.score) as score,
    min(e.score) as min_score,
    count(*) filter (list_contains(o.unasked, e.element)) as not_askable,
    any_value(j.pass_mark) as pass_mark
from element_scores e
join outputs o using (evaluation_id)
join prompts v on v.id = e.prompt_id
join judge_marks j using (experiment, vision_model, judge_key)
left join phrases p using (element)
where e.prompt_id = $prompt_id::uuid
group by all
order by e.vision_model, score nulls first, e.element
"""


def by_element_kind(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return what is drawn well and what is not: one row per (experiment, model, vision model, kind, round).

    Over the same images as `distributions`. Columns: `scenes` that ask for the kind, `score` (mean probability over
    elements and images), `failure_rate` (share of them below the judge's pass mark).
    """
    return _labelled(store, BY_ELEMENT, "kind", experiment, vision_model)


def by_term(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return the same as `by_element_kind` per word of the scene texts: "scarlet", "disc", "to the left of"."""
    return _labelled(store, BY_ELEMENT, "term", experiment, vision_model)


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
    return _labelled(store, FAILING_TOGETHER, by, experiment, vision_model)


def version_elements(store: Store, prompt_id: str) -> pd.DataFrame:
    """Return what a version's images show: one row per (vision model, element), the worst first.

    Columns: `phrase` of the element, `images` with a verdict on it, `score` (mean over them) and `min_score`, null
    where the judge could not say; `not_askable`, how many images lack what it is a part of; the judge's `pass_mark`,
    below which an element counts as missing.
    """
    asked = store.rows("select scene_hash from prompts where id = $id::uuid", id=prompt_id)
    phrases: dict[str, str] = next(iter(scene_phrases(store, [row["scene_hash"] for row in asked]).values()), {})
    return store.df(VERSION_ELEMENTS, prompt_id=prompt_id, elements=list(phrases), phrases=list(phrases.values()))


def _labelled(store: Store, question: str, by: str, experiment: str | None, vision_model: str | None) -> pd.DataFrame:
    """Ask about the elements by their kind, or by the word of the scene's text that each came from."""
    rows = store.rows(TEXTS) if by == "term" else []
    terms = [(row["scene_hash"], e.key, e.term) for row in rows for e in list_elements(row["elements"])]
    lists = {name: [term[place] for term in terms] for place, name in enumerate(("scenes", "elements", "terms"))}
    table = store.df(question, by=by, experiment=experiment, vision_model=vision_model, **lists)
    return table.rename(columns={"label": by})


def scene_phrases(store: Store, scenes: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return what each element of each of these scenes is called: scene hash → element → phrase, in their order."""
    rows = store.rows(ASKED, scenes=sorted(set(scenes)))
    return {
        row["scene_hash"]: {e.key: e.label for e in list_elements(row["elements"] or parse(row["scene_text"]))}
        for row in rows
    }


def missing_phrases(
    element_scores: Mapping[str, float | None] | None, pass_mark: float, phrases: Mapping[str, str]
) -> list[str] | None:
    """Return the phrases of the elements that a judge does not pass; None where it gave no verdict."""
    if element_scores is None:
        return None
    named = {key: phrases.get(key, key) for key in [*phrases, *element_scores]}
    return [
        phrase for key, phrase in named.items() if (score := element_scores.get(key)) is not None and score < pass_mark
    ]
