"""Noun phrases: determiner, count, attributes and noun read off a run of classed tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from forgekit.scene.lexicon import Lexicon
from forgekit.scene.tokens import Token

YEAR = re.compile(r"(18|19|20)\d\d")  # "a red 1997 Ford"
COVERED = frozenset(["covered", "filled", "lined", "topped", "capped", "tiled"])  # "snow covered mountains"
Attribute = tuple[str, str]  # kind, value


@dataclass(slots=True)
class NounPhrase:
    """A noun with all that stands before it. `after` is the index of the first token behind it."""

    name: str
    head: Token
    start: int
    end: int
    after: int
    determiner: str = ""
    count: int | str | None = None
    attributes: list[Attribute] = field(default_factory=list)

    @property
    def plural(self) -> bool:
        """Whether the noun stands in a plural form."""
        return self.head.word.split()[-1] != self.head.noun.split()[-1]


def read_noun_phrase(tokens: list[Token], index: int, lexicon: Lexicon) -> NounPhrase | None:
    """Return the noun phrase that begins at `index`, or None where none does."""
    first, parts = index, _Parts()
    while index < len(tokens) and parts.take(tokens, index, lexicon):
        index += 1
    if not parts.nouns:
        return _elliptic(tokens, first, index, parts, lexicon)
    head, name = parts.nouns[-1], parts.name()
    start = next(t for t in tokens[first:] if t.tag != "X").start
    return NounPhrase(name, head, start, head.end, index, parts.determiner, parts.count, parts.attributes)


def _elliptic(tokens: list[Token], first: int, index: int, parts: _Parts, lexicon: Lexicon) -> NounPhrase | None:
    """Return the first phrase of "one brown and one white animal", which has its noun from the second; else None."""
    opened = parts.attributes and (parts.determiner or parts.count)
    if not opened or index + 1 >= len(tokens) or tokens[index].word != "and" or tokens[index + 1].tag not in "DQ":
        return None
    whole = read_noun_phrase(tokens, index + 1, lexicon)
    if whole is None or not whole.attributes:
        return None
    start, end = tokens[first].start, tokens[index - 1].end
    return NounPhrase(whole.name, whole.head, start, end, index, parts.determiner, parts.count or 1, parts.attributes)


@dataclass(slots=True)
class _Parts:
    """What a noun phrase has so far."""

    determiner: str = ""
    count: int | str | None = None
    attributes: list[Attribute] = field(default_factory=list)
    nouns: list[Token] = field(default_factory=list)

    def take(self, tokens: list[Token], index: int, lexicon: Lexicon) -> bool:
        """Take the token at `index`; False where it is no part of the phrase."""
        token = tokens[index]
        if token.tag == "N":
            self.nouns.append(token)
            return True
        return self._take_inside(tokens, index) if self.nouns else self._take_before_noun(tokens, index, lexicon)

    def _take_inside(self, tokens: list[Token], index: int) -> bool:
        token = tokens[index]
        between = index + 1 < len(tokens) and tokens[index - 1].tag == "N" == tokens[index + 1].tag
        model = token.tag == "Q" and token.word.isdigit() and self.nouns[-1].proper  # "a Porsche 911"
        if model or (token.tag == "J" and between and "N" in token.entry.tags):
            self.nouns.append(token)
        elif token.tag in "EG" and ((between and token.word in COVERED) or _inside(tokens, index, self.determiner)):
            self.attributes.append(("state", f"{self.nouns.pop().word} {token.word}"))
        else:
            return False
        return True

    def _take_before_noun(self, tokens: list[Token], index: int, lexicon: Lexicon) -> bool:
        token = tokens[index]
        tag = token.tag
        if tag in "DS" or (tag == "K" and token.word == "no"):
            if self.determiner or self.attributes:
                return False
            self.determiner = token.word
        elif tag == "Q":
            if not YEAR.fullmatch(token.word):
                self.count = _count(token, lexicon)
        elif tag == "J":
            self.attributes.append((token.entry.kind or "other", token.value or token.word))
        elif tag in "EG" and _modifies(tokens, index):
            self.attributes.append(("state", token.word))
        else:
            return self._passes_over(tokens, index)
        return True

    def _passes_over(self, tokens: list[Token], index: int) -> bool:
        """Say whether the token says nothing itself and the phrase goes on behind it: "very red", "soft, fluffy"."""
        token = tokens[index]
        if token.tag == "R":
            return index + 1 < len(tokens) and tokens[index + 1].tag in "JRE"
        joint = token.word in (",", "and", "or", "&") and bool(self.attributes)
        return token.tag == "Y" or (joint and _more_attributes(tokens, index))

    def name(self) -> str:
        """Return the noun with the nouns that make a compound with it; colours, materials and shapes become attributes."""
        *before, head = self.nouns
        name = ["glass" if head.word == "glasses" and (before or self.count) else head.noun]
        for noun in reversed(before):
            kind = noun.entry.kind
            if kind in ("material", "color", "shape") and len(name) == 1:
                self.attributes.append((kind, noun.word))
            else:
                name.insert(0, noun.word)
        return " ".join(name)


def _inside(tokens: list[Token], index: int, determiner: str) -> bool:
    """Say whether the participle at `index` stands inside a phrase: "a wood framed mirror"."""
    token = tokens[index]
    return (
        token.tag == "E"
        and bool(determiner)
        and tokens[index - 1].tag == "N"
        and index + 1 < len(tokens)
        and tokens[index + 1].tag == "N"
        and not (index + 2 < len(tokens) and tokens[index + 2].tag == "N")
        and "V" not in tokens[index].entry.tags
        and determiner in ("a", "an")
    )


def _modifies(tokens: list[Token], index: int) -> bool:
    """Say whether the -ing form or participle at `index` belongs to a noun behind it: "a running dog"."""
    previous = tokens[index - 1].tag if index else "X"
    if index + 1 >= len(tokens) or tokens[index + 1].tag not in "NJEG":
        return False
    return previous in "DSQJR" or (previous in "XCP" and tokens[index].tag == "E") or previous == "K"


def _more_attributes(tokens: list[Token], index: int) -> bool:
    """Say whether the comma or "and" at `index` joins adjectives of one noun: "soft, fluffy pillows"."""
    if index + 1 < len(tokens) and tokens[index].word == "," and tokens[index + 1].word == "and":
        index += 1
    for token in tokens[index + 1 :]:
        if token.tag in "NEG":
            return tokens[index + 1].tag in "JEGR"
        if token.tag not in "JR" and token.word not in (",", "and"):
            return False
    return False


def _count(token: Token, lexicon: Lexicon) -> int | str | None:
    if token.word.isdigit():
        return int(token.word)
    return lexicon.grammar["count"].get(token.word, token.word)
