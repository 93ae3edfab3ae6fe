"""The words between the objects: verbs, prepositions, adjectives and breaks, each of which changes the clause."""

from __future__ import annotations

from forgekit.scene.rules.clauses import Clause, Link, Objects
from forgekit.scene.rules.draft import Draft, close_link
from forgekit.scene.rules.pronouns import told_before
from forgekit.scene.rules.relating import AROUND, said_of
from forgekit.scene.rules.tokens import Token


def on_verb(clause: Clause, draft: Draft, index: int) -> Clause:
    """Take a verb: it opens a link from who does it."""
    token, previous, link = draft.token(index), draft.token(index - 1), clause.link
    verb = token.entry.verb or token.word
    denied = previous.word == "to" or (clause.negated and previous.tag in "KR")
    denied = denied or (link is not None and link.denied and link.verb == "be")
    helped = previous.entry.verb == "be" or draft.token(index + 1).word == "by"
    done = helped and token.word in draft.lexicon.words["done_by"]
    is_past = token.tag == "E" or (token.word in draft.lexicon.words["same_participle"] and previous.entry.verb == "be")
    passive = is_past and (done or not draft.lexicon.hints(verb, "intransitive"))
    said = token.word.split()[0] if passive else ""
    described = previous.tag == "J" and token.tag == "V"
    helping = link is not None and (link.verb == "be" or (link.verb == "do" and token.tag == "V"))
    if link and helping and not link.predicate and not described:  # "is sitting", "has been painted", "does not cross"
        return clause._replace(link=link._replace(verb=verb, participle=said, denied=denied))
    if link and link.verb == "have" and not link.predicate and token.tag == "E" and previous.tag == "B":
        return clause._replace(link=link._replace(verb=verb, denied=denied))  # "has painted"
    clause = close_link(clause, draft)._replace(negated=clause.negated and previous.tag in "KR")
    if (aside := _on_verb_aside(clause, draft, index, verb)) is not None:
        return aside
    clause, doers = _doers(clause, draft, token, previous, verb)
    if not doers:  # "there is a cat"
        return clause
    describes = token.tag == "E" and draft.lexicon.hints(verb, "making", "covering")  # "a salad made with sprouts"
    finite = clause.finite or (token.tag in "VBE" and not describes)
    return clause._replace(finite=finite, link=Link(doers, verb=verb, participle=said, denied=denied))


def _on_verb_aside(clause: Clause, draft: Draft, index: int, verb: str) -> Clause | None:
    """Take a verb that is not said of the clause's subject; None where it is."""
    token, previous = draft.token(index), draft.token(index - 1)
    if previous.tag == "T" and token.tag == "E":  # 'with "OPEN" written on the door'
        return clause._replace(link=Link(verb=verb, quoted=True))
    goes_on = previous.tag == "X" or (clause.finite and token.tag == "V")
    if clause.owner is not None and token.tag in "VB" and goes_on:
        # "… whose beard is white holds a lamp", "…, his beard braided, holds a lamp"
        subjects = (clause.owner,)
        return clause._replace(link=Link(subjects, verb=verb), owner=None, subjects=subjects)
    if previous.word == "there" or (token.tag in "VB" and previous.word in ("one", "another", "other")):
        # "on the right there is a …", "another climbs the mast": nothing said before is meant
        return clause._replace(group=(), linked="", subjects=(), finite=False)
    if previous.word in ("that", "which", "who") and clause.group:
        nearest = clause.group[-1:]
        return clause._replace(subjects=clause.subjects or nearest, link=Link(nearest, verb=verb))
    if verb == "be" and _begins_with_place(draft, index):  # "…, and on the right is a cat"
        return clause._replace(group=(), linked="", subjects=())
    return None


def _begins_with_place(draft: Draft, index: int) -> bool:
    """Say whether a preposition begins the clause whose verb stands at `index`, so that its subject follows."""
    start = index
    while start and draft.token(start - 1).tag not in "XCVBGE":
        start -= 1
    return draft.token(start).tag == "P" and draft.token(start - 1).tag in "XC"


