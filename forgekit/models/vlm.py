"""Question-answering judges (transformers): how probable is the right answer to a question about each element?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from forgekit.errors import ItemError, ParameterError
from forgekit.ids import content_hash
from forgekit.models.choices import NUMBERS, Choices
from forgekit.models.memory import placement, weights
from forgekit.models.naming import plain_name
from forgekit.models.next_word import Answerer, Question, distinct_answers
from forgekit.models.roles import Judgement
from forgekit.models.running import in_batches
from forgekit.models.weights import load_weights, weights_of
from forgekit.scene import Element, Scene, list_elements
from forgekit.scene.annotation import YES_NO as YES_OR_NO
from forgekit.scene.annotation import own_questions

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

YES_NO = {"yes": ("Yes", "yes", " Yes", " yes"), "no": ("No", "no", " No", " no")}
WHOLE = 'Does this image show "{}"? Answer the question with Yes or No.'  # VQAScore as GenEval 2 words it
DESCRIBE = "Describe the image."
WHOLE_KEY = "text"  # where the question about the whole text stands among those about elements
ENTRY = "config.json"  # a file that every repository of transformers has


@dataclass(frozen=True)
class VQAJudge:
    """A vision-language model of transformers. Its fields are its settings; weights load on the first judgement.

    Answers are read off as probabilities of the next token; no text is generated and compared. A score is the
    probability of the right answer among the possible ones: P(yes) / (P(yes) + P(no)), for a count P(two) among all
    numbers. Where the possible answers together have less than `least_mass`, the model did not follow the question, and
    the score is None with that reason.

    Where a benchmark allows certain answers, of whatever length, they are named in its question, which is asked as it stands,
    and a score is the probability of the expected one among them; the answer given, `answers`, is the likeliest of them:
    what TIFA compares with the expected one (Hu et al. 2023). All other questions are asked within `prompt`.

    `text_match_score` is the same for the whole text (VQAScore, Lin et al. 2024), asked as `whole` has it. `metrics` holds
    `vqa_score`, its plain P(yes); `soft_tifa_am` and `soft_tifa_gm`, arithmetic and geometric means of the plain
    probabilities of the elements' right answers (GenEval 2); and `answer_mass`, the least share that possible answers had.
    """

    name: str
    repo: str  # Hugging Face id or local folder
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int = 4  # images at a time, each with all its questions
    frame: str = "{}"  # around all that is said, where a model has a form for it and no chat template
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
        for field in ("frame", "prompt", "whole"):
            if "{}" not in getattr(self, field):
                given = f"{field}={getattr(self, field)!r}"
                raise ParameterError(f"{given} of {self.name}: put {{}} where the text belongs")

    @classmethod
    def from_address(cls, address: str) -> VQAJudge | None:
        """Return the judge for a transformers folder or a Hugging Face id; None where it is neither."""
        name = plain_name(address, ENTRY)
        return cls(name, address) if name else None

    @property
    def judge_key(self) -> str:
        """Hash of weights, templates and thresholds; not of device and batch size, which change no verdict."""
        element = self.frame.format(self.prompt)
        asking = [element, self.whole, self.description, self.description_tokens, self.count_questions, YES_NO, NUMBERS]
        if element != self.frame:  # else all is asked alike
            asking.append(self.frame)
        return content_hash(
            {
                "family": "vqa",
                "weights": weights_of(self, self.repo, ENTRY),
                "asking": asking,
                "thresholds": [self.least_mass, self.unwanted_at, self.adhering_at],
            }
        )

    def judge(self, images: Sequence[Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        """Judge `images[i]` against `scenes[i]`, in order. An image that cannot be read becomes an ItemError.

        Raises:
            UnknownModelError: the weights are not there.
            ParameterError: yes and no are not single, distinct tokens of this model.
        """
        words = _Words(*self._answers, self.count_questions, self._answerer)  # refuses models that cannot answer
        plans = {id(scene): _Plan(scene, self, words) for scene in scenes}
        items = [(image, plans[id(scene)]) for image, scene in zip(images, scenes, strict=True)]
        return in_batches(items, self.batch_size, self._judge_batch, self)

    def said(self, element: Element, question: str) -> str:
        """Return how a question about an element is put; where its answers are named, they say how to answer."""
        return self.frame.format(question if element.asked != element.question else self.prompt.format(question))

    def _judge_batch(self, items: Sequence[tuple[Image, _Plan]]) -> list[Judgement | ItemError]:
        images = [image for image, _ in items]
        chances = self._answerer.next_word(images, [plan.rows for _, plan in items])
        texts = [""] * len(items)
        if self.description:
            texts = self._answerer.describe(images, self.frame.format(self.description), self.description_tokens)
        return [self._verdict(plan, c, text) for (_, plan), c, text in zip(items, chances, texts, strict=True)]

    def _verdict(self, plan: _Plan, chances: Tensor, description: str) -> Judgement | ItemError:
        if not chances.isfinite().all():
            dtype = placement(self)[1]
            return ItemError(
                f"{self.name} gave no number (nan) for this image in {dtype}; another dtype may help: float32"
            )
        heard = {key: self._heard(plan, ask, chances) for key, ask in plan.asks.items()}
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
                u for e in plan.elements for u in self._unwanted(e, heard[e.key], plan.asks[e.key].right)
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

    def _heard(self, plan: _Plan, ask: _Ask, chances: Tensor) -> _Heard:
        """Read one answer off the probabilities of the next words."""
        if ask.refused:
            return _Heard(reason=f"{ask.question} {ask.refused}")
        odds = plan.odds(ask, chances)
        mass, right = sum(odds.values()), odds.get(ask.right, 0.0)
        best, answered = max(odds, key=odds.__getitem__), max(mass, plan.followed(ask, chances))
        if answered < self.least_mass or not mass:
            reason = f"{ask.question} was not answered: only {answered:.2f} of the odds are on a possible answer"
            return _Heard(None, best, odds[best] / mass if mass else 0.0, right, answered, reason)
        score, chance = right / mass, odds[best] / mass
        reason = f"{ask.question} {best} ({chance:.2f})" if score < self.adhering_at else ""
        return _Heard(score, best, chance, right, answered, reason)

    def _unwanted(self, element: Element, heard: _Heard, right: str) -> list[str]:
        if heard.best == right or heard.chance < self.unwanted_at:
            return []
        if element.expected == "no":
            return [element.label]
        if element.choices:
            return [f"{heard.best} instead of {right}"]
        if heard.best in NUMBERS and heard.best != "zero":
            return [f"{heard.best} instead of {element.phrase or right}"]
        return []

    @weights
    def _answerer(self) -> Answerer:
        return load_weights(self, self.repo, lambda: Answerer(self.repo, self.revision, *placement(self)))

    @cached_property
    def _answers(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Token ids of yes and no, and of the numbers that are single tokens, by word."""
        numbers = {word: (word, word.title(), f" {word}", str(n), f" {n}") for n, word in enumerate(NUMBERS)}
        single = {word: forms for word, forms in numbers.items() if self._answerer.answer_ids(forms)}
        return distinct_answers(self._answerer, YES_NO), distinct_answers(self._answerer, single)


