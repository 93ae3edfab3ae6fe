"""A prompt version that is to be improved, and what an action makes of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from forgekit.scene import Element, Lexicon, align, default_lexicon, describe, describe_object
from forgekit.scene.describing import again
from forgekit.scene.wording import with_article


@dataclass(frozen=True)
class Draft:
    """A prompt version that is to be improved: its text (without syntax) parsed, its parameters, what the scene asks for."""

    text: str
    parameters: Mapping[str, Any]
    parsed: Mapping[str, Any]  # the elements of `text` itself, spans included
    wanted: Mapping[str, Any]  # the elements of the scene
    lexicon: Lexicon = field(default_factory=default_lexicon)
    unwanted: Sequence[str] = ()  # what a judge saw in the pictures and the scene does not ask for

    @cached_property
    def places(self) -> dict[int, int]:
        """Where each object of the scene stands among the objects of the text."""
        return align(dict(self.wanted), dict(self.parsed), lexicon=self.lexicon)

    def region(self, element: Element) -> tuple[int, int]:
        """Return start and end of the text about the element's only object; the whole text for other elements."""
        place = self.places.get(element.objects[0]) if len(element.objects) == 1 else None
        if place is None:
            return 0, len(self.text)
        starts = sorted(item["span"][0] for item in self.parsed["objects"] if item["span"])
        start = self.parsed["objects"][place]["span"][0]
        return start, next((other for other in starts if other > start), len(self.text))

    def described(self, changed: Mapping[str, Any]) -> str:
        """Return a caption of what the text asks for, with these parts of it changed."""
        return describe({**self.parsed, **changed})

    @cached_property
    def words(self) -> Lexicon:
        """The lexicon as it holds for this scene."""
        return self.lexicon.for_scene(self.wanted)

    def words_for(self, element: Element) -> list[str]:
        """Return the element's term and the words that may stand for it, the term first, then plainer ones."""
        return [element.term, *self.words.synonyms(element.term, lexicon_kind(element))]

    def the(self, index: int) -> str:
        """Return how to speak again of an object of the text: "the vintage camera", "the two orange cats"."""
        return again(describe_object(self.parsed["objects"][index]))

    def added(self, sentence: str) -> str:
        """Return the text with a sentence behind it."""
        return f"{self.text.rstrip(' .,;')}. {sentence[0].upper()}{sentence[1:]}."

    def standing(self, element: Element) -> str | None:
        """Return the word for the element that the text has, or None."""
        start, end = self.region(element)
        found = [word for word in self.words_for(element) if has_word(self.text[start:end], word)]
        return max(found, key=len) if found else None  # "light blue" before "blue"

    def replaced(self, element: Element, word: str, by: str) -> str:
        """Return the text with `word` replaced where it speaks of the element."""
        start, end = self.region(element)
        return self.text[:start] + replace_word(self.text[start:end], word, by) + self.text[end:]


@dataclass(frozen=True)
class Candidate:
    """A prompt that one action proposes, and for which element."""

    action: str
    element: str  # key of the element it is meant to help
    kind: str
    term: str
    detail: str  # what was done, in words: "scarlet -> red"
    text: str
    parameters: Mapping[str, Any]


Change = str | Mapping[str, Any]  # the text as changed, or the parameters as changed
Action = Callable[[Draft, Element], Iterator[tuple[str, Change]]]  # what is done, in words, and the change


def lexicon_kind(element: Element) -> str:
    """Return the kind that the lexicon lists the element's term under."""
    return "color" if element.kind == "background" else element.kind


def has_word(text: str, word: str) -> bool:
    """Say whether `word` stands in the text, in the plural too."""
    return re.search(rf"\b{re.escape(word)}(e?s)?\b", text, re.IGNORECASE) is not None


def replace_word(text: str, word: str, by: str) -> str:
    """Replace a word, keeping its plural ending, and mend the article before it."""

    def swap(match: re.Match[str]) -> str:
        ending = ("es" if by.endswith(("s", "x", "ch", "sh")) else "s") if match["plural"] else ""
        word = f"{by}{ending}"
        return with_article(word) if match["article"] else word

    pattern = rf"\b(?:(?P<article>an?)\s+)?{re.escape(word)}(?P<plural>e?s)?\b"
    return re.sub(pattern, swap, text, count=1, flags=re.IGNORECASE)