def _doers(clause: Clause, draft: Draft, token: Token, previous: Token, verb: str) -> tuple[Clause, Objects]:
    """Return who does the verb, and the clause with its subjects settled."""
    if token.tag in "GE" and previous.tag == "N" and clause.group:
        doers = _agents(clause, draft, verb, done=token.tag == "E")
        return (clause if clause.subjects or clause.linked else clause._replace(subjects=clause.group)), doers
    if clause.finite and previous.tag == "N" and len(clause.group) > 1:  # joined on by "and": a new clause may begin
        clause = clause._replace(subjects=clause.group[-1:])
    elif not clause.linked:
        clause = clause._replace(subjects=clause.group)
    return clause, clause.subjects


def _agents(clause: Clause, draft: Draft, verb: str, *, done: bool) -> Objects:
    """Return who does what an -ing form or participle behind a noun says: the thing named last, or the subject."""
    if not clause.linked:
        return draft.among(clause.group)
    subjects, nearest = clause.subjects, clause.group[-1:]
    if not subjects or (draft.lexicon.hints(verb, "of_nearest") and not draft.is_living(subjects[0])):
        return nearest
    if draft.is_owned(nearest[0]) and draft.is_any(nearest[0], "body"):
        return subjects  # "a bird with a fish in its beak perched on a reed"
    lifeless, around = not draft.is_living(nearest[0]), draft.is_any(subjects[0], *AROUND)
    if lifeless and not around and any(draft.has(subject, nearest[0]) for subject in subjects):
        return subjects  # "a girl with black hair jumping"
    owner = draft.owner_of(nearest[0])
    if lifeless and owner is not None and draft.is_living(owner):
        return (owner,)  # "a tall man and a girl with a bag waiting"
    if clause.linked == "prep" and draft.is_any(nearest[0], *AROUND) and draft.owner_of(nearest[0]) is None:
        return subjects  # "a vase in a field towering over the chairs"
    if lifeless and not done and draft.lexicon.hints(verb, "agent") and draft.is_living(subjects[0]):
        return subjects
    if not done and any(r["predicate"].endswith(" with") and r["object"] == nearest[0] for r in draft.relations):
        return subjects  # "a letter tied with twine lying on a desk"
    return nearest


def on_preposition(clause: Clause, draft: Draft, index: int) -> Clause:
    """Take a preposition: it says what the verb before it does, or opens a link of its own."""
    token, previous, link = draft.token(index), draft.token(index - 1), clause.link
    predicate, lexicon = token.value or token.word, draft.lexicon
    if link and not link.predicate:
        makes = token.value in ("of", "from") and lexicon.hints(link.verb, "making")
        turned = lexicon.tables["turned"].get(f"{link.verb}-{token.word}", "")
        return clause._replace(link=link._replace(predicate=predicate, wording=token.word, makes=makes, turned=turned))
    # "peeking from behind"
    if link and previous.tag == "P" and link.predicate == "from" and predicate in lexicon.places:
        return clause._replace(link=link._replace(predicate=predicate, wording=token.word))
    # "without gloves in a room": the room is there
    clause = clause._replace(negated=clause.negated and previous.tag == "R")
    if previous.tag == "Y" and not draft.objects:  # "watercolor of a cat"
        return clause
    if previous.tag in "XC" and predicate in lexicon.places and (told := told_before(clause, draft, index)):
        clause = close_link(clause, draft)  # "Behind it the forest is dark", ", above it the moon"
        return Clause(leading=(predicate, told[0]), spoken_of=told, fresh=False)
    if previous.tag in "XC" and clause.group and _leads(draft, index):  # "…, and behind the bakery a tower"
        clause = close_link(clause, draft)
        return Clause(link=Link((), predicate, token.word), spoken_of=clause.spoken_of, fresh=False)
    if token.word == "by" and previous.tag in "PJ":  # "cheered on by their families", "backlit by the sun"
        return clause._replace(link=None)
    subjects, near = said_of(clause, draft, token, previous)
    if not clause.subjects and not clause.linked:
        clause = clause._replace(subjects=clause.group)
    return close_link(clause, draft)._replace(link=Link(subjects, predicate, token.word, near=near))


def _leads(draft: Draft, index: int) -> bool:
    """Say whether the place that begins at `index` is told of what follows it."""
    place = draft.phrase(index + 1)
    return place is not None and draft.token(place.after).tag in ("D", "Q") and draft.phrase(place.after) is not None


