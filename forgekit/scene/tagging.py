"""Words with their class, settled from what each can be and what stands around it.

The classes: D determiner, S possessive, Q count, J adjective, N noun, V verb, G -ing form, E participle or past tense,
B form of be / have / modal, R adverb, P preposition or relation, C conjunction, O pronoun, K negation, Y style,
T text to be rendered, I the possessive 's, X punctuation, U unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from forgekit.scene.lexicon import Entry, Lexicon, Phrase
from forgekit.scene.vocabulary import entry_of, phrases_from

TOKEN = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*|'s\b|[^\w\s]")
QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”|‘([^’]+)’|(?<!\w)\'((?:[^\']|(?<=\w)\'(?=\w))+)\'(?!\w)|「([^」]+)」')
COUNTED = re.compile(r"(\d{1,2})([a-z]{3,})")  # tags like "2girls"
WORDLIKE = re.compile(r"(?!(.)\1)(?=.*[aeiouy]).{3}")
PUNCTUATION = Entry("X")
POSSESSIVE = Entry("I")
TEXT = Entry("T")


@dataclass(slots=True)
class Token:
    """A word or phrase of the text: lower-case `word`, its class, the value of a phrase, where it stands."""

    word: str
    start: int
    end: int
    entry: Entry
    tag: str = ""
    value: str = ""
    proper: bool = False  # capitalised inside a sentence

    @property
    def noun(self) -> str:
        """The lemma as a noun: "mice" → "mouse"."""
        return self.entry.noun or self.word


def tag_words(text: str, lexicon: Lexicon) -> list[Token]:
    """Return the tokens of `text` with their classes settled. Quoted text is one token of class T."""
    tokens = _join_phrases(_tokenise(text, lexicon), lexicon)
    tokens = _place_unknown(tokens)
    verb_seen = False
    for index, token in enumerate(tokens):
        if not token.tag:
            before = tokens[index - 1] if index else None
            token.tag = _settle(
                token, before, tokens[index + 1 : index + 3], verb_seen, _number(tokens, index), lexicon
            )
        if (token.tag == "X" and token.word in ".;!?") or token.word in ("while", "whereas", "but"):
            verb_seen = False
        elif token.tag in "VB":
            verb_seen = True
    return tokens


def quoted_texts(text: str) -> list[re.Match[str]]:
    """Return the quotations inside `text`; a quotation that is the whole text is no text to render."""
    if '"' not in text and "'" not in text and not set("“‘「") & set(text):
        return []
    found = list(QUOTED.finditer(text))
    if len(found) == 1 and found[0].group().strip() == text.strip():
        return []
    return found


def _tokenise(text: str, lexicon: Lexicon) -> list[Token]:
    tokens: list[Token] = []
    quotes = quoted_texts(text)
    skip_until = -1
    for match in TOKEN.finditer(text):
        start, end = match.span()
        if start < skip_until:
            continue
        if quotes and start == quotes[0].start():
            quote = quotes.pop(0)
            inner = next(group for group in quote.groups() if group)
            tokens.append(Token(inner, start, quote.end(), TEXT, "T"))
            skip_until = quote.end()
            continue
        raw = match.group()
        word = raw.lower().replace("’", "'")
        if not (word[0].isalnum() or word == "'s"):
            tokens.append(Token(word, start, end, PUNCTUATION if word not in "&+" else Entry("C"), "X"))
            continue
        proper = raw[0].isupper() and bool(tokens) and tokens[-1].word not in ".!?:"
        if parts := _parts_of(word, lexicon):
            for offset, part in parts:
                tokens.append(Token(part, start + offset, start + offset + len(part), entry_of(part, lexicon)))
            continue
        if word.endswith("'s") and word not in lexicon.entries:
            if len(word) > 2:
                tokens.append(Token(word[:-2], start, end - 2, entry_of(word[:-2], lexicon), proper=proper))
            tokens.append(Token("'s", end - 2, end, POSSESSIVE, "I"))
            continue
        tokens.append(Token(word, start, end, entry_of(word, lexicon), proper=proper))
    return tokens


def _parts_of(word: str, lexicon: Lexicon) -> list[tuple[int, str]]:
    """Return the words in "black-and-white" and "1girl" with their places, [] for a word that is one."""
    if "-and-" in word:
        first, _, second = word.partition("-and-")
        if entry_of(first, lexicon).kind == "color" == (entry_of(second, lexicon).kind if second else ""):
            return [(0, first), (len(first) + 1, "and"), (len(first) + 5, second)]
    if word[0].isdigit() and (match := COUNTED.fullmatch(word)) and "N" in entry_of(match[2], lexicon).tags:
        return [(0, match[1]), (len(match[1]), match[2])]
    return []


def _join_phrases(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    joined: list[Token] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        end = 0
        for phrase in phrases_from(token.word, lexicon):
            end = _match(phrase, tokens, index)
            if end and _phrase_fits(phrase, joined, tokens, end):
                value = phrase.value.split(":", 1)
                kind = value[0] if len(value) == 2 and phrase.tag == "J" else ""
                entry = Entry(phrase.tag, noun=value[-1], kind=kind)
                last = tokens[end - 1]
                word = " ".join([*phrase.words[:-1], last.word])
                joined.append(Token(word, token.start, last.end, entry, phrase.tag, value[-1], token.proper))
                break
            end = 0
        if not end:
            joined.append(token)
        index = end or index + 1
    return joined


def _match(phrase: Phrase, tokens: list[Token], index: int) -> int:
    """Return the index after `phrase` at `index`, passing over unknown words inside it, or 0."""
    last = len(phrase.words) - 1
    for position, word in enumerate(phrase.words):
        while position and index < len(tokens) and tokens[index].entry.tags == "U":
            index += 1
        if index == len(tokens):
            return 0
        token = tokens[index]
        if token.word != word and not (position == last and phrase.tag == "N" and _plural_of(token, word)):
            return 0
        index += 1
    return index


def _plural_of(token: Token, word: str) -> bool:
    return token.entry.noun == word or token.word in (word + "s", word + "es")


def _phrase_fits(phrase: Phrase, before: list[Token], tokens: list[Token], end: int) -> bool:
    """A style word counts as style alone in its segment or before "of" / "style"; else it is the noun or adjective it looks like."""
    if phrase.tag != "Y":
        return True
    previous = next((t for t in reversed(before) if t.entry.tags != "U"), None)
    following = next((t for t in tokens[end:] if t.entry.tags != "U"), None)
    opens = (
        previous is None or previous.tag in ("X", "Y") or previous.word in ("in", "and", "a", "an", "style", "as", "of")
    )
    closes = (
        following is None or following.entry.tags == "X" or following.word in ("of", "style", "and", "with", "without")
    )
    if len(phrase.words) > 1 and following is not None and following.word == "of" and not _has_verb(before):
        return True  # "an isometric 3d render of"
    if len(before) > 1 and before[-1].word in ("in", "with") and before[-2].entry.verb in ("cover", "fill"):
        return False  # "covered in graffiti"
    if previous is not None and previous.word in ("a", "an"):
        closes = following is not None and following.word in ("of", "style", "showing", "depicting")
        opens = len(before) == 1 or before[-2].tag in ("X", "Y")
    return opens and closes


def _has_verb(tokens: list[Token]) -> bool:
    return any(set("VB") & set(token.entry.tags) and "N" not in token.entry.tags for token in tokens)


def _place_unknown(tokens: list[Token]) -> list[Token]:
    """Settle the words that no dictionary has: a describing word before a noun, else a noun ("a diamond cufflink").

    What is no word at all ("zzunknown") is dropped, save where only a noun can stand: "a small red zzunknown".
    """
    if not any(token.entry.tags == "U" for token in tokens):
        return tokens
    only = not any("N" in token.entry.tags for token in tokens)
    kept: list[Token] = []
    for index, token in enumerate(tokens):
        if token.entry.tags == "U":
            following = next((t for t in tokens[index + 1 :] if t.entry.tags != "U"), None)
            described = following is not None and bool(set("NJQ") & set(following.entry.tags))
            lonely = not described and not (following is not None and following.entry.tags[0] in "DS")
            if token.proper or only or (lonely and _phrase_is_open(kept)):
                token.tag = "N"
            elif not WORDLIKE.match(token.word):
                continue
            else:
                token.tag = "J" if described else "N"
        kept.append(token)
    return kept


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


def _number(tokens: list[Token], index: int) -> str:
    """Return "joined" where the nouns before `index` are two things joined by "and", so that a verb after them is plural,
    and "open" where a count above one still waits for its plural: "three umbrella stands"."""
    for token in reversed(tokens[:index]):
        if token.word in ("and", "&"):
            return "joined"
        if token.tag == "Q" and token.word not in ("one", "1", "single"):
            before = tokens[index - 1]
            return "open" if before.word == before.entry.noun and before.word not in ("sheep", "fish", "deer") else ""
        if token.tag not in "NJDSEG":
            return ""
    return ""


def _noun_follows(following: list[Token], lexicon: Lexicon) -> bool:
    if not following:
        return False
    token = following[0]
    tags = token.tag or token.entry.tags
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


def _settle(
    token: Token, before: Token | None, following: list[Token], verb_seen: bool, number: str, lexicon: Lexicon
) -> str:
    tags, entry = token.entry.tags, token.entry
    if token.word in ("that", "which") and following and _is_finite(following[0]):
        return "O"
    if tags == "G" and before and before.word in _PLACING and _noun_follows(following, lexicon):
        return "J"  # "in shining armor", but "by holding hands"
    if len(tags) == 1:
        return tags
    if tags == "BN":  # "a can of soda", "she can"
        return "N" if before and before.tag in "DSQJN" and before.tag != "N" else "B"
    if tags == "CN":  # "a red plus", "a cat plus a dog"
        return "N" if before and before.tag in "DSQJ" else "C"
    if token.word in _SHADES and following and following[0].entry.kind == "color":  # "a light white bathroom"
        return "J"
    if tags == "NQ":  # pair, dozen: a count before a noun, a noun before "of"
        return "Q" if _noun_follows(following, lexicon) else "N"
    previous = before.tag if before else "X"
    noun_follows = _noun_follows(following, lexicon)
    if entry.hint == "compound" and noun_follows and "N" in tags + "N" and previous in "DSQJNXCP":
        return "N"
    if previous in "DSQJIK":
        return _inside_phrase(tags, noun_follows, entry, following)
    if previous == "N":
        return _after_noun(token, before, following, number, verb_seen)
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
        if before.word == "to" and "V" in tags and (entry.hint == "verb" or "N" not in tags):
            return "V"
        if "G" in tags and not (entry.hint in ("noun", "compound") and "N" in tags):
            return "J" if noun_follows and before.word in _PLACING else "G"
        return _inside_phrase(tags, noun_follows, entry, following)
    if previous in "VGE" and "G" in tags and "N" not in tags:
        return "J" if "J" in tags and previous != "G" else "G"
    if previous == "T" and "V" in tags and entry.hint == "verb":  # 'a sign reading "OPEN" glows'
        return "V"
    resumes = before is not None and before.word == "," and following and following[0].entry.tags[0] in "DSQ"
    finite = "V" in tags and token.word.endswith("s") and entry.hint == "verb" and (verb_seen or resumes)
    if finite and (not following or following[0].entry.tags[0] in "DSPRX"):
        return "V"
    if "G" in tags and entry.hint != "noun":
        return "G"
    if "V" in tags and entry.hint == "verb" and before is None and following and following[0].entry.tags[0] in "DS":
        return "V"  # an instruction: "draw a cat"
    return _inside_phrase(tags, noun_follows, entry, following)


def _inside_phrase(tags: str, noun_follows: bool, entry: Entry, following: list[Token]) -> str:
    if entry.hint == "thing" and noun_follows and following[0].word in _THING_BEFORE:
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
    return joint == "," and adjective and bool(set("JE") & set(after.tags))


def _after_noun(token: Token, before: Token, following: list[Token], number: str, verb_seen: bool) -> str:
    tags, entry = token.entry.tags, token.entry
    if "G" in tags:
        return "N" if entry.hint == "noun" else "G"
    if "E" in tags:
        return "E"
    if "V" in tags and "N" in tags:
        if number == "open":
            return "N"
        if (
            (not verb_seen or number == "joined")
            and _third_person(token)
            and _opens_object(token, before, following, number)
        ):
            return "V"
        plural = number == "joined" or _looks_plural(before)
        agrees = plural != token.word.endswith("s") or token.word in ("lay", "cast")  # past forms

        after = following[0].entry.tags[0] if following else "X"
        if number == "joined" and after in "XC":  # "a vase and a photo frame"
            agrees = False
        if agrees and (entry.hint == "verb" or after in "DS"):
            return "V"
        return "N"
    if tags == "JN" and (not following or following[0].tag == "X"):  # "keeping the cattle safe"
        return "J"
    return next((tag for tag in "NVJR" if tag in tags), tags[0])


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
    return word.split()[-1] != token.noun.split()[-1] or (word.endswith("s") and not word.endswith(("ss", "us")))


_RATHER_THINGS = frozenset(["leaves", "waves", "knives", "lives", "shelves", "glasses", "cookies", "flies"])
_PLACING = frozenset(
    ["in", "with", "on", "of", "under", "behind", "near", "like", "above", "inside", "between", "among"]
)
_SHADES = frozenset({"light", "dark", "bright", "pale", "deep"})
_THING_BEFORE = frozenset(
    [
        "tree",
        "petal",
        "garden",
        "bush",
        "oil",
        "leaf",
        "leaves",
        "branch",
        "juice",
        "slice",
        "peel",
        "pie",
        "cake",
        "bark",
        "blossom",
        "flower",
        "fillet",
        "steak",
        "cheese",
        "soup",
        "plant",
        "grove",
        "field",
        "petals",
        "trees",
        "bushes",
        "flowers",
        "sauce",
        "zest",
        "wedge",
        "tart",
    ]
)
