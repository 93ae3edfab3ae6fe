"""Question-answering judges (transformers): how probable is the right answer to a question about each element?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from forgekit.errors import ItemError, ParameterError
from forgekit.ids import content_hash
from forgekit.models.memory import placement, weights
from forgekit.models.naming import plain_name
from forgekit.models.next_word import Answerer, distinct_answers
from forgekit.models.roles import Judgement
from forgekit.models.running import in_batches
from forgekit.models.weights import load_weights, weights_of
from forgekit.scene import Element, Scene, list_elements

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

YES_NO = {"yes": ("Yes", "yes", " Yes", " yes"), "no": ("No", "no", " No", " no")}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
WHOLE = 'Does this image show "{}"? Answer the question with Yes or No.'  # VQAScore as GenEval 2 words it
DESCRIBE = "Describe the image."
ENTRY = "config.json"  # a file that every repository of transformers has


@dataclass(frozen=True)
class VQAJudge:
    """A vision-language model of transformers. Its fields are its settings; weights load on the first judgement.

    Answers are read off as probabilities of the next token; no text is generated and compared. A score is the
    probability of the right answer among the possible ones: P(yes) / (P(yes) + P(no)), for a count P(two) among all
    numbers. Where the possible answers together have less than `least_mass`, the model did not follow the question, and
    the score is None with that reason.

    `text_match_score` is the same for the whole text (VQAScore, Lin et al. 2024). `metrics` holds `vqa_score`, its
    plain P(yes); `soft_tifa_am` and `soft_tifa_gm`, arithmetic and geometric means of the plain probabilities of the
    elements' right answers (GenEval 2); and `answer_mass`, the least share that the possible answers had.
    """

    name: str
    repo: str  # Hugging Face id or local folder
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int = 4  # images at a time, each with all its questions
    prompt: str = "{} Answer in one word."
    whole: str = WHOLE
    description: str = DESCRIBE  # the request for `model_output.description`; "" for none
    description_tokens: int = 40
    count_questions: bool = True  # ask "How many hearts are there?" instead of "Are there two hearts?"
    least_mass: float = 0.3
    unwanted_at: float = 0.6  # probability from which an absent thing counts as seen, or another number as the count
    adhering_at: float = 0.5  # score from which on an image adheres, or an element is there; no reason is given above

    def __post_init__(self) -> None:
        """Refuse templates that hold no place for what they ask about."""
        for field in ("prompt", "whole"):
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
        asking = [self.prompt, self.whole, self.description, self.description_tokens, self.count_questions]
        return content_hash(
            {
                "family": "vqa",
                "weights": weights_of(self, self.repo, ENTRY),
                "asking": [*asking, YES_NO, NUMBERS],
                "thresholds": [self.least_mass, self.unwanted_at, self.adhering_at],
            }
        )

    def judge(self, images: Sequence[Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        """Judge `images[i]` against `scenes[i]`, in order. An image that cannot be read becomes an ItemError.

        Raises:
            UnknownModelError: the weights are not there.
            ParameterError: yes and no are not single, distinct tokens of this model.
        """
        _, numbers = self._answers  # refuses models that cannot answer, before any image
        asked = tuple(numbers) if self.count_questions else ()
        plans = {id(scene): _Plan(scene, self.whole, asked) for scene in scenes}
        items = [(image, plans[id(scene)]) for image, scene in zip(images, scenes, strict=True)]
        return in_batches(items, self.batch_size, self._judge_batch, self)

    def _judge_batch(self, items: Sequence[tuple[Image, _Plan]]) -> list[Judgement]:
        images = [image for image, _ in items]
        chances = self._answerer.next_word(images, [plan.questions for _, plan in items])
        texts = [""] * len(items)
        if self.description:
            texts = self._answerer.describe(images, self.description, self.description_tokens)
        return [self._verdict(plan, c, text) for (_, plan), c, text in zip(items, chances, texts, strict=True)]

    def _verdict(self, plan: _Plan, chances: Tensor, description: str) -> Judgement:
        yes_no, numbers = self._answers
        scores: dict[str, float | None] = {}
        reasons, unwanted, raw, masses = {}, [], [], []
        for element, (question, options, right), words in zip([*plan.elements, None], plan.asked, chances, strict=True):
            answers = {a: float(words[ids].sum()) for a, ids in (numbers if options == "numbers" else yes_no).items()}
            key, mass = element.key if element else "text", sum(answers.values())
            masses.append(mass)
            best = max(answers, key=answers.__getitem__)
            scores[key] = score = answers[right] / mass if mass >= self.least_mass else None
            if score is None:
                reasons[key] = f"{question} was not answered: only {mass:.2f} of the odds are on a possible answer"
            elif score < self.adhering_at:
                reasons[key] = f"{question} {best} ({answers[best] / mass:.2f})"
            if element:
                raw.append(answers[right])
                unwanted += self._unwanted(element, best, answers[best] / mass if mass else 0.0, right)
        whole, style = scores.pop("text"), scores.get("style")
        return Judgement(
            element_scores=scores,
            text_match_score=whole,
            description=description,
            unwanted_elements=unwanted,
            style_deviation=None if style is None else 1 - style,
            reasons=reasons,
            metrics={
                "vqa_score": float(chances[-1][yes_no["yes"]].sum()),
                "soft_tifa_am": sum(raw) / len(raw) if raw else None,
                "soft_tifa_gm": math.prod(raw) ** (1 / len(raw)) if raw else None,
                "answer_mass": min(masses),
            },
        )

    def _unwanted(self, element: Element, best: str, chance: float, right: str) -> list[str]:
        if best == right or chance < self.unwanted_at:
            return []
        if element.expected == "no":
            return [element.phrase]
        if best in NUMBERS and best != "zero":
            return [f"{best} instead of {element.phrase}"]
        return []

    @weights
    def _answerer(self) -> Answerer:
        return load_weights(self, self.repo, lambda: Answerer(self.repo, self.revision, *placement(self), self.prompt))

    @cached_property
    def _answers(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Token ids of yes and no, and of the numbers that are single tokens, by word."""
        numbers = {word: (word, word.title(), f" {word}", str(n), f" {n}") for n, word in enumerate(NUMBERS)}
        single = {word: forms for word, forms in numbers.items() if self._answerer.answer_ids(forms)}
        return distinct_answers(self._answerer, YES_NO), distinct_answers(self._answerer, single)


class _Plan:
    """What to ask about one scene: a question, its kind of answer and the right one for each element and the text."""

    def __init__(self, scene: Scene, whole: str, numbers: Sequence[str]) -> None:
        self.elements = list_elements(scene.elements)
        self.asked = [self._ask(element, numbers) for element in self.elements]
        self.asked.append((whole.format(scene.text), "yes or no", "yes"))
        self.questions = [question for question, _, _ in self.asked]

    @staticmethod
    def _ask(element: Element, numbers: Sequence[str]) -> tuple[str, str, str]:
        number, _, things = element.phrase.partition(" ")
        if element.kind == "count" and number in numbers:
            return f"How many {things} are there?", "numbers", number
        return element.question, "yes or no", element.expected
