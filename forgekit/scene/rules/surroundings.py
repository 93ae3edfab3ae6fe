"""What the words around tell of a word whose class is still open (see tagging.py), or that no dictionary has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from forgekit.scene.lexicon import Lexicon
from forgekit.scene.rules.tokens import EDGE, Token, token_at

MOST_WORDS = 60  # looked back at
MOST_OF_TAG = 4  # tokens of a short tag, with its comma
WORDLIKE = re.compile(r"(?!(.)\1)(?=.*[aeiouy]).{3}")


class Place(NamedTuple):
    """A word whose class is still open, and what stands around it."""

    tokens: list[Token]  # those before `at` have their class
    at: int
    token: Token
    before: Token
    following: Token
    second: Token  # behind `following`
    verb_seen: bool  # in this clause
    sensed: bool  # that verb is one of perceiving or causing: "watching a bird fly"
    lexicon: Lexicon
    listing: bool = False  # the text is a list of tags
    noun_follows: bool = False

    @property
    def ends_tag(self) -> bool:
        """Whether the word ends a tag of several words in a list of tags: "…, Y2K aesthetic, …"."""
        return self.listing and self.following.tag == "X" and self.before.tag in ("N", "J", "E", "G")

    @property
    def lists_alone(self) -> bool:
        """Whether the word stands alone between two marks: "…, romantic, …"."""
        return self.before.tag == "X" and self.following.tag == "X"

    @property
    def after(self) -> str:
        """The likeliest class of what follows."""
        return self.following.entry.tags[0]


def lists_tags(tokens: Sequence[Token]) -> bool:
    """Say whether a text is a list of tags, each of which stands for itself: "a cat, rain, neon lights, film grain"."""
    commas = [at for at, token in enumerate(tokens) if token.word == ","]
    if len(commas) < 2 or any(token_at(tokens, at + 1).word in ("and", "or") for at in commas):
        return False
    short = sum(end - start <= MOST_OF_TAG for start, end in pairwise([-1, *commas, len(tokens)]))
    return 2 * short > len(commas) and not any(token.entry.tags == "B" for token in tokens)  # "is", "has": a sentence


def number_before(place: Place) -> str:
    """Return "joined" where the nouns before are two things joined by "and", so that a verb after them is plural,
    "open" where a count above one still waits for its plural ("three umbrella stands"), and "single" behind "a"."""
    tokens, article = place.tokens, False
    for index in range(place.at - 1, max(-1, place.at - MOST_WORDS), -1):
        token = tokens[index]
        if token.word in ("and", "&"):
            if index and tokens[index - 1].tag == "J" and tokens[index + 1].tag == "J":  # "a red and white top"
                continue
            return "joined"
        if token.tag == "Q" and token.word not in ("one", "1", "single"):
            word = place.before.word
            waits = word == place.before.entry.noun and not word.endswith(place.lexicon.endings["same_plural"])
            return "open" if waits else ""
        if token.tag not in "NJDSEG":
            break
        article = article or token.word in ("a", "an")
        if article and place.verb_seen and token.tag == "D" and third_person(place):
            break  # "…, and a small boat heads out"
    return "single" if article else ""


def noun_follows(place: Place) -> bool:
    """Say whether what follows can be, or lead to, a noun that the word belongs to."""
    token, second, lexicon = place.following, place.second, place.lexicon
    tags, after = token.tag or token.entry.tags, second.entry.tags[0]
    if "G" in tags and token.entry.hint != "noun" and after in "PRDS":
        return False  # "a white cross sitting over …", "a portal reading a …"
    if tags == "CN":
        return after not in "DSQ"
    if ("N" not in tags and "J" not in tags) or tags[0] in "PCDBOSKRX":
        return "G" in tags and "N" in tags
    if "E" in tags and "N" not in tags:  # "a conical base illuminated the room"
        return after in "NJEG"
    if "V" in tags and token.word.endswith("s") and after in "DS":
        return False  # "a yellow slicker baits a hook"
    is_verb = "V" in tags and token.entry.hint == "verb" and token.word.endswith("s")
    if is_verb and not lexicon.is_thing(token.noun) and token.word not in lexicon.words["rather_thing"]:
        return after not in "DSPRX"  # "the orange sits on …"
    if tags[0] == "J" and second is not EDGE:  # an adjective needs its own noun: "red is", "red and blue"
        return "N" in tags or any(tag in second.entry.tags for tag in "NJC")
    return True


def first(order: str, tags: str) -> str:
    """Return the first class of `order` that the word may have, else its likeliest."""
    return next((tag for tag in order if tag in tags), tags[0])


def is_finite(token: Token) -> bool:
    """Say whether a word can be the verb of a clause: "is", "stands"."""
    tags = token.entry.tags
    return ("B" in tags or "V" in tags) and ("N" not in tags or token.word.endswith("s"))


def third_person(place: Place) -> bool:
    """Say whether a word is the -s form of a verb; "leaves" and "waves" are rather things."""
    word = place.token.word
    return word.endswith("s") and not word.endswith(("ss", "us")) and word not in place.lexicon.words["rather_thing"]


def looks_plural(token: Token, lexicon: Lexicon) -> bool:
    """Say whether a noun stands in a plural form."""
    word = token.word
    if word.endswith(lexicon.endings["same_plural"]):  # "five goldfish swim"
        return True
    return word.split()[-1] != token.noun.split()[-1] or (word.endswith("s") and not word.endswith(("ss", "us")))


def place_unknown(tokens: list[Token]) -> list[Token]:
    """Settle names, rare nouns, misspellings, noise: a describing word before a noun, else a noun ("a diamond cufflink").

    What is no word at all ("zzunknown") is dropped, save where only a noun can stand: "a small red zzunknown".
    """
    if not any(token.entry.tags == "U" for token in tokens):
        return tokens
    only = not any("N" in token.entry.tags for token in tokens)
    kept: list[Token] = []
    for index, token in enumerate(tokens):
        if token.entry.tags != "U":
            kept.append(token)
            continue
        following = next((t for t in tokens[index + 1 :] if t.entry.tags != "U"), EDGE)
        described = any(tag in following.entry.tags for tag in "NJQY")
        acts = "G" in following.entry.tags and _acts(tokens, index, following)
        lonely = not described and following.entry.tags[0] not in "DS"
        if token.proper or only or acts or (lonely and _phrase_is_open(kept)):
            kept.append(token._replace(tag="N"))
        elif WORDLIKE.match(token.word):
            kept.append(token._replace(tag="J" if described else "N"))
    return kept


def _acts(tokens: list[Token], index: int, following: Token) -> bool:
    """Say whether the -ing form behind an unknown word is what it does: "Gandalf saying …", "a zyx running through …"."""
    after = tokens[index + 2] if tokens[index + 1] is following and index + 2 < len(tokens) else EDGE
    return index == 0 or after.entry.tags[0] in "PRXCDS"


def _phrase_is_open(tokens: list[Token]) -> bool:
    """Say whether `tokens` end inside a noun phrase that has no noun yet: "a small red", not "that is red"."""
    last = len(tokens) - 1
    while last >= 0 and _only_describes(tokens[last]):
        last -= 1
    if last < 0:
        return bool(tokens)
    if tokens[last].word in ("that", "which"):
        return False
    return tokens[last].entry.tags[0] in ("DSQ" if last == len(tokens) - 1 else "DSQPCX")


def _only_describes(token: Token) -> bool:
    entry = token.entry
    return token.tag in ("", "J") and "J" in entry.tags and ("N" not in entry.tags or entry.hint == "thing")
