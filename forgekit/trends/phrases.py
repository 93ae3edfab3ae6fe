"""What the elements of scenes are called: the words they came from, their phrases, and which a judge found missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from forgekit.scene import list_elements, parse
from forgekit.store import Store

ASKED = """
select scene_hash, scene_text, elements
from scenes
where scene_hash in (select unnest($scenes::varchar[]))
"""


def scene_terms(store: Store) -> list[tuple[str, str, str]]:
    """Return the word that each element of each scene came from: (scene hash, element, term)."""
    rows = store.rows("select scene_hash, elements from scenes where elements is not null order by scene_hash")
    return [(row["scene_hash"], e.key, e.term) for row in rows for e in list_elements(row["elements"])]


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
