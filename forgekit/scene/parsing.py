"""From a scene text to what it asks for: the JSON document that `scenes.elements` stores (design §4)."""

from __future__ import annotations

from typing import Any

from forgekit.scene.asides import Asides
from forgekit.scene.lexicon import Lexicon, default_lexicon
from forgekit.scene.phrases import NounPhrase, read_noun_phrase
from forgekit.scene.tokens import Token


def parse(text: str, *, lexicon: Lexicon | None = None) -> dict[str, Any]:
    """Return what `text` asks for: objects, relations, background, style, rendered_text, negations.

    Objects are in the order of the text; `count` is 1 where a noun is singular, a number or word where one stands, and "some"
    for a bare plural. Relations name their objects by index; `object` is null for an action alone. A text without any
    object gives an empty list, never an error.
    """
    return _Parse(text, lexicon or default_lexicon()).run()


class _Parse(Asides):
    """One pass over the tokens of a text, left to right."""

    def run(self) -> dict[str, Any]:
        """Read all tokens and return the document."""
        index = 0
        while index < len(self.tokens):
            index = self._step(index)
        self._close_link()
        return {
            "objects": self.objects,
            "relations": self.relations,
            "background": self.background,
            "style": ", ".join(dict.fromkeys(self.styles)) or None,
            "rendered_text": self.rendered,
            "negations": self.negations,
        }

    def _step(self, index: int) -> int:
        token = self.tokens[index]
        tag = token.tag
        if tag in "DSQJNEGK" and (phrase := read_noun_phrase(self.tokens, index, self.lexicon)):
            if tag in "EG" and not self._modifier_opens(index):
                self._on_verb(token, index)
                return index + 1
            return self._on_noun_phrase(phrase)
        if tag in "VGEB":
            self._on_verb(token, index)
        elif tag == "P":
            self._on_preposition(token, index)
        elif tag == "J":
            return self._on_adjective(index)
        elif tag == "K":
            self.negated = True
        elif tag == "R":
            self.negated = self.negated or token.word == "not"
        elif tag == "O":
            self._on_pronoun(token)
        elif tag == "I":
            self._link_to("with", self.group[-1:])
        elif tag == "T":
            self.rendered.append(token.word)
            self.link = None
        elif tag == "Y":
            self.styles.append(token.value)
        elif tag in "XC":
            self._on_break(token, index)
        return index + 1

    def _modifier_opens(self, index: int) -> bool:
        previous = self.tokens[index - 1].tag if index else "X"
        return previous in "XCPR" and self.tokens[index].tag == "E" and not (previous in "C" and self.subjects)

    def _on_noun_phrase(self, phrase: NounPhrase) -> int:
        """Take what the phrase names, and return the index of the first token behind what was read."""
        following = self.tokens[phrase.after] if phrase.after < len(self.tokens) else None
        of = following is not None and following.value == "of"
        if (read := self._on_aside(phrase, following, of)) is not None:
            return read
        if (meant := self._meant(phrase, following, of)) is not phrase:
            return self._on_noun_phrase(meant)
        if of and phrase.name in ("line", "number", "lot"):  # "the lines of the sculpture"
            return phrase.after + 1
        if self._is_abstract(phrase, of):
            if of:
                return phrase.after + 1
            self._close_link()
            return phrase.after
        if phrase.determiner == "no" or self.negated:
            self._negate(phrase)
            return phrase.after
        if self.link and self.link.verb == "be" and not self.link.predicate and self.link.subjects:
            self._describe(phrase)
            return phrase.after
        added = self._add_object(phrase)
        if phrase.determiner == "whose" and self.group:
            self._own(added)
        else:
            self._relate(added)
        return phrase.after

    def _on_aside(self, phrase: NounPhrase, following: Token | None, of: bool) -> int | None:
        """Read a phrase that names no object of its own and return the index behind it; None for any other phrase."""
        noun = phrase.head.noun
        if self._is_frame(phrase, following) or self._is_the_picture(phrase, following):
            return phrase.after + 1
        if self._is_medium(phrase, following):
            self.styles.append(phrase.name)
            return phrase.after
        asides = (self._is_made_of, self._is_maker, self._is_likeness, self._is_coloring, self._is_side_of)
        if any(is_aside(phrase) for is_aside in asides):
            return phrase.after
        self._split_medium(phrase, following)
        if noun in ("background", "backdrop") or phrase.name.endswith(" background"):
            return self._on_background(phrase, of)
        if noun == "style":
            return self._on_style(phrase, of)
        if self._is_part_of_the_picture(phrase) or self._is_view(phrase, of):
            return phrase.after
        return None

    def _meant(self, phrase: NounPhrase, following: Token | None, of: bool) -> NounPhrase:
        """Return the phrase that is meant: the flowers of "a bunch of flowers", "the city of London" as one; else `phrase`."""
        noun = phrase.head.noun
        if of and (called := self._called(phrase)):
            return called
        if following is not None and following.tag == "I" and (owned := self._kind_of_garment(phrase)):
            return owned
        if of and noun in self.lexicon.grammar["partitive"] and not (noun == "slice" and phrase.attributes):
            inner = read_noun_phrase(self.tokens, phrase.after + 1, self.lexicon)
            if inner and inner.determiner not in ("the", "its", "their", "his", "her"):
                self._merge_partitive(phrase, inner)
                return inner
        return phrase
