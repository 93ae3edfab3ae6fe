"""Short English for objects and relations: articles, plurals, verb forms."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from forgekit.scene.lexicon import Lexicon, default_lexicon

ATTRIBUTE_ORDER = {"size": 0, "state": 1, "shape": 3, "texture": 4, "color": 5, "material": 6}  # any other: 2
VOWEL_SOUND = ("a", "e", "i", "o", "u", "hour", "honest", "heir")
CONSONANT_SOUND = ("uni", "use", "euro", "one", "ufo", "ukulele", "ewe", "usu")
NO_CONSONANT_SOUND = ("unin", "unim", "unid")


def with_article(words: str) -> str:
    """Put "a" or "an" before `words`, by sound: "an hour", "a unicorn", "an umbrella"."""
    sound = words.lower()
    consonant = sound.startswith(CONSONANT_SOUND) and not sound.startswith(NO_CONSONANT_SOUND)
    return ("an " if sound.startswith(VOWEL_SOUND) and not consonant else "a ") + words


@lru_cache(maxsize=4096)
def plural(name: str) -> str:
    """Return the plural of a singular name of one or more words: "wine glass" → "wine glasses"."""
    from lemminflect import getInflection

    name, of, rest = name.partition(" of ")
    *before, last = name.split()
    many = "people" if last == "person" else (getInflection(last, tag="NNS", inflect_oov=True) or (last + "s",))[0]
    return " ".join([*before, many]) + of + rest


@lru_cache(maxsize=4096)
def ing_form(verb: str) -> str:
    """Return the -ing form of a verb, a particle kept: "look at" → "looking at"."""
    from lemminflect import getInflection

    head, *rest = verb.split()
    return " ".join([(getInflection(head, tag="VBG", inflect_oov=True) or (head + "ing",))[0], *rest])


def number_word(count: int) -> str:
    """Return "two" for 2; digits above twelve."""
    words = default_lexicon().tables["count"].items()
    return next((word for word, number in words if number == str(count) and count <= 12), str(count))


def is_many(item: dict[str, Any]) -> bool:
    """Say whether an object stands in the plural."""
    return item["count"] != 1


def is_plural_only(name: str, lexicon: Lexicon) -> bool:
    """Say whether a name has no singular: scissors."""
    return name.split()[-1] in lexicon.words["plural"]


def described(item: dict[str, Any], *, only: tuple[str, ...] = ()) -> str:
    """Return an object's words without article: "small scarlet disc"; `only` keeps some attribute kinds."""
    attributes = [a for a in item["attributes"] if not only or a["kind"] in only]
    attributes.sort(key=lambda a: ATTRIBUTE_ORDER.get(a["kind"], 2))
    colors = [a["value"] for a in attributes if a["kind"] == "color"]
    words = [a["value"] for a in attributes if a["kind"] != "color" or a["value"] == colors[0]]
    said = [" and ".join(colors) if word in colors[:1] else word for word in words if not stands_behind(word)]
    return " ".join([*said, item["name"]])


def stands_behind(value: str) -> bool:
    """Say whether an attribute follows its noun: "a cloud like cotton candy"."""
    return " of " in value or value.startswith(("like ", "shaped like "))


def noun_phrase(words: str, count: int | str, lexicon: Lexicon) -> str:
    """Return `words` (ending in a singular noun) with its article or count: "a small disc", "two small discs", "water"."""
    if lexicon.hints(words.split()[-1], "mass", "plural") and (count == 1 or isinstance(count, str)):
        return words
    if count == 1:
        return with_article(words)
    many = words if is_plural_only(words, lexicon) else plural(words)
    if isinstance(count, int):
        return f"{number_word(count)} {many}"
    if lexicon.hints(count, "vague", "quantity"):
        return many if count == "some" else f"{count} {many}"
    return f"{with_article(count)} of {many}"


def said_relation(predicate: str, lexicon: Lexicon) -> str:
    """Return a predicate as it is said between two nouns: "to the left of", "holding"."""
    return lexicon.relations.get(predicate) or ing_form(predicate)
