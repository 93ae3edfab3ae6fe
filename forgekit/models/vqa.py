"""What question-answering judges ask about a scene, and how the odds of the answers become a verdict, whoever gives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forgekit.errors import ParameterError
from forgekit.models.choices import NUMBERS
from forgekit.models.roles import Judgement
from forgekit.scene import Element, Scene, list_elements
from forgekit.scene.annotation import YES_NO as YES_OR_NO
from forgekit.scene.annotation import own_questions

YES_NO = {"yes": ("Yes", "yes", " Yes", " yes"), "no": ("No", "no", " No", " no")}
NUMBER_FORMS = {word: (word, word.title(), f" {word}", str(n), f" {n}") for n, word in enumerate(NUMBERS)}
WHOLE = 'Does this image show "{}"? Answer the question with Yes or No.'  # VQAScore as GenEval 2 words it
DESCRIBE = "Describe the image."
WHOLE_KEY = "text"  # where the question about the whole text stands among those about elements


def check_templates(name: str, **templates: str) -> None:
    """Refuse templates that hold no place for what they ask about.

    Raises:
        ParameterError: one has no {}.
    """
    for field, text in templates.items():
        if "{}" not in text:
            raise ParameterError(f"{field}={text!r} of {name}: put {{}} where the text belongs")


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


@dataclass(frozen=True)
class Heard:
    """What a model answered: the score, the likeliest answer and its share, and in plain probabilities of all words."""

    score: float | None = None
    best: str = ""
    chance: float = 0.0
    plain: float | None = None  # of the right answer
    mass: float | None = None  # of all possible answers
    reason: str = ""


class Plan:
    """What to ask about one scene: for each element, and for the text, a question."""

    def __init__(self, scene: Scene, whole: str, words: Words, put: Callable[[Element | None, str], str]) -> None:
        """Write the questions; `whole` holds {} where the scene's text belongs, `put` says how one is put to the model."""
        self.elements = list_elements(scene.elements)
        self.annotated = bool(own_questions(scene.elements))
        written = ((element, (_own if self.annotated else _written)(element, words)) for element in self.elements)
        self.asks = {element.key: replace(ask, said=put(element, ask.question)) for element, ask in written}
        text = whole.format(scene.text)
        self.asks[WHOLE_KEY] = Ask(text, words.yes_no, "yes", said=put(None, text))


def hear(ask: Ask, odds: Mapping[str, float], followed: float, *, least_mass: float, adhering_at: float) -> Heard:
    """Read one answer off the odds of the possible ones; `followed` is the probability of all words that answer it."""
    mass, right = sum(odds.values()), odds.get(ask.right, 0.0)
    best, answered = max(odds, key=odds.__getitem__), max(mass, followed)
    if answered < least_mass or not mass:
        reason = f"{ask.question} was not answered: only {answered:.2f} of the odds are on a possible answer"
        return Heard(None, best, odds[best] / mass if mass else 0.0, right, answered, reason)
    score, chance = right / mass, odds[best] / mass
    reason = f"{ask.question} {best} ({chance:.2f})" if score < adhering_at else ""
    return Heard(score, best, chance, right, answered, reason)


def verdict(plan: Plan, heard: Mapping[str, Heard], description: str, *, unwanted_at: float) -> Judgement:
    """Return the judgement that the answers to a plan's questions make; `heard` has one for each of its `asks`."""
    whole, style = heard[WHOLE_KEY], heard.get("style")
    told = {element.key: heard[element.key] for element in plan.elements}
    plain = [each.plain for each in told.values() if each.plain is not None]
    plain = plain if len(plain) == len(told) else []
    answers = {
        key: {"answer": each.best, "right": each.best == plan.asks[key].right, "plain": each.plain}
        for key, each in told.items()
        if plan.annotated and each.score is not None
    }
    return Judgement(
        element_scores={key: each.score for key, each in told.items()},
        text_match_score=whole.score,
        description=description,
        unwanted_elements=[
            u for e in plan.elements for u in _unwanted(e, heard[e.key], plan.asks[e.key].right, unwanted_at)
        ],
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


def _unwanted(element: Element, heard: Heard, right: str, unwanted_at: float) -> list[str]:
    if heard.best == right or heard.chance < unwanted_at:
        return []
    if element.expected == "no":
        return [element.label]
    if element.choices:
        return [f"{heard.best} instead of {right}"]
    if heard.best in NUMBERS and heard.best != "zero":
        return [f"{heard.best} instead of {element.phrase or right}"]
    return []


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
            return Ask(question, words.choices(element.choices), right, others=numbers)
        except ParameterError as error:
            return Ask(question, {}, right, f"cannot be put to this model: {error}")
    if right in YES_OR_NO:
        return Ask(question, words.yes_no, right)
    number = NUMBERS[int(right)] if right.isdigit() and int(right) < len(NUMBERS) else right.lower()
    if number in words.numbers:
        return Ask(question, words.numbers, number)
    return Ask(question, {}, right, f"cannot be scored: {right!r} is not yes, no or a number, and no choices are given")
