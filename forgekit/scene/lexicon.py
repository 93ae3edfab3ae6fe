"""What is known about words: classes, concepts, synonyms, relations. All of it stands in lexicon/*.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from forgekit.scene.kinds import Kinds, Tables, british, listed_kinds, load_kinds

DATA = Path(__file__).parent / "lexicon"
ATTRIBUTE_KINDS = ("color", "size", "shape", "material", "texture", "state")
CONCEPT_KINDS = (*ATTRIBUTE_KINDS, "object", "figure", "style")
FIGURES = "figures"  # the mini world: its generator knows plane figures and nothing else
# grammar's tables of the form meaning = words, and those of the form word = meaning
BY_MEANING = ("count", "partitive", "irregular", "lemma", "turned", "nobody", "foreign")
BY_WORD = ("inverse", "short_form", "no_place")


@dataclass(frozen=True)
class Entry:
    """What one word can be. `tags` lists the classes it may have, the likeliest first (see tagging.py)."""

    tags: str
    noun: str = ""  # its lemma as a noun
    verb: str = ""  # its lemma as a verb
    kind: str = ""  # the attribute kind, if it names an attribute
    hint: str = ""  # "verb", "noun", "adjective", "compound", "thing": how an ambiguity is usually settled

    @cached_property
    def tag(self) -> str:
        """The class, where there is only one; "" where what stands around decides."""
        return self.tags if len(self.tags) == 1 and self.tags not in "GU" else ""


@dataclass(frozen=True)
class Phrase:
    """Several words that mean one thing; the noun of its entry is what it stands for."""

    words: tuple[str, ...]
    entry: Entry


@dataclass(frozen=True, repr=False)
class Lexicon:
    """Concepts and grammar of one language; the entries of open words are added as they are met."""

    concepts: dict[str, dict[str, list[str]]]  # kind: concept: its synonyms, most common first
    meanings: dict[tuple[str, str], str]  # kind, word: the concept
    siblings: dict[str, list[str]]
    opposites: dict[str, str]
    contrasts: dict[str, list[str]]
    words: dict[str, frozenset[str]]  # the lists that the rules name
    endings: dict[str, tuple[str, ...]]
    tables: dict[str, dict[str, str]]  # what a word stands for, by table: "count", "inverse", …
    relations: dict[str, str]  # each predicate, as it is said between two nouns
    places: frozenset[str]  # the predicates that say where
    entries: dict[str, Entry]
    phrases: dict[str, list[Phrase]]  # by first word, the longest first
    kinds: Kinds
    # a style: those that it cannot be; what is added: the words of a scene that rule it out
    rules_out: dict[str, list[str]]
    world: str = ""  # of the generator that the words are for: FIGURES, or "" for one that knows any scene

    def in_world(self, world: str) -> Lexicon:
        """Return the lexicon for the prompts of a generator of `world`."""
        return replace(self, world=world)

    def for_scene(self, scene: Mapping[str, Any]) -> Lexicon:
        """Return the lexicon as it holds for a parsed scene.

        The figures' synonyms hold only where the mini world's generator draws nothing but figures: there a ball is a circle.
        """
        return self if self.world != FIGURES or self.all_figures(scene) else self.in_world("")

    def all_figures(self, scene: Mapping[str, Any]) -> bool:
        """Say whether all objects of a parsed scene are figures."""
        return all(("figure", item["name"]) in self.meanings for item in scene["objects"])

    def naming(self, name: str) -> str:
        """Return as what the noun `name` is known here: "figure" or "object"."""
        return "figure" if self.world == FIGURES and ("figure", name) in self.meanings else "object"

    def concept(self, term: str, kind: str) -> str:
        """Return the concept `term` belongs to as a `kind` ("color", "object", "figure", …), or `term` itself."""
        return self.meanings.get((kind, term), term)

    def is_thing(self, name: str) -> bool:
        """Say whether `name` (a singular) is a known object or figure."""
        return ("object", name) in self.meanings or ("figure", name) in self.meanings

    def hints(self, word: str, *lists: str) -> bool:
        """Say whether `word` is in one of the lists."""
        return any(word in self.words[name] for name in lists)

    def is_mass(self, name: str) -> bool:
        """Say whether the noun that ends `name` is never counted: "rain", "cheddar"."""
        last = name.split()[-1]
        one_form = last in self.words["people"] or last.endswith(self.endings["same_plural"])  # "samurai", "sheep"
        return last in self.words["mass"] or (_has_no_plural(last) and not one_form)

    def is_living(self, words: str) -> bool:
        """Say whether the noun that ends `words` names a person or an animal."""
        name = words.split()[-1]
        return name in self.words["animals"] or self.is_person(name)

    def is_person(self, words: str) -> bool:
        """Say whether the noun that ends `words` names a person, by what it is or how it ends."""
        name = words.split()[-1]
        looks_so = name.endswith(self.endings["living"]) and name not in self.words["unliving"]
        return name in self.words["people"] or (looks_so and name not in self.words["animals"])

    def synonyms(self, term: str, kind: str) -> list[str]:
        """Return the other words that keep what `term` asks for: plainer ones first, then those that mean the same.

        [] for a word that the lexicon does not know.
        """
        term = term.lower()
        kinds = ("figure", kind) if kind == "object" and self.naming(term) == "figure" else (kind,)
        return list(dict.fromkeys(word for each in kinds for word in self.kinds.faithful_words(term, each)))


def load_lexicon(*extra: str | Path) -> Lexicon:
    """Load the shipped lexicon, with the concepts of `extra` TOML files (same form as concepts.toml) put first."""
    known = _read(DATA / "concepts.toml")
    for path in extra:
        _merge(known, _read(Path(path)))
    same = {kind: known.get(kind, {}) for kind in CONCEPT_KINDS}
    plain = ((kind, concept, [concept, *words]) for kind, table in same.items() for concept, words in table.items())
    entries = [*plain, *listed_kinds(known, same)]
    every = [(kind, concept, british(words, known["spelling"])) for kind, concept, words in entries]
    meanings = _meanings(same, every, known["sibling"])
    grammar = _read(DATA / "grammar.toml")
    tables = {name: grammar[name] for name in BY_WORD}
    for name in BY_MEANING:
        tables[name] = {word: meaning for meaning, words in grammar[name].items() for word in words.split()}
    inverse, lists = grammar["inverse"], grammar["words"].items()
    words = {name: frozenset(listed.split() if isinstance(listed, str) else listed) for name, listed in lists}
    tables |= {name: {said: said for said in grammar["phrases"][name]} for name in ("bounds", "loosely")}
    large = {word for word, number in tables["count"].items() if int(number) >= 20}
    first_words = {said.split()[0] for name in ("bounds", "loosely") for said in grammar["phrases"][name]}
    wordnet = (DATA / "wordnet.txt").read_text(encoding="utf-8").splitlines()
    for name in ("unseen", "lacking"):
        lists = (line.split()[1:] for line in wordnet if line.startswith(name))
        words[name] = words.get(name, frozenset()).union(*lists)
    words["begins_number"] = frozenset(large | first_words | {"dozen"})
    things = {word for kind, word in meanings if kind == "object" and word.isalpha() and len(word) > 6}
    for name, kinds in (("people", ("person", "worker")), ("animals", ("animal", "bird", "sea", "insect"))):
        known_so = {concept for kind in kinds for concept in known["sibling"].get(kind, ())}
        words[name] |= {word for (kind, word), concept in meanings.items() if kind == "object" and concept in known_so}
    closed = {word for listed in grammar["closed"].values() for word in listed.split()}
    looks = {word for kind, word in meanings if kind in ("color", "size", "material")}
    words["often_misspelt"] = frozenset(closed | things | looks)
    words["of_picture"] = words["quality"] | words["technique"] | words["shot"] | {"by", "style"}
    wordings = grammar["place"] | grammar["tie"]
    return Lexicon(
        concepts=same,
        meanings=meanings,
        siblings=known.get("sibling", {}),
        opposites=known.get("opposite", {}) | inverse | {one: other for other, one in inverse.items()},
        contrasts=known["contrast"],
        words=words,
        endings={name: tuple(words.split()) for name, words in grammar["endings"].items()},
        tables=tables,
        relations={predicate: words[0] if words else predicate for predicate, words in wordings.items()},
        places=frozenset(grammar["place"]),
        entries=_closed_entries(grammar, tables),
        phrases=_phrases(grammar, wordings, every),
        rules_out=known["rules_out"],
        kinds=load_kinds(known, same, grammar["phrases"]["compounds"]),
    )


@lru_cache(maxsize=1)
def default_lexicon() -> Lexicon:
    """Return the shipped lexicon, loaded once."""
    return load_lexicon()


def synonyms(term: str, kind: str, *, path: str | Path | None = None) -> list[str]:
    """Return the other words that keep what `term` asks for as a `kind`, plainer ones first: ["red"] for "scarlet".

    `path` names a TOML file of one's own concepts, which come before the shipped ones.
    """
    return (load_lexicon(path) if path else default_lexicon()).synonyms(term, kind)


@lru_cache(maxsize=4096)
def _has_no_plural(noun: str) -> bool:
    from lemminflect import getAllInflections  # loads its tables on first use, so not at import

    return getAllInflections(noun, upos="NOUN").get("NNS") == (noun,)


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


def _merge(known: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Put the words of one's own tables before the shipped ones."""
    for name, words in more.items():
        if isinstance(words, Mapping):
            _merge(known.setdefault(name, {}), words)
        else:
            known[name] = words if isinstance(words, str) else list(dict.fromkeys([*words, *known.get(name, ())]))


