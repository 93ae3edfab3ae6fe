"""Short English for objects and relations: articles, plurals, verb forms."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from forgekit.scene.lexicon import Lexicon

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
SAID = {"left of": "to the left of", "right of": "to the right of"}
ATTRIBUTE_ORDER = {
    kind: rank for rank, kind in enumerate(("size", "state", "other", "shape", "texture", "color", "material"))
}
VOWEL_SOUND = ("hour", "honest", "heir")
CONSONANT_SOUND = ("uni", "use", "euro", "one", "ufo", "ukulele", "ewe", "usu")


def with_article(words: str) -> str:
    """Put "a" or "an" before `words`, by sound: "an hour", "a unicorn", "an umbrella"."""
    vowel = words[:1] in "aeiou" and not words.startswith(CONSONANT_SOUND)
    if words.startswith(("unin", "unim", "unid")):
        vowel = True
    return ("an " if vowel or words.startswith(VOWEL_SOUND) else "a ") + words


@lru_cache(maxsize=4096)
def plural(name: str) -> str:
    """Return the plural of a singular name of one or more words: "wine glass" → "wine glasses"."""
    from lemminflect import getInflection

    if " of " in name:
        head, rest = name.split(" of ", 1)
        return f"{plural(head)} of {rest}"
    *before, last = name.split()
    many = "people" if last == "person" else (getInflection(last, tag="NNS", inflect_oov=True) or (last + "s",))[0]
    return " ".join([*before, many])


@lru_cache(maxsize=4096)
def ing_form(verb: str) -> str:
    """Return the -ing form of a verb, a particle kept: "look at" → "looking at"."""
    from lemminflect import getInflection

    head, *rest = verb.split()
    return " ".join([(getInflection(head, tag="VBG", inflect_oov=True) or (head + "ing",))[0], *rest])


def number_word(count: int) -> str:
    """Return "two" for 2; digits above twelve."""
    return NUMBERS[count] if 0 <= count < len(NUMBERS) else str(count)


def is_many(item: dict[str, Any]) -> bool:
    """Say whether an object stands in the plural."""
    return item["count"] != 1


def has_no_article(name: str, lexicon: Lexicon) -> bool:
    """Say whether a name takes no "a": water, scissors."""
    hints = lexicon.grammar["hint"]
    last = name.split()[-1]
    return last in hints["mass"].split() or last in hints["plural"].split()


def is_plural_only(name: str, lexicon: Lexicon) -> bool:
    """Say whether a name has no singular: scissors."""
    return name.split()[-1] in lexicon.grammar["hint"]["plural"].split()


def described(item: dict[str, Any], *, only: tuple[str, ...] = ()) -> str:
    """Return an object's words without article: "small scarlet disc"; `only` keeps some attribute kinds."""
    attributes = [a for a in item["attributes"] if not only or a["kind"] in only]
    attributes.sort(key=lambda a: ATTRIBUTE_ORDER.get(a["kind"], 2))
    colors = [a["value"] for a in attributes if a["kind"] == "color"]
    words = [a["value"] for a in attributes if a["kind"] != "color" or a["value"] == colors[0]]
    words = [
        " and ".join(colors) if colors and word == colors[0] else word for word in words if not stands_behind(word)
    ]
    return " ".join([*words, item["name"]])


def stands_behind(value: str) -> bool:
    """Say whether an attribute follows its noun: "a cloud like cotton candy"."""
    return " of " in value or value.startswith(("like ", "shaped like "))


def noun_phrase(words: str, count: int | str, lexicon: Lexicon) -> str:
    """Return `words` (ending in a singular noun) with its article or count: "a small disc", "two small discs", "water"."""
    if has_no_article(words, lexicon) and (count == 1 or isinstance(count, str)):
        return words
    if count == 1:
        return with_article(words)
    many = words if is_plural_only(words, lexicon) else _plural_words(words)
    if isinstance(count, int):
        return f"{number_word(count)} {many}"
    if count in (
        "some",
        "many",
        "several",
        "few",
        "multiple",
        "various",
        "numerous",
        "countless",
        "both",
        "all",
        "most",
        "other",
    ):
        return many if count == "some" else f"{count} {many}"
    return f"{with_article(count)} of {many}"


def _plural_words(words: str) -> str:
    head, of, rest = words.partition(" of ")
    *before, last = head.split()
    return " ".join([*before, plural(last)]) + of + rest


def said_relation(predicate: str, spatial: frozenset[str]) -> str:
    """Return a predicate as it is said between two nouns: "to the left of", "holding"."""
    if predicate in SAID:
        return SAID[predicate]
    if predicate in spatial or predicate in (
        "with",
        "of",
        "to",
        "at",
        "from",
        "for",
        "like",
        "about",
        "during",
        "without",
        "far from",
    ):
        return predicate
    return ing_form(predicate)
