"""From a scene text to what it asks for: the JSON document that `scenes.elements` stores.

The text is cut into tokens (tokens.py), each gets its class (tagging.py), runs of them are noun phrases (phrases.py); phrases and
the words between them, read from left to right, make clauses (asides.py, connecting.py, relating.py), and these the scene.
"""

from __future__ import annotations

from typing import Any

from forgekit.scene.lexicon import Lexicon, default_lexicon
from forgekit.scene.rules.asides import is_abstract, read_abstract, read_aside
from forgekit.scene.rules.clauses import Clause, Link
from forgekit.scene.rules.connecting import on_adjective, on_break, on_preposition, on_verb
from forgekit.scene.rules.doubting import without_doubtful
from forgekit.scene.rules.draft import Draft, close_link
from forgekit.scene.rules.meaning import meant
from forgekit.scene.rules.phrases import NounPhrase
from forgekit.scene.rules.pronouns import on_pronoun
from forgekit.scene.rules.relating import own, relate
from forgekit.scene.rules.tagging import tag_words
from forgekit.scene.rules.tokens import cut
from forgekit.scene.rules.understanding import TOO_LONG, TOO_MANY, not_understood
from forgekit.scene.syntax.prompt import split_prompt
from forgekit.scene.text import MOST_CHARACTERS

MOST_THINGS, MOST_OWNED = 500, 12
POSSESSIVE = ("its", "his", "her", "their", "my", "your", "our")


def read_by_rules(text: str, lexicon: Lexicon | None = None) -> tuple[dict[str, Any], str]:
    """Return what `text` asks for, and why the rules do not understand it: "" where they do.

    Objects are in the order of the text; `count` is 1 where a noun is singular, a number or word where one stands, and "some"
    for a bare plural. Relations name their objects by index; `object` is null for an action alone. A text without any
    object gives an empty list, never an error; so does one that the rules do not understand.
    """
    lexicon = lexicon or default_lexicon()
    if len(text) > MOST_CHARACTERS:
        return Draft([], lexicon).document(), TOO_LONG
    tokens = cut(split_prompt(text).asked, lexicon)
    if reason := not_understood(tokens, lexicon):
        return Draft([], lexicon).document(), reason
    draft, clause, index = Draft(tag_words(tokens, lexicon), lexicon), Clause(), 0
    while index < len(draft.tokens):
        clause, index = _step(clause, draft, index)
    close_link(clause, draft)
    if len(draft.objects) > MOST_THINGS:
        return Draft([], lexicon).document(), TOO_MANY
    return without_doubtful(draft).document(), ""


def _step(clause: Clause, draft: Draft, index: int) -> tuple[Clause, int]:
    """Read the phrase or word at `index`; return the clause behind it and the index of the next."""
    tag, previous = draft.tokens[index].tag, draft.token(index - 1).tag
    modifies = previous in "XPR" or (previous == "C" and not clause.subjects)  # "…, parked cars"
    if (tag in "DSQJNK" or (tag == "E" and modifies)) and (phrase := draft.phrase(index)) is not None:
        return _on_phrase(clause, draft, phrase)
    return _on_word(clause, draft, index), index + 1


def _on_word(clause: Clause, draft: Draft, index: int) -> Clause:
    """Take a word that opens no noun phrase."""
    token = draft.tokens[index]
    if token.tag in BY_CLASS:
        return BY_CLASS[token.tag](clause, draft, index)
    if token.tag == "I":
        return close_link(clause, draft)._replace(link=Link(clause.group[-1:], "with"))
    if token.tag == "T":
        draft.rendered_text.append(token.word)
        return clause._replace(link=None)
    if token.tag == "Y":
        draft.styles.append(token.value)
    return clause


def _on_negation(clause: Clause, draft: Draft, index: int) -> Clause:
    """Take "no", "without", and "nobody", which names who must be absent."""
    token = draft.tokens[index]
    name = draft.lexicon.tables["nobody"].get(token.word)
    if name is None:
        return clause._replace(negated=True)
    draft.negate(name, token.start, token.end)
    return close_link(clause, draft)


def _on_adverb(clause: Clause, draft: Draft, index: int) -> Clause:
    """Take "not", and what goes with a verb: "blowing out"."""
    word = draft.tokens[index].word
    if word in ("not", "never"):
        return clause._replace(negated=True)
    if word == "where":  # "a stage where petals fall": nothing named before does it
        clause = close_link(clause, draft)
        return Clause(owner=None if clause.finite else next(iter(clause.subjects), None), fresh=False)
    link = clause.link
    if link and link.verb and not link.predicate and word in draft.lexicon.words["particle"]:
        return clause._replace(link=link._replace(particle=word))
    return clause


