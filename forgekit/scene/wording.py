"""Short English for objects and relations: articles, plurals, verb forms."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from forgekit.scene.lexicon import Lexicon, default_lexicon
from forgekit.scene.vocabulary import entry_of

ATTRIBUTE_ORDER = {"size": 0, "state": 1, "shape": 3, "texture": 4, "color": 5, "material": 6}  # any other: 2
BEHIND = ("of", "in", "as", "with", "by", "at", "on", "the")  # inside what follows its noun: "dressed in black"
OPEN = ("like ", "shaped like ", "on the ", "at the ", "a ", "an ", "the ")
VOWEL_SOUND = ("a", "e", "i", "o", "u", "hour", "honest", "heir")
CONSONANT_SOUND = ("uni", "use", "eu", "one", "ufo", "ukulele", "ewe", "usu", "uri", "ura", "uto", "ute")
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


def number_word(count: int | str) -> str:
    """Return "two" for 2; digits above twelve, and a word as it is."""
    words = default_lexicon().tables["count"].items()
    return next((word for word, number in words if number == str(count) and int(number) <= 12), str(count))


def is_many(item: Mapping[str, Any]) -> bool:
    """Say whether an object stands in the plural."""
    return item["count"] != 1


def is_plural_only(name: str, lexicon: Lexicon) -> bool:
    """Say whether a name has no singular: scissors."""
    return name.split()[-1] in lexicon.words["plural"]


def described(item: Mapping[str, Any]) -> str:
    """Return an object's words without article: "small scarlet disc"."""
    attributes = sorted(item["attributes"], key=lambda a: ATTRIBUTE_ORDER.get(a["kind"], 2))
    colors = [a["value"] for a in attributes if a["kind"] == "color"]
    words = [a["value"] for a in attributes if a["kind"] != "color" or a["value"] == colors[0]]
    colors = list(dict.fromkeys(colors))
    said = [" and ".join(colors) if word in colors[:1] else word for word in words if not stands_behind(word)]
    return " ".join([*said, item["name"]])


def stands_behind(value: str) -> bool:
    """Say whether an attribute follows its noun: "a cloud like cotton candy", "a man dressed in black"."""
    return value.startswith(OPEN) or value.endswith(" old") or any(f" {word} " in value for word in BEHIND)


def is_predicate(kind: str, value: str, lexicon: Lexicon) -> bool:
    """Say whether "Is the wall …?" can be asked: not of "a left wall", "a warrior woman", "a heart locket"."""
    if value in lexicon.words["positional"]:
        return False
    if kind == "shape":
        return ("figure", value) not in lexicon.meanings or value == "square"
    return kind != "other" or " " in value or "N" not in entry_of(value, lexicon).tags.replace("U", "N")


def noun_phrase(words: str, count: int | str, lexicon: Lexicon) -> str:
    """Return `words` (ending in a singular noun) with its article or count: "a small disc", "two small discs", "water"."""
    *_, last = ends = words.split()[-2:]
    uncounted = lexicon.is_mass(last) or lexicon.hints(last, "plural") or lexicon.hints(" ".join(ends), "uncounted")
    if uncounted and (count == 1 or isinstance(count, str)):
        return words
    if count == 1:
        return with_article(words)
    many = words if is_plural_only(words, lexicon) else plural(words)
    if isinstance(count, int):
        return f"{number_word(count)} {many}"
    if " " in count:  # "at least three"
        return f"{count} {many}"
    if lexicon.hints(count, "vague", "quantity"):
        return many if count == "some" else f"{count} {many}"
    return f"{with_article(count)} of {many}"


def full(item: Mapping[str, Any], lexicon: Lexicon) -> str:
    """Return one object with its article or count: "a small scarlet disc", "two pink hearts", "Ada Lovelace"."""
    return item.get("called") or noun_phrase(described(item), item["count"], lexicon)


def said_relation(relation: Mapping[str, Any], lexicon: Lexicon) -> str:
    """Return a relation as it is said between two nouns: "to the left of", "sitting on", "holding", "covered in"."""
    predicate, verb, participle = relation["predicate"], relation.get("verb"), relation.get("passive")
    place = lexicon.relations.get(predicate)
    if place:
        went = "going" if predicate == "through" else ""  # nothing "is through" another
        return " ".join(filter(None, [participle or (doing(verb, lexicon) if verb else went), place]))
    said = " ".join([participle, *predicate.split()[1:]]) if participle else doing(predicate, lexicon)
    return f"{said} {relation['particle']}" if "particle" in relation else said


def doing(verb: str, lexicon: Lexicon) -> str:
    """Return "holding" for "hold"; what has a form of its own already ("holding", "covered in") stays."""
    head = verb.split()[0]
    formed = head.endswith(("ing", "ed")) and entry_of(head, lexicon).verb not in ("", head)
    return verb if formed else ing_form(verb)


def shown_style(style: str, lexicon: Lexicon) -> str:
    """Return what a judge can be asked about of a style: "oil painting" of "rough oil painting", nothing of "85mm lens".

    Only styles that the lexicon knows, with what they are not. How the camera stood, what kind of film it held, who is
    imitated and what the renderer is told are kept with the scene, and asked of nobody.
    """
    words = [word for word in style.split() if word not in lexicon.words["technique"]]
    ends = (" ".join(words[start:]) for start in range(len(words)))
    known = next((end for end in ends if ("style", end) in lexicon.meanings), "")
    return "" if known in lexicon.words["unasked_style"] else known


def said_style(style: str, lexicon: Lexicon) -> tuple[str, str]:
    """Return what is said of the image, and a caption: ("in flat style", "a flat style image"), ("a sketch", "a sketch")."""
    style = style.replace("photography", "photograph")
    last = style.split()[-1]
    manner = bool({style, lexicon.concept(style, "style")} & lexicon.words["style_adjective"])
    if last in ("style", "design") or (manner and last == "art"):
        return f"in {style.removesuffix(' style')} style", f"{with_article(style)} image"
    known = ("style", style) in lexicon.meanings or lexicon.hints(last, "picture", "frames")
    if last == "view":
        return f"shown in {style}", with_article(style)
    adjective = entry_of(last, lexicon).tags
    if manner or ("J" in adjective and (not known or "N" not in adjective) and style != "black and white"):
        return f"in {style} style", f"{with_article(style)} style image"
    if not known:
        return f"in the style of {style}", f"an image in the style of {style}"
    noun = f"{style} painting" if style in ("watercolor", "watercolour") else style
    said = noun if noun.split()[-1] in lexicon.words["bare_style"] else with_article(noun)
    return said, said
