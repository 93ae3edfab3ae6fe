"""What a policy is and what it may look at: a scene's versions, how they fared, what was learnt, what may be tried."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from forgekit.errors import ItemError
from forgekit.ids import canonical_json
from forgekit.models import LanguageModel
from forgekit.models.loras import with_trigger_words
from forgekit.refiner.actions import Candidate, Draft
from forgekit.refiner.learnings import Memory
from forgekit.scene import Element, Lexicon, carry, default_lexicon, list_elements, split_prompt, why_refused

Refusal = tuple[str, Sequence[str]]  # a text that a language model proposed, and why it was not taken


@dataclass(frozen=True)
class Version:
    """A prompt version of the scene in this arm, and how it fared by the objective judge, under one key.

    `score` is None where that judge gave it none. `element_scores` are means over its images; `lowest` are the
    probabilities in each element's worst image. What the judge said of them is there where the policy can read: `seen`
    describes its images, `reasons` say why elements failed.
    """

    id: str
    parent_id: str | None
    text: str
    parameters: Mapping[str, Any]
    images: int
    score: float | None = None
    element_scores: Mapping[str, float] = field(default_factory=dict)
    lowest: Mapping[str, float] = field(default_factory=dict)
    seen: Sequence[str] = ()
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def asked(self) -> str:
        """The text without prompt syntax: what actions and language models reword."""
        return split_prompt(self.text).asked

    def reworded(self, asked: str) -> tuple[str, list[str]]:
        """Return `asked` in the syntax of this version, and what of it had no place in the new words."""
        return carry(asked, split_prompt(self.text))


@dataclass(frozen=True)
class Situation:
    """A version that was just judged, and what came before it for its scene in its arm."""

    version: Version
    versions: Sequence[Version]  # all that were drawn, the first one first, `version` among them
    change: float | None  # of the score, version minus parent, on the seeds that both have
    wanted: Mapping[str, Any]  # the elements of the scene
    pass_mark: float  # from which probability on the objective judge says that an element is there
    scene_text: str
    unwanted: Sequence[str] = ()  # what the judge saw in the version's pictures that the scene does not ask for
    minutes: float = 0.0  # since the scene was taken up in this arm
    last_decision: str | None = None  # the decision that led to this version
    redraws: Mapping[str, int] = field(default_factory=dict)  # how often each version was drawn again, by its id
    rounds: int = 0  # how many decisions came before this one
    refused: Sequence[Refusal] = ()  # what the gate refused in those decisions

    @property
    def judged(self) -> list[Version]:
        """The versions that have a score."""
        return [version for _, version in self.scored]

    @property
    def scored(self) -> list[tuple[float, Version]]:
        """The versions that have a score, each behind it."""
        return [(version.score, version) for version in self.versions if version.score is not None]

    @property
    def parent(self) -> Version | None:
        """The version that this one is a rewrite of, where it has a score."""
        return next((version for version in self.judged if version.id == self.version.parent_id), None)


@dataclass(frozen=True)
class Tools:
    """What a decision may use besides the record."""

    fits: Callable[[str], bool]  # whether the generator reads a prompt to its end
    lexicon: Lexicon = field(default_factory=default_lexicon)
    ask: Callable[[LanguageModel, str], str | ItemError] | None = None  # asks a model, and records the call


@dataclass(frozen=True)
class Case:
    """All that a policy may look at: the best version so far (`base`), the draft to work on, and what was learnt."""

    situation: Situation
    base: Version
    draft: Draft
    memory: Memory
    tools: Tools
    rng: random.Random
    refused: list[Refusal] = field(default_factory=list)  # what the gate refused while this decision is made

    @cached_property
    def elements(self) -> list[Element]:
        """What the scene asks for, one by one."""
        return list_elements(dict(self.situation.wanted), lexicon=self.tools.lexicon)

    @cached_property
    def failing(self) -> list[Element]:
        """The elements that lie below the pass mark in at least one image, worst mean first."""
        return failing(self.elements, self.base, self.situation.pass_mark)

    def allows(self, candidate: Candidate) -> bool:
        """Whether the candidate may be tried."""
        return self.is_new(candidate) and self.faithful(candidate)

    def is_new(self, candidate: Candidate) -> bool:
        """Whether it was not tried before for this scene, on whatever seed."""
        return _signature(candidate) not in self._tried

    def faithful(self, candidate: Candidate) -> bool:
        """Whether it passes the fidelity gate and fits the generator's token limit."""
        return not self.why_refused(candidate)

    def why_refused(self, candidate: Candidate) -> list[str]:
        """Return why the candidate is no rewording of the scene that the generator reads to its end; [] is faithful."""
        words = split_prompt(self.base.reworded(candidate.text)[0]).words
        if not self.tools.fits(with_trigger_words(words, candidate.parameters)):
            return ["the generator would cut the end of it off"]
        if candidate.text == self.draft.text:
            return []
        return why_refused(self.situation.scene_text, candidate.text, lexicon=self.tools.lexicon)

    @cached_property
    def _tried(self) -> set[str]:
        return {_signature(version) for version in self.situation.versions}


def failing(elements: Sequence[Element], version: Version, pass_mark: float) -> list[Element]:
    """Return the elements that at least one image of `version` does not show, worst mean first.

    An element that the judge cannot be asked about does not fail.
    """
    below = (e for e in elements if version.lowest.get(e.key, 1.0) < pass_mark)
    return sorted(below, key=lambda e: (version.element_scores[e.key], e.key))


def _signature(drawn: Version | Candidate) -> str:
    text = drawn.asked if isinstance(drawn, Version) else drawn.text
    return canonical_json([text, {name: value for name, value in drawn.parameters.items() if name != "seed"}])


class Policy(Protocol):
    """Decides the next step for one prompt."""

    uses_memory: bool = False
    from_first: bool = False  # rewrites the first version, whatever became of the later ones
    asks_model: bool = False  # asks a language model, so each decision is committed before the next

    @property
    def name(self) -> str:
        """How the policy is recorded."""

    def next_candidate(self, case: Case) -> Candidate | ItemError | None:
        """Return a rewrite to try, None to draw the same text again with new seeds, or why a model failed."""
