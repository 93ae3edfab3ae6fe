"""What a judge is asked about: one element of a scene, and the scene itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Element:
    """One thing that a scene asks for and a judge can be asked about."""

    key: str  # stable within a scene: "object:0", "count:0", "color:0", "relation:1", "background", "style", "negation:0"
    kind: str  # object, count, color, size, material, …, relation, action, background, style, text, negation
    term: str  # the words of the scene text it came from: "scarlet"
    phrase: str  # the short caption of the element alone: "a scarlet disc"; "" where a benchmark's question has none
    question: str  # the yes/no question: "Is the disc scarlet?", or what a benchmark asks
    expected: str  # the adherent answer: "yes", "no" for a negation, or one of `choices`
    contrasts: tuple[str, ...]  # the phrase with exactly this one thing changed: "a blue disc", …
    objects: tuple[int, ...]  # the indexes into `objects` it is about
    choices: tuple[str, ...] = ()  # the answers that a benchmark allows, where they are not yes and no
    parents: tuple[str, ...] = ()  # keys of the elements that must be there before this one can be asked about

    @property
    def label(self) -> str:
        """What tables call it: its phrase, or the question that it is."""
        return self.phrase or self.question

    @property
    def asked(self) -> str:
        """The question as it is put to a judge, with its choices in words; numbers go without saying ("How many …").

        The words are those of TIFA (Hu et al. 2023) for a judge that can be given choices, its BLIP-2. They are hashed with
        what is asked, so a verdict depends on them though no judge's key does.
        """
        named = not all(choice.isdigit() for choice in self.choices)
        return f"{self.question} Choices: {', '.join(self.choices)}." if named else self.question


@dataclass(frozen=True)
class Scene:
    """A scene text and what it asks for. `elements` is the JSON document that `scenes.elements` stores."""

    text: str
    elements: dict[str, Any]
