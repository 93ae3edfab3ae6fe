"""What the parser knows about words: classes, concepts, synonyms, relations. Data in lexicon/*.toml, morphology by lemminflect."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "lexicon"
ATTRIBUTE_KINDS = ("color", "size", "shape", "material", "texture", "state")
CONCEPT_KINDS = (*ATTRIBUTE_KINDS, "object", "figure", "style")


@dataclass(frozen=True)
class Entry:
    """What one word can be. `tags` lists the classes it may have, the likeliest first (see tagging.py)."""

    tags: str
    noun: str = ""  # its lemma as a noun
    verb: str = ""  # its lemma as a verb
    kind: str = ""  # the attribute kind, if it names an attribute
    hint: str = ""  # "verb", "noun", "compound", "thing": how an ambiguity is usually settled


@dataclass(frozen=True)
class Phrase:
    """Several words that mean one thing: `tag` says what (see tagging.py), `value` what it stands for."""

    words: tuple[str, ...]
    tag: str
    value: str


@dataclass
class Lexicon:
    """Concepts and grammar of one language, with every word's entry cached on first use.

    `concepts[kind]` maps each concept to its synonyms, most common first.
    """

    concepts: dict[str, dict[str, list[str]]]
    grammar: dict[str, Any]
    siblings: dict[str, list[str]]
    opposites: dict[str, str]
    entries: dict[str, Entry] = field(default_factory=dict, repr=False)
    phrases: dict[str, list[Phrase]] = field(default_factory=dict, repr=False)
    meanings: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)
    irregular: dict[str, str] = field(default_factory=dict, repr=False)

    def concept(self, term: str, kind: str) -> str:
        """Return the concept `term` belongs to as a `kind` ("color", "object", "figure", …), or `term` itself."""
        return self.meanings.get((kind, term), term)

    def is_thing(self, name: str) -> bool:
        """Say whether `name` (a singular) is a known object or figure."""
        return ("object", name) in self.meanings or ("figure", name) in self.meanings

    def hints(self, word: str, *kinds: str) -> bool:
        """Say whether `word` is in one of the grammar's lists of hints."""
        return any(word in split_words(self.grammar["hint"][kind]) for kind in kinds)

    def is_living(self, words: str) -> bool:
        """Say whether the noun that ends `words` names a person or an animal."""
        name = words.split()[-1]
        concept = self.concept(name, "object")
        if any(concept in self.siblings.get(kind, ()) for kind in ("person", "worker", "animal", "bird")):
            return True
        looks_living = name.endswith(("person", "man", "er", "ist")) and not self.hints(name, "unliving")
        return looks_living or self.hints(name, "people")

    def synonyms(self, term: str, kind: str) -> list[str]:
        """Return the other words for `term`, most common first; [] for a word the lexicon does not know.

        An object is also looked up among the figures ("disc" → "circle", "dot", …).
        """
        kinds = ("figure", "object") if kind in ("object", "figure") else (kind,)
        words: list[str] = []
        for each in kinds:
            concept = self.concept(term, each)
            if concept in self.concepts.get(each, {}):
                words += [concept, *self.concepts[each][concept]]
        return [word for word in dict.fromkeys(words) if word != term]


def load_lexicon(*extra: str | Path) -> Lexicon:
    """Load the shipped lexicon, with the concepts of `extra` TOML files (same form as concepts.toml) put first."""
    concepts = _read(DATA / "concepts.toml")
    for path in extra:
        for kind, table in _read(Path(path)).items():
            _merge(concepts.setdefault(kind, {}), table)
    grammar = _read(DATA / "grammar.toml")
    lexicon = Lexicon(
        concepts={kind: concepts.get(kind, {}) for kind in CONCEPT_KINDS},
        grammar=grammar,
        siblings=concepts.get("sibling", {}),
        opposites=concepts.get("opposite", {}),
    )
    lexicon.irregular = dict(pair.split("=") for pair in grammar["hint"]["irregular"])
    for kind, table in lexicon.concepts.items():
        for concept, synonyms in table.items():
            lexicon.meanings[kind, concept] = concept
            for word in synonyms:
                lexicon.meanings.setdefault((kind, word), concept)
    return lexicon


@lru_cache(maxsize=1)
def default_lexicon() -> Lexicon:
    """Return the shipped lexicon, loaded once."""
    return load_lexicon()


def synonyms(term: str, kind: str, *, path: str | Path | None = None) -> list[str]:
    """Return the other words for `term` as a `kind`, most common first: synonyms("scarlet", "color")[0] is "red".

    `path` names a TOML file of one's own concepts, which come before the shipped ones.
    """
    lexicon = load_lexicon(path) if path else default_lexicon()
    return lexicon.synonyms(term.lower(), kind)


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)


def _merge(known: dict[str, Any], more: dict[str, Any]) -> None:
    for concept, words in more.items():
        before = known.get(concept, [])
        known[concept] = words if isinstance(words, str) else list(dict.fromkeys([*words, *before]))


@cache
def split_words(words: str) -> frozenset[str]:
    """Return the blank-separated words as a set, made once for each text."""
    return frozenset(words.split())
