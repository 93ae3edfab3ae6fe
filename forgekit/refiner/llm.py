"""A policy that has a language model rewrite the prompt from its scored history (OPT2I, Mañas et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass

from forgekit.errors import ItemError
from forgekit.models import LanguageModel
from forgekit.models.language import tagged_prompts
from forgekit.refiner.actions import Candidate
from forgekit.refiner.case import Case, Policy, Version

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
class LanguageModelPolicy(Policy):
    """Rewrite by a language model that sees the best prompts so far with their scores."""

    language_model: LanguageModel
    candidates: int = 4  # asked for in one answer; the first that passes the gate and is new is tried
    asks_model: bool = True

    @property
    def name(self) -> str:
        """How the policy is recorded."""
        return f"llm:{self.language_model.name}"

    def next_candidate(self, case: Case) -> Candidate | ItemError | None:
        """Return the model's first proposal that keeps the scene and is new; None where it has none."""
        if case.tools.ask is None:
            return ItemError(f"{self.name}: nobody here can ask a language model")
        answer = case.tools.ask(self.language_model, rewriting_request(case, self.candidates))
        if isinstance(answer, ItemError):
            return answer
        worst = min(case.elements, key=lambda e: (case.base.element_scores.get(e.key, 1.0), e.key))
        proposals = (
            Candidate("llm", worst.key, worst.kind, worst.term, "rewritten", text, case.draft.parameters)
            for text in tagged_prompts(answer)
        )
        return next(filter(case.allows, proposals), None)


def rewriting_request(case: Case, n: int) -> str:
    """Return what the model is asked: the scene, the best prompts in ascending order with their scores, the task."""
    best = sorted(case.situation.scored, key=lambda scored: scored[0])[-SHOWN:]
    history = "\n\n".join(_told(score, version, case) for score, version in best)
    return REQUEST.format(scene=case.situation.scene_text, history=history, n=n)


def _told(mean: float, version: Version, case: Case) -> str:
    told = [(element.label, version.element_scores.get(element.key)) for element in case.elements]
    lines = [f"    {phrase}: {100 * score:.0f}" for phrase, score in told if score is not None]
    return "\n".join([f"{version.asked}\n    score: {100 * mean:.0f}", *lines])
