"""Noun phrases: determiner, count, attributes and noun read off a run of classed tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

from forgekit.scene.lexicon import Lexicon
from forgekit.scene.tagging import Token
from forgekit.scene.vocabulary import entry_of

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
    first, size = index, len(tokens)
    determiner, count = "", None
    attributes: list[Attribute] = []
    nouns: list[Token] = []
    while index < size:
        token = tokens[index]
        tag = token.tag
        if tag == "N":
            nouns.append(token)
        elif nouns:
            if (
                tag == "J"
                and index + 1 < size
                and tokens[index + 1].tag == "N"
                and tokens[index - 1].tag == "N"
                and "N" in token.entry.tags
            ):
                nouns.append(token)
            elif tag in "EG" and token.end - token.start and _inside(tokens, index, determiner):
                attributes.append(_attribute(nouns.pop(), token))
            else:
                break
        elif tag in "DS" or (tag == "K" and token.word == "no"):
            if determiner or attributes:
                break
            determiner = token.word
        elif tag == "Q":
            count = _count(token, lexicon)
        elif tag == "J":
            attributes.append((token.entry.kind or "other", token.value or token.word))
        elif tag in "EG" and _modifies(tokens, index):
            attributes.append(("state", token.word))
        elif (
            (tag == "R" and index + 1 < size and tokens[index + 1].tag in "JRE")
            or (token.word in (",", "and", "or", "&") and attributes and _more_attributes(tokens, index))
            or tag == "Y"
        ):
            pass
        else:
            break
        index += 1
    if not nouns:
        return None
    head = nouns.pop()
    name = ["glass" if head.word == "glasses" and (nouns or count) else head.noun]
    for noun in reversed(nouns):
        kind = noun.entry.kind
        if kind and len(name) == 1 and kind in ("material", "color", "shape"):
            attributes.append((kind, noun.word))
        else:
            name.insert(0, noun.word)
    start = next(t for t in tokens[first:] if t.tag != "X").start
    return NounPhrase(" ".join(name), head, start, head.end, index, determiner, count, attributes)


def _attribute(noun: Token, participle: Token) -> Attribute:
    return "state", f"{noun.word} {participle.word}"


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


def noun_entry(word: str, lexicon: Lexicon) -> str:
    """Return the lemma of one noun."""
    return entry_of(word, lexicon).noun or word
