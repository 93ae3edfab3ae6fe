"""What the questions share: whose verdicts count, what a scene is worth after each round, and where words came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from forgekit.store import Store

# The judges that a question is about, each under the settings that count, with its pass mark.
JUDGES = """
judges as (
    select *
    from judge_marks
    where ($experiment is null or experiment = $experiment)
      and ($vision_model is null or vision_model = $vision_model)
)"""

# The same for a question about one judge: the one that is named, or in each experiment the one that steers.
ONE_JUDGE = """
judges as (
    select m.*
    from judge_marks m
    left join steering_judges s using (experiment)
    where m.vision_model = coalesce($vision_model, s.vision_model)
      and ($experiment is null or m.experiment = $experiment)
)"""

# What a scene is worth after each round that drew it, by each judge. `adherence` is cross-fitted: the version that one
# half of the images chose, judged by the other half; then the other way round; the mean of both. `selected` is the mean
# of the version that all its images chose.
SCENE_VALUES = """
drawn as (
    select
        c.prompt_id,
        c.half,
        c.round,
        e.vision_model,
        e.judge_key,
        count(*) as n,
        sum(e.soft_tifa_gm) as total,
        max(e.soft_tifa_gm) as best
    from image_scores e
    join competing_images c using (image_id)
    where e.soft_tifa_gm is not null
      and ($experiment is null or c.experiment = $experiment)
    group by all
),
judged as (
    select d.*, p.experiment, p.model
    from drawn d
    join prompts p on p.id = d.prompt_id
    join judges using (experiment, vision_model, judge_key)
),
folds as (
    select
        v.*,
        j.vision_model,
        sum(j.total) / sum(j.n) as score,
        max(j.best) as best
    from standing_versions v
    join judged j
        on j.prompt_id = v.prompt_id
        and j.round <= v.round
        and (v.half is null or j.half = v.half)
    group by all
),
scene_values as (
    select
        experiment,
        model,
        scene_hash,
        round,
        vision_model,
        steady_avg(case when half is not null then score end) as adherence,
        steady_avg(case when half is null then score end) as selected,
        max(best) filter (half is null) as best_image
    from folds
    group by all
)"""

# What `scene_terms` returns, as a table.
TERMS = """
terms as (
    select
        unnest($scenes::varchar[]) as scene_hash,
        unnest($elements::varchar[]) as element,
        unnest($terms::varchar[]) as term
)"""

ASKED = """
select scene_hash, scene_text, elements
from scenes
where scene_hash in (select unnest($scenes::varchar[]))
"""

NO_TERMS: dict[str, list[str]] = {"scenes": [], "elements": [], "terms": []}


def scene_terms(store: Store) -> dict[str, list[str]]:
    """Return the word that each element of each scene came from, as three columns of equal length."""
    from forgekit.scene import list_elements

    rows = store.rows("select scene_hash, elements from scenes where elements is not null order by scene_hash")
    named = [(row["scene_hash"], e.key, e.term) for row in rows for e in list_elements(row["elements"])]
    columns = zip(*named, strict=True) if named else ((), (), ())
    return dict(zip(NO_TERMS, map(list, columns), strict=True))


def scene_phrases(store: Store, scenes: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return what each element of each of these scenes is called: scene hash → element → phrase, in their order."""
    from forgekit.scene import list_elements, parse

    rows = store.rows(ASKED, scenes=sorted(set(scenes)))
    return {
        row["scene_hash"]: {e.key: e.phrase for e in list_elements(row["elements"] or parse(row["scene_text"]))}
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
