"""Tokens: a text cut into words, quotations and the phrases that mean one thing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from forgekit.scene.lexicon import Entry, Lexicon, Phrase
from forgekit.scene.vocabulary import entry_of, respelt

AGE = r"\d{1,3}[\s-]?(?:y\.?/?o\b\.?|(?:years?|yrs?)[\s-]olds?\b)"
MEASURE = r"\d+(?:[.,/]\d+)?[\s-]?(?:ml|[cm]m|km|k?g|oz|lbs?|fps|sec|mins?|mph|hz|[ap]m|px|dpi|mp|[smkd])\b"
TOKEN = re.compile(
    rf"(?=\d)(?:{AGE}|{MEASURE}|\d+(?:[.,:/]\d+)+[^\W_]*%?|\d+%)|[fF]/\d[\d.]*|(?<!\w)(?:[A-Za-z]\.\s?){{2,}}(?=\w)|[^\W_]+(?:['’\-][^\W_]+)*|'s\b|[^\w\s]"
)
SHOUTED = re.compile(  # text without quotation marks: "a sign reading OPEN", "that says Rock N Roll"
    r"\b(?:reading|reads?|labell?ed|lettering|text|words?|letters)\s+([A-Z][A-Z0-9'!?&-]+(?:\s+[A-Z0-9'!?&-]+)*)\b"
    r"|\b(?:says?|saying|spells?|spelling)\s+(?:the\s+words?\s+)?([A-Z][\w'!?&-]*(?:\s+[A-Z0-9][\w'!?&-]*)*)"
)
QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”|‘([^’]+)’|(?<!\w)\'((?:[^\']|(?<=\w)\'(?=\w))+)\'(?!\w)|「([^」]+)」')
ROMAN = re.compile(r"[ivx]{2,4}")
COUNTED = re.compile(r"(\d{1,2})([a-z]{3,})")  # tags like "2girls"
AGE_SAID = re.compile(AGE.replace(r"\d{1,3}", r"(\d{1,3})", 1))
AGED = Entry("J", kind="other")
PUNCTUATION, JOINT, POSSESSIVE, TEXT = Entry("X"), Entry("C"), Entry("I"), Entry("T")


class Token(NamedTuple):
    """A word or phrase of the text: lower-case `word`, its class, the value of a phrase, where it stands."""

    word: str
    start: int
    end: int
    entry: Entry
    tag: str = ""  # its class, once settled (see tagging.py)
    value: str = ""
    proper: bool = False  # capitalised inside a sentence
    capital: bool = False  # capitalised where a sentence begins

    @property
    def noun(self) -> str:
        """The lemma as a noun: "mice" → "mouse"."""
        return self.entry.noun or self.word


EDGE = Token(" ", -1, -1, PUNCTUATION, "X")  # stands before the first and behind the last token


def token_at(tokens: Sequence[Token], index: int) -> Token:
    """Return the token at `index`, or EDGE outside of the text."""
    return tokens[index] if 0 <= index < len(tokens) else EDGE


def cut(text: str, lexicon: Lexicon) -> list[Token]:
    """Return the tokens of `text`, most of them still without a class. Quoted text is one token of class T."""
    tokens: list[Token] = []
    quotes = quoted_texts(text)
    skip_until = -1
    for match in TOKEN.finditer(text):
        if match.start() < skip_until:
            continue
        if quotes and match.start() == quotes[0][0]:
            start, skip_until, quoted = quotes.pop(0)
            tokens.append(Token(quoted, start, skip_until, TEXT, "T"))
            continue
        raw = match.group()
        if raw[0].isdigit() and raw[-1] in "sdoD." and (age := AGE_SAID.fullmatch(raw)):
            tokens.append(Token(raw.lower(), *match.span(), AGED, "J", f"{age[1]} years old"))
            continue
        word, capital = raw.lower().replace(" ", ""), raw[0].isupper()  # "8 k", "h. r. giger"
        proper = capital and bool(tokens) and tokens[-1].word not in ".!?:"
        if word.isalpha() and word != "cannot":  # most are
            tokens.append(_token(word, *match.span(), proper, lexicon, capital and not proper))
        else:
            tokens += _tokens_of(word.replace("’", "'"), *match.span(), proper, lexicon)
    if text.isupper():
        tokens = [token._replace(proper=False, capital=False) for token in tokens]
    elif not text.islower():
        tokens = _in_lower_case(tokens)
    return _join_phrases(_without_labels(tokens, lexicon) if ":" in text else tokens, lexicon)


def _without_labels(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    """Return the tokens with each "Subject:" or "Lighting:" as a full stop."""
    kept: list[Token] = []
    for token in tokens:
        if token.word == ":" and kept and kept[-1].word in lexicon.words["labels"]:
            kept[-1] = kept[-1]._replace(word=".", entry=PUNCTUATION, tag="X")
        else:
            kept.append(token)
    return kept


def _in_lower_case(tokens: list[Token]) -> list[Token]:
    """Return the tokens of a text In Title Case without capitals: they tell no names there."""
    proper = [token for token in tokens if token.proper]
    if len(proper) < 3 or not any(set(token.entry.tags) & set("PDCSBGE") for token in proper):
        return tokens
    if any(len(token.word) > 3 and token.word.isalpha() and not (token.proper or token.capital) for token in tokens):
        return tokens
    return [token._replace(proper=False, capital=False) for token in tokens]


def quoted_texts(text: str) -> list[tuple[int, int, str]]:
    """Return the texts to be rendered with their places; a quotation that is the whole text is none."""
    found: list[tuple[int, int, str]] = []
    if '"' in text or "'" in text or set("“‘「") & set(text):
        quotes = list(QUOTED.finditer(text))
        if len(quotes) != 1 or quotes[0].group().strip() != text.strip():
            found = [(quote.start(), quote.end(), quote[quote.lastindex or 0]) for quote in quotes]
    if not found and not text.islower() and not text.istitle():
        found = [(*match.span(match.lastindex or 0), match[match.lastindex or 0]) for match in SHOUTED.finditer(text)]
    return found


def _tokens_of(word: str, start: int, end: int, proper: bool, lexicon: Lexicon) -> list[Token]:
    """Return the token of a mark or of a word that is not of letters alone; several where it holds more: "dog's", "isn't"."""
    if not (word[0].isalnum() or word == "'s"):
        return [Token(word, start, end, JOINT if word in "&+" else PUNCTUATION, "X")]
    if parts := _parts_of(word, lexicon):
        return [_token(part, start + at, start + at + len(part), False, lexicon) for at, part in parts]
    if word.endswith("'s") and word not in lexicon.entries:
        return [_token(word[:-2], start, end - 2, proper, lexicon), Token("'s", end - 2, end, POSSESSIVE, "I")]
    return [_token(word, start, end, proper, lexicon)]


def _token(word: str, start: int, end: int, proper: bool, lexicon: Lexicon, capital: bool = False) -> Token:
    entry = entry_of(word, lexicon)
    if entry.tags == "U" and not proper:
        entry = respelt(word, lexicon)
    return Token(word, start, end, entry, entry.tag, "", proper, capital)


def _parts_of(word: str, lexicon: Lexicon) -> list[tuple[int, str]]:
    """Return the words in "isn't", "it's", "black-and-white" and "1girl" with their places, [] for a word that is one."""
    short = lexicon.tables["short_form"]
    if word == "cannot":
        return [(0, "can"), (3, "not")]
    if word.endswith("n't") and len(word) > 4:
        stem = word[:-3]
        return [(0, short.get(stem, stem)), (len(stem), "not")]
    stem, mark, ending = word.rpartition("'")
    if mark + ending in short and mark and (ending != "s" or stem in lexicon.words["is_shortened"]):
        return [(0, stem), (len(stem), short[mark + ending])]
    first, joint, second = word.partition("-and-")
    if joint and second and entry_of(first, lexicon).kind == "color" == entry_of(second, lexicon).kind:
        return [(0, first), (len(first) + 1, "and"), (len(first) + 5, second)]
    if word[0].isdigit() and (match := COUNTED.fullmatch(word)) and "N" in entry_of(match[2], lexicon).tags:
        return [(0, match[1]), (len(match[1]), match[2])]
    return []


def _join_phrases(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    joined: list[Token] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        for phrase in lexicon.phrases.get(token.word, ()):
            end = _end_of(phrase, tokens, index)
            if end and _fits(phrase, joined, tokens[end:], lexicon):
                last, entry = tokens[end - 1], phrase.entry
                word = " ".join([*phrase.words[:-1], last.word])
                proper = token.proper or (token.capital and last.proper)  # "Golden Gate Bridge", "Traffic light"
                joined.append(Token(word, token.start, last.end, entry, entry.tags, entry.noun, proper))
                index = end
                break
        else:
            joined.append(token)
            index += 1
    return joined


def _end_of(phrase: Phrase, tokens: list[Token], index: int) -> int:
    """Return the index after `phrase` at `index`, passing over unknown words inside it, or 0."""
    may_be_plural = phrase.entry.tags == "N" and phrase.words[-1]
    for word in phrase.words[1:]:
        index += 1
        while index < len(tokens) and tokens[index].entry.tags == "U" and tokens[index].word != word:
            index += 1
        if index == len(tokens):
            return 0
        token = tokens[index]
        if token.word == word:
            continue
        if word != may_be_plural or not (token.entry.noun == word or token.word in (word + "s", word + "es")):
            return 0
    return index + 1


def _fits(phrase: Phrase, before: list[Token], following: list[Token], lexicon: Lexicon) -> bool:
    """Say whether the words at this place mean what the phrase says."""
    if phrase.words == ("down",):  # "walks down the street", but "sits down"
        return any(token.noun in lexicon.words["road"] for token in following[:4])
    if phrase.words[0] == "right" and phrase.entry.tags == "P" and before:
        side = before[-1].word == "the" or before[-1].word in lexicon.words["possessive"]
        return not side or phrase.words == ("right", "of")  # "on the right next to a dog"
    return phrase.entry.tags != "Y" or _is_style(phrase, before, following, lexicon)


def _is_style(phrase: Phrase, before: list[Token], following: list[Token], lexicon: Lexicon) -> bool:
    """Say whether a style word is one: alone in its segment or before "of" / "style"; else it is the noun it looks like."""
    previous = next((t for t in reversed(before) if t.entry.tags != "U"), EDGE)
    after = next((t for t in following if t.entry.tags != "U"), EDGE)
    if len(phrase.words) > 1 and after.word == "of" and not any(_is_verb(token) for token in before):
        return True  # "an isometric 3d render of"
    if len(before) > 1 and before[-1].word in ("in", "with") and before[-2].entry.verb in ("cover", "fill"):
        return False  # "covered in graffiti"
    if previous.word in ("a", "an"):
        alone = len(before) == 1 or before[-2].tag in ("X", "Y")
        return alone and after.word in ("of", "style", "showing", "depicting")
    opens = previous.tag in ("X", "Y") or previous.word in lexicon.words["before_style"]
    return opens and (after.entry.tags == "X" or after.word in lexicon.words["after_style"])


def _is_verb(token: Token) -> bool:
    tags = token.entry.tags
    return ("V" in tags or "B" in tags) and "N" not in tags
