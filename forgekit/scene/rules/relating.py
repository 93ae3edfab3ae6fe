"""Relations: how a new object is tied to what its clause has named before, and which of that lies where a preposition says."""

from __future__ import annotations

from typing import Any

from forgekit.scene.rules.clauses import Clause, Link, Objects
from forgekit.scene.rules.draft import HAVING, Draft, close_link
from forgekit.scene.rules.tokens import Token

SHARED_PLACES = ("on", "inside", "in front of", "behind")  # "a cat and a dog on a bed": both are
AROUND = ("room", "within", "place")  # the lists of what other things are in


def relate(clause: Clause, draft: Draft, index: int) -> Clause:
    """Tie the new object to what went before: by a link, as one more of a list, or as a new subject."""
    link = clause.link
    if link is None or (link.lists and _begins_clause(draft, index)):
        return _join(clause._replace(link=None), draft, index)
    if link.subjects:
        return _tie(clause, draft, link, index)
    if link.quoted:
        return clause._replace(group=(index,), linked="prep", link=None)
    leading = (link.predicate, index) if link.predicate in draft.lexicon.places else None
    return clause._replace(leading=leading, group=(), linked="", link=None)


def own(clause: Clause, draft: Draft, index: int) -> Clause:
    """Take "a man whose beard …": the beard is the man's, and the verb behind it is said of the beard."""
    owner = clause.group[-1]
    clause = close_link(clause, draft)
    draft.relate(owner, "with", index)
    return clause._replace(owner=owner, group=(index,), subjects=(), linked="", finite=False)


def _tie(clause: Clause, draft: Draft, link: Link, index: int) -> Clause:
    """Relate the link's subjects to the object."""
    depicts = draft.is_any(link.subjects[-1], "picture")  # "a poster of a cat sitting on …": the cat is talked of
    if link.predicate == "of" and not link.verb and not depicts:
        for subject in link.subjects:
            draft.relate(subject, "of", index)
        if draft.is_living(index) and not draft.is_living(link.subjects[-1]):  # "the ticket of a man sitting on …"
            return clause._replace(subjects=clause.subjects or link.subjects, group=(index,), linked="prep", link=None)
        return clause._replace(link=None)  # "a bowl of rice on a table": the talk stays about the bowl
    phrase = draft.phrase_of(index)
    if link.told and (link.makes or (phrase and phrase.numbered)):  # "surrounded by trees, and a man …"
        return _join(clause._replace(link=None), draft, index)
    if link.wording == "by" and draft.is_any(index, "body"):
        return clause._replace(link=None)  # "hangs by one hand"
    if link.wording == "by" and not link.verb and clause.linked == "verb" and draft.is_living(index):
        # "being fed a strawberry by a girl": who does it
        return clause._replace(group=(index,), linked="prep", link=None)
    if link.turned:
        for subject in link.subjects:
            draft.relate(index, link.turned, subject)
        return clause._replace(link=link._replace(told=True))
    predicate, figures = _predicate(draft, link, index), draft.lexicon.meanings.keys()
    for subject in _placed(clause, draft, link, index):
        ends = {("figure", draft.objects[end]["name"]) for end in (subject, index)}
        if link.passive and link.wording == "by" and draft.is_living(index):  # "a bowl watched by a cat"
            draft.relate(index, link.verb, subject)
        elif link.wording == "on top of" and ends <= figures:
            draft.relate(subject, "above", index, link)  # figures lie in a plane: nothing can lie on another
        else:
            draft.relate(subject, predicate, index, link)
    linked = "verb" if link.verb and predicate not in draft.lexicon.places and link.predicate != "from" else "prep"
    told_of = link.verb if not link.predicate or draft.lexicon.hints(link.verb, "sensing") else ""
    return clause._replace(group=(index,), linked=linked, told_of=told_of, link=link if link.lists else None)


