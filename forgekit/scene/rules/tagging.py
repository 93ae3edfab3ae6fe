"""Words with their class, settled from what each can be and what stands around it.

The classes: D determiner, S possessive, Q count, J adjective, N noun, V verb, G -ing form, E participle or past tense,
B form of be / have / modal, R adverb, P preposition or relation, C conjunction, O pronoun, K negation, Y style,
T text to be rendered, I the possessive 's, X punctuation, U unknown.
"""

from __future__ import annotations

from forgekit.scene.lexicon import Lexicon
from forgekit.scene.rules.framing import set_apart
from forgekit.scene.rules.numbers import join_numbers
from forgekit.scene.rules.surroundings import (
    Place,
    first,
    is_finite,
    lists_tags,
    looks_plural,
    noun_follows,
    number_before,
    place_unknown,
    third_person,
)
from forgekit.scene.rules.tokens import EDGE, Token


def tag_words(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    """Return the tokens of a text (see tokens.py) with their classes settled; some are joined, some left out."""
    tokens = place_unknown(set_apart(join_numbers(tokens, lexicon), lexicon))
    ahead = [*tokens[1:], EDGE, EDGE]
    verb_seen = sensed = False
    listing = lists_tags(tokens)
    for index, token in enumerate(tokens):
        if not token.tag:
            before, following, second = tokens[index - 1] if index else EDGE, ahead[index], ahead[index + 1]
            place = Place(tokens, index, token, before, following, second, verb_seen, sensed, lexicon, listing)
            token = tokens[index] = token._replace(tag=_settle(place))
        if (token.tag == "X" and token.word in ".;!?") or token.word in ("while", "whereas", "but"):
            verb_seen = sensed = False
        elif token.tag in "VBGE":
            verb_seen = verb_seen or token.tag in "VB"
            sensed = token.entry.verb in lexicon.words["causing"]
    return tokens


def _settle(place: Place) -> str:
    token, before, following = place.token, place.before, place.following
    tags, previous = token.entry.tags, before.tag
    if tags == "DO":  # "that stands", "that dog"
        return "O" if token.word == "which" or is_finite(following) else "D"
    if tags == "SO":  # "behind her", but "her hat"
        return "O" if place.after in "XPC" else "S"
    if tags == "RN":  # "on its back", "looks back"
        return "N" if previous in "DSJ" else "R"
    if tags in ("BN", "CN"):  # "a can of soda", "she can"; "a red plus", "a cat plus a dog"
        inside = previous in "DSQJ" or (tags == "BN" and previous == "N" and place.after in "EXPC")  # "a drink can"
        return "N" if inside else tags[0]
    if tags == "G":  # "in shining armor", but "by holding hands"
        if place.lists_alone and (only := _alone(place)):
            return only
        tag_of_two = previous == "X" == place.second.entry.tags and not place.lexicon.hints(token.entry.verb, "agent")
        if token.entry.hint == "compound" and (previous in "DSQJPC" or tag_of_two) and noun_follows(place):
            return "N"  # "a vending machine"
        describes = before.word in place.lexicon.words["before_thing"] or _is_tag(place)
        return "J" if describes and noun_follows(place) else "G"
    if token.word in place.lexicon.words["shade"] and following.entry.kind == "color":  # "a light white bathroom"
        return "J"
    if token.word in place.lexicon.words["shade_noun"]:  # "a neon sign"
        return "N"
    if token.word == "shot" and previous in "NJ" and (following.tag == "X" or following.word == "of"):
        return "N"  # "beauty shot"
    if place.lists_alone and (only := _alone(place)):
        return only
    may_be_noun = place.ends_tag and "N" in tags and "E" not in tags and token.entry.kind != "color"
    if may_be_noun and not place.lexicon.is_living(before.noun):
        return "N"  # "crumpled cloth", "sports drink"
    if token.proper and previous == "N" and (before.proper or before.capital) and following.proper:  # "Ha Long Bay"
        return first("NJ", tags)
    place = place._replace(noun_follows=noun_follows(place))
    return _by_what_stands_before(place, previous)


def _is_tag(place: Place) -> bool:
    """Say whether an -ing form behind a comma describes what follows: "…, glowing eyes, …", not "…, holding flowers"."""
    if place.before.word != "," or place.verb_seen or place.following.tag in ("D", "S", "Q"):
        return False
    hints, verb = place.lexicon.hints, place.token.entry.verb
    return not hints(verb, "agent") or hints(verb, "intransitive")


def _alone(place: Place) -> str:
    """Return the class of a word alone between marks: no thing where it describes ("romantic", "polished"); "" to go on."""
    entry, only = place.token.entry, len(place.tokens) <= 2
    if only or entry.kind or entry.hint == "thing" or place.lexicon.is_thing(entry.noun):
        return ""
    if "J" in entry.tags and "N" in entry.tags:  # "minimalist", "scandinavian"
        return "N" if place.lexicon.hints(entry.noun, "people") else "J"
    doing = "G" in entry.tags and entry.hint != "verb"
    return "J" if doing or "E" in entry.tags else ""


def _by_what_stands_before(place: Place, previous: str) -> str:
    token, following, noun_follows = place.token, place.following, place.noun_follows
    tags, hint = token.entry.tags, token.entry.hint
    lists = "DSQJNCP" if place.verb_seen else "DSQJNXCP"
    if hint == "compound" and previous in lists:  # "a wooden cutting board", but "a chef cutting bread"
        makes_compound = noun_follows and "N" in following.entry.tags and not following.entry.kind
        if makes_compound and not (previous == "N" and place.lexicon.is_living(place.before.noun)):
            return "N"
    predicative = previous == "J" and place.at > 1 and place.tokens[place.at - 2].tag == "B"
    if predicative and hint == "verb" and not noun_follows and third_person(place):
        return "V"  # "a man whose beard is white holds a lamp"
    if previous in "DSQJIK":
        return _inside_phrase(place)
    if previous == "N":
        return _after_noun(place)
    if previous == "B":
        return "J" if token.entry.kind and "J" in tags else first("GEJNV", tags)
    if previous == "O" and "V" in tags:
        return "V"
    helped = place.at > 1 and place.tokens[place.at - 2].entry.verb not in ("", "be")
    if previous == "R" and helped and place.tokens[place.at - 2].tag == "B" and token.word == token.entry.verb:
        return "V"  # "does not cross"
    if previous == "R":
        return first("JNGEV" if noun_follows else "GEJVN" if hint == "verb" else "GEJNV", tags)
    if previous == "P":
        return _after_preposition(place)
    if previous in "VGE" and "G" in tags and "N" not in tags:
        return "J" if "J" in tags and previous != "G" else "G"
    if previous == "T" and "V" in tags and hint == "verb":  # 'a sign reading "OPEN" glows'
        return "V"
    return _where_a_clause_begins(place)


def _after_preposition(place: Place) -> str:
    entry, before = place.token.entry, place.before
    # "to beat their record", "to pick up a stone"
    takes_object = place.after in "DSO" or place.following.word in place.lexicon.words["particle"]
    if before.word == "to" and "V" in entry.tags and (entry.hint == "verb" or "N" not in entry.tags or takes_object):
        return "V"
    if "G" in entry.tags and not (entry.hint in ("noun", "compound") and "N" in entry.tags):
        return "J" if place.noun_follows and before.word in place.lexicon.words["before_thing"] else "G"
    return _inside_phrase(place)


def _where_a_clause_begins(place: Place) -> str:
    entry, before, after = place.token.entry, place.before.word, place.after
    is_verb = "V" in entry.tags and entry.hint == "verb"
    if is_verb and before == "," and after == "P" and third_person(place) and _after_aside(place):
        return "V"
    runs_on = place.verb_seen or (before == "," and after in "DSQ")
    if is_verb and runs_on and after in "DSPRXJQ" and third_person(place):
        return "V"
    acts = place.verb_seen and before == "and" and after in "DS"
    if acts and "V" in entry.tags and third_person(place):
        return "V"  # "leans out and hands a burrito to …"
    if "G" in entry.tags and _is_tag(place) and noun_follows(place):
        return "J"
    if "G" in entry.tags and (entry.hint != "noun" or acts):  # "stands on a ladder and painting a wall"
        return "G"
    if is_verb and before in ("but", "then") and after in "PRX" and third_person(place):
        return "V"  # "but lies on …"
    if is_verb and place.at == 0 and after in "DS":
        return "V"  # an instruction: "draw a cat"
    return _inside_phrase(place)


def _after_aside(place: Place) -> bool:
    """Say whether the word stands behind an aside between commas: "a case, covered in stickers, stands between …"."""
    at = next((at for at in range(place.at - 2, -1, -1) if place.tokens[at].tag == "X"), 0)
    return place.tokens[at].word == "," and place.tokens[at + 1].tag in "GE"


def _inside_phrase(place: Place) -> str:
    entry = place.token.entry
    if place.before.word in ("one", "ones") and "G" in entry.tags and place.after in "DS":
        return "G"  # "the smallest one holding …"
    if place.before.word in ("one", "another") and "V" in entry.tags and third_person(place):
        return "V"  # "another scrubs the deck"
    other = place.before.word == "other" and place.tokens[place.at - 2].word == "the" and entry.hint == "verb"
    if other and third_person(place) and place.after in "DSPR":
        return "V"  # "the other looks for her"
    if "G" in entry.tags and place.before.entry.kind and place.after in "DS" and entry.hint not in ("noun", "compound"):
        return "G"  # "a woman in red holding an umbrella"
    if entry.hint == "noun" and place.noun_follows and "N" in entry.tags and "G" in entry.tags:
        return "N"  # "lighting effect"
    if place.noun_follows:
        is_thing = entry.hint == "thing" and place.following.word in place.lexicon.words["thing_before"]
        return "N" if is_thing else first("JEGNV", entry.tags)
    return first("JN" if _lists_adjectives(place) else "NJEGV", entry.tags)


def _lists_adjectives(place: Place) -> bool:
    """Say whether more adjectives of the same noun follow: "a red and white", "the crisp, golden"."""
    entry, joint, after = place.token.entry, place.following.word, place.second.entry
    if joint == "and" and entry.kind == "color" and place.second is not EDGE:
        return entry.hint != "thing" or "J" in after.tags
    plain = "N" not in after.tags or bool(after.kind)  # "a silver, square sink", not "an orange, broken egg"
    adjective = bool(entry.kind) and (entry.hint != "thing" or plain)
    return joint == "," and adjective and "J" in after.tags


def _after_noun(place: Place) -> str:
    entry, tags = place.token.entry, place.token.entry.tags
    if "G" in tags:  # "oil painting", but "a robot painting a portrait"
        return "N" if entry.hint == "noun" and place.after not in "DS" else "G"
    if "E" in tags:
        return "E"
    if "V" in tags and "N" in tags:
        return _verb_or_noun(place)
    if tags == "JN" and place.following.tag == "X":  # "keeping the cattle safe"
        return "J"
    return first("NVJR", tags)


def _verb_or_noun(place: Place) -> str:
    token, after, number = place.token, place.after, number_before(place)
    third, plural = third_person(place), looks_plural(place.before, place.lexicon)
    is_verb = token.entry.hint == "verb"
    if number == "open" or (number != "single" and token.word in place.lexicon.words["rather_thing"] and after in "XC"):
        return "N"
    if plural and _follows_plural(place):
        return "V"
    same_participle = token.word in place.lexicon.words["same_participle"]
    if same_participle and place.following.word in ("for", "in", "on", "into", "at", "with"):
        return "E"  # "a table set for four"
    if number == "single" and third and not plural and not place.noun_follows:
        return "V"  # "a kettle boils on …": "a" opens no plural
    if third and (not place.verb_seen or number == "joined") and _opens_object(place, number, plural):
        return "V"
    if number == "" and not place.verb_seen and third and not plural and place.following.word == ",":
        return "N"  # "…, stage lights, …"
    if place.sensed and is_verb and token.word == token.entry.verb:
        return "V"  # "watching a bird fly through the sky"
    if number == "joined" and after in "XC":  # "a vase and a photo frame"
        return "N"
    agrees = (number == "joined" or plural) != token.word.endswith("s") or token.word == "cast"  # a past form
    if token.word.endswith("ss"):  # "a mountain pass blocked by a boulder"
        agrees = not agrees
    return "V" if agrees and (is_verb or after in "DS") else "N"


def _follows_plural(place: Place) -> bool:
    """Say whether the word behind a plural is its verb: no compound begins with a plural ("waterfalls tumble over …")."""
    token, before, is_verb = place.token, place.before, place.token.entry.hint == "verb"
    capital = before.proper or before.capital or token.proper or token.entry.kind
    if capital or before.noun in place.lexicon.words["plural"] or token.entry.hint in ("noun", "compound", "thing"):
        return False
    if third_person(place):  # the subject stands further ahead: "a man with flowers carries …"
        return place.after in "DS" or ((is_verb or not place.verb_seen) and place.after in "QPR")
    return (before.word.endswith("s") and place.after in "DSQPRO") or (is_verb and place.after in "XC")


def _opens_object(place: Place, number: str, plural: bool) -> bool:
    """Say whether an -s form after a noun is the clause's verb, though it agrees with a noun further ahead or none is known.

    "a chair with blue legs stands in …", "a cup sits here, and a notebook lies to …", "a barista steams milk".
    """
    after = place.after
    if place.token.entry.hint == "verb" and (number == "joined" or plural):
        return after in "DSQPR" or (after == "X" and plural)
    return not plural and number != "joined" and after in "NJ" and "V" not in place.following.entry.tags
