"""Noun phrases that name no new object: the picture itself, its style and background, a material, a side, an amount.

Each aside takes the clause, the draft and the phrase, and returns the clause behind it with the index of the first token behind
what it read, or None for a phrase that is none of its kind. Those that are said of the subjects of a link take the link, too.
"""

from __future__ import annotations

from forgekit.scene.rules.clauses import Clause, Link
from forgekit.scene.rules.draft import Draft, close_link
from forgekit.scene.rules.phrases import NounPhrase
from forgekit.scene.rules.tokens import EDGE
from forgekit.scene.vocabulary import lemmas_of
from forgekit.scene.wording import doing

Read = tuple[Clause, int] | None


def read_aside(clause: Clause, draft: Draft, phrase: NounPhrase) -> Read:
    """Read a phrase that names no object of its own; None for any other phrase."""
    for aside in OF_THE_PICTURE:
        if (read := aside(clause, draft, phrase)) is not None:
            return read
    if (link := clause.link) is None or clause.negated:
        return None
    return next((read for aside in OF_SUBJECTS if (read := aside(clause, draft, phrase, link)) is not None), None)


def _frame(clause: Clause, draft: Draft, phrase: NounPhrase) -> Read:
    """Take "a photo of", "an oil painting of": the picture itself, not a thing in it."""
    following, lexicon = draft.token(phrase.after), draft.lexicon
    noun = phrase.head.noun.split()[-1]
    if draft.objects or draft.framed or phrase.number or noun not in lexicon.words["picture"]:
        return None
    after = phrase.after + 1
    if following.word == "that" and draft.token(after).entry.verb in ("show", "depict"):
        after += 1
    elif following.value == "for" and (purpose := draft.phrase(after)):  # "a poster for a jazz festival: …"
        after = purpose.after
    elif following.value == "from" and (film := draft.phrase(after)) and film.head.noun in lexicon.words["shown_in"]:
        after = film.after + (draft.token(film.after).word == "of")
    elif following.value not in ("of", "with", "about") and following.word not in lexicon.words["framing"]:
        return None
    draft.framed = True
    untitled = phrase.name in lexicon.words["untitled"]
    style = _style_at_the_end(draft, [*phrase.values, *phrase.name.split()]) or ("" if untitled else phrase.name)
    if style:
        draft.styles.append(style)
    return clause._replace(negated=False), after


def _style_at_the_end(draft: Draft, words: list[str]) -> str:
    """Return the longest run of style words that ends `words`: "small watercolor sketch" → "watercolor sketch"."""
    meanings, start = draft.lexicon.meanings, len(words)
    while start and (("style", " ".join(words[start - 1 :])) in meanings or ("style", words[start - 1]) in meanings):
        start -= 1
    known = (" ".join(words[at:]) for at in range(start))
    return next((name for name in known if ("style", name) in meanings), " ".join(words[start:]))


def _the_picture(clause: Clause, draft: Draft, phrase: NounPhrase) -> Read:
    """Take "The picture is …", said of the whole, and "on the left side of the picture", beside no thing."""
    if phrase.determiner != "the" or phrase.name not in draft.lexicon.words["untitled"]:
        return None
    if draft.token(phrase.after).tag in "BV":
        return clause, phrase.after + 1
    if clause.link and clause.link.predicate in draft.lexicon.places:
        return clause._replace(link=None), phrase.after
    return None


def _medium(clause: Clause, draft: Draft, phrase: NounPhrase) -> Read:
    """Take a medium set off at the end: "…, ink sketch"."""
    following = draft.token(phrase.after)
    alone = not phrase.determiner and phrase.number is None and not clause.link
    ends = following.tag == "X" or (following.word == "in" and " " in phrase.name)
    if not alone or not ends or phrase.head.noun.split()[-1] not in draft.lexicon.words["picture"]:
        return None
    if " " in phrase.name and phrase.head.noun in draft.lexicon.words["may_be_shown"]:
        return None
    if not draft.objects and not any(token.tag == "X" and token.end <= phrase.start for token in draft.tokens):
        return None
    draft.styles.append(phrase.name)
    return clause, phrase.after


def _tag(clause: Clause, draft: Draft, phrase: NounPhrase) -> Read:
    """Take a tag of a list that may as well name a manner, a maker or a camera: "japandi", "…, Syd Mead", "…, DJI Mavic 3"."""
    alone = draft.before(phrase.start).tag == "X" == draft.token(phrase.after).tag
    if not (draft.lists and alone) or phrase.numbered or clause.link or not _may_be_manner(draft, phrase):
        return None
    draft.styles.append(phrase.words)
    return clause, phrase.after