@dataclass(frozen=True)
class _Words:
    """How the model says yes and no, numbers, and whatever else a benchmark allows."""

    yes_no: Mapping[str, list[int]]
    numbers: Mapping[str, list[int]]
    count: bool  # ask for the number of things instead of whether there are so many
    answerer: Answerer


@dataclass(frozen=True)
class _Ask:
    """A question with its possible answers as tokens and the right one; or why it cannot be put to this model."""

    question: str
    options: Mapping[str, list[int]] | Choices
    right: str
    refused: str = ""
    others: Sequence[int] = ()  # words that answer it, too, and are none of the choices: other numbers
    said: str = ""  # the question as it is put to the model


@dataclass(frozen=True)
class _Heard:
    """What a model answered: the score, the likeliest answer and its share, and in plain probabilities of all words."""

    score: float | None = None
    best: str = ""
    chance: float = 0.0
    plain: float | None = None  # of the right answer
    mass: float | None = None  # of all possible answers
    reason: str = ""


class _Plan:
    """What to ask about one scene: for each element, and for the text, a question; the same one only once."""

    def __init__(self, scene: Scene, judge: VQAJudge, words: _Words) -> None:
        self.elements = list_elements(scene.elements)
        self.annotated = bool(own_questions(scene.elements))
        written = ((element, (_own if self.annotated else _written)(element, words)) for element in self.elements)
        self.asks = {element.key: replace(ask, said=judge.said(element, ask.question)) for element, ask in written}
        whole = judge.whole.format(scene.text)
        self.asks[WHOLE_KEY] = _Ask(whole, words.yes_no, "yes", said=judge.frame.format(whole))
        asked = [question for each in self.asks.values() if not each.refused for question in _turns(each)]
        self.rows: list[Question] = list(dict.fromkeys(asked))
        self._place = {question: place for place, question in enumerate(self.rows)}

    def odds(self, ask: _Ask, chances: Tensor) -> dict[str, float]:
        """Return the probability of each possible answer; `chances` are those of all words, row by row."""
        words = [chances[self._place[turn]] for turn in _turns(ask)]
        if isinstance(ask.options, Choices):
            return ask.options.chances(dict(zip(ask.options.beginnings, words, strict=True)))
        return {answer: float(words[0][ids].sum()) for answer, ids in ask.options.items()}

    def followed(self, ask: _Ask, chances: Tensor) -> float:
        """Return the probability of the words that answer a count, whether they are among its choices or not."""
        return float(chances[self._place[ask.said]][list(ask.others)].sum())


def _turns(ask: _Ask) -> list[Question]:
    """Return what the next word must be known after: the question, and the question with the beginning of an answer."""
    beginnings = ask.options.beginnings[1:] if isinstance(ask.options, Choices) else []
    return [ask.said, *((ask.said, begun) for begun in beginnings)]


def _written(element: Element, words: _Words) -> _Ask:
    number, _, things = element.phrase.partition(" ")
    if words.count and element.kind == "count" and number in words.numbers:
        return _Ask(f"How many {things} are there?", words.numbers, number)
    return _Ask(element.question, words.yes_no, element.expected)


def _own(element: Element, words: _Words) -> _Ask:
    """Ask a benchmark's own question, as it stands."""
    question, right = element.asked, element.expected
    if element.choices:
        counted = all(choice.isdigit() for choice in element.choices)
        numbers = [i for ids in words.numbers.values() for i in ids] if counted else []
        try:
            return _Ask(question, Choices.of(element.choices, words.answerer.token_ids), right, others=numbers)
        except ParameterError as error:
            return _Ask(question, {}, right, f"cannot be put to this model: {error}")
    if right in YES_OR_NO:
        return _Ask(question, words.yes_no, right)
    number = NUMBERS[int(right)] if right.isdigit() and int(right) < len(NUMBERS) else right.lower()
    if number in words.numbers:
        return _Ask(question, words.numbers, number)
    return _Ask(
        question, {}, right, f"cannot be scored: {right!r} is not yes, no or a number, and no choices are given"
    )
