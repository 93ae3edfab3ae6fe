"""What question-answering judges ask about a scene, and how the odds of the answers become a verdict, whoever gives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forgekit.errors import ParameterError
from forgekit.models.choices import NUMBERS
from forgekit.models.judgements import check_templates
from forgekit.models.roles import Judgement
from forgekit.scene import Element, Scene, list_elements
from forgekit.scene.annotation import YES_NO as YES_OR_NO
from forgekit.scene.annotation import own_questions

YES_NO = {"yes": ("Yes", "yes", " Yes", " yes"), "no": ("No", "no", " No", " no")}
NUMBER_FORMS = {word: (word, word.title(), f" {word}", str(n), f" {n}") for n, word in enumerate(NUMBERS)}
WHOLE = 'Does this image show "{}"? Answer the question with Yes or No.'  # VQAScore as GenEval 2 words it
DESCRIBE = "Describe the image."
WHOLE_KEY = "text"  # where the question about the whole text stands among those about elements


@dataclass(frozen=True)
class Words:
    """How the model says yes and no, numbers, and whatever else a benchmark allows: by word, in its own tokens."""

    yes_no: Mapping[str, Sequence[Any]]
    numbers: Mapping[str, Sequence[Any]]
    choices: Callable[[Sequence[str]], Any]  # raises ParameterError where it cannot say one
    count: bool  # ask for the number of things instead of whether there are so many


@dataclass(frozen=True)
class Ask:
    """A question with its possible answers as tokens and the right one; or why it cannot be put to this model."""

    question: str
    options: Any  # tokens by answer, or what `Words.choices` returned
    right: str
    refused: str = ""
    others: Sequence[Any] = ()  # words that answer it, too, and are none of the choices: other numbers
    said: str = ""  # the question as it is put to the model
    named: bool = False  # the possible answers are the benchmark's own choices


@dataclass(frozen=True)
class Heard:
    """What a model answered: the score, the likeliest answer and its share, and in plain probabilities of all words."""

    score: float | None = None
    best: str = ""
    chance: float = 0.0
    plain: float | None = None  # of the right answer
    mass: float | None = None  # of all possible answers
    reason: str = ""


Read = Callable[[Ask], tuple[Mapping[str, float], float]]


@dataclass(frozen=True, kw_only=True)
class Questioner:
    """What judges that ask questions share, whoever answers: how a question is put, and what the answers make."""

    frame = "{}"  # around all that is said, where a model has a form for it and no chat template

    prompt: str = "{} Answer in one word."  # around a question about an element, as GenEval 2 puts it
    whole: str = WHOLE
    description: str = DESCRIBE  # the request for `model_output.description`; "" for none
    description_tokens: int = 40
    count_questions: bool = True  # ask "How many hearts are there?" instead of "Are there two hearts?"
    least_mass: float = 0.3
    unwanted_at: float = 0.6  # probability from which an absent thing counts as seen, or another number as the count
    adhering_at: float = 0.5  # score from which on an image adheres, or an element is there; no reason is given above

    def __post_init__(self) -> None:
        """Refuse templates that hold no place for what they ask about."""
        check_templates(self, "frame", "prompt", "whole")

    def put(self, element: Element | None, question: str) -> str:
        """Return how a question is put: one about an element asks for one word, unless it names its answers."""
        named = element is None or element.asked != element.question
        return self.frame.format(question if named else self.prompt.format(question))

    def verdict(self, plan: Plan, read: Read, description: str) -> Judgement:
        """Return the judgement that the answers to a plan's questions make.

        `read` gives the probability of each possible answer to one, and that of all other words that answer it, too; it
        raises a ParameterError where the model cannot answer it.
        """
        heard = {key: self._hear(ask, read) for key, ask in plan.asks.items()}
        whole, style = heard[WHOLE_KEY], heard.get("style")
        told = {element.key: heard[element.key] for element in plan.elements}
        plain = [each.plain for each in told.values() if each.plain is not None]
        plain = plain if len(plain) == len(told) else []
        answers = {
            key: {"answer": each.best, "right": each.best == plan.asks[key].right, "plain": each.plain}
            for key, each in told.items()
            if plan.annotated and each.score is not None
        }
        unwanted = [self._unwanted(element, heard[element.key], plan.asks[element.key]) for element in plan.elements]
        return Judgement(
            element_scores={key: each.score for key, each in told.items()},
            text_match_score=whole.score,
            description=description,
            unwanted_elements=list(filter(None, unwanted)),
            style_deviation=None if style is None or style.score is None else 1 - style.score,
            reasons={key: each.reason for key, each in heard.items() if each.reason},
            metrics={
                "vqa_score": whole.plain,
                "soft_tifa_am": sum(plain) / len(plain) if plain else None,
                "soft_tifa_gm": math.prod(plain) ** (1 / len(plain)) if plain else None,
                "answer_mass": min(each.mass for each in heard.values() if each.mass is not None),
            },
            answers=answers,
        )

    def _hear(self, ask: Ask, read: Read) -> Heard:
        if ask.refused:
            return Heard(reason=f"{ask.question} {ask.refused}")
        try:
            odds, others = read(ask)
        except ParameterError as error:
            return Heard(reason=f"{ask.question} cannot be put to this model: {error}")
        mass, right = sum(odds.values()), odds.get(ask.right, 0.0)
        best, answered = max(odds, key=odds.__getitem__), max(mass, others)
        if answered < self.least_mass or not mass:
            reason = f"{ask.question} was not answered: only {answered:.2f} of the odds are on a possible answer"
            return Heard(None, best, odds[best] / mass if mass else 0.0, right, answered, reason)
        score, chance = right / mass, odds[best] / mass
        reason = f"{ask.question} {best} ({chance:.2f})" if score < self.adhering_at else ""
        return Heard(score, best, chance, right, answered, reason)

    def _unwanted(self, element: Element, heard: Heard, ask: Ask) -> str:
        """Return what is there instead of an element, "" where that is not said."""
        if heard.best == ask.right or heard.chance < self.unwanted_at:
            return ""
        if element.expected == "no":
            return element.label
        if element.choices:
            return f"{heard.best} instead of {ask.right}"
        counted = heard.best in NUMBERS and heard.best != "zero"
        return f"{heard.best} instead of {element.phrase or ask.right}" if counted else ""


class Plan:
    """What to ask about one scene: for each element, and for the text, a question."""

    def __init__(self, scene: Scene, questioner: Questioner, words: Words) -> None:
        self.elements = list_elements(scene.elements)
        self.annotated = bool(own_questions(scene.elements))
        self.asks: dict[str, Ask] = {}
        for element in self.elements:
            ask = (_own if self.annotated else _written)(element, words)
            self.asks[element.key] = replace(ask, said=questioner.put(element, ask.question))
        text = questioner.whole.format(scene.text)
        self.asks[WHOLE_KEY] = Ask(text, words.yes_no, "yes", said=questioner.put(None, text))


def _written(element: Element, words: Words) -> Ask:
    number, _, things = element.phrase.partition(" ")
    if words.count and element.kind == "count" and number in words.numbers:
        return Ask(f"How many {things} are there?", words.numbers, number)
    return Ask(element.question, words.yes_no, element.expected)


def _own(element: Element, words: Words) -> Ask:
    """Ask a benchmark's own question, as it stands."""
    question, right = element.asked, element.expected
    if element.choices:
        counted = all(choice.isdigit() for choice in element.choices)
        numbers = [i for ids in words.numbers.values() for i in ids] if counted else []
        try:
            return Ask(question, words.choices(element.choices), right, others=numbers, named=True)
        except ParameterError as error:
            return Ask(question, {}, right, f"cannot be put to this model: {error}")
    if right in YES_OR_NO:
        return Ask(question, words.yes_no, right)
    number = NUMBERS[int(right)] if right.isdigit() and int(right) < len(NUMBERS) else right.lower()
    if number in words.numbers:
        return Ask(question, words.numbers, number)
    return Ask(question, {}, right, f"cannot be scored: {right!r} is not yes, no or a number, and no choices are given")
