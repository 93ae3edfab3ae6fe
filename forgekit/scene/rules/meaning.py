"""Noun phrases that stand for another: the flowers of "a bunch of flowers", "the city of London" as one thing."""

from __future__ import annotations

from forgekit.scene.rules.clauses import Clause
from forgekit.scene.rules.draft import Draft
from forgekit.scene.rules.phrases import Attribute, NounPhrase


def meant(clause: Clause, draft: Draft, phrase: NounPhrase) -> NounPhrase | None:
    """Return the phrase that is meant by `phrase`, or None where it means what it says."""
    following, lexicon = draft.token(phrase.after), draft.lexicon
    if following.tag == "I":
        return _garment(clause, draft, phrase)
    if following.value != "of":
        return _without_medium(clause, draft, phrase)
    noun, inner = phrase.head.noun, draft.phrase(phrase.after + 1)
    if inner is None:
        return None
    if noun in lexicon.words["named"] and not inner.determiner and inner.head.proper:  # "the city of London"
        return phrase._replace(name=f"{phrase.name} of {inner.name}", after=inner.after)
    if noun not in lexicon.tables["partitive"] or (noun == "slice" and phrase.attributes):
        return None
    if inner.determiner == "the" or inner.determiner in lexicon.words["possessive"]:
        return None
    return inner._replace(
        number=_number_of(draft, phrase, inner),
        attributes=(*_shared(draft, phrase), *inner.attributes),
        determiner=phrase.determiner,
        start=phrase.start,
    )


def _shared(draft: Draft, phrase: NounPhrase) -> list[Attribute]:
    """Return what is said of the things themselves: nobody is small in "a small crowd of people"."""
    of_group = draft.lexicon.tables["partitive"][phrase.head.noun] in ("itself", "many")
    return [attribute for attribute in phrase.attributes if not (of_group and attribute[0] == "size")]


def _garment(clause: Clause, draft: Draft, phrase: NounPhrase) -> NounPhrase | None:
    """Return the hat of "wearing a conductor's hat" as one thing: no conductor need be there."""
    owned = draft.phrase(phrase.after + 1)
    if phrase.determiner not in ("a", "an") or owned is None or not (clause.link and clause.link.subjects):
        return None
    if owned.name.split()[-1] not in draft.lexicon.words["worn"]:
        return None
    name = " ".join([*phrase.values, f"{phrase.name}'s {owned.name}"])
    return owned._replace(name=name, determiner=phrase.determiner, start=phrase.start)


def _without_medium(clause: Clause, draft: Draft, phrase: NounPhrase) -> NounPhrase | None:
    """Take "disney graveyard photo" for a photo of a disney graveyard."""
    *before, head = phrase.name.split()
    alone = not draft.objects and not clause.link and draft.token(phrase.after).tag == "X"
    if not before or not alone or head not in draft.lexicon.words["medium"]:
        return None
    if phrase.name in draft.lexicon.concepts["style"]:
        return None
    draft.styles.append(head)
    return phrase._replace(name=" ".join(before))


def _number_of(draft: Draft, outer: NounPhrase, inner: NounPhrase) -> int | str | None:
    """Return how many of `inner` there are in "a pair of boots", "a bunch of flowers", "two slices of bread"."""
    says = draft.lexicon.tables["partitive"][outer.head.noun]
    if inner.number is not None or inner.head.noun in draft.lexicon.words["plural"]:
        return inner.number
    if not says:
        if outer.number not in (None, 1):
            return outer.number
        return None if inner.plural else "some" if outer.plural else 1  # "slices of bread"
    if not says.isdigit():
        return outer.head.noun if says == "itself" else says
    if inner.head.word == inner.head.noun:
        return 1
    if outer.plural and int(says) > 2:  # "dozens of roses"
        return "many"
    return int(says) * (outer.number if isinstance(outer.number, int) else 1)
