"""What means exactly the same and what is a kind of what: gray and grey are one word, crimson is a kind of red."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Tables = Mapping[str, Mapping[str, Sequence[str]]]  # kind: concept: words
SAME = " = "  # between two wordings of one kind: "navy = navy blue"
Key = tuple[str, str]  # kind, word


@dataclass(frozen=True, repr=False)
class Kinds:
    """Which words mean exactly the same, and which plain word a word is a kind of."""

    words: dict[Key, str]  # the one word for all that mean the same; the words of open texts are added as they are met
    wordings: dict[Key, list[str]]  # all words for it, the commonest first
    plain: dict[Key, str]  # what it is a kind of
    spelling: dict[str, str]  # British: American beginnings of words
    shades: frozenset[str]  # what stands before a colour and makes a kind of it
    compounds: frozenset[str]  # nouns of several words that are no kind of their last one: "hot dog"

    def word(self, term: str, kind: str) -> str:
        """Return the one word for all that mean exactly what `term` means: "gray" for "grey", "leather couch" for "leather sofa"."""
        key = kind, term
        if key not in self.words:
            spelt = self.spelt(term)
            before, _, last = spelt.rpartition(" ")
            known = self.words.get((kind, spelt))
            if known is None and before and kind == "object" and spelt not in self.compounds:
                known = f"{before} {self.word(last, kind)}"
            self.words[key] = known or spelt
        return self.words[key]

    def plainer(self, term: str, kind: str) -> str | None:
        """Return the word that `term` is a kind of: "red" for "crimson", "car" for "sports car"; None for a plain word."""
        word = self.word(term, kind)
        if (kind, word) in self.plain or kind != "object" or " " not in word or word in self.compounds:
            return self.plain.get((kind, word))
        return self.word(word.rsplit(" ", 1)[1], kind)

    def is_kind(self, term: str, of: str, kind: str) -> bool:
        """Say whether `term` means what `of` means, or a kind of it."""
        wanted, word = self.word(of, kind), self.word(term, kind)
        return word == wanted or wanted in self._above(word, kind)

    def faithful_words(self, term: str, kind: str) -> list[str]:
        """Return the other words that keep what `term` asks for: plainer ones first, then those that mean the same.

        Of a plainer thing there is its plain word only: a boy may become a child, and no kid.
        """
        word = self.word(term, kind)
        above = [each for each in self._above(word, kind) if (kind, each) in self.wordings]
        found = above if kind == "object" else [other for each in above for other in self.wordings[kind, each]]
        found = [*found, *self.wordings.get((kind, word), ())]
        return [other for other in dict.fromkeys(found) if other != term]

    def spelt(self, term: str) -> str:
        """Return `term` in American spelling and without hyphens."""
        return " ".join(map(self._american, term.lower().replace("-", " ").split()))

    def _american(self, word: str) -> str:
        found = next((british for british in self.spelling if word.startswith(british)), None)
        return self.spelling[found] + word.removeprefix(found) if found else word

    def _above(self, word: str, kind: str) -> list[str]:
        above: list[str] = []
        while (plainer := self.plainer(above[-1] if above else word, kind)) and plainer not in above:
            above.append(plainer)
        return above


def load_kinds(known: Mapping[str, Any], same: Tables, compounds: Sequence[str]) -> Kinds:
    """Build `Kinds` from the tables of a lexicon file; `same` are its concepts by kind."""
    spelling = {british: american for american, british in known.get("spelling", {}).items()}
    shades = [shade for name in ("before", "loosely") for text in known["shades"][name] for shade in text.split(SAME)]
    several = (text for concept, words in same["object"].items() for text in (concept, *words) if " " in text)
    kinds = Kinds({}, {}, {}, spelling, frozenset(shades), frozenset((*compounds, *several)))
    for kind, table in same.items():
        for concept, words in table.items():
            _add(kinds, kind, [concept, *words], None)
    for kind, concept, words in listed_kinds(known, same):
        _add(kinds, kind, words, concept)
    return kinds


def listed_kinds(known: Mapping[str, Any], same: Tables) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (kind, concept, the wordings of one kind of it), those of a shade of each colour among them."""
    for kind, table in known.get("kinds", {}).items():
        for concept, texts in table.items():
            for text in texts:
                yield kind, concept, text.split(SAME)
    shades = known["shades"]
    for concept in shades["colors"]:
        for text in shades["before"]:
            colors = (concept, *same["color"][concept])
            yield "color", concept, [f"{shade} {color}" for color in colors for shade in text.split(SAME)]


def british(words: Sequence[str], spelling: Mapping[str, str]) -> list[str]:
    """Return `words`, each also in British spelling where that differs; `spelling` is American: British."""
    found = []
    for text in words:
        pairs = ((american, other) for american, other in spelling.items() if f" {american}" in f" {text}")
        found += [text, *(f" {text}".replace(f" {american}", f" {other}").strip() for american, other in pairs)]
    return found


def _add(kinds: Kinds, kind: str, words: Sequence[str], plain: str | None) -> None:
    """Add words that mean the same, the commonest first, and what they are a kind of."""
    word = kinds.words.get((kind, kinds.spelt(words[0])), words[0])
    for each in words:
        for form in (each, kinds.spelt(each)):
            kinds.words.setdefault((kind, form), word)
    wordings = kinds.wordings.setdefault((kind, word), [])
    wordings += [each for each in words if each not in wordings]
    plain_word = word if plain is None else kinds.word(plain, kind)
    if plain_word != word:  # one's own file may have made them the same
        kinds.plain[kind, word] = plain_word
