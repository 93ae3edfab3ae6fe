"""When two phrases mean the same: one that a scene asks for elsewhere is no contrast and no rival."""

from __future__ import annotations

from functools import lru_cache

from forgekit.scene import default_lexicon

KINDS = ("object", "color", "size")


@lru_cache(maxsize=20_000)
def meaning(phrase: str, *, figures: bool) -> tuple[str, ...]:
    """Return the concepts of a phrase: "some azure discs" and "a blue circle" are the same where a scene is of `figures` only."""
    kinds = ("figure", *KINDS) if figures else KINDS
    return tuple(_concept(word, kinds) for word in phrase.split() if word not in ("a", "an", "the", "some"))


def _concept(word: str, kinds: tuple[str, ...]) -> str:
    meanings = default_lexicon().meanings
    forms = (word, word.removesuffix("s"), word.removesuffix("es"))
    return next((meanings[kind, form] for form in forms for kind in kinds if (kind, form) in meanings), word)