def _begins_clause(draft: Draft, index: int, *, linked: str = "") -> bool:
    """Say whether a comma and the object begin a clause: "…, smoke curling from the pipe", "…, a towel over his head"."""
    following, ahead = draft.behind(index), draft.ahead(index)
    phrase = draft.phrase_of(index)
    named = phrase is None or phrase.numbered
    if linked and named and ahead.word == "and" and draft.before(ahead.start).word == ",":
        return following.tag in "VB"  # "…, and the dragon is knitting"
    return ahead.word == "," and (following.tag in "VBGE" or following.value in draft.lexicon.places)


def _join(clause: Clause, draft: Draft, index: int) -> Clause:
    """Take the object as one more of a list, or as a new subject."""
    following = draft.behind(index)
    acts = following.tag in "VBG"
    anew = _begins_clause(draft, index, linked=clause.linked)
    if anew or (clause.finite and draft.has_verb(index)):  # "…, and a man in goggles is writing"
        owner = clause.subjects[-1] if clause.subjects and not clause.finite else None
        clause = clause._replace(group=(), linked="", subjects=(), finite=False, owner=owner)
    placed, is_living = clause.subjects if clause.linked == "prep" else (), draft.is_living
    if placed and is_living(index) and not is_living(clause.group[-1]) and is_living(placed[-1]):
        # "a man in a hat and a woman in a coat": nobody is in a woman
        others = () if following.tag in "GE" else clause.subjects
        return clause._replace(group=(*others, index), linked="", subjects=())
    phrase = draft.phrase_of(index)
    stands = following.value in draft.lexicon.places or following.word == "at"  # "… and a jester at her feet"
    stands = stands and phrase is not None and phrase.determiner in ("a", "an")
    stands = stands and clause.group != () and not is_living(clause.group[-1])
    if clause.linked == "verb" and (acts or stands) and is_living(index):
        clause = clause._replace(group=(), linked="", subjects=())  # "a man eating a donut and a woman eating a cake"
    if clause.linked and not clause.fresh and draft.listed(index):
        shares = clause.linked == "prep" and _shares_place(draft, index, may_share=clause.finite and not acts)
        for relation in [r for r in draft.relations if r["object"] == clause.group[-1]]:
            predicate = relation["predicate"]
            if clause.linked == "verb" or predicate in HAVING or (shares and predicate in draft.lexicon.places):
                draft.repeat(relation, index)
    if clause.leading and not clause.group:
        predicate, place = clause.leading
        if place is None:
            draft.place(index, predicate)
        else:
            draft.relate(index, predicate, place)
        clause = clause._replace(leading=None, led=None if place is None else (predicate, place))
    elif clause.led and not clause.linked and draft.listed(index) and not draft.has_verb(index):
        draft.relate(index, *clause.led)  # "In front of it are a cup and a glass"
    return clause._replace(group=(*clause.group, index))


def _shares_place(draft: Draft, index: int, *, may_share: bool) -> bool:
    """Say whether the object is another end of the relation before: "is next to a fork and a spoon".

    Not in "there is a cat on a mat and a dog", where no verb has the place, nor in "… and a dog is under it".
    """
    phrase = draft.phrase_of(index)
    if phrase and not (phrase.numbered or phrase.plural or draft.lexicon.is_mass(phrase.name)):
        return True  # "a cat next to a blanket and shelf": one article for both
    return may_share


