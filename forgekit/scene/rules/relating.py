"""Relations: how a new object is tied to what its clause has named before."""

from __future__ import annotations

from forgekit.scene.rules.clauses import Clause, Link, close_link
from forgekit.scene.rules.draft import HAVING, Draft
from forgekit.scene.rules.placing import is_placed


def relate(clause: Clause, draft: Draft, index: int) -> Clause:
    """Tie the new object to what went before: by a link, as one more of a list, or as a new subject."""
    link = clause.link
    if link is None:
        return _join(clause, draft, index)
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
    if link.predicate == "of" and not link.verb and not _is_depiction(draft, link.subjects[-1]):
        for subject in link.subjects:
            draft.relate(subject, "of", index)
        return clause._replace(link=None)  # "a bowl of rice on a table": the talk stays about the bowl
    phrase = draft.phrase_of(index)
    if link.told and (link.makes or (phrase and phrase.numbered)):  # "surrounded by trees, and a man …"
        return _join(clause._replace(link=None), draft, index)
    if link.turned:
        for subject in link.subjects:
            draft.relate(index, link.turned, subject)
        return clause._replace(link=link._replace(told=True))
    predicate = _predicate(draft, link, index)
    for subject in is_placed(clause, draft, link, index):
        if link.passive and link.wording == "by" and draft.is_living(index):  # "a bowl watched by a cat"
            draft.relate(index, link.verb, subject)
        elif link.wording == "on top of" and draft.are_figures(subject, index):
            draft.relate(subject, "above", index, link)  # figures lie in a plane: nothing can lie on another
        else:
            draft.relate(subject, predicate, index, link)
    linked = "verb" if link.verb and predicate not in draft.lexicon.places else "prep"
    told_of = link.verb if not link.predicate or draft.lexicon.hints(link.verb, "sensing") else ""
    return clause._replace(group=(index,), linked=linked, told_of=told_of, link=link if link.lists else None)


def _join(clause: Clause, draft: Draft, index: int) -> Clause:
    """Take the object as one more of a list, or as a new subject."""
    following = draft.token_after(index)
    acts = following is not None and following.tag in "VBG"
    if clause.linked == "prep" and clause.subjects and draft.begins_anew(clause.subjects, clause.group, index):
        # "a man in a hat and a woman in a coat": nobody is in a woman
        return clause._replace(group=(*clause.subjects, index), linked="", subjects=())
    if clause.linked == "verb" and acts and draft.is_living(index):
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
        clause = clause._replace(leading=None)
    return clause._replace(group=(*clause.group, index))


def _shares_place(draft: Draft, index: int, *, may_share: bool) -> bool:
    """Say whether the object is another end of the relation before: "is next to a fork and a spoon".

    Not in "there is a cat on a mat and a dog", where no verb has the place, nor in "… and a dog is under it".
    """
    phrase = draft.phrase_of(index)
    if phrase and not (phrase.numbered or phrase.plural or draft.is_any(index, "mass")):
        return True  # "a cat next to a blanket and shelf": one article for both
    return may_share


def _is_depiction(draft: Draft, index: int) -> bool:
    """Say whether what is "of" the object is the thing to look at: "a poster of a cat sitting on …"."""
    return draft.is_any(index, "picture")


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
