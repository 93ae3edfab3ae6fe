"""Question-answering judges behind OpenAI-compatible servers: the questions of a local one, the odds from the server's answers."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from forgekit.errors import ForgekitError, ItemError
from forgekit.ids import content_hash
from forgekit.models.choices import NUMBERS
from forgekit.models.roles import Judgement, in_order
from forgekit.models.served_answers import of_logprobs, of_samples, spelt, token_odds, typed_odds, typed_question
from forgekit.models.server import Line, Server, said
from forgekit.models.vqa import NUMBER_FORMS, YES_NO, Ask, Plan, Questioner, Words
from forgekit.scene import Scene

if TYPE_CHECKING:
    from PIL.Image import Image

LOGPROBS, SAMPLES, TYPED = "logprobs", "samples", "systemone"
PICTURE = "<the picture>"  # what stands for it in a request to `/v1/systemone`
MOST_TYPED = 64  # questions that one request to `/v1/systemone` may ask
PROBE = "Is it red?"
Turn = tuple[str, dict[str, Any]]  # one thing to ask about a picture, and with which options


@dataclass(frozen=True)
class ServedJudge(Server, Questioner):
    """A vision-language model behind `/v1/chat/completions`, such as "http://localhost:8000/v1#Qwen/Qwen3-VL-8B-Instruct".

    It asks what `forgekit.models.vlm.VQAJudge` asks, and its scores mean the same: the odds of the next word are the server's
    `top_logprobs`. `ask_by` is "logprobs", "samples", or "auto": by logprobs where the server gives them, which one request
    tells on first use. By samples, each question is asked `samples` times at temperature 1, and the odds are the shares of its
    answers: a verdict of another kind, with another key and `samples` among its metrics. By "systemone", `/v1/systemone` of
    `transformers serve` is asked all of them at once, in its own words, and gives the odds among the allowed answers alone: so
    such a verdict has no answer mass, and none of the metrics that count other words as wrong.
    """

    ask_by: str = "auto"
    top_logprobs: int = 20  # as many as OpenAI and vLLM give
    samples: int = 8
    answer_tokens: int = 16  # of a sampled answer, or one among choices

    @property
    def judge_key(self) -> str:
        """Hash of the address, templates, thresholds and how answers are read; the server does not tell its weights."""
        by = self.answers_by()
        ways = {LOGPROBS: [self.top_logprobs], SAMPLES: [self.samples], TYPED: []}
        asking = [self.prompt, self.whole, self.description, self.description_tokens, self.count_questions]
        return content_hash(
            {
                "family": "vqa served",
                "model": f"{self.base_url}#{self.model}",
                "asking": [*asking, YES_NO, NUMBERS, by, *ways[by], self.answer_tokens],
                "thresholds": [self.least_mass, self.unwanted_at, self.adhering_at],
            }
        )

    def answers_by(self) -> str:
        """Return how answers are read: by "logprobs" or by "samples". The server is asked once, where the settings do not say.

        Raises:
            ForgekitError: it does not answer.
        """
        if self.ask_by != "auto":
            return self.ask_by
        if "_answers_by" not in vars(self):
            [[(_, found)]] = self.ask_each([PROBE], self._probe)
            if isinstance(found, ItemError):
                told = "whether it gives logprobs cannot be told; start it, or say ?ask_by=logprobs or ?ask_by=samples"
                raise ForgekitError(f"{found.reason}; {told}")
            vars(self)["_answers_by"] = found
        return vars(self)["_answers_by"]

    def _probe(self, question: str, line: Line) -> str:
        from openai import BadRequestError, UnprocessableEntityError
        from PIL import Image

        picture = _as_url(Image.new("RGB", (64, 64), "red"))
        try:
            answer = self._chat(line, picture, (question, {"max_tokens": 1, **self._with_odds}))
        except (BadRequestError, UnprocessableEntityError):
            self._chat(line, picture, (question, {"max_tokens": 1}))  # or it refuses all that is asked, and says so
            return SAMPLES
        return LOGPROBS if getattr(answer.choices[0].logprobs, "content", None) else SAMPLES

    def judge(self, images: Sequence[Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        """Judge `images[i]` against `scenes[i]`, in order. An image of which a question gets no answer is an ItemError."""
        return in_order(self.judge_each(images, scenes), len(images))

    def judge_each(
        self, images: Sequence[Image], scenes: Sequence[Scene]
    ) -> Iterator[list[tuple[int, Judgement | ItemError]]]:
        """Yield (place, verdict) in groups as they come; what `judge` returns, before the last one is there."""
        by, words = self.answers_by(), Words(YES_NO, NUMBER_FORMS, spelt, self.count_questions)
        plans = {id(scene): Plan(scene, self, words) for scene in scenes}
        pictures = [_Picture(image, plans[id(scene)]) for image, scene in zip(images, scenes, strict=True)]
        turns = [(place, turn) for place, each in enumerate(pictures) for turn in self._turns(each.plan, by)]
        for place, _ in turns:
            pictures[place].awaited += 1

        def ask(item: tuple[int, Turn], line: Line) -> Any:
            picture = pictures[item[0]]
            if picture.failed:  # nothing more is paid for it
                raise ValueError(picture.failed)
            try:
                return self._ask(item[1], picture.url(), line)
            except Exception as error:
                picture.failed = self.why(error)
                raise

        for group in self.ask_each(turns, ask, places=[place for place, _ in turns]):
            done = []
            for number, answer in group:
                place, turn = turns[number]
                if pictures[place].take(turn, answer):
                    done.append((place, self._seen(pictures[place], by)))
            if done:
                yield done

    def _turns(self, plan: Plan, by: str) -> Iterator[Turn]:
        """Yield what is asked about an image: each question once, or once a sample, or all at once; and the description."""
        asks = {ask.said: ask for ask in plan.asks.values() if not ask.refused}
        typed = [(said, typed_question(ask)) for said, ask in asks.items()]
        for start in range(0, len(typed) if by == TYPED else 0, MOST_TYPED):
            yield TYPED, {"questions": dict(typed[start : start + MOST_TYPED])}
        for question, ask in asks.items() if by != TYPED else ():
            if by == SAMPLES:
                asked = {"max_tokens": self.answer_tokens, "temperature": 1.0}
                for seed in range(self.samples):
                    yield question, {**asked, "seed": seed} if self.send_seed else asked
            else:
                most = self.answer_tokens if ask.named else 1
                yield question, {"max_tokens": most, **self._with_odds}
        if self.description:
            yield self.description, {"max_tokens": self.description_tokens}

    @property
    def _with_odds(self) -> dict[str, Any]:
        return {"logprobs": True, "top_logprobs": self.top_logprobs}

    def _ask(self, turn: Turn, picture: str, line: Line) -> Any:
        if turn[0] == TYPED:
            return self._typed(turn[1]["questions"], picture, line)
        answer = self._chat(line, picture, turn)
        if "logprobs" not in turn[1]:
            return said(answer)
        content = getattr(answer.choices[0].logprobs, "content", None)
        if not content:
            raise ValueError("it answered without logprobs; a server that gives none is asked by ?ask_by=samples")
        return [token_odds(position) for position in content]

    def _typed(self, questions: Mapping[str, Any], picture: str, line: Line) -> dict[str, Mapping[str, float]]:
        """Ask `/v1/systemone`, which the client does not know by name; return the odds of the allowed answers, by question."""

        def create(**body: Any) -> Any:
            whole: Any = {"headers": {"X-Stainless-Raw-Response": "true"}}  # as `with_raw_response`
            return self.client.post("/systemone", cast_to=BaseModel, body=body, options=whole)

        from openai import BaseModel

        assets = {PICTURE: {"type": "image", "format": "png", "data_base64": picture.partition("base64,")[2]}}
        answer = line.send(create, {"questions": questions}, state=PICTURE, questions=questions, assets=assets)
        return {said: typed_odds(question, answer.answers[said]) for said, question in questions.items()}

    def _chat(self, line: Line, picture: str, turn: Turn) -> Any:
        content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": turn[0]}]
        return line.chat(content, {"temperature": 0.0, **turn[1]}, {"question": turn[0]})

    def _seen(self, picture: _Picture, by: str) -> Judgement | ItemError:
        if picture.failed:
            return ItemError(picture.failed)

        def read(ask: Ask) -> tuple[Mapping[str, float], float]:
            if by == TYPED:
                return next(odds[ask.said] for odds in picture.answers[TYPED] if ask.said in odds), 0.0
            return (of_samples if by == SAMPLES else of_logprobs)(ask, picture.answers[ask.said])

        description = picture.answers[self.description][0] if self.description else ""
        judged = self.verdict(picture.plan, read, description)
        if by == TYPED:
            answers = {key: {**answer, "plain": None} for key, answer in judged.answers.items()}
            return replace(judged, metrics={TYPED: 1}, answers=answers)
        return replace(judged, metrics={**judged.metrics, "samples": self.samples}) if by == SAMPLES else judged


class _Picture:
    """An image while questions about it are out: the answers so far, or the first failure."""

    def __init__(self, image: Image, plan: Plan) -> None:
        self.plan, self.awaited, self.failed = plan, 0, ""
        self.answers: dict[str, list[Any]] = defaultdict(list)
        self._image, self._url = image, ""

    def url(self) -> str:
        self._url = self._url or _as_url(self._image)
        return self._url

    def take(self, turn: Turn, answer: Any) -> bool:
        """Keep an answer; return whether it was the last one."""
        if isinstance(answer, ItemError):
            self.failed = self.failed or answer.reason
        else:
            self.answers[turn[0]].append(answer)
        self.awaited -= 1
        if not self.awaited:
            self._url = ""
        return not self.awaited


def _as_url(image: Image) -> str:
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
