"""From a scene text to what it asks for: the JSON document that `scenes.elements` stores.

The text is cut into tokens (tokens.py), each gets its class (tagging.py), runs of them are noun phrases (phrases.py); phrases and
the words between them, read from left to right, make clauses (asides.py, connecting.py, relating.py, placing.py), and these the scene.
"""

from __future__ import annotations

from typing import Any

from forgekit.scene.asides import read_abstract, read_aside
from forgekit.scene.clauses import Clause, Link, close_link
from forgekit.scene.connecting import on_adjective, on_break, on_preposition, on_pronoun, on_verb
from forgekit.scene.draft import Draft
from forgekit.scene.lexicon import Lexicon, default_lexicon
from forgekit.scene.meaning import meant
from forgekit.scene.phrases import NounPhrase
from forgekit.scene.relating import own, relate
from forgekit.scene.syntax import split_prompt
from forgekit.scene.tagging import tag_words


def parse(text: str, *, lexicon: Lexicon | None = None) -> dict[str, Any]:
    """Return what `text` asks for: objects, relations, background, style, rendered_text, negations.

    Objects are in the order of the text; `count` is 1 where a noun is singular, a number or word where one stands, and "some"
    for a bare plural. Relations name their objects by index; `object` is null for an action alone. A text without any
    object gives an empty list, never an error. Prompt syntax is no part of the scene: spans are places in
    `split_prompt(text).asked`.
    """
    lexicon = lexicon or default_lexicon()
    draft, clause, index = Draft(tag_words(split_prompt(text).asked, lexicon), lexicon), Clause(), 0
    while index < len(draft.tokens):
        clause, index = _step(clause, draft, index)
    close_link(clause, draft)
    return draft.document()


def _step(clause: Clause, draft: Draft, index: int) -> tuple[Clause, int]:
    """Read the phrase or word at `index`; return the clause behind it and the index of the next."""
    tag = draft.tokens[index].tag
    opens = tag in "DSQJNK" or (tag == "E" and _modifier_opens(clause, draft, index))
    if opens and (phrase := draft.phrase(index)) is not None:
        return _on_phrase(clause, draft, phrase)
    return _on_word(clause, draft, index), index + 1


def _modifier_opens(clause: Clause, draft: Draft, index: int) -> bool:
    previous = draft.token(index - 1).tag
    return previous in "XPR" or (previous == "C" and not clause.subjects)


def _on_word(clause: Clause, draft: Draft, index: int) -> Clause:
    """Take a word that opens no noun phrase."""
    token = draft.tokens[index]
    if token.tag in "VGEB":
        return on_verb(clause, draft, index)
    if token.tag == "P":
        return on_preposition(clause, draft, index)
    if token.tag == "J":
        return on_adjective(clause, draft, token)
    if token.tag == "O":
        return on_pronoun(clause, draft, token.word)
    if token.tag in "XC":
        return on_break(clause, draft, index)
    if token.tag == "K" or (token.tag == "R" and token.word == "not"):
        return clause._replace(negated=True)
    if token.tag == "I":
        return close_link(clause, draft)._replace(link=Link(clause.group[-1:], "with"))
    if token.tag == "T":
        draft.rendered_text.append(token.word)
        return clause._replace(link=None)
    if token.tag == "Y":
        draft.styles.append(token.value)
    return clause


def _on_phrase(clause: Clause, draft: Draft, phrase: NounPhrase) -> tuple[Clause, int]:
    """Take what the phrase names, and return the clause and the index of the first token behind what was read."""
    if (read := read_aside(clause, draft, phrase)) is not None:
        return read
    if (other := meant(clause, draft, phrase)) is not None:
        return _on_phrase(clause, draft, other)
    if (read := read_abstract(clause, draft, phrase)) is not None:
        return read
    link = clause.link
    if phrase.determiner == "no" or clause.negated:
        draft.negate(phrase)
        clause = clause._replace(link=None)
    elif link and link.verb == "be" and not link.predicate and link.subjects:  # "… is a handy tool": the subject is
        draft.describe(link.subjects, [("other", phrase.words)])
        clause = clause._replace(group=clause.subjects, linked="", link=None)
    else:
        index = draft.add(phrase)
        whose = phrase.determiner == "whose" and clause.group
        clause = own(clause, draft, index) if whose else relate(clause, draft, index)
    return clause, phrase.after
