"""Words with their class, settled from what each can be and what stands around it.

The classes: D determiner, S possessive, Q count, J adjective, N noun, V verb, G -ing form, E participle or past tense,
B form of be / have / modal, R adverb, P preposition or relation, C conjunction, O pronoun, K negation, Y style,
T text to be rendered, I the possessive 's, X punctuation, U unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

from forgekit.scene.lexicon import Entry, Lexicon, split_words
from forgekit.scene.tokens import Token, cut
from forgekit.scene.unknown import place_unknown

_RATHER_THINGS = frozenset(["leaves", "waves", "knives", "lives", "shelves", "glasses", "cookies", "flies"])
_SENSING = frozenset(["watch", "see", "hear", "feel", "make", "let", "help", "notice"])
_SAME_PLURAL = ("sheep", "fish", "deer", "salmon", "trout")
_PARTICLES = frozenset(["up", "down", "out", "off", "away", "back"])
_SHADES = frozenset({"light", "dark", "bright", "pale", "deep"})


def tag_words(text: str, lexicon: Lexicon) -> list[Token]:
    """Return the tokens of `text` with their classes settled. Quoted text is one token of class T."""
    tokens = place_unknown(cut(text, lexicon))
    verb_seen = sensed = False
    for index, token in enumerate(tokens):
        if not token.tag:
            place = _place(tokens, index, verb_seen, sensed)
            token.tag = _settle(place, lexicon)
        if (token.tag == "X" and token.word in ".;!?") or token.word in ("while", "whereas", "but"):
            verb_seen = sensed = False
        elif token.tag in "VBGE":
            verb_seen = verb_seen or token.tag in "VB"
            sensed = token.entry.verb in _SENSING
    return tokens


def _number(tokens: list[Token], index: int) -> str:
    """Return "joined" where the nouns before `index` are two things joined by "and", so that a verb after them is plural,
    "open" where a count above one still waits for its plural ("three umbrella stands"), and "single" behind "a"."""
    article = False
    for place in range(index - 1, -1, -1):
        token = tokens[place]
        if token.word in ("and", "&"):
            if place and tokens[place - 1].tag == "J" and tokens[place + 1].tag == "J":  # "a red and white top"
                continue
            return "joined"
        if token.tag == "Q" and token.word not in ("one", "1", "single"):
            before = tokens[index - 1]
            return "open" if before.word == before.entry.noun and not before.word.endswith(_SAME_PLURAL) else ""
        if token.tag not in "NJDSEG":
            break
        article = article or token.word in ("a", "an")
    return "single" if article else ""


def _noun_follows(following: list[Token], lexicon: Lexicon) -> bool:
    if not following:
        return False
    token = following[0]
    tags = token.tag or token.entry.tags
    if "G" in tags and token.entry.hint != "noun" and len(following) > 1 and following[1].entry.tags[0] in "PRDS":
        return False  # "a white cross sitting over …", "a portal reading a …"
    after = following[1].entry.tags[0] if len(following) > 1 else "X"
    if tags == "CN":
        return after not in "DSQ"
    if not set("NJ") & set(tags) or tags[0] in "PCDBOSKRX":
        return "G" in tags and "N" in tags
    if "E" in tags and "N" not in tags:  # "a conical base illuminated the room"
        return after in "NJEG"
    if (
        "V" in tags
        and token.word.endswith("s")
        and token.entry.hint == "verb"
        and not lexicon.is_thing(token.entry.noun)
        and token.word not in _RATHER_THINGS
    ):  # "the orange sits on …"
        return after not in "DSPRX"
    if tags == "J" or (
        tags[0] == "J" and len(following) > 1
    ):  # an adjective needs its own noun: "red is", "red and blue"
        after = following[1].entry.tags if len(following) > 1 else ""
        return "N" in tags or bool(set("NJC") & set(after)) or following[1:2] == []
    return True


def _is_finite(token: Token) -> bool:
    tags = token.entry.tags
    return bool(set("BV") & set(tags)) and ("N" not in tags or token.word.endswith("s"))


@dataclass(slots=True)
class _Place:
    """A word whose class is still open, and what stands around it."""

    token: Token
    before: Token | None
    following: list[Token]  # the next two
    verb_seen: bool  # in this clause
    sensed: bool  # that verb is one of perceiving or causing: "watching a bird fly"
    number: str  # see `_number`
    predicative: bool  # the word before is an adjective said of a subject: "is white …"
    noun_follows: bool = False


def _place(tokens: list[Token], index: int, verb_seen: bool, sensed: bool) -> _Place:
    before = tokens[index - 1] if index else None
    predicative = index > 1 and before.tag == "J" and tokens[index - 2].tag == "B"
    number = _number(tokens, index)
    return _Place(tokens[index], before, tokens[index + 1 : index + 3], verb_seen, sensed, number, predicative)


def _settle(place: _Place, lexicon: Lexicon) -> str:
    token, before, following = place.token, place.before, place.following
    tags = token.entry.tags
    if token.word in ("that", "which") and following and _is_finite(following[0]):
        return "O"
    if token.word == "her" and (not following or following[0].entry.tags[0] in "XPC"):
        return "O"  # "behind her", but "her hat"
    before_thing = split_words(lexicon.grammar["hint"]["before_thing"])
    if tags == "G" and before and before.word in before_thing and _noun_follows(following, lexicon):
        return "J"  # "in shining armor", but "by holding hands"
    if len(tags) == 1:
        return tags
    if tags == "RN":  # "on its back", "looks back"
        return "N" if before and before.tag in "DSJ" else "R"
    if tags == "BN":  # "a can of soda", "she can"
        return "N" if before and before.tag in "DSQJN" and before.tag != "N" else "B"
    if tags == "CN":  # "a red plus", "a cat plus a dog"
        return "N" if before and before.tag in "DSQJ" else "C"
    if token.word in _SHADES and following and following[0].entry.kind == "color":  # "a light white bathroom"
        return "J"
    place.noun_follows = _noun_follows(following, lexicon)
    if tags == "NQ":  # pair, dozen: a count before a noun, a noun before "of"
        return "Q" if place.noun_follows else "N"
    return _by_what_stands_before(place, before.tag if before else "X", lexicon)


def _by_what_stands_before(place: _Place, previous: str, lexicon: Lexicon) -> str:
    entry, noun_follows = place.token.entry, place.noun_follows
    tags = entry.tags
    makes_compound = noun_follows and "N" in place.following[0].entry.tags and not place.following[0].entry.kind
    acts = previous == "N" and lexicon.is_living(place.before.noun)  # "a chef cutting bread", "a wooden cutting board"
    if entry.hint == "compound" and makes_compound and not acts and previous in "DSQJNXCP":
        return "N"
    if (
        previous == "J"
        and place.predicative
        and _third_person(place.token)
        and entry.hint == "verb"
        and not noun_follows
    ):
        return "V"  # "a man whose beard is white holds a lamp"
    if previous in "DSQJIK":
        return _inside_phrase(place, lexicon)
    if previous == "N":
        return _after_noun(place)
    if previous == "B" and entry.kind and "J" in tags:
        return "J"
    if previous == "B":
        return next((tag for tag in "GEJNV" if tag in tags), tags[0])
    if previous == "O" and "V" in tags:
        return "V"
    if previous == "R":
        order = "JNGEV" if noun_follows else "GEJVN" if entry.hint == "verb" else "GEJNV"
        return next((tag for tag in order if tag in tags), tags[0])
    if previous == "P":
        return _after_preposition(place, lexicon)
    if previous in "VGE" and "G" in tags and "N" not in tags:
        return "J" if "J" in tags and previous != "G" else "G"
    if previous == "T" and "V" in tags and entry.hint == "verb":  # 'a sign reading "OPEN" glows'
        return "V"
    return _where_a_clause_begins(place, lexicon)


def _after_preposition(place: _Place, lexicon: Lexicon) -> str:
    entry, before, following = place.token.entry, place.before, place.following
    # "to beat their record", "to pick up a stone"
    takes_object = bool(following) and (following[0].entry.tags[0] in "DS" or following[0].word in _PARTICLES)
    if before.word == "to" and "V" in entry.tags and (entry.hint == "verb" or "N" not in entry.tags or takes_object):
        return "V"
    if "G" in entry.tags and not (entry.hint in ("noun", "compound") and "N" in entry.tags):
        describes = lexicon.hints(before.word, "before_thing")
        return "J" if place.noun_follows and describes else "G"
    return _inside_phrase(place, lexicon)


def _where_a_clause_begins(place: _Place, lexicon: Lexicon) -> str:
    token, before, following = place.token, place.before, place.following
    entry = token.entry
    resumes = before is not None and before.word == "," and following and following[0].entry.tags[0] in "DSQ"
    runs_on = place.verb_seen or resumes
    after = following[0].entry.tags[0] if following else "X"
    is_verb = "V" in entry.tags and entry.hint == "verb"
    if is_verb and runs_on and _third_person(token) and after in "DSPRXJQ":
        return "V"
    acts = place.verb_seen and before is not None and before.word == "and" and after in "DS"
    if "G" in entry.tags and (entry.hint != "noun" or acts):  # "stands on a ladder and painting a wall"
        return "G"
    if is_verb and before is not None and before.word in ("but", "then") and _third_person(token) and after in "PRX":
        return "V"  # "but lies on …"
    if is_verb and before is None and after in "DS":
        return "V"  # an instruction: "draw a cat"
    return _inside_phrase(place, lexicon)


def _inside_phrase(place: _Place, lexicon: Lexicon) -> str:
    entry, following, noun_follows = place.token.entry, place.following, place.noun_follows
    tags = entry.tags
    things = lexicon.grammar["hint"]["thing_before"]
    if entry.hint == "thing" and noun_follows and following[0].word in things.split():
        return "N"
    order = "JEGNV" if noun_follows else "NJEGV"
    if not noun_follows and len(following) > 1 and _lists_adjectives(entry, following):
        order = "JN"
    return next((tag for tag in order if tag in tags), tags[0])


def _lists_adjectives(entry: Entry, following: list[Token]) -> bool:
    """Say whether more adjectives of the same noun follow: "a red and white", "the crisp, golden"."""
    joint, after = following[0].word, following[1].entry
    if joint == "and" and entry.kind == "color":
        return entry.hint != "thing" or "J" in after.tags
    plain = "N" not in after.tags or bool(after.kind)  # "a silver, square sink", not "an orange, broken egg"
    adjective = bool(entry.kind) and (entry.hint != "thing" or plain)
    return joint == "," and adjective and "J" in after.tags


def _after_noun(place: _Place) -> str:
    entry, following = place.token.entry, place.following
    tags = entry.tags
    if "G" in tags:  # "oil painting", but "a robot painting a portrait"
        takes_object = bool(following) and following[0].entry.tags[0] in "DS"
        return "N" if entry.hint == "noun" and not takes_object else "G"
    if "E" in tags:
        return "E"
    if "V" in tags and "N" in tags:
        return _verb_or_noun(place)
    if tags == "JN" and (not following or following[0].tag == "X"):  # "keeping the cattle safe"
        return "J"
    return next((tag for tag in "NVJR" if tag in tags), tags[0])


def _verb_or_noun(place: _Place) -> str:
    token, before, following, number = place.token, place.before, place.following, place.number
    if number == "open":
        return "N"
    if number == "single" and _third_person(token) and not _looks_plural(before) and not place.noun_follows:
        return "V"  # "a kettle boils on …": "a" opens no plural
    takes_object = bool(following) and following[0].entry.tags[0] in "DSQ"
    if token.entry.hint == "verb" and _third_person(token) and _looks_plural(before) and takes_object:
        return "V"  # "a tiger who wears shoes holds a sock"
    may_be_verb = (not place.verb_seen or number == "joined") and _third_person(token)
    if may_be_verb and _opens_object(token, before, following, number):
        return "V"
    plural = number == "joined" or _looks_plural(before)
    agrees = plural != token.word.endswith("s") or token.word in ("lay", "cast")  # past forms
    after = following[0].entry.tags[0] if following else "X"
    if number == "joined" and after in "XC":  # "a vase and a photo frame"
        agrees = False
    if place.sensed and token.entry.hint == "verb" and token.word == token.entry.verb:
        return "V"  # "watching a bird fly through the sky"
    return "V" if agrees and (token.entry.hint == "verb" or after in "DS") else "N"


def _third_person(token: Token) -> bool:
    """Say whether a word is the -s form of a verb; "leaves" and "waves" are rather things."""
    return token.word.endswith("s") and not token.word.endswith(("ss", "us")) and token.word not in _RATHER_THINGS


def _opens_object(token: Token, before: Token, following: list[Token], number: str) -> bool:
    """Say whether an -s form after a noun is the clause's verb, though it agrees with a noun further ahead or none is known.

    "a chair with blue legs stands in …", "a cup sits here, and a notebook lies to …", "a barista steams milk".
    """
    after = following[0].entry.tags[0] if following else "X"
    if token.entry.hint == "verb" and (number == "joined" or _looks_plural(before)):
        return after in "DSQPR" or (after == "X" and _looks_plural(before))
    return not _looks_plural(before) and number != "joined" and after in "NJ" and "V" not in following[0].entry.tags


def _looks_plural(token: Token) -> bool:
    word = token.word
    if word.endswith(_SAME_PLURAL):  # "five goldfish swim"
        return True
    return word.split()[-1] != token.noun.split()[-1] or (word.endswith("s") and not word.endswith(("ss", "us")))
