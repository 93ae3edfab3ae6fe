"""Words with their class, settled from what each can be and what stands around it.

The classes: D determiner, S possessive, Q count, J adjective, N noun, V verb, G -ing form, E participle or past tense,
B form of be / have / modal, R adverb, P preposition or relation, C conjunction, O pronoun, K negation, Y style,
T text to be rendered, I the possessive 's, X punctuation, U unknown.
"""

from __future__ import annotations

from typing import NamedTuple

from forgekit.scene.framing import set_apart
from forgekit.scene.lexicon import Lexicon
from forgekit.scene.numbers import join_numbers
from forgekit.scene.tokens import EDGE, Token
from forgekit.scene.unknown import place_unknown


def tag_words(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    """Return the tokens of a text (see tokens.py) with their classes settled; some are joined, some left out."""
    tokens = place_unknown(set_apart(join_numbers(tokens, lexicon), lexicon))
    ahead = [*tokens[1:], EDGE, EDGE]
    verb_seen = sensed = False
    for index, token in enumerate(tokens):
        if not token.tag:
            before, following, second = tokens[index - 1] if index else EDGE, ahead[index], ahead[index + 1]
            place = _Place(tokens, index, token, before, following, second, verb_seen, sensed, lexicon)
            token = tokens[index] = token._replace(tag=_settle(place))
        if (token.tag == "X" and token.word in ".;!?") or token.word in ("while", "whereas", "but"):
            verb_seen = sensed = False
        elif token.tag in "VBGE":
            verb_seen = verb_seen or token.tag in "VB"
            sensed = token.entry.verb in lexicon.words["causing"]
    return tokens


class _Place(NamedTuple):
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
    noun_follows: bool = False

    @property
    def lists_alone(self) -> bool:
        """Whether the word stands alone between two marks: "…, romantic, …"."""
        return self.before.tag == "X" and self.following.tag == "X"

    @property
    def after(self) -> str:
        """The likeliest class of what follows."""
        return self.following.entry.tags[0]


def _settle(place: _Place) -> str:
    token, before, following = place.token, place.before, place.following
    tags, previous = token.entry.tags, before.tag
    if tags == "DO":  # "that stands", "that dog"
        return "O" if token.word == "which" or _is_finite(following) else "D"
    if tags == "SO":  # "behind her", but "her hat"
        return "O" if place.after in "XPC" else "S"
    if tags == "RN":  # "on its back", "looks back"
        return "N" if previous in "DSJ" else "R"
    if tags in ("BN", "CN"):  # "a can of soda", "she can"; "a red plus", "a cat plus a dog"
        return "N" if previous in "DSQJ" else tags[0]
    if tags == "G":  # "in shining armor", but "by holding hands"
        return "J" if before.word in place.lexicon.words["before_thing"] and _noun_follows(place) else "G"
    if token.word in place.lexicon.words["shade"] and following.entry.kind == "color":  # "a light white bathroom"
        return "J"
    if len(tags) == 1:
        return tags
    if place.lists_alone and (only := _alone(place)):
        return only
    if token.proper and previous == "N" and (before.proper or before.capital) and following.proper:  # "Ha Long Bay"
        return _first("NJ", tags)
    place = place._replace(noun_follows=_noun_follows(place))
    if tags == "NQ":  # pair, dozen: a count before a noun, a noun before "of"
        return "Q" if place.noun_follows else "N"
    return _by_what_stands_before(place, previous)


def _alone(place: _Place) -> str:
    """Return the class of a word alone between marks: no thing where it describes ("romantic", "polished"); "" to go on."""
    entry, only = place.token.entry, len(place.tokens) <= 2
    if only or entry.kind or entry.hint == "thing" or place.lexicon.is_thing(entry.noun):
        return ""
    if "J" in entry.tags and "N" in entry.tags:
        return "N" if place.lexicon.is_living(entry.noun) else "J"
    doing = "G" in entry.tags and entry.hint != "verb"
    return "J" if doing or "E" in entry.tags else ""


def _by_what_stands_before(place: _Place, previous: str) -> str:
    token, following, noun_follows = place.token, place.following, place.noun_follows
    tags, hint = token.entry.tags, token.entry.hint
    if hint == "compound" and previous in "DSQJNXCP":  # "a wooden cutting board", but "a chef cutting bread"
        makes_compound = noun_follows and "N" in following.entry.tags and not following.entry.kind
        if makes_compound and not (previous == "N" and place.lexicon.is_living(place.before.noun)):
            return "N"
    predicative = previous == "J" and place.at > 1 and place.tokens[place.at - 2].tag == "B"
    if predicative and hint == "verb" and not noun_follows and _third_person(place):
        return "V"  # "a man whose beard is white holds a lamp"
    if previous in "DSQJIK":
        return _inside_phrase(place)
    if previous == "N":
        return _after_noun(place)
    if previous == "B":
        return "J" if token.entry.kind and "J" in tags else _first("GEJNV", tags)
    if previous == "O" and "V" in tags:
        return "V"
    helped = place.at > 1 and place.tokens[place.at - 2].entry.verb not in ("", "be")
    if previous == "R" and helped and place.tokens[place.at - 2].tag == "B" and token.word == token.entry.verb:
        return "V"  # "does not cross"
    if previous == "R":
        return _first("JNGEV" if noun_follows else "GEJVN" if hint == "verb" else "GEJNV", tags)
    if previous == "P":
        return _after_preposition(place)
    if previous in "VGE" and "G" in tags and "N" not in tags:
        return "J" if "J" in tags and previous != "G" else "G"
    if previous == "T" and "V" in tags and hint == "verb":  # 'a sign reading "OPEN" glows'
        return "V"
    return _where_a_clause_begins(place)


def _after_preposition(place: _Place) -> str:
    entry, before = place.token.entry, place.before
    # "to beat their record", "to pick up a stone"
    takes_object = place.after in "DS" or place.following.word in place.lexicon.words["particle"]
    if before.word == "to" and "V" in entry.tags and (entry.hint == "verb" or "N" not in entry.tags or takes_object):
        return "V"
    if "G" in entry.tags and not (entry.hint in ("noun", "compound") and "N" in entry.tags):
        return "J" if place.noun_follows and before.word in place.lexicon.words["before_thing"] else "G"
    return _inside_phrase(place)


def _where_a_clause_begins(place: _Place) -> str:
    entry, before, after = place.token.entry, place.before.word, place.after
    is_verb = "V" in entry.tags and entry.hint == "verb"
    runs_on = place.verb_seen or (before == "," and after in "DSQ")
    if is_verb and runs_on and after in "DSPRXJQ" and _third_person(place):
        return "V"
    acts = place.verb_seen and before == "and" and after in "DS"
    if "G" in entry.tags and (entry.hint != "noun" or acts):  # "stands on a ladder and painting a wall"
        return "G"
    if is_verb and before in ("but", "then") and after in "PRX" and _third_person(place):
        return "V"  # "but lies on …"
    if is_verb and place.at == 0 and after in "DS":
        return "V"  # an instruction: "draw a cat"
    return _inside_phrase(place)


def _inside_phrase(place: _Place) -> str:
    entry = place.token.entry
    if "G" in entry.tags and place.before.entry.kind and place.after in "DS" and entry.hint not in ("noun", "compound"):
        return "G"  # "a woman in red holding an umbrella"
    if entry.hint == "noun" and place.noun_follows and "N" in entry.tags and "G" in entry.tags:
        return "N"  # "lighting effect"
    if place.noun_follows:
        is_thing = entry.hint == "thing" and place.following.word in place.lexicon.words["thing_before"]
        return "N" if is_thing else _first("JEGNV", entry.tags)
    return _first("JN" if _lists_adjectives(place) else "NJEGV", entry.tags)


def _lists_adjectives(place: _Place) -> bool:
    """Say whether more adjectives of the same noun follow: "a red and white", "the crisp, golden"."""
    entry, joint, after = place.token.entry, place.following.word, place.second.entry
    if joint == "and" and entry.kind == "color" and place.second is not EDGE:
        return entry.hint != "thing" or "J" in after.tags
    plain = "N" not in after.tags or bool(after.kind)  # "a silver, square sink", not "an orange, broken egg"
    adjective = bool(entry.kind) and (entry.hint != "thing" or plain)
    return joint == "," and adjective and "J" in after.tags


def _after_noun(place: _Place) -> str:
    entry, tags = place.token.entry, place.token.entry.tags
    if "G" in tags:  # "oil painting", but "a robot painting a portrait"
        return "N" if entry.hint == "noun" and place.after not in "DS" else "G"
    if "E" in tags:
        return "E"
    if "V" in tags and "N" in tags:
        return _verb_or_noun(place)
    if tags == "JN" and place.following.tag == "X":  # "keeping the cattle safe"
        return "J"
    return _first("NVJR", tags)


def _verb_or_noun(place: _Place) -> str:
    token, after, number = place.token, place.after, _number(place)
    third, plural = _third_person(place), _looks_plural(place.before, place.lexicon)
    is_verb = token.entry.hint == "verb"
    if number == "open":
        return "N"
    if number == "single" and third and not plural and not place.noun_follows:
        return "V"  # "a kettle boils on …": "a" opens no plural
    if is_verb and third and plural and after in "DSQ":
        return "V"  # "a tiger who wears shoes holds a sock"
    if third and (not place.verb_seen or number == "joined") and _opens_object(place, number, plural):
        return "V"
    if place.sensed and is_verb and token.word == token.entry.verb:
        return "V"  # "watching a bird fly through the sky"
    if number == "joined" and after in "XC":  # "a vase and a photo frame"
        return "N"
    agrees = (number == "joined" or plural) != token.word.endswith("s") or token.word == "cast"  # a past form
    return "V" if agrees and (is_verb or after in "DS") else "N"


def _opens_object(place: _Place, number: str, plural: bool) -> bool:
    """Say whether an -s form after a noun is the clause's verb, though it agrees with a noun further ahead or none is known.

    "a chair with blue legs stands in …", "a cup sits here, and a notebook lies to …", "a barista steams milk".
    """
    after = place.after
    if place.token.entry.hint == "verb" and (number == "joined" or plural):
        return after in "DSQPR" or (after == "X" and plural)
    return not plural and number != "joined" and after in "NJ" and "V" not in place.following.entry.tags


def _number(place: _Place) -> str:
    """Return "joined" where the nouns before are two things joined by "and", so that a verb after them is plural,
    "open" where a count above one still waits for its plural ("three umbrella stands"), and "single" behind "a"."""
    tokens, article = place.tokens, False
    for index in range(place.at - 1, -1, -1):
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
    return "single" if article else ""


def _noun_follows(place: _Place) -> bool:
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
    is_verb = "V" in tags and token.entry.hint == "verb" and token.word.endswith("s")
    if is_verb and not lexicon.is_thing(token.noun) and token.word not in lexicon.words["rather_thing"]:
        return after not in "DSPRX"  # "the orange sits on …"
    if tags[0] == "J" and second is not EDGE:  # an adjective needs its own noun: "red is", "red and blue"
        return "N" in tags or any(tag in second.entry.tags for tag in "NJC")
    return True


def _first(order: str, tags: str) -> str:
    """Return the first class of `order` that the word may have, else its likeliest."""
    return next((tag for tag in order if tag in tags), tags[0])


def _is_finite(token: Token) -> bool:
    tags = token.entry.tags
    return ("B" in tags or "V" in tags) and ("N" not in tags or token.word.endswith("s"))


def _third_person(place: _Place) -> bool:
    """Say whether a word is the -s form of a verb; "leaves" and "waves" are rather things."""
    word = place.token.word
    return word.endswith("s") and not word.endswith(("ss", "us")) and word not in place.lexicon.words["rather_thing"]


def _looks_plural(token: Token, lexicon: Lexicon) -> bool:
    word = token.word
    if word.endswith(lexicon.endings["same_plural"]):  # "five goldfish swim"
        return True
    return word.split()[-1] != token.noun.split()[-1] or (word.endswith("s") and not word.endswith(("ss", "us")))