BY_CLASS = {
    "V": on_verb, "G": on_verb, "E": on_verb, "B": on_verb, "P": on_preposition, "J": on_adjective, "O": on_pronoun,
    "X": on_break, "C": on_break, "K": _on_negation, "R": _on_adverb,
}  # fmt: skip


def _on_owned(clause: Clause, draft: Draft, owner: NounPhrase, owned: NounPhrase, depth: int) -> tuple[Clause, int]:
    """Take "a knight's armor": the talk is of the armor, and the knight has it."""
    if is_abstract(clause, draft, owned):  # "the moon's surface" is the moon
        return _on_phrase(clause, draft, owner._replace(after=owned.after), depth)
    if is_abstract(clause, draft, owner):  # "a good night's sleep"
        return _on_phrase(clause, draft, owned, depth)
    lexicon, name = draft.lexicon, f"{owner.name}'s {owned.name}"
    anybody = owner.determiner in ("a", "an", "") and not owner.called and owner.name not in lexicon.siblings["person"]
    if anybody and lexicon.is_living(owner.name) and not lexicon.hints(owned.name.split()[-1], "worn", "body"):
        of_kind = owned._replace(name=name, determiner=owner.determiner, start=owner.start)
        return _on_phrase(clause, draft, of_kind, depth)  # "a fisherman's hut": no fisherman need be there
    whose = draft.add(owner)
    index = len(draft.objects)
    clause, after = _on_phrase(clause, draft, owned, depth)
    if len(draft.objects) > index:
        draft.relate(whose, "with", index)
    return clause, after


def _is_denied(link: Link | None, phrase: NounPhrase) -> bool:
    """Say whether a negation denies the thing itself: "without the hat", "not wearing a hat", no "does not see the hat"."""
    if link and (link.makes or (link.predicate and link.verb in ("", "be"))):  # "is not made of metal"
        return False
    of_itself = link is None or link.verb in ("", "be", "have", "wear", "hold", "carry")
    return of_itself or phrase.determiner not in ("the", *POSSESSIVE)


def _goes_on(draft: Draft, index: int) -> bool:
    """Say whether a negation goes on behind "and" or "or": "no hats or gloves", but "without a hat and a dog"."""
    joint, following = draft.token(index), draft.token(index + 1)
    return joint.word in ("or", "nor") or (joint.word in ("and", "&") and following.tag in "NJ")


def _on_phrase(clause: Clause, draft: Draft, phrase: NounPhrase, depth: int = 0) -> tuple[Clause, int]:
    """Take what the phrase names, and return the clause and the index of the first token behind what was read."""
    if (read := read_aside(clause, draft, phrase)) is not None:
        return read
    if (other := meant(clause, draft, phrase)) is not None:
        return _on_phrase(clause, draft, other, depth + 1)
    owns = draft.token(phrase.after).tag == "I" and not clause.negated and depth < MOST_OWNED
    if owns and (owned := draft.phrase(phrase.after + 1)):
        return _on_owned(clause, draft, phrase, owned, depth + 1)
    written = phrase.determiner == "no" and phrase.head.noun in draft.lexicon.words["writing"]  # "no text"
    if not written and (read := read_abstract(clause, draft, phrase)) is not None:
        return read
    link = clause.link
    if phrase.determiner == "no" or (clause.negated and _is_denied(link, phrase)):
        draft.negate(phrase.name, phrase.start, phrase.end, phrase.attributes)
        clause = clause._replace(link=None, negated=_goes_on(draft, phrase.after))
    elif link and link.verb == "be" and not link.predicate and link.subjects:  # "… is a handy tool": the subject is
        draft.describe(link.subjects, [("other", f"{phrase.determiner} {phrase.words}".strip())])
        clause = clause._replace(group=clause.subjects, linked="", link=None)
    elif clause.negated:  # "does not cross the river": the river is there
        if not (link and (link.makes or link.verb in ("", "be"))):  # "is not on the bench": who knows what is
            draft.add(phrase)
        clause = clause._replace(negated=False, link=None)
    else:
        index = draft.add(phrase)
        whose = phrase.determiner == "whose" and clause.group
        clause = own(clause, draft, index) if whose else relate(clause, draft, index)
    return clause, phrase.after
