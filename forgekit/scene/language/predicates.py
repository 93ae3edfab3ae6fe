"""How a relation that somebody else put in words is said in a scene's document: "sitting on top of" is "on", its verb "sit"."""

from __future__ import annotations

from typing import NamedTuple

from forgekit.scene.lexicon import Lexicon
from forgekit.scene.vocabulary import entry_of


class Predicate(NamedTuple):
    """A relation: a place or tie of the lexicon and the verb that stood before it, or what is done."""

    predicate: str
    verb: str = ""


def read_predicate(words: str, lexicon: Lexicon) -> Predicate | None:
    """Return what English `words` say of one thing and another, or of one alone; None where that is no more than "is"."""
    said = [word for word in words.lower().split() if entry_of(word, lexicon).verb != "be"]
    if not said:
        return None
    verb = entry_of(said[0], lexicon).verb
    for start in range(len(said)):
        predicate = _worded(said[start:], lexicon)
        if predicate in lexicon.places or (predicate and not start):
            return Predicate(predicate, verb if start else "")
    if verb == "have":
        return Predicate("with")
    return Predicate(" ".join([verb or said[0], *said[1:]]))


def _worded(words: list[str], lexicon: Lexicon) -> str:
    """Return the place or tie that the words are a wording of, or ""."""
    phrases = lexicon.phrases.get(words[0], ())
    return next((p.entry.noun for p in phrases if p.entry.tags == "P" and list(p.words) == words), "")
