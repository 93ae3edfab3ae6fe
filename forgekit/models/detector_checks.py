"""What a detector is to look for in the image of a scene: phrases, which of them exclude each other, and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from forgekit.models.synonyms import meaning
from forgekit.scene import Element, Scene, default_lexicon, list_elements
from forgekit.scene.elements import NOTHING
from forgekit.scene.wording import described, noun_phrase, number_word

DIRECTIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}  # y points down
SEVERAL = 2  # "many cats" are at least so many


@dataclass(frozen=True)
class Check:
    """One element as a question to a detector: are there `count` boxes of `phrase`?

    For a count exactly so many, for a negation none; for a relation `phrase` lies in the direction `predicate` of
    `other`. `expected` says the same for people.
    """

    element: Element
    phrase: str
    expected: str
    count: int = 1
    predicate: str = ""
    other: str = ""
    other_count: int = 1

    @property
    def phrases(self) -> tuple[str, ...]:
        """The phrases to be detected for it."""
        return (self.phrase, self.other) if self.other else (self.phrase,)


@dataclass(frozen=True)
class Sought:
    """Checks of one scene. `rivals` maps a phrase to those that cannot be true of the same thing.

    `objects` holds (full phrase, plain phrase) of each object asked for, `extras` things that are not.
    """

    checks: Sequence[Check]
    rivals: Mapping[str, Sequence[str]]
    objects: Sequence[tuple[str, str]]
    extras: Sequence[str]

    @property
    def asked(self) -> list[str]:
        """Every phrase that an element is judged by, once."""
        return list(dict.fromkeys(phrase for check in self.checks for phrase in check.phrases))

    @property
    def phrases(self) -> list[str]:
        """Every phrase that a score is needed for, once."""
        wanted = self.asked
        wanted += [phrase for pair in self.objects for phrase in pair] + list(self.extras)
        wanted += [rival for phrase in wanted for rival in self.rivals.get(phrase, ())]
        return list(dict.fromkeys(wanted))

    @classmethod
    def of(cls, scene: Scene, attributes: Sequence[str], *, rivals: bool) -> Sought:
        """Plan the checks of a scene. `attributes` are the kinds of attribute that may be part of phrases."""
        return _Planner(scene.elements, tuple(attributes)).plan(rivals=rivals)


class _Planner:
    """Turns elements into checks."""

    def __init__(self, scene: dict[str, Any], attributes: tuple[str, ...]) -> None:
        self.scene, self.attributes, self.lexicon = scene, attributes, default_lexicon()
        self.meaning = partial(meaning, figures=self.lexicon.all_figures(scene))
        self.items = scene["objects"]
        self.elements = list_elements(scene)
        # Detectors look for one thing at a time: the same elements in the singular.
        alone = {**scene, "objects": [{**item, "count": 1} for item in self.items], "questions": None}
        self.single = {element.key: element for element in list_elements(alone, repeated=True)}
        self.plain = [self.single[f"object:{i}"].phrase for i in range(len(self.items))]
        self.full = []
        for item in self.items:
            known = [a for a in item["attributes"] if a["kind"] in attributes]
            self.full.append(noun_phrase(described({**item, "attributes": known}), 1, self.lexicon))
        self.names = [item["name"] for item in self.items]
        self.rivals: dict[str, list[str]] = {}
        self.extras: list[str] = []

    def plan(self, *, rivals: bool) -> Sought:
        checks = [check for element in self.elements if (check := self._check(element))]
        if rivals:
            self._find_rivals()
        objects = list(dict.fromkeys(zip(self.full, self.plain, strict=True)))
        return Sought(checks, {p: list(dict.fromkeys(r)) for p, r in self.rivals.items()}, objects, self.extras)

    def _check(self, element: Element) -> Check | None:
        if not element.phrase or (element.kind in self.attributes and element.key not in self.single):
            return None  # a benchmark's question about nothing that could be detected, or asked twice
        first = element.objects[0] if element.objects else 0  # a negation is about none
        if element.kind == "object":
            return Check(element, element.phrase, element.phrase)
        if element.kind == "count":
            number = sum(self.items[index]["count"] for index in element.objects)
            phrase = (self.full if self.names.count(self.names[first]) > 1 else self.plain)[first]
            return Check(element, phrase, self._several(phrase, number), number)
        if element.kind in self.attributes:
            phrase, count = self.single[element.key].phrase, self._least(first)
            return Check(element, phrase, self._several(phrase, count), count)
        if element.kind == "relation" and element.term in DIRECTIONS:
            second = element.objects[1]
            one, two = self.full[first], self.full[second]
            counts = self._least(first), self._least(second)
            return Check(element, one, f"{one} {element.term} {two}", counts[0], element.term, two, counts[1])
        if element.kind == "negation":
            return Check(element, element.phrase, f"no {_bare(element.phrase)}")
        return None

    def _find_rivals(self) -> None:
        asked = {NOTHING, *map(self.meaning, self.plain)}
        instead = dict.fromkeys(c for i in range(len(self.items)) for c in self.single[f"object:{i}"].contrasts)
        self.extras = [phrase for phrase in instead if not {phrase, self.meaning(phrase)} & asked]
        for phrase in (*self.plain, *self.extras):
            self.rivals[phrase] = self._others((*self.plain, *self.extras), phrase)
        for i, name in enumerate(self.names):
            elsewhere = self._others(self.plain, self.plain[i])
            alike = [phrase for phrase, other in zip(self.full, self.names, strict=True) if other == name]
            changed: list[str] = []
            for element in self.single.values():
                if element.kind in self.attributes and element.objects == (i,):
                    contrasts = [c for c in element.contrasts if c != NOTHING]
                    changed += contrasts
                    others = [phrase for phrase in self._others(alike, element.phrase) if phrase != self.full[i]]
                    self.rivals[element.phrase] = [*contrasts, *others, *elsewhere]
            self.rivals.setdefault(self.full[i], [*changed, *self._others(alike, self.full[i]), *elsewhere])
        for element in self.elements:
            if element.kind == "negation":
                self.rivals.setdefault(element.phrase, self._instead_of(element))

    def _others(self, phrases: Sequence[str], phrase: str) -> list[str]:
        return [other for other in phrases if self.meaning(other) != self.meaning(phrase)]

    def _instead_of(self, negation: Element) -> list[str]:
        """Return the asked objects that could be taken for the thing that should be absent.

        "No blue ring" can be mistaken for a red one that is asked for; "no ring" contradicts every ring.
        """
        name, own = self.meaning(negation.term), self.meaning(negation.phrase)
        rivals = []
        for full, plain, item in zip(self.full, self.plain, self.items, strict=True):
            if self.meaning(item["name"]) != name:
                rivals.append(plain)
            elif own != name and self.meaning(full) != own:
                rivals.append(full)
        return rivals

    def _least(self, index: int) -> int:
        count = self.items[index]["count"]
        return count if isinstance(count, int) else SEVERAL

    def _several(self, phrase: str, count: int) -> str:
        return phrase if count == 1 else counted(phrase, count).replace(number_word(count), str(count), 1)


def counted(phrase: str, count: int) -> str:
    """Return "two red circles" for "a red circle" and 2."""
    return noun_phrase(_bare(phrase), count, default_lexicon())


def _bare(phrase: str) -> str:
    return phrase.removeprefix("an ").removeprefix("a ")
