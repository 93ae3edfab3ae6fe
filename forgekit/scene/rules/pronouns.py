"""Pronouns: what they mean, and what is told of that."""

from __future__ import annotations

from forgekit.scene.rules.clauses import Clause, Link, Objects
from forgekit.scene.rules.draft import JOINTS, Draft, close_link

PERSONAL = ("it", "him", "her", "them")


def on_pronoun(clause: Clause, draft: Draft, index: int) -> Clause:
    """Let "she", "it", "they" stand for the subject of the sentence before, or for what a place is told from.

    "A plate with a fork beside it": the nearest thing before the fork. Elsewhere they end a link.
    """
    link, word = clause.link, draft.token(index).word
    if link is None and clause.leading and not clause.group and word in PERSONAL:  # "Behind it, …"
        return clause
    if word in ("which", "whom") and link and link.predicate in draft.lexicon.places and link.subjects:
        told_from = (link.near or link.subjects)[-1]  # "a table to the left of which a chair stands"
        return Clause(leading=(link.predicate, told_from), spoken_of=clause.subjects, fresh=False)
    if word in ("which", "whom") and draft.token(index - 1).tag == "P":  # "a chest from which ghosts rise"
        return Clause(spoken_of=clause.subjects, fresh=False)
    if word in ("who", "which", "that", "there", "what"):
        return clause
    if word == "them" and link and link.predicate == "of" and draft.token(index + 1).tag in "VBG":
        return Clause(spoken_of=clause.spoken_of, fresh=False)  # "one of them is reading": nobody knows which
    if link and link.subjects and link.predicate in draft.lexicon.places and word in PERSONAL:
        had = link.near and link.near[0] > max(link.subjects) and not draft.is_placed(link.subjects[0])
        if had and not draft.is_part(link.near[0], link.subjects[0]):  # "a racket has a ball on it"
            link = link._replace(subjects=link.near)
            clause = clause._replace(link=link)
        things, place = _told_from(clause, draft, link, word)
        if place is not None:
            for thing in things:
                draft.relate(thing, link.predicate, place, link)
            return clause._replace(link=None, linked="prep")
    if link and link.verb and not link.predicate and link.subjects and word in PERSONAL:
        meant = _meant(clause, draft, min(link.subjects), word)  # "two dogs guarding her"
        for subject in link.subjects if meant is not None and not link.denied else ():
            draft.relate(subject, link.verb, meant, link)
        return clause._replace(link=None)
    clause = close_link(clause, draft)
    if word in ("he", "she") and not clause.group:
        people = [i for i in (*range(len(draft.objects)), *clause.spoken_of) if draft.is_living(i)]
        return clause._replace(group=tuple(people[-1:]), linked="")
    return clause if clause.group else clause._replace(group=clause.spoken_of, linked="")


def _meant(clause: Clause, draft: Draft, before: int, word: str) -> int | None:
    """Return what a pronoun means: what the sentence began with, where a comma set off who is told of, else the nearest."""
    fits = [index for index in range(before) if word in ("it", "them") or draft.is_living(index)]
    if word in ("him", "her"):
        fits = [i for i in fits if draft.lexicon.is_person(draft.objects[i]["name"])] or fits
    fits = [index for index in fits if _may_mean(draft, index, word)] or fits
    if not fits:
        return None
    first = [index for index in fits if index >= draft.sentence_begins(before)]
    spoken_of = [index for index in clause.spoken_of if index in fits]
    if clause.owner in fits:
        return clause.owner  # "a pot on a stove, a hand sprinkling parsley over it"
    joint = draft.before(draft.objects[before]["span"][0])
    if joint.tag == "X":
        return (first or spoken_of or fits)[0]
    placed = draft.owner_of(fits[-1], tuple(draft.lexicon.places))
    beside = clause.link is not None and clause.link.predicate in ("next to", "behind", "in front of")
    if joint.word in JOINTS and beside and placed in fits:  # "a cup on a table and a spoon next to it"
        return placed
    return (spoken_of or fits[-1:])[0]


def _may_mean(draft: Draft, index: int, word: str) -> bool:
    """Say whether the pronoun may stand for the object: "him" for the living, "it" for one thing."""
    if word in ("him", "her"):
        return draft.is_living(index) or "called" in draft.objects[index]
    one, is_person = draft.objects[index]["count"] == 1, draft.lexicon.is_person(draft.objects[index]["name"])
    return one and not (is_person or draft.is_any(index, "mass")) if word == "it" else not one


def _told_from(clause: Clause, draft: Draft, link: Link, word: str) -> tuple[Objects, int | None]:
    """Return what is placed, and the thing that the pronoun means, if any."""
    owner = draft.owner_of(link.subjects[-1], ("with",))
    if owner is not None and _may_mean(draft, owner, word):  # "a desk with a lamp and a printer on it"
        had = {r["object"] for r in draft.relations if r["subject"] == owner and r["predicate"] == "with"}
        things = sorted(had & {*clause.group, *link.subjects})
        return tuple(thing for thing in things if not draft.is_told_of(thing)) or link.subjects, owner
    last = clause.group[-1:]
    acts = link.verb and last and last[0] not in link.subjects and not draft.has(link.subjects[0], last[0])
    if acts and _may_mean(draft, last[0], word):
        return link.subjects, last[0]  # "who planted the flag is saluting beside it"
    meant = _meant(clause, draft, min(link.subjects), word)
    if meant is None and clause.group and clause.group[-1] not in link.subjects:  # "… with a sign posted under it"
        return clause.group[-1:], link.subjects[0]
    return link.subjects, meant


def told_before(clause: Clause, draft: Draft, index: int) -> Objects:
    """Return what the pronoun means in the place that begins at `index`, where that is told of what follows; else nothing."""
    pronoun, following = draft.token(index + 1), draft.token(index + 2)
    opens = following.tag in "DSQNJVBG" or following.word == "there"
    opens = opens or (following.word == "," and draft.token(index - 1).word in (" ", ".", ";"))
    if pronoun.word not in PERSONAL or pronoun.tag != "O" or not opens:
        return ()
    led = clause.led[1:] if clause.led else ()
    # "Under it flows a river, and on it …": still the same
    candidates = (led, clause.subjects, clause.group[:1], clause.spoken_of)
    return next((c for c in candidates if c and all(_may_mean(draft, i, pronoun.word) for i in c[:1])), ())
