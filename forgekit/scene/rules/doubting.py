"""What the rules have read but are not sure of: it is left out, since a judge is asked about all that is found.

The things themselves stay; what goes is said of them: a tie that asks nothing new ("a map with a compass"), a verb whose subject
cannot do it or does not stand by it, an attribute that is no adjective.
"""

from __future__ import annotations

from typing import Any

from forgekit.scene.rules.draft import Draft
from forgekit.scene.vocabulary import entry_of

LIFELESS = ("worn", "body", "mass", "container", "surface", "place", "room", "ground", "unliving")  # lists of nouns
THINGS = ("vehicle", "furniture", "kitchen", "fruit", "vegetable", "food")  # groups of siblings that do nothing
FAR = 10_000  # behind the end of any text
Relation = dict[str, Any]


def without_doubtful(draft: Draft) -> Draft:
    """Return the draft without the relations and attributes that are not sure."""
    draft.relations = [_plainly(draft, relation) for relation in draft.relations if _is_sure(draft, relation)]
    for item in draft.objects:
        if item["attributes"]:
            item["attributes"] = [a for a in item["attributes"] if _describes(draft, a["kind"], a["value"])]
    return draft


def _is_sure(draft: Draft, relation: Relation) -> bool:
    subject, predicate, item = relation["subject"], relation["predicate"], relation["object"]
    if predicate == "of":
        held = draft.objects[item]
        return draft.is_any(subject, "container") and (held["count"] != 1 or draft.lexicon.is_mass(held["name"]))
    if predicate == "with":
        had = not draft.is_any(item, "body") or draft.objects[item]["attributes"]
        return draft.is_living(subject) and bool(had)  # nobody asks for "a girl with a shoulder"
    if predicate in draft.lexicon.relations:
        return True
    verb = predicate.split()[0]
    return _can_be_done(draft, relation, verb) and _stands_by(draft, relation, verb)


def _plainly(draft: Draft, relation: Relation) -> Relation:
    """Return a place without the verb that its subject cannot do: the vase of "a vase towering over chairs" is above them."""
    verb = relation.get("verb")
    if verb is None or (_can_be_done(draft, relation, verb) and _stands_by(draft, relation, verb)):
        return relation
    return {key: value for key, value in relation.items() if key not in ("verb", "passive")}


def _can_be_done(draft: Draft, relation: Relation, verb: str) -> bool:
    """Say whether the verb is one, and fits its ends."""
    subject, bare = relation["subject"], " " not in relation["predicate"]
    hints, placed, alone = draft.lexicon.hints, "verb" in relation, relation["object"] is None
    if "V" not in entry_of(verb, draft.lexicon).tags and not hints(verb, "verb"):
        return False  # "runinging"
    if "passive" in relation:
        return placed or not bare  # "a street lined with palms and parked scooters"
    if alone:
        return not hints(verb, "incomplete") and (_may_act(draft, subject) or hints(verb, "intransitive"))
    if _may_act(draft, subject) or hints(verb, "of_things"):
        return True
    return (placed or not bare) and hints(verb, "intransitive", "static")


def _may_act(draft: Draft, index: int) -> bool:
    """Say whether the object is a person or an animal, or may be one: nobody lists all of them."""
    if draft.is_living(index) or draft.objects[index].get("called"):
        return True
    noun = draft.objects[index]["name"].split()[-1]
    known = draft.lexicon.is_thing(noun) or any(noun in draft.lexicon.siblings[kind] for kind in THINGS)
    return not known and not draft.is_any(index, *LIFELESS)


def _stands_by(draft: Draft, relation: Relation, verb: str) -> bool:
    """Say whether the verb stands right behind its subject, or nothing else between them could do it."""
    subject, item = relation["subject"], relation["object"]
    start = draft.objects[subject]["span"][1]
    end = draft.objects[item]["span"][0] if item is not None else start + FAR
    said = [token for token in draft.tokens if start <= token.start < end]
    at = next((at for at, token in enumerate(said) if token.tag in "VGEB" and token.entry.verb == verb), None)
    if at is None:  # "in a suit", "watched by a cat": read off other words
        return end < start or verb == "wear"
    if any(token.tag == "O" for token in said[:at]):  # "… It is wearing a hat"
        return True
    between = {i for i, other in enumerate(draft.objects) if start <= other["span"][0] < said[at].start}
    alike = {r["subject"] for r in draft.relations if (r["predicate"], r["object"]) == (relation["predicate"], item)}
    if between <= alike:
        return True  # "two cats and a dog sitting on a bench"
    return _may_act(draft, subject) and not any(draft.is_living(other) for other in between)


def _describes(draft: Draft, kind: str, value: str) -> bool:
    """Say whether the value of an attribute is an adjective, or several words that stand behind a noun."""
    if value in draft.lexicon.words["positional"]:
        return False  # "Is there a left wall?"
    if kind != "other" or " " in value or "-" in value:
        return True
    return not {"J", "G", "E"}.isdisjoint(entry_of(value, draft.lexicon).tags) or draft.lexicon.is_living(value)