def on_adjective(clause: Clause, draft: Draft, index: int) -> Clause:
    """Take an adjective without a noun: "a circle that is red", "the wall was round and blue"."""
    token, link = draft.token(index), clause.link
    value, kind = token.value or token.word, token.entry.kind
    if clause.negated or not kind:
        return clause._replace(negated=False)
    if link is None or (link.verb == "be" and not link.predicate):
        draft.describe(link.subjects if link else clause.group[-1:], [(kind, value)])
    elif link.passive and not link.predicate:  # "a door painted red": no painting is seen
        draft.describe(link.subjects, [(kind, value)])
        clause = clause._replace(link=None)
    elif kind == "color" and link.predicate == "inside":  # "dressed in black", "a woman in red"
        worn = link.verb or (link.subjects and draft.is_living(link.subjects[-1]))
        said = f"{link.participle or link.verb or 'dressed'} in {value}"
        colored = not worn or draft.lexicon.hints(link.verb, "coloring_by")
        draft.describe(link.subjects, [("color", value) if colored else ("other", said)])
        clause = clause._replace(link=link._replace(told=True))
    elif link.predicate == "of":  # "stalks of red"
        draft.describe(link.subjects, [(kind, value)])
    elif link.predicate == "on" and kind == "color" and draft.token(index + 1).tag == "X":  # "isolated on white"
        draft.background = draft.background or value
    return clause


def on_break(clause: Clause, draft: Draft, index: int) -> Clause:
    """Take a mark or a conjunction: the clause ends, or its list goes on."""
    token, link = draft.token(index), clause.link
    takes_as = link is not None and (link.passive or draft.lexicon.hints(link.verb, "as_what"))
    if token.word == "as" and link and takes_as and not link.predicate:  # "dressed as a clown"
        return clause._replace(link=link._replace(predicate="like", wording="as"))
    if token.word in ".;!?:" or token.word in ("while", "whereas", "as"):
        clause = close_link(clause, draft)
        owner = () if clause.owner is None else (clause.owner,)
        spoken_of = owner or clause.subjects or clause.group[:1] or clause.spoken_of
        leading = clause.leading if token.word == ":" else None
        return Clause(leading=leading, spoken_of=spoken_of, fresh=False)
    if token.word == "," and draft.lists:
        return _next_tag(close_link(clause, draft), draft, draft.token(index + 1))
    if token.word in (",", "and", "but", "&", "plus") and link and not link.lists:
        goes_on = (link.verb == "be" or link.told) and draft.token(index + 1).tag in "JR"
        clause = clause if goes_on else close_link(clause, draft)
    if token.word == "," and draft.token(index + 1).tag in "GEJ" and clause.owner is not None:
        # "a woman, hands on her belly, backlit by the sun"
        clause = clause._replace(group=(clause.owner,), subjects=(clause.owner,), linked="", owner=None)
    if token.word == "," and draft.token(index + 1).tag in "GEP":
        clause = _of_whom(clause, draft)
    return clause._replace(negated=clause.negated and token.word in ("and", "or", "&"), fresh=False)


def _next_tag(clause: Clause, draft: Draft, first: Token) -> Clause:
    """Return the clause of the next tag of a list: "…, sitting on a bench, …" is said of whom the list is about."""
    spoken_of = clause.subjects or clause.group[:1] or clause.spoken_of
    main = [index for index in range(len(draft.objects)) if draft.is_living(index)][:1] or range(len(draft.objects))[:1]
    begun = first.tag in "GEPV" or (first.tag in "JR" and len(draft.objects) == 1)
    group = tuple(main) if begun else ()
    return Clause(subjects=group, group=group, spoken_of=spoken_of, fresh=False)


def _of_whom(clause: Clause, draft: Draft) -> Clause:
    """Settle what is said behind a comma after things listed by commas: "1girl, long hair, a hat, sitting on a bench"."""
    group = clause.group
    if len(group) < 2 or clause.linked or draft.joined(*group[-2:]):
        return clause
    main = next((index for index in group if draft.is_living(index)), group[0])
    return clause._replace(group=(main,), subjects=(main,))
