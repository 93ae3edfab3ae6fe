"""The elements of a scene: what a judge can be asked about, one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Element:
    """One thing that a scene asks for and a judge can be asked about."""

    key: str  # stable within a scene: "object:0", "count:0", "color:0", "relation:1", "background", "style", "negation:0"
    kind: str  # object, count, color, size, material, …, relation, action, background, style, text, negation
    term: str  # the words of the scene text it came from: "scarlet"
    phrase: str  # the short caption of the element alone: "a scarlet disc"
    question: str  # the yes/no question: "Is the disc scarlet?"
    expected: str  # the adherent answer: "yes", or "no" for a negation
    contrasts: tuple[str, ...]  # the phrase with exactly this one thing changed: "a blue disc", …
    objects: tuple[int, ...]  # the indexes into `objects` it is about


@dataclass(frozen=True)
class Scene:
    """A scene text and what it asks for. `elements` is the JSON document that `scenes.elements` stores."""

    text: str
    elements: dict[str, Any]