def _may_be_manner(draft: Draft, phrase: NounPhrase) -> bool:
    """Say whether the words are in no dictionary, or a name behind the first tag: most people begin with whom they want."""
    lexicon, noun = draft.lexicon, phrase.head.noun.split()[-1]
    several, begins = " " in phrase.name, draft.before(phrase.start) is EDGE
    if lexicon.hints(noun, "genre"):
        return not several
    if phrase.attributes or lexicon.is_thing(noun) or lexicon.hints(noun, "worn", "body", "people"):
        return False
    if phrase.called or any(letter.isdigit() for letter in phrase.name):
        return not (several and begins)
    return not several and not phrase.plural and (phrase.head.entry.tags == "U" or "-" in phrase.name)


def _material(clause: Clause, draft: Draft, phrase: NounPhrase, link: Link) -> Read:
    """Take "made of wood": a material of the subject, and its colour, not another object."""
    is_thing = phrase.head.entry.kind != "material" and (" " in phrase.name or phrase.plural)
    if not (link.subjects and link.makes) or phrase.determiner or is_thing:
        return None
    colors = [attribute for attribute in phrase.attributes if attribute[0] == "color"]
    draft.describe(link.subjects, [("material", phrase.name), *colors])
    return clause._replace(link=link._replace(told=True)), phrase.after


def _maker(clause: Clause, draft: Draft, phrase: NounPhrase, link: Link) -> Read:
    """Take "by Vincent van Gogh", "designed by …": whose hand it is, not a thing beside the subject."""
    if link.wording != "by":
        return None
    made, named = not phrase.determiner and draft.lexicon.hints(link.verb, "making"), _is_name(draft, phrase)
    if not made and (link.verb or not named):
        return None
    if named or phrase.plural:  # "made by hand" is in nobody's style
        draft.styles.append(phrase.name)
    return clause._replace(group=link.subjects, link=None), phrase.after


def _is_name(draft: Draft, phrase: NounPhrase) -> bool:
    """Say whether the phrase is a person's name, in capitals or of words no dictionary has: no "Lake Tahoe"."""
    words = [token for token in draft.tokens if phrase.start <= token.start < phrase.end]
    if phrase.numbered or any(draft.lexicon.is_thing(words[end].noun) for end in (0, -1)):
        return False
    return phrase.head.entry.tags == "U" or (words[0].proper and words[-1].proper)


def _likeness(clause: Clause, draft: Draft, phrase: NounPhrase, link: Link) -> Read:
    """Take "like cotton candy", "shaped like a star": said of the subject, no thing of its own.

    "Fruits like apples and pears" names things that are there.
    """
    if link.predicate != "like" or not link.subjects:
        return None
    if not link.verb and link.wording == "like" and phrase.plural and not phrase.determiner:
        return None
    words, after = phrase.words, phrase.after
    if draft.token(after).tag == "I" and (owned := draft.phrase(after + 1)):  # "like a lion's head"
        words, after = f"{words}'s {owned.name}", owned.after
    wording = "shaped like" if link.verb == "shape" else link.wording
    if link.wording == "as":
        wording, words = f"{link.participle or doing(link.verb, draft.lexicon)} as", phrase.called or words
    said = " ".join(filter(None, [wording, "" if phrase.called else phrase.determiner, words]))
    draft.describe(link.subjects, [("other", said)])
    return clause._replace(group=link.subjects, linked="", link=None), after


def _onlooker(clause: Clause, draft: Draft, phrase: NounPhrase, link: Link) -> Read:
    """Take "looking at the viewer", "facing the camera": who looks at the picture is not in it."""
    words = draft.lexicon.words
    if phrase.head.noun not in words["onlooker"] or " " in phrase.name or phrase.attributes or not link.subjects:
        return None
    if phrase.determiner not in ("", "the") or link.verb not in (words["sensing"] | words["smiling"]):
        return None
    return clause._replace(link=None), phrase.after


def _coloring(clause: Clause, draft: Draft, phrase: NounPhrase, link: Link) -> Read:
    """Take "a tie in red tones", "a mirror framed in gold": said of the subject."""
    colors = [attribute for attribute in phrase.attributes if attribute[0] == "color"]
    framed = link.passive and not (phrase.determiner or phrase.attributes or " " in phrase.name)
    if framed and link.predicate == "inside" and phrase.head.entry.kind in ("material", "color"):
        draft.describe(link.near or link.subjects, [("other", f"{link.participle} in {phrase.name}")])
        return clause._replace(link=None), phrase.after
    if link.predicate != "inside" or not colors or phrase.head.noun not in draft.lexicon.words["coloring"]:
        return None
    draft.describe(link.near or link.subjects, colors)
    return clause._replace(link=None), phrase.after


