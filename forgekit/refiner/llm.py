"""A policy that has a language model rewrite the prompt from its scored history (OPT2I, Mañas et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forgekit.errors import ItemError
from forgekit.models import LanguageModel
from forgekit.models.language import tagged_prompts
from forgekit.refiner.actions import Candidate
from forgekit.refiner.case import Case, Scored
from forgekit.scene import Element

SHOWN = 5  # how many of the best prompts so far are shown
REQUEST = """\
You improve prompts for a text-to-image model, so that its pictures show everything that this scene asks for.

Scene: {scene}

Here are prompts for it and how well their pictures showed the scene, as integers from 0 to 100, worst first.
Below each prompt are the scores of the scene's elements.

{history}

Generate {n} paraphrases of the scene that keep its meaning and that have higher scores than all the prompts above.
Prioritize optimizing for the elements with the lowest scores. Favor substitutions and reorderings over additions.
Keep every object, number, colour, relation and quoted text. Write each paraphrase between <PROMPT> and </PROMPT>.
"""


@dataclass(frozen=True)
class LanguageModelPolicy:
    """Rewrite by a language model that sees the best prompts so far with their scores."""

    language_model: LanguageModel
    candidates: int = 4  # asked for in one answer; the first that passes the gate and is new is tried
    uses_memory: bool = False
    redraws_only: bool = False
    from_first: bool = False
    asks_model: bool = True

    @property
    def name(self) -> str:
        """How the policy is recorded."""
        return f"llm:{self.language_model.name}"

    def next_candidate(self, case: Case) -> Candidate | ItemError | None:
        """Return the model's first proposal that keeps the scene and is new; None where it has none."""
        if case.ask is None:
            return ItemError(f"{self.name}: nobody here can ask a language model")
        answer = case.ask(self.language_model, rewriting_request(case, self.candidates))
        if isinstance(answer, ItemError):
            return answer
        worst = min(case.elements, key=lambda e: (case.element_scores.get(e.key, 1.0), e.key))
        proposals = (
            Candidate("llm", worst.key, worst.kind, worst.term, "rewritten", text, case.draft.parameters)
            for text in tagged_prompts(answer)
        )
        return next(filter(case.allows, proposals), None)


def rewriting_request(case: Case, n: int) -> str:
    """Return what the model is asked: the scene, the best prompts in ascending order with their scores, the task."""
    best = sorted(case.history, key=lambda scored: scored.score)[-SHOWN:]
    history = "\n\n".join(_told(scored, case.elements) for scored in best)
    return REQUEST.format(scene=case.scene_text or case.draft.text, history=history, n=n)


def _told(scored: Scored, elements: Sequence[Element]) -> str:
    lines = [
        f"    {element.phrase}: {100 * scored.element_scores[element.key]:.0f}"
        for element in elements
        if scored.element_scores.get(element.key) is not None
    ]
    return "\n".join([f"{scored.text}\n    score: {100 * scored.score:.0f}", *lines])
