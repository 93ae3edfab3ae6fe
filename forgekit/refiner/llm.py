"""Policies that have a language model rewrite the prompt: from its scored history (OPT2I, Mañas et al. 2024), and the control."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

from forgekit.errors import ItemError
from forgekit.models import LanguageModel
from forgekit.models.language import tagged_prompts
from forgekit.refiner.actions import Candidate
from forgekit.refiner.case import Case, Policy, Version
from forgekit.refiner.learnings import TOLD_FROM, Memory

SHOWN = 5  # how many of the best prompts so far are shown, of reasons about an element, of lessons that helped and that hurt
SHOWN_REFUSALS = 8  # how many of what was refused, the last ones
CHANGES = 4  # how many changed places of a text are told
REWRITE = """\
You improve prompts for a text-to-image model, so that its pictures show everything that this scene asks for.

Scene: {scene}

Here are prompts for it and how well their pictures showed the scene, as integers from 0 to 100, worst first.
Below each prompt are the scores of the scene's elements.

{told}

Generate {n} paraphrases of the scene that keep its meaning and that have higher scores than all the prompts above.
Prioritize optimizing for the elements with the lowest scores. Favor substitutions and reorderings over additions.
Keep every object, number, colour, relation and quoted text. Write each paraphrase between <PROMPT> and </PROMPT>.
"""
PARAPHRASE = """\
You paraphrase prompts for a text-to-image model.

Scene: {scene}

{told}

Generate {n} paraphrases of the scene that keep its meaning and differ from one another.
Keep every object, number, colour, relation and quoted text. Write each paraphrase between <PROMPT> and </PROMPT>.
"""


@dataclass(frozen=True)
class LanguageModelPolicy(Policy):
    """Rewrite by a language model that sees what the rules see: scores, what the judge says, lessons, refusals of the gate."""

    language_model: LanguageModel
    candidates: int = 4  # asked for in one answer; the first that passes the gate and is new is tried
    attempts: int = 2  # where none passes, the model is told why and asked again
    asks_model: bool = True
    uses_memory: bool = True

    @property
    def name(self) -> str:
        """How the policy is recorded."""
        return f"llm:{self.language_model.name}"

    def request(self, case: Case) -> str:
        """Return what the model is asked now: the best prompts in ascending order with their scores, and what is known."""
        best = sorted(case.situation.scored, key=lambda scored: scored[0])[-SHOWN:]
        history = "\n\n".join(_scored(score, version, case) for score, version in best)
        return self._filled(REWRITE, case, history, _judged(case), _lessons(case.memory))

    def _filled(self, form: str, case: Case, *parts: str) -> str:
        told = "\n\n".join(filter(None, [*parts, _refusals(case)]))
        return form.format(scene=case.situation.scene_text, told=told, n=self.candidates)

    def next_candidate(self, case: Case) -> Candidate | ItemError | None:
        """Return the model's first proposal that keeps the scene and is new; None where it has none.

        What does not pass is noted in the case, for the next request.
        """
        if case.tools.ask is None:
            return ItemError(f"{self.name}: nobody here can ask a language model")
        worst = min(case.elements, key=lambda e: (case.base.element_scores.get(e.key, 1.0), e.key))
        for _ in range(self.attempts):
            answer = case.tools.ask(self.language_model, self.request(case))
            if isinstance(answer, ItemError):
                return answer
            for text in tagged_prompts(answer):
                detail = changes(case.draft.text, text)
                candidate = Candidate("llm", worst.key, worst.kind, worst.term, detail, text, case.draft.parameters)
                reasons = case.why_refused(candidate)
                if not reasons and case.is_new(candidate):
                    return candidate
                case.refused.append((text, reasons or ["it was drawn before"]))
        return None


@dataclass(frozen=True)
class LanguageModelParaphrase(LanguageModelPolicy):
    """Control: the same model asked as often for as many, blind to scores, reasons and lessons; from the first version."""

    uses_memory: bool = False
    from_first: bool = True

    @property
    def name(self) -> str:
        """How the policy is recorded."""
        return f"llm-paraphrase:{self.language_model.name}"

    def request(self, case: Case) -> str:
        """Return what the model is asked now, for paraphrases: the scene, and what not to write again."""
        drawn = dict.fromkeys(version.asked for version in case.situation.versions)
        return self._filled(PARAPHRASE, case, _section("These are there already", drawn))


def changes(before: str, after: str) -> str:
    """Return what was changed from one text to another, in words: "scarlet -> red; + clearly visible"."""
    one, other = before.split(), after.split()
    told = []
    for kind, start, end, other_start, other_end in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        lost, new = " ".join(one[start:end]), " ".join(other[other_start:other_end])
        if kind != "equal":
            told.append(f"{lost} -> {new}" if lost and new else f"+ {new}" if new else f"- {lost}")
    return "; ".join(told[:CHANGES]) + ("; …" if len(told) > CHANGES else "") if told else "reworded"


def _scored(mean: float, version: Version, case: Case) -> str:
    told = [(element.label, version.element_scores.get(element.key)) for element in case.elements]
    lines = [f"    {phrase}: {100 * score:.0f}" for phrase, score in told if score is not None]
    return "\n".join([f"{version.asked}\n    score: {100 * mean:.0f}", *lines])


def _judged(case: Case) -> str:
    """Return what the judge says of the pictures of the best version: why elements failed, what is there instead."""
    base = case.base
    told = [f"{e.label}: {reason}" for e in case.failing for reason in base.reasons.get(e.key, ())[:SHOWN]]
    told += [f"seen: {seen}" for seen in base.seen[:SHOWN]]
    told += [f"not asked for: {unwanted}" for unwanted in case.draft.unwanted[:SHOWN]]
    return _section("A judge says of the pictures of the best prompt", told)


def _lessons(memory: Memory) -> str:
    """Return which changes were tried often enough to tell, those that gained most and least, with their counts."""
    tried: Counter[tuple[str, str]] = Counter()
    total: dict[tuple[str, str], float] = defaultdict(float)
    for row in memory.evidence:
        for change in row.detail.split("; "):
            tried[row.kind, change] += row.tried
            total[row.kind, change] += row.total_change
    known = sorted((key for key in tried if tried[key] >= TOLD_FROM), key=lambda key: -total[key] / tried[key])
    told = [
        f"{change} (for a failing {kind}): {100 * total[kind, change] / tried[kind, change]:+z.0f} "
        f"on average, in {tried[kind, change]} rewrites"
        for kind, change in dict.fromkeys([*known[:SHOWN], *known[-SHOWN:]])
    ]
    return _section("What changes of the words did to the score so far, in other scenes too", told)


def _refusals(case: Case) -> str:
    """Return what was refused in earlier decisions about the scene and in this one, the last ones."""
    refused = dict([*case.situation.refused, *case.refused][-SHOWN_REFUSALS:])
    told = [f"{text}: {'; '.join(reasons)}" for text, reasons in refused.items()]
    return _section("These were refused, because they do not ask for the same scene", told)


def _section(title: str, lines: Iterable[str]) -> str:
    told = [f"- {' '.join(line.split())}" for line in lines]
    return "\n".join([f"{title}:", *told]) if told else ""
