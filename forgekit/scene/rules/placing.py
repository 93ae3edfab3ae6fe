"""Places: which of the things named before lies where a preposition says."""

from __future__ import annotations

from forgekit.scene.rules.clauses import Clause, Link, Objects
from forgekit.scene.rules.draft import HAVING, Draft
from forgekit.scene.rules.tokens import Token

SHARED_PLACES = ("on", "inside", "in front of", "behind")  # "a cat and a dog on a bed": both are
AROUND = ("room", "within", "place")  # the lists of what other things are in


def said_of(clause: Clause, draft: Draft, token: Token, previous: Token) -> tuple[Objects, Objects]:
    """Return what the preposition is said of, and what else may be meant, to be settled when its object is known."""
    nearest = clause.group[-1:]
    places = token.value in draft.lexicon.places or token.value == "at"
    if not clause.group or (
        not clause.linked and token.value in SHARED_PLACES
    ):  # "a cat in a box and a dog in a basket"
        group = draft.among(clause.group) if previous.tag == "N" else clause.group
        return tuple(index for index in group if not draft.is_told_of(index)) or group, ()
    acts = clause.subjects and draft.is_living(clause.subjects[0]) and not draft.is_living(nearest[0])
    if token.word == "perched on" and acts:  # "a bird with a fish in its beak perched on a reed"
        return clause.subjects, ()
    if clause.linked == "verb" and places:
        return clause.subjects or clause.group[:1], nearest
    if previous.tag in "XC":
        return clause.subjects or clause.group[:1], ()
    if clause.linked == "prep" and places:
        return _past_what_it_has(clause, draft, token.value)
    return nearest, ()


def _past_what_it_has(clause: Clause, draft: Draft, predicate: str) -> tuple[Objects, Objects]:
    """Return what a place behind "X with Y", "X in a shirt" or "X in a room" is told of, and what else it may be.

    "A cake with candles on a plate", but "a room with a bed next to a window".
    """
    subjects, nearest = clause.subjects, clause.group[-1:]
    has = next((r for r in draft.relations if r["object"] == nearest[0] and r["predicate"] in HAVING), None)
    if has and not (has["predicate"] == "with" and draft.is_any(has["subject"], *AROUND)):
        return (has["subject"],), nearest
    holds = predicate in ("on", "inside")
    if subjects and not holds and draft.is_any(nearest[0], "ground"):
        return subjects, ()  # "a dog on a street next to a car"
    done = next((r["subject"] for r in draft.relations if r["object"] == nearest[0] and "verb" in r), None)
    if done is not None and not holds:
        return (done,), nearest  # "a bird sitting on a branch next to a nest": the bird is
    if subjects and predicate in SHARED_PLACES and draft.is_any(nearest[0], "room"):
        return subjects, ()  # "a sink in a bathroom on a tiled floor"
    if subjects and predicate == "inside":
        return subjects, nearest  # "a cat on a bench in a park", "a cat on a cake in a box"
    return nearest, ()


def is_placed(clause: Clause, draft: Draft, link: Link, index: int) -> Objects:
    """Return what is where the object `index` says."""
    if link.near and _lies_near(clause, draft, link, index):
        return link.near
    phrase = draft.phrase_of(index)
    if phrase and phrase.determiner in ("his", "her") and clause.subjects and not draft.is_living(link.subjects[0]):
        return clause.subjects  # "riding past a truck on his bike"
    return link.subjects


def _lies_near(clause: Clause, draft: Draft, link: Link, index: int) -> bool:
    """Say whether the thing named last is where the object `index` says, rather than who acts on it.

    "Cutting bread on a board", "watching a comet in the sky", but "eating bread in a park", "reading on a sofa".
    """
    if draft.is_any(index, "worn") and all(draft.wears(subject) for subject in link.subjects):
        return True  # "a child in pajamas holding a bear in a spacesuit"
    near, inside, acts = link.near[0], link.predicate == "inside", draft.lexicon.hints
    in_sky = inside and draft.objects[index]["name"].endswith("sky")
    if in_sky or draft.is_any(index, "body") or draft.is_any(near, "body"):
        return True
    if draft.owner_of(near) is not None:  # "a cake with candles on a table"
        return False
    if clause.linked == "prep":
        phrase = draft.phrase_of(index)
        named = phrase is not None and phrase.head.proper
        return inside and not named and not draft.is_any(index, *AROUND)
    if acts(clause.told_of, "pushing"):
        return link.wording in ("into", "onto", "across", "through", "over")
    if acts(clause.told_of, "sensing", "moving"):
        return link.predicate != "through"
    if draft.is_living(near):
        return False
    if link.predicate == "on":
        return draft.is_any(index, "surface")
    return inside and draft.is_any(index, "container")