def _meanings(
    same: Tables, every: Iterable[tuple[str, str, list[str]]], siblings: Mapping[str, list[str]]
) -> dict[tuple[str, str], str]:
    """Return the concept of each word by kind. A thing that has siblings of its own is its own concept: a puppy is no dog."""
    own = {name for group in siblings.values() for name in group}
    meanings = {(kind, concept): concept for kind, table in same.items() for concept in table}
    for kind, concept, words in every:
        for word in words:
            meanings.setdefault((kind, word), word if kind == "object" and word in own else concept)
    return meanings


def _closed_entries(grammar: dict[str, Any], tables: dict[str, dict[str, str]]) -> dict[str, Entry]:
    counts = (*tables["count"], *grammar["words"]["vague"].split(), *grammar["words"]["quantity"].split())
    entries = {word: Entry("Q", noun=word) for word in counts}
    for tags, words in grammar["closed"].items():
        for word in words.split():
            verb = tables["lemma"].get(word, "be" if "B" in tags else "")
            entries[word] = Entry(tags, noun=word, verb=verb)
    return entries


def _phrases(
    grammar: dict[str, Any], wordings: dict[str, list[str]], every: Iterable[tuple[str, str, list[str]]]
) -> dict[str, list[Phrase]]:
    tags = {"object": "N", "figure": "N", "style": "Y"}
    found = []
    for predicate, texts in wordings.items():
        found += [(text, Entry("K" if predicate == "without" else "P", noun=predicate)) for text in texts]
    found += [(text, Entry("X")) for text in grammar["phrases"]["filler"]]
    found += [(text, Entry("N", noun=text)) for text in grammar["phrases"]["compounds"]]
    found += [(text, Entry("J", noun=text)) for text in grammar["phrases"]["adjectives"]]
    for kind, _, words in every:
        for text in words:
            if " " in text or kind == "style":
                found.append((text, Entry(tags.get(kind, "J"), noun=text, kind="" if kind in tags else kind)))
    phrases: dict[str, list[Phrase]] = {}
    for text, entry in sorted(found, key=lambda pair: -pair[0].count(" ")):
        split = tuple(text.split())
        phrases.setdefault(split[0], []).append(Phrase(split, entry))
    return phrases
