"""The words of a text that say something, in any language, and where other words stand in it."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from typing import NamedTuple

from forgekit.scene.lexicon import CONCEPT_KINDS, DATA, Lexicon
from forgekit.scene.vocabulary import entry_of, lemmas_of

UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af"  # Thai, kana, Han, Hangul
WORD = re.compile(rf"[{UNSPACED}]+|(?!(?<=['’])s\b)(?:[^\W_{UNSPACED}][\u0300-\u036f]*)+", re.IGNORECASE)
RUN = re.compile(rf"[{UNSPACED}]")
HIRAGANA = re.compile(r"[\u3040-\u309f\u30fc]+")  # mostly the endings and particles of Japanese
PARTICLE = re.compile(r"[\uac00-\ud7af]{1,2}")  # what a covered word of Korean has at its end
SAYS_NOTHING = frozenset("DSOBCRPKIXTQ")  # the classes of tagging.py that are no noun, verb or adjective
STEM, ENDING = 4, 3  # words with so many letters in common, and at most so many others each, are forms of one
ENGLISH_FROM, SURELY_ENGLISH_FROM = 0.5, 0.8  # the share of a text's words that are in the English dictionary
Span = tuple[int, int]


class Word(NamedTuple):
    """A word, folded, and where it stands in its text; a stretch of a script without blanks is one."""

    word: str
    start: int
    end: int


class TextWords:
    """The words of one text. Its language is told by its function words, or else by the English dictionary."""

    def __init__(self, text: str, lexicon: Lexicon) -> None:
        self.text, self.lexicon = text, lexicon
        self.words = words_of(text)

    def places(self, words: str) -> list[Span]:
        """Return where `words` stand in the text, in whatever form; words that stand apart have the place of the first."""
        wanted = words_of(words)
        if not wanted or any(RUN.match(each.word) for each in wanted):  # no words but, say, emoji; or no blanks
            return _within(self.text, words)
        size = len(wanted)
        windows = [self.words[start : start + size] for start in range(len(self.words) - size + 1)]
        pairs = [(window, zip(window, wanted, strict=True)) for window in windows]
        together = [(w[0].start, w[-1].end) for w, pair in pairs if all(self._same(a.word, b.word) for a, b in pair)]
        apart = [next(((w.start, w.end) for w in self.words if self._same(w.word, b.word)), None) for b in wanted]
        return together or ([apart[0]] if apart[0] and all(apart) else [])

    def uncovered(self, by: Iterable[str] = ()) -> list[str]:
        """Return the words that say what is shown and stand in none of the texts of `by`, each once, as written."""
        covering = {word.word for text in by for word in words_of(text)}
        left: dict[str, str] = {}
        for word in self.words:
            if RUN.match(word.word):
                if word.word in self._other_function_words:
                    continue
                left |= {part: part for part in self._parts(word.word, covering)}
            elif self._says_something(word.word) and not any(self._same(word.word, other) for other in covering):
                left.setdefault(word.word, self.text[word.start : word.end])
        return list(left.values())

    def says(self, word: str) -> bool:
        """Say whether the text has an English word, in any form, or one of the same meaning."""
        meant, words = self._concepts(word), {each.word for each in self.words}
        return any(self._same(word, each) or share_a_stem(word, each) or meant & self._concepts(each) for each in words)

    @cached_property
    def is_english(self) -> bool:
        """Whether the text is in English, as far as that can be told."""
        words = [word.word for word in self.words if not RUN.match(word.word)]
        if 2 * len(words) < len(self.words):
            return False
        english = sum(self._is_function_word(word) for word in words)
        other = sum(word in self._other_function_words for word in words)
        known = sum(is_english_word(word, self.lexicon) for word in words)
        return known >= (ENGLISH_FROM if english >= other else SURELY_ENGLISH_FROM) * len(words) or english > other

    @cached_property
    def _other_function_words(self) -> frozenset[str]:
        """The function words of the language, English aside, that the text has most of."""
        tables = [table for language, table in function_words().items() if language != "signs"]
        return max(tables, key=lambda table: sum(word.word in table for word in self.words))

    def _is_function_word(self, word: str) -> bool:
        return SAYS_NOTHING.issuperset(entry_of(word, self.lexicon).tags)

    def _says_something(self, word: str) -> bool:
        if self.is_english:
            return not self._is_function_word(word) and word not in self.lexicon.words["untitled"]
        return word not in self._other_function_words and not word.isdigit()

    def _same(self, one: str, other: str) -> bool:
        return bool(self._forms(one) & self._forms(other)) or (not self.is_english and share_a_stem(one, other))

    def _forms(self, word: str) -> set[str]:
        """Return a word and what it is a form of."""
        lemmas = {lemma for several in lemmas_of(word).values() for lemma in several}
        return {word, self.lexicon.tables["irregular"].get(word, word), *lemmas}

    def _concepts(self, word: str) -> set[tuple[str, str]]:
        meanings = self.lexicon.meanings
        return {(k, meanings[k, lemma]) for k in CONCEPT_KINDS for lemma in self._forms(word) if (k, lemma) in meanings}

    def _parts(self, run: str, covering: Iterable[str]) -> Iterator[str]:
        """Yield what is left of a stretch without blanks when what is covered, and what says nothing, is taken out."""
        rest = run
        for covered in sorted(filter(RUN.match, covering), key=len, reverse=True):
            rest = rest.replace(covered, " ")
        for part in HIRAGANA.sub(" ", rest.translate({ord(sign): " " for sign in function_words()["signs"]})).split():
            if rest == run or not PARTICLE.fullmatch(part):
                yield part


def words_of(text: str) -> list[Word]:
    """Return the words of a text, folded (NFKC, case), with their places; hyphens and apostrophes part words."""
    return [Word(fold(found[0]), *found.span()) for found in WORD.finditer(text)]


def fold(text: str) -> str:
    """Return a text as it is compared."""
    return unicodedata.normalize("NFKC", text).casefold()


def share_a_stem(one: str, other: str) -> bool:
    """Say whether two words look like forms of one, or one like made of the other: "wooden" and "wood", "Hunde" and "Hund"."""
    shared = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return shared >= STEM and max(len(one), len(other)) - shared <= ENDING


def is_english_word(word: str, lexicon: Lexicon) -> bool:
    """Say whether the dictionary or the lexicon has the word (lower case)."""
    known = lemmas_of(word) or word.isdigit() or any((k, word) in lexicon.meanings for k in CONCEPT_KINDS)
    return bool(known) or SAYS_NOTHING.issuperset(entry_of(word, lexicon).tags)


@lru_cache(maxsize=1)
def function_words() -> dict[str, frozenset[str]]:
    """Return the words that say nothing of what is shown, by language; "signs" are those of scripts without blanks."""
    tables = tomllib.loads((DATA / "function_words.toml").read_text(encoding="utf-8"))
    return {language: frozenset(words.split()) for language, words in tables.items()}


def _within(text: str, part: str) -> list[Span]:
    """Return where `part` stands in `text`, blanks and case aside."""
    folded = [(sign, place) for place, each in enumerate(text) for sign in fold(each) if not sign.isspace()]
    signs, wanted = "".join(sign for sign, _ in folded), "".join(fold(part).split())
    starts = [found.start() for found in re.finditer(re.escape(wanted), signs)] if wanted else []
    return [(folded[start][1], folded[start + len(wanted) - 1][1] + 1) for start in starts]
