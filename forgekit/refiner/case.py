"""What a policy is and what it may look at: the best version so far, how its elements fared, what was learnt."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from forgekit.errors import ItemError
from forgekit.refiner.actions import Candidate, Draft
from forgekit.refiner.learnings import Memory
from forgekit.scene import Element

if TYPE_CHECKING:
    from forgekit.models import LanguageModel


@dataclass(frozen=True)
class Scored:
    """A prompt that was drawn and judged: mean score and mean element scores by the objective judge, in [0, 1]."""

    text: str
    score: float
    element_scores: Mapping[str, float]


@dataclass(frozen=True)
class Case:
    """All that a policy may look at: the best version so far, how its elements fared, and what was learnt."""

    draft: Draft
    elements: Sequence[Element]
    element_scores: Mapping[str, float]  # mean over the version's images, by the objective judge under one key
    memory: Memory
    faithful: Callable[[Candidate], bool]  # passes the fidelity gate and fits the generator's token limit
    is_new: Callable[[Candidate], bool]  # was not tried before for this scene
    rng: random.Random
    scene_text: str = ""
    history: Sequence[Scored] = ()
    ask: Callable[[LanguageModel, str], str | ItemError] | None = None  # asks a model, and records the call
    lowest: Mapping[str, float] | None = None  # as element_scores, in the image that shows the element worst
    pass_mark: float = 0.5  # from which probability on the objective judge says "there"

    def allows(self, candidate: Candidate) -> bool:
        """Whether the candidate may be tried."""
        return self.is_new(candidate) and self.faithful(candidate)

    @property
    def failing(self) -> list[Element]:
        """The elements that lie below the pass mark in at least one image, worst mean first."""
        lowest = self.element_scores if self.lowest is None else self.lowest
        return failing(self.elements, self.element_scores, lowest, self.pass_mark)


def failing(
    elements: Sequence[Element], means: Mapping[str, float], lowest: Mapping[str, float], pass_mark: float
) -> list[Element]:
    """Return the elements that at least one image does not show, worst mean first.

    `lowest` has each element's probability in its worst image. An element that the judge cannot be asked about does
    not fail.
    """
    below = (e for e in elements if lowest.get(e.key, 1.0) < pass_mark)
    return sorted(below, key=lambda e: (means[e.key], e.key))


class Policy(Protocol):
    """Decides the next step for one prompt."""

    name: str
    uses_memory: bool
    redraws_only: bool  # never rewrites: draws the same text with new seeds until a limit is reached
    from_first: bool  # rewrites the first version, whatever became of the later ones
    asks_model: bool  # asks a language model, so each decision is committed before the next; False where it is missing

    def next_candidate(self, case: Case) -> Candidate | ItemError | None:
        """Return a rewrite to try, None to draw the same text again with new seeds, or why a model failed."""