def _predicate(draft: Draft, link: Link, index: int) -> str:
    """Return the relation that the link says of the object: a place, or what is done."""
    lexicon, verb, predicate = draft.lexicon, link.verb, link.predicate
    if predicate == "at" and draft.is_any(index, "within"):
        return "inside"
    if predicate == "at" and draft.is_any(index, "beside") and not lexicon.hints(verb, "sensing", "aiming"):
        return "next to"
    if verb in ("", "be"):
        return predicate
    if not predicate:
        return "with" if verb in ("have", "feature", "contain", "include") else verb
    if predicate == "inside" and lexicon.hints(verb, "covering"):
        return "wear" if verb in ("dress", "clothe") else f"{verb} {link.wording}"
    beside = draft.is_any(index, "beside") and lexicon.hints(verb, "static")  # "parked by a tree", not "crushed by"
    if link.passive and link.wording == "by" and not beside:
        return f"{verb} by"
    no_place = lexicon.tables["no_place"].items()
    if any(lexicon.hints(verb, kind) and link.wording in wordings.split() for kind, wordings in no_place):
        return f"{verb} {link.wording}"
    says_where = predicate in lexicon.places or lexicon.hints(verb, "static")
    return predicate if says_where else f"{verb} {link.wording if link.passive else predicate}"


def said_of(clause: Clause, draft: Draft, token: Token, previous: Token) -> tuple[Objects, Objects]:
    """Return what the preposition is said of, and what else may be meant, to be settled when its object is known."""
    nearest = clause.group[-1:]
    places = token.value in draft.lexicon.places or token.value == "at"
    shared = not clause.linked and token.value in SHARED_PLACES
    if not clause.group or shared:  # "a cat in a box and a dog in a basket"
        group = draft.among(clause.group) if previous.tag == "N" else clause.group
        return tuple(index for index in group if not draft.is_told_of(index)) or group, ()
    held = draft.is_living(nearest[0]) or token.value in ("on", "inside")
    if clause.linked == "verb" and places and held and _is_doer(clause, draft, nearest[0]):
        return nearest, ()  # "lit by a lamp on his helmet"
    if clause.linked == "verb" and places:
        return clause.subjects or clause.group[:1], nearest
    if previous.tag in "XC":
        return clause.subjects or clause.group[:1], ()
    if token.word in ("onto", "into") and clause.linked == "prep":
        return _moved(clause, draft), ()
    if clause.linked == "prep" and places:
        return _past_what_it_has(clause, draft, token.value)
    return nearest, ()


def _is_doer(clause: Clause, draft: Draft, index: int) -> bool:
    """Say whether the object was named last as who does it to a thing: "lit by a lamp", "held by a monk"."""
    last = draft.relations[-1:] if not any(map(draft.is_living, clause.subjects)) else ()
    return any({r["subject"], r["object"]} <= {index, *clause.subjects} and _is_passive(r, index) for r in last)


def _is_passive(relation: dict[str, Any], doer: int) -> bool:
    return relation["subject"] == doer or relation["predicate"].endswith(" by")


def _moved(clause: Clause, draft: Draft) -> Objects:
    """Return what goes somewhere: the crates of "unloading crates from a ship onto a pier", else who goes."""
    places = draft.lexicon.places
    for relation in reversed(draft.relations):
        done = relation["object"] is not None and relation["predicate"] not in places
        if done and relation["subject"] in clause.subjects:
            return clause.subjects if " " in relation["predicate"] else (relation["object"],)
    return clause.subjects


