"""Tokens: a text cut into words, quotations and the phrases that mean one thing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from forgekit.scene.lexicon import Entry, Lexicon, Phrase, split_words
from forgekit.scene.vocabulary import entry_of, phrases_from

TOKEN = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*|'s\b|[^\w\s]")
QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”|‘([^’]+)’|(?<!\w)\'((?:[^\']|(?<=\w)\'(?=\w))+)\'(?!\w)|「([^」]+)」')
COUNTED = re.compile(r"(\d{1,2})([a-z]{3,})")  # tags like "2girls"
SHORT_STEMS = {"ca": "can", "wo": "will", "sha": "shall"}
SHORT_VERBS = {"re": "are", "ve": "have", "ll": "will", "d": "would", "m": "am", "s": "is"}
PRONOUNS = frozenset(["it", "he", "she", "that", "there", "here", "who", "what", "where"])
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


def cut(text: str, lexicon: Lexicon) -> list[Token]:
    """Return the tokens of `text`, most of them still without a class. Quoted text is one token of class T."""
    return _join_phrases(_tokenise(text, lexicon), lexicon)


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
        if parts := _short_form(word) or _parts_of(word, lexicon):
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


def _short_form(word: str) -> list[tuple[int, str]]:
    """Return the words in "isn't", "they're" and "it's" with their places, [] for any other word; "dog's" is no short form."""
    if word == "cannot":
        return [(0, "can"), (3, "not")]
    if word.endswith("n't") and len(word) > 4:
        stem = word[:-3]
        return [(0, SHORT_STEMS.get(stem, stem)), (len(stem), "not")]
    stem, mark, ending = word.rpartition("'")
    if mark and ending in SHORT_VERBS and (ending != "s" or stem in PRONOUNS):
        return [(0, stem), (len(stem), SHORT_VERBS[ending])]
    return []


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
            if end and _phrase_fits(phrase, joined, tokens, end, lexicon):
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


def _phrase_fits(phrase: Phrase, before: list[Token], tokens: list[Token], end: int, lexicon: Lexicon) -> bool:
    """A style word counts as style alone in its segment or before "of" / "style"; else it is the noun or adjective it looks like."""
    if phrase.words == ("down",):  # "walks down the street", but "sits down"
        roads = split_words(lexicon.grammar["hint"]["road"])
        return any(token.entry.noun in roads for token in tokens[end : end + 4])
    if phrase.words[0] == "right" and phrase.tag == "P" and before and before[-1].word in ("the", "its", "his", "her"):
        return phrase.words == ("right", "of")  # "on the right next to a dog"
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