def _side(clause: Clause, draft: Draft, phrase: NounPhrase) -> Read:
    """Take "a dog with a cat to its left": a place beside the object named before."""
    link, side = clause.link, phrase.head.noun
    if side not in ("left", "right") or phrase.determiner not in draft.lexicon.words["possessive"]:
        return None
    beside = (link.near or link.subjects) if link else ()
    if link and link.predicate in ("to", "on", "at") and beside and beside[0]:
        placed = {r["subject"]: r["object"] for r in draft.relations if r["predicate"] in ("left of", "right of")}
        beside_what = next((placed[index] for index in clause.group if index in placed), beside[0] - 1)
        for subject in [s for s in beside if s not in placed] or beside:
            draft.relate(subject, f"{side} of", beside_what, link)
        clause = clause._replace(group=beside, linked="", link=None)
    return clause, phrase.after


def _placement(clause: Clause, draft: Draft, phrase: NounPhrase, link: Link) -> Read:
    """Take "a cat is on the left and a dog on the right": places in the picture, of what is named or of what follows."""
    side, *rest = words = [*phrase.values, *phrase.name.split()]
    sides = draft.lexicon.words["picture_side"]
    if phrase.determiner != "the" or link.wording not in ("on", "at", "to", "in") or side not in sides:
        return None
    if any(word not in ("side", "half", "corner", "edge", "part", *sides) for word in rest):
        return None
    if link.subjects and rest and rest[0] in sides:  # "at the top right"
        draft.describe(link.near or link.subjects, [("other", f"{link.wording} the {' '.join(words)}")])
        return clause._replace(link=None), phrase.after
    following = draft.token(phrase.after)
    if not link.subjects or following.tag == "B" or following.word == "there":  # "On the left is a cat"
        return clause._replace(leading=(side, None), group=(), linked="", link=None), phrase.after
    for subject in link.near if clause.linked == "verb" and link.near else link.subjects:
        draft.place(subject, side)
    return close_link(clause, draft), phrase.after


def _setting(clause: Clause, draft: Draft, phrase: NounPhrase) -> Read:
    """Take "on a yellow background", "against a background of mountains", "in gothic style", "in the style of Van Gogh"."""
    is_style = phrase.head.noun == "style"
    if not is_style and phrase.head.noun not in ("background", "backdrop") and not phrase.name.endswith(" background"):
        return None
    words, after = [*phrase.values, *phrase.name.split()[:-1]], phrase.after
    if draft.token(after).value == "of":
        words = [] if is_style else words
        if inner := draft.phrase(after + 1):
            words, after = [*words, inner.words], inner.after
        elif is_style:
            after += 1
    said = " ".join(words)
    if said and is_style:
        draft.styles.append(said)
    elif said:
        draft.background = said
    return close_link(clause, draft), after


def _view(clause: Clause, draft: Draft, phrase: NounPhrase) -> Read:
    """Take "from the perspective of a person": who looks is not in the picture."""
    if draft.token(phrase.after).value != "of" or phrase.head.noun not in draft.lexicon.words["viewing"]:
        return None
    viewer = draft.phrase(phrase.after + 1)
    return clause._replace(link=None), viewer.after if viewer else phrase.after + 1


def read_abstract(clause: Clause, draft: Draft, phrase: NounPhrase) -> Read:
    """Take what names no thing one can see: "with love", "at sunset", "the top of", "the lines of"."""
    of = draft.token(phrase.after).value == "of"
    if not is_abstract(clause, draft, phrase):
        return None
    if not clause.link and draft.token(phrase.after).tag == "V":  # "…, and light pours out of it": nothing named does
        return Clause(spoken_of=clause.spoken_of or clause.subjects, fresh=False), phrase.after
    return (clause, phrase.after + 1) if of else (close_link(clause, draft), phrase.after)


def is_abstract(clause: Clause, draft: Draft, phrase: NounPhrase) -> bool:
    """Say whether the phrase names no thing one can see."""
    of = draft.token(phrase.after).value == "of"
    if of and phrase.name in ("line", "number", "lot"):
        return True
    words, noun, link = draft.lexicon.words, phrase.head.noun, clause.link
    several = " " in phrase.name
    if phrase.head.word in words["mood"] and not (phrase.determiner or of or link):
        return phrase.number is None
    if draft.before(phrase.start).word == "half" and not phrase.determiner:  # "half human and half robot"
        return True
    if phrase.name in words["game"]:
        return not phrase.determiner
    if noun in words["time"] and link and link.predicate in ("at", "during", "in front of"):  # the last is "before"
        return True
    if noun in words["determined"]:  # "carries a castle on its back", but "floats on its back"
        owned = phrase.determiner in words["possessive"] and noun in words["body"]
        of_body = owned and link is not None and (bool(link.near) or not link.verb)
        return not phrase.attributes and not several and not of_body
    abstract = words["compound_abstract" if several else "abstract"]
    if noun in abstract or phrase.head.word in abstract or noun in words["unseen"]:
        return True
    return noun.endswith(draft.lexicon.endings["abstract"]) and not lemmas_of(noun)  # "coziness"


OF_THE_PICTURE = (_frame, _the_picture, _medium, _tag, _side, _setting, _view)
OF_SUBJECTS = (_onlooker, _placement, _material, _maker, _likeness, _coloring)