def _past_what_it_has(clause: Clause, draft: Draft, predicate: str) -> tuple[Objects, Objects]:
    """Return what a place behind "X with Y", "X in a shirt" or "X in a room" is told of, and what else it may be.

    "A cake with candles on a plate", but "a room with a bed next to a window".
    """
    subjects, nearest = clause.subjects, clause.group[-1:]
    if subjects and draft.is_owned(nearest[0]) and draft.owner_of(nearest[0]) is None:
        return subjects, ()  # "a violinist with a rose in her hair on a balcony"
    if subjects and draft.is_any(nearest[0], "body") and not draft.is_any(subjects[0], "body"):
        return subjects, nearest
    has = next((r for r in draft.relations if r["object"] == nearest[0] and r["predicate"] in (*HAVING, "of")), None)
    if has and not (has["predicate"] == "with" and draft.is_any(has["subject"], *AROUND)):
        return (has["subject"],), nearest
    holds = predicate in ("on", "inside")
    lies = {r["object"] for r in draft.relations if r["subject"] in subjects and r["predicate"] in draft.lexicon.places}
    in_mass = nearest[0] in lies and draft.is_any(nearest[0], "mass")
    if subjects and (in_mass or (not holds and draft.is_any(nearest[0], "ground"))):
        return subjects, ()  # "a dog on a street next to a car", "a ball on a cloth in front of a cat"
    done = next((r["subject"] for r in draft.relations if r["object"] == nearest[0] and "verb" in r), None)
    if done is not None and not holds:
        return (done,), nearest  # "a bird sitting on a branch next to a nest": the bird is
    if subjects and predicate in SHARED_PLACES and draft.is_any(nearest[0], "room"):
        return subjects, ()  # "a sink in a bathroom on a tiled floor"
    if subjects and predicate == "inside":
        return subjects, nearest  # "a cat on a bench in a park", "a cat on a cake in a box"
    return nearest, ()


def _placed(clause: Clause, draft: Draft, link: Link, index: int) -> Objects:
    """Return what is where the object `index` says."""
    phrase = draft.phrase_of(index)
    if link.near and draft.owner_of(link.near[0], ("with",)) is not None and draft.is_owned(index):
        return link.near  # "a sailor with salt in his beard"
    if link.near and _lies_near(clause, draft, link, index):
        return link.near
    owned = phrase is not None and phrase.determiner in ("his", "her")
    if owned and any(map(draft.is_living, clause.subjects)) and not draft.is_living(link.subjects[0]):
        return clause.subjects  # "riding past a truck on his bike"
    return link.subjects


def _lies_near(clause: Clause, draft: Draft, link: Link, index: int) -> bool:
    """Say whether the thing named last is where the object `index` says, rather than who acts on it.

    "Cutting bread on a board", "watching a comet in the sky", but "eating bread in a park", "reading on a sofa".
    """
    worn = draft.is_any(index, "worn")
    if worn and {r["subject"] for r in draft.relations if r["predicate"] == "wear"}.issuperset(link.subjects):
        return True  # "a child in pajamas holding a bear in a spacesuit"
    near, inside, acts = link.near[0], link.predicate == "inside", draft.lexicon.hints
    in_sky = inside and draft.objects[index]["name"].endswith("sky")
    if in_sky or draft.is_any(index, "body"):
        return True
    if draft.is_any(near, "body"):  # "a hand in a jar", but "a scarecrow with a pumpkin head in a field"
        return clause.linked == "verb" or draft.is_any(index, "container", "worn", "mass")
    owner = draft.owner_of(near)
    if owner is not None:  # "a cake with candles on a table", but "a cell with two cats behind bars"
        return draft.is_living(near) and not draft.is_living(owner)
    if clause.linked == "prep":
        phrase = draft.phrase_of(index)
        named = phrase is not None and phrase.head.proper
        return inside and not named and not draft.is_any(index, *AROUND)
    if acts(clause.told_of, "pushing"):
        return link.wording in ("into", "onto", "across", "through", "over")
    if acts(clause.told_of, "sensing", "moving"):
        return link.predicate != "through"
    if draft.is_living(near) or draft.objects[near]["name"] in draft.lexicon.siblings["vehicle"]:
        return False
    if link.predicate == "above":
        return True  # "holding a torch over the pipes"
    if link.predicate != "on":
        return inside and draft.is_any(index, "container")
    if draft.is_any(index, "surface"):
        return True
    if draft.is_any(index, "ground", *AROUND) or draft.objects[index]["name"] in draft.lexicon.siblings["furniture"]:
        return False  # "reads a book on a bench"
    by_itself = acts(clause.told_of, "agent", "intransitive", "static")  # else "spills wine on a shirt"
    return clause.told_of != "" and not (draft.is_owned(index) or by_itself)
