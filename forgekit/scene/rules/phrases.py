"""Noun phrases: determiner, count, attributes and noun read off a run of classed tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from forgekit.scene.lexicon import Lexicon
from forgekit.scene.rules.numbers import in_figures
from forgekit.scene.rules.tokens import ROMAN, Token, token_at

YEAR = re.compile(r"(18|19|20)\d\d")  # "a red 1997 Ford"
MOST_WORDS = 60  # of a noun phrase; who lists more adjectives than that does not mean one thing
MOST_NESTED = 12  # phrases that have their noun from the next one
Attribute = tuple[str, str]  # kind, value


class NounPhrase(NamedTuple):
    """A noun with all that stands before it. `after` is the index of the first token behind it."""

    name: str
    head: Token
    start: int
    end: int
    after: int
    determiner: str = ""
    number: int | str | None = None  # how many: the word itself where it is no number
    attributes: tuple[Attribute, ...] = ()
    called: str = ""  # how a name is said: "Ada Lovelace", "the Great Wall"

    @property
    def plural(self) -> bool:
        """Whether the noun stands in a plural form."""
        return self.head.word.split()[-1] != self.head.noun.split()[-1]

    @property
    def values(self) -> list[str]:
        """What its attributes say."""
        return [value for _, value in self.attributes]

    @property
    def words(self) -> str:
        """The noun with its attributes before it."""
        return " ".join([*self.values, self.name])

    @property
    def numbered(self) -> bool:
        """Whether a determiner or a count opens it."""
        return bool(self.determiner or self.number)


def read_noun_phrase(tokens: Sequence[Token], index: int, lexicon: Lexicon, depth: int = 0) -> NounPhrase | None:
    """Return the noun phrase that begins at `index`, or None where none does."""
    first, parts = index, _Parts()
    while index < min(len(tokens), first + MOST_WORDS) and parts.take(tokens, index, lexicon):
        index += 1
    if not parts.nouns:
        return _elliptic(tokens, first, index, parts, lexicon, depth)
    if len(parts.nouns) > 1 and _measures(parts, lexicon):
        parts.number, parts.nouns = None, parts.nouns[1:]
    head, name = parts.nouns[-1], parts.name(lexicon)
    start = next(t for t in tokens[first:] if t.tag != "X").start
    called = parts.called(lexicon)
    bare = not (parts.determiner or parts.attributes or parts.number) and head.entry.tags == "U"
    if bare and name == head.word and token_at(tokens, first - 1).tag == "P" and not lexicon.is_mass(name):
        called = called or name  # "over cappadocia": a place as like as not, and no "a cappadocia"
    before = parts.determiner, parts.number, tuple(parts.attributes)
    return NounPhrase(name, head, start, head.end, index, *before, called)


def _measures(parts: _Parts, lexicon: Lexicon) -> bool:
    """Say whether the number is of what the first noun measures: one flat in "a two bedroom flat", one hatchback of five doors."""
    head, several = parts.nouns[-1], isinstance(parts.number, int) and parts.number > 1
    singular = head.word == head.noun and not head.word.endswith(("s", *lexicon.endings["same_plural"]))
    return several and singular and not lexicon.is_mass(head.noun)


def _elliptic(
    tokens: Sequence[Token], first: int, index: int, parts: _Parts, lexicon: Lexicon, depth: int
) -> NounPhrase | None:
    """Return the first phrase of "one brown and one white animal", which has its noun from the second; else None."""
    opened = parts.attributes and (parts.determiner or parts.number)
    goes_on = token_at(tokens, index).word == "and" and token_at(tokens, index + 1).tag in "DQ"
    if not opened or not goes_on or depth == MOST_NESTED:
        return None
    whole = read_noun_phrase(tokens, index + 1, lexicon, depth + 1)
    if whole is None or not whole.attributes:
        return None
    start, end, number = tokens[first].start, tokens[index - 1].end, parts.number or 1
    return NounPhrase(whole.name, whole.head, start, end, index, parts.determiner, number, tuple(parts.attributes))


@dataclass(slots=True)
class _Parts:
    """What a noun phrase has so far."""

    determiner: str = ""
    number: int | str | None = None
    attributes: list[Attribute] = field(default_factory=list)
    nouns: list[Token] = field(default_factory=list)

    def take(self, tokens: Sequence[Token], index: int, lexicon: Lexicon) -> bool:
        """Take the token at `index`; False where it is no part of the phrase."""
        token = tokens[index]
        if token.tag == "N":
            self.nouns.append(token)
            return True
        take = self._take_inside if self.nouns else self._take_before_noun
        return take(tokens, index, lexicon)

    def _take_inside(self, tokens: Sequence[Token], index: int, lexicon: Lexicon) -> bool:
        token = tokens[index]
        between = tokens[index - 1].tag == "N" == token_at(tokens, index + 1).tag
        model = token.tag == "Q" and token.word.isdigit() and self.nouns[-1].proper  # "a Porsche 911"
        named = self.nouns[-1].proper and token.tag == "J" and _is_name_part(tokens, index)
        if model or named or (token.tag == "J" and between and "N" in token.entry.tags):
            self.nouns.append(token)
            return True
        framed = token.tag == "E" and "V" not in token.entry.tags and self.determiner in ("a", "an")
        framed = framed and token_at(tokens, index + 2).tag != "N"  # "a wood framed mirror"
        if between and token.tag in "EG" and (framed or token.word in lexicon.words["participle"]):
            self.attributes.append(("state", f"{self.nouns.pop().word} {token.word}"))
            return True
        return False

    def _take_before_noun(self, tokens: Sequence[Token], index: int, lexicon: Lexicon) -> bool:
        token = tokens[index]
        tag = token.tag
        if tag in "DS" or (tag == "K" and token.word == "no"):
            if self.determiner or self.attributes:
                return False
            self.determiner = token.word
        elif tag == "Q":
            if not YEAR.fullmatch(token.word):
                self.number = _number(token.word, lexicon)
        elif tag == "J" and _is_name_part(tokens, index):
            self.nouns.append(token)
        elif tag == "J" and (token.word in lexicon.words["no_attribute"] or _is_quality(tokens, index, lexicon)):
            return True
        elif tag == "J":
            self.attributes.append((token.entry.kind or "other", token.value or token.word))
        elif tag in "EG" and token.word in lexicon.words["sure"]:
            return True
        elif tag in "EG" and _modifies(tokens, index):
            self.attributes.append(("state", token.word))
        else:
            return self._passes_over(tokens, index)
        return True

    def _passes_over(self, tokens: Sequence[Token], index: int) -> bool:
        """Say whether the token says nothing itself and the phrase goes on behind it: "very red", "soft, fluffy"."""
        token = tokens[index]
        if token.tag == "R":
            return token_at(tokens, index + 1).tag in "JRE"
        joint = token.word in (",", "and", "or", "&") and bool(self.attributes)
        if token.word == "," and _is_own_tag(tokens, index):  # "a bag, dark brown, brass buckles"
            return False
        return token.tag == "Y" or (joint and _more_attributes(tokens, index))

    def name(self, lexicon: Lexicon) -> str:
        """Return the noun with the nouns that make a compound with it; colours, materials and shapes become attributes."""
        *before, head = self.nouns
        is_name = bool(before) and self.number is None and all(noun.proper for noun in self.nouns[1:])
        word = head.word if is_name and (before[0].proper or before[0].capital) else head.noun  # "Sherlock Holmes"
        name = ["glass" if head.word == "glasses" and (before or self.number) else word]
        living = bool(before) and not is_name and lexicon.is_living(head.noun)
        for noun in reversed(before):
            kind = noun.entry.kind
            if noun.word in ("style", "century", "era"):  # "an anime style girl"
                continue
            if living and len(name) == 1 and lexicon.is_living(noun.noun):  # "a warrior woman"
                self.attributes.append(("other", noun.word))
            elif noun.entry.hint == "thing" and kind == "color" and head.noun in lexicon.words["thing_kind"]:
                name.insert(0, noun.word)  # "orange trees"
            elif kind in ("material", "color", "shape") and len(name) == 1:
                self.attributes.append((kind, noun.word))
            else:
                name.insert(0, noun.word)
        return " ".join(name)

    def called(self, lexicon: Lexicon) -> str:
        """Return the phrase as a name, in capitals, where it is one; "" for things."""
        first, last = self.nouns[0], self.nouns[-1]
        sole, in_capitals = len(self.nouns) == 1, first.proper or last.proper
        if sole and last.word in lexicon.words["planets"] and not self.determiner:
            return last.word.title()
        if not (in_capitals or first.capital or last.entry.tags == "U"):  # most
            return ""
        plural = last.word != last.noun and (sole or not last.proper)
        if self.determiner not in ("", "the") or self.number is not None or plural:
            return ""
        in_capitals = in_capitals and all(noun.proper or noun.capital for noun in self.nouns)
        unknown = not self.determiner and all(noun.entry.tags == "U" for noun in self.nouns)
        if sole:  # "Gandalf", "Paris"
            is_name = (unknown and (first.capital or first.proper)) or (in_capitals and not lexicon.is_thing(last.noun))
        else:
            is_name = in_capitals or unknown
        if not is_name or (first.capital and lexicon.is_thing(last.noun) and not last.proper):
            return ""
        said = " ".join(_capitalised(noun) for noun in self.nouns)
        with_article = self.determiner or lexicon.hints(last.word.split()[-1], "over_water")
        return f"the {said}" if with_article else said


def _is_name_part(tokens: Sequence[Token], index: int) -> bool:
    """Say whether an adjective in capitals begins a name: "New York", "the Great Wall", not "a White Persian cat"."""
    token, following = tokens[index], token_at(tokens, index + 1)
    capital = token.proper or (token.capital and token.entry.tags == "U")
    return capital and following.proper and following.tag in "NJ" and token.entry.kind != "color"


def _is_quality(tokens: Sequence[Token], index: int, lexicon: Lexicon) -> bool:
    """Say whether an adjective is about how well the thing is drawn: "highly detailed skin", "high detailed skin"."""
    word, following = tokens[index].word, token_at(tokens, index + 1).word
    return word in lexicon.words["sure"] or (word in lexicon.words["quality"] and following in lexicon.words["sure"])


def _is_own_tag(tokens: Sequence[Token], comma: int) -> bool:
    """Say whether only adjectives stand between two commas, the second of which is at `comma`."""
    at = comma - 1
    while token_at(tokens, at).tag in ("J", "R", "E"):
        at -= 1
    return token_at(tokens, at).word == ","


def _capitalised(token: Token) -> str:
    if ROMAN.fullmatch(token.word):
        return token.word.upper()
    return token.word.title().replace(" Of ", " of ") if token.proper or token.capital else token.word


def _modifies(tokens: Sequence[Token], index: int) -> bool:
    """Say whether the -ing form or participle at `index` belongs to a noun behind it: "a running dog"."""
    previous = token_at(tokens, index - 1).tag
    if token_at(tokens, index + 1).tag not in "NJEG":
        return False
    return previous in "DSQJRK" or (previous in "XCP" and tokens[index].tag == "E")


def _more_attributes(tokens: Sequence[Token], index: int) -> bool:
    """Say whether the comma or "and" at `index` joins adjectives of one noun: "soft, fluffy pillows"."""
    if tokens[index].word == "," and token_at(tokens, index + 1).word == "and":
        index += 1
    for token in tokens[index + 1 : index + MOST_WORDS]:
        if token.tag in "NEG":
            return tokens[index + 1].tag in "JEGR"
        if token.tag not in "JR" and token.word not in (",", "and"):
            return False
    return False


def _number(word: str, lexicon: Lexicon) -> int | str:
    number = word if word.isdecimal() else lexicon.tables["count"].get(word)
    return word if number is None else in_figures(number)
