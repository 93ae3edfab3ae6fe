"""What the questions share: which scores count, and the words that scene elements came from."""

from __future__ import annotations

from forgekit.store import Store

FAILED_BELOW = 0.5  # an element with a lower probability counts as missing from the image

# Scores of the versions that a question is about, under the newest settings of each judge.
SCORES = """
scores as (
    select *
    from current_scores
    where ($experiment is null or experiment = $experiment)
      and ($vision_model is null or vision_model = $vision_model)
)"""

# What `scene_terms` returns, as a table.
TERMS = """
terms as (
    select
        unnest($scenes::varchar[]) as scene_hash,
        unnest($elements::varchar[]) as element,
        unnest($terms::varchar[]) as term
)"""

NO_TERMS: dict[str, list[str]] = {"scenes": [], "elements": [], "terms": []}


def scene_terms(store: Store) -> dict[str, list[str]]:
    """Return the word that each element of each scene came from, as three columns of equal length."""
    from forgekit.scene import list_elements

    rows = store.rows("select scene_hash, elements from scenes where elements is not null order by scene_hash")
    named = [(row["scene_hash"], e.key, e.term) for row in rows for e in list_elements(row["elements"])]
    columns = zip(*named, strict=True) if named else ((), (), ())
    return dict(zip(NO_TERMS, map(list, columns), strict=True))
