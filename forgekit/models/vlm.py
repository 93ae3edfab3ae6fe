"""Question-answering judges (transformers): how probable is the right answer to a question about each element?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from forgekit.errors import ItemError
from forgekit.ids import content_hash
from forgekit.models.choices import NUMBERS, Choices
from forgekit.models.memory import placement, weights
from forgekit.models.naming import plain_name
from forgekit.models.next_word import Answerer, Question, distinct_answers
from forgekit.models.roles import Judgement
from forgekit.models.running import RunHere, in_batches
from forgekit.models.vqa import NUMBER_FORMS, YES_NO, Ask, Plan, Questioner, Words
from forgekit.models.weights import load_weights, sees, settings_at, weights_of
from forgekit.scene import Scene

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

ENTRY = "config.json"  # a file that every repository of transformers has


@dataclass(frozen=True)
class VQAJudge(RunHere, Questioner):
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

    quantisation: str = ""  # "int8" or "float8": weights take a byte each, which changes verdicts a little
    batch_size: int = 4  # images at a time, each with all its questions
    frame: str = "{}"  # around all that is said, where a model has a form for it and no chat template

    @classmethod
    def from_address(cls, address: str) -> VQAJudge | None:
        """Return the judge for a transformers folder or a Hugging Face id; None where it is neither."""
        name, settings = plain_name(address, ENTRY), settings_at(address, ENTRY)
        return cls(name, address) if name and (settings is None or sees(settings)) else None

    @property
    def judge_key(self) -> str:
        """Hash of weights, templates and thresholds; not of device and batch size, which change no verdict."""
        element = self.frame.format(self.prompt)
        asking = [element, self.whole, self.description, self.description_tokens, self.count_questions, YES_NO, NUMBERS]
        if element != self.frame:  # else all is asked alike
            asking.append(self.frame)
        if self.quantisation:
            asking.append(["quantisation", self.quantisation])
        return content_hash(
            {
                "family": "vqa",
                "weights": weights_of(self, self.repo, ENTRY),
                "asking": asking,
                "thresholds": [self.least_mass, self.unwanted_at, self.adhering_at],
            }
        )

    def judge(self, images: Sequence[Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        """Judge `images[i]` against `scenes[i]`, as every `VisionModel`.

        Raises:
            ParameterError: yes and no are not single, distinct tokens of this model.
        """
        choices = partial(Choices.of, token_ids=self._answerer.token_ids)
        words = Words(*self._answers, choices, self.count_questions)  # refuses models that cannot answer
        plans = {id(scene): _Plan(scene, self, words) for scene in scenes}
        items = [(image, plans[id(scene)]) for image, scene in zip(images, scenes, strict=True)]
        return in_batches(items, self.batch_size, self._judge_batch, self)

    def _judge_batch(self, items: Sequence[tuple[Image, _Plan]]) -> list[Judgement | ItemError]:
        images = [image for image, _ in items]
        chances = self._answerer.next_word(images, [plan.rows for _, plan in items])
        texts = [""] * len(items)
        if self.description:
            texts = self._answerer.describe(images, self.frame.format(self.description), self.description_tokens)
        return [self._seen(plan, c, text) for (_, plan), c, text in zip(items, chances, texts, strict=True)]

    def _seen(self, plan: _Plan, chances: Tensor, description: str) -> Judgement | ItemError:
        if not chances.isfinite().all():
            told = f"{self.name} gave no number (nan) for this image in {placement(self)[1]}"
            return ItemError(f"{told}; another dtype may help: float32")
        return self.verdict(plan, partial(plan.read, chances), description)

    @weights
    def _answerer(self) -> Answerer:
        return load_weights(
            self, self.repo, lambda: Answerer(self.repo, self.revision, *placement(self), self.quantisation)
        )

    @cached_property
    def _answers(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Token ids of yes and no, and of the numbers that are single tokens, by word."""
        single = {word: forms for word, forms in NUMBER_FORMS.items() if self._answerer.answer_ids(forms)}
        return distinct_answers(self._answerer, YES_NO), distinct_answers(self._answerer, single)


class _Plan(Plan):
    """What to ask about one scene, as rows of questions to the model: the same one only once."""

    def __init__(self, scene: Scene, judge: VQAJudge, words: Words) -> None:
        super().__init__(scene, judge, words)
        asked = [question for each in self.asks.values() if not each.refused for question in _turns(each)]
        self.rows: list[Question] = list(dict.fromkeys(asked))
        self._place = {question: place for place, question in enumerate(self.rows)}

    def read(self, chances: Tensor, ask: Ask) -> tuple[Mapping[str, float], float]:
        """Return the probability of each possible answer, and of `ask.others`; `chances` are those of all words, row by row."""
        words = [chances[self._place[turn]] for turn in _turns(ask)]
        others = float(words[0][list(ask.others)].sum())
        if isinstance(ask.options, Choices):
            return ask.options.chances(dict(zip(ask.options.beginnings, words, strict=True))), others
        return {answer: float(words[0][ids].sum()) for answer, ids in ask.options.items()}, others


def _turns(ask: Ask) -> list[Question]:
    """Return what the next word must be known after: the question, and the question with the beginning of an answer."""
    beginnings = ask.options.beginnings[1:] if isinstance(ask.options, Choices) else []
    return [ask.said, *((ask.said, begun) for begun in beginnings)]
