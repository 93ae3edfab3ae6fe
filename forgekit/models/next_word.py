"""Runs a vision-language model of transformers: the odds of its next word after many questions about one image.

All questions of an image share one pass over it: the prompt up to the question is computed once and kept as a cache of
keys and values, and every question continues from there (`python benchmarks/judging.py --only vqa` measures what that
saves). Where it does not give what a pass over the whole prompt gives (checked on the first image), each question gets
its own pass.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from forgekit.errors import ParameterError
from forgekit.models.memory import is_full
from forgekit.models.running import as_rgb, load_transformers, on_device, quiet

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

log = logging.getLogger(__name__)

MARKER = "Is it red?"  # a question that shows where in a prompt questions stand
PROBE = "What is in the image?"
TOLERANCE = 0.02  # of a probability, between a shared pass and a whole one
Question = str | tuple[str, tuple[int, ...]]  # alone, or with the first tokens of its answer


class Answerer:
    """A loaded vision-language model with its processor."""

    def __init__(self, repo: str, revision: str | None, device: str, dtype: str, prompt: str) -> None:
        """Load from a hub id or local folder. `prompt` holds {} where the question belongs."""
        self.model, self.processor = load_transformers("AutoModelForImageTextToText", repo, revision, device, dtype)
        self.prompt = prompt
        self.tokenizer = self.processor.tokenizer
        accepted = inspect.signature(type(self.model).forward).parameters
        self._cache = "cache" if "cache" in accepted else "past_key_values"  # the older name
        # Models with rotary offsets of images remember them between the passes, one image at a time.
        self._one_by_one = hasattr(getattr(self.model, "model", None), "rope_deltas")
        self._shares: bool | None = None

    def answer_ids(self, spellings: Iterable[str]) -> list[int]:
        """Return the token ids of those spellings of an answer that are one token, each id once."""
        found = [self._ids(spelling) for spelling in spellings]
        return list(dict.fromkeys(ids[0] for ids in found if len(ids) == 1 and ids[0] != self.tokenizer.unk_token_id))

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Return the tokens of an answer; none where the model lacks one of them."""
        ids = self._ids(text)
        return () if self.tokenizer.unk_token_id in ids else tuple(ids)

    def next_word(self, images: Sequence[Image], questions: Sequence[Sequence[Question]]) -> list[Tensor]:
        """Return for each image the probabilities of the next token after each of its questions: (questions, words).

        A question may come with the first tokens of its answer: the next token is then that of the answer.
        """
        import torch

        with torch.inference_mode():
            if self._can_share(images[0]):
                return self._shared(images, questions)
            return [torch.stack([self._whole(i, q) for q in asked]) for i, asked in zip(images, questions, strict=True)]

    def describe(self, images: Sequence[Image], question: str, max_tokens: int) -> list[str]:
        """Answer `question` about each image in up to `max_tokens` tokens, always taking the likeliest."""
        import torch

        texts: list[str] = []
        for inputs in self._batches(images, question):
            with torch.inference_mode():
                out = self.model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False, use_cache=True)
            texts += self.tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _batches(self, images: Sequence[Image], question: str, *, one_by_one: bool = False) -> list[dict[str, Tensor]]:
        """Return the model's arguments for `question` about the images: in one batch where all prompts are as long."""
        import torch

        with quiet():
            inputs = [self._inputs(image, question) for image in images]
        if one_by_one or len({each["input_ids"].shape[1] for each in inputs}) > 1:
            return inputs
        return [{name: torch.cat([each[name] for each in inputs]) for name in inputs[0]}]

    def _inputs(self, image: Image, question: str) -> dict[str, Any]:
        """Return the model's arguments for one image and question."""
        arguments: dict[str, Any] = {"images": as_rgb(image), "text": self._prompt(question), "return_tensors": "pt"}
        if type(self.processor).__name__ == "FuyuProcessor":
            arguments["return_legacy_image_output"] = False
        return on_device(self.processor(**arguments), self.model)

    def _prompt(self, question: str) -> str:
        text = self.prompt.format(question)
        if not getattr(self.processor, "chat_template", None):
            return text
        content = [{"type": "image"}, {"type": "text", "text": text}]
        return self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)

    def _whole(self, image: Image, question: Question) -> Tensor:
        text, begun = _parts(question)
        inputs = self._inputs(image, text)
        return self.model(**_continued(inputs, begun)).logits[0, -1].float().softmax(-1).cpu()

    def _can_share(self, image: Image) -> bool:
        if self._shares is None:
            try:
                shared, whole = self._shared([image], [[PROBE, MARKER]])[0][0], self._whole(image, PROBE)
                self._shares = bool((shared - whole).abs().max() < TOLERANCE)
            except (_NoPrefixError, RuntimeError, ValueError, TypeError, AttributeError) as error:
                if is_full(error):  # says nothing about the architecture
                    raise
                log.warning("no shared pass over an image with this model: %s", error)
                self._shares = False
        return self._shares

    def _shared(self, images: Sequence[Image], questions: Sequence[Sequence[Question]]) -> list[Tensor]:
        chances: list[Tensor] = []
        for inputs in self._batches(images, MARKER, one_by_one=self._one_by_one):
            like_tokens = inputs["input_ids"].shape
            start, tail = self._question_place(inputs["input_ids"][0].tolist())
            before = {name: v[:, :start] if v.shape == like_tokens else v for name, v in inputs.items()}
            cache = getattr(self.model(**before, use_cache=True, logits_to_keep=1), self._cache)
            asked = questions[len(chances) : len(chances) + like_tokens[0]]
            turns = [(place, *_parts(question)) for place, each in enumerate(asked) for question in each]
            rows = [(place, [*self._question_ids(text), *tail, *begun]) for place, text, begun in turns]
            chances += self._continue(cache, rows).split([len(each) for each in asked])
        return chances

    def _continue(self, cache: Any, rows: Sequence[tuple[int, list[int]]]) -> Tensor:
        """Return the next-token probabilities of each row: (an image's place in `cache`, the tokens that follow).

        Rows of one length are computed together.
        """
        import torch

        alike: dict[int, list[int]] = defaultdict(list)
        for number, (_, ids) in enumerate(rows):
            alike[len(ids)].append(number)
        chances: dict[int, Tensor] = {}
        for numbers in alike.values():
            chosen = copy.deepcopy(cache)  # which the pass makes longer
            chosen.batch_select_indices(torch.tensor([rows[n][0] for n in numbers], device=self.model.device))
            tokens = torch.tensor([rows[n][1] for n in numbers], device=self.model.device)
            output = self.model(**{"input_ids": tokens, self._cache: chosen}, use_cache=True, logits_to_keep=1)
            chances |= dict(zip(numbers, output.logits[:, -1].float().softmax(-1).cpu(), strict=True))
        return torch.stack([chances[number] for number in range(len(rows))])

    def _question_ids(self, question: str) -> list[int]:
        return self._ids(self.prompt.format(question))

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def _question_place(self, ids: list[int]) -> tuple[int, list[int]]:
        """Return where the marker question starts in a prompt and the tokens that follow it."""
        question = self._question_ids(MARKER)
        for start in range(len(ids) - len(question), 0, -1):
            if ids[start : start + len(question)] == question:
                return start, ids[start + len(question) :]
        raise _NoPrefixError("its tokenizer reads a question differently inside a prompt")


def _parts(question: Question) -> tuple[str, tuple[int, ...]]:
    return (question, ()) if isinstance(question, str) else question


def _continued(inputs: dict[str, Any], begun: Sequence[int]) -> dict[str, Any]:
    """Return a model's arguments with the first tokens of its answer; what else goes by tokens is as at the last one."""
    import torch

    if not begun:
        return inputs
    shape = inputs["input_ids"].shape
    longer = {
        name: torch.cat([value, value[:, -1:].expand(-1, len(begun))], dim=1)
        for name, value in inputs.items()
        if getattr(value, "shape", None) == shape
    }
    longer["input_ids"][:, shape[1] :] = torch.tensor(begun, device=longer["input_ids"].device)
    return inputs | longer


class _NoPrefixError(Exception):
    """The prompts of two questions do not begin alike."""


def distinct_answers(answerer: Answerer, answers: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Return the token ids of each answer.

    Raises:
        ParameterError: an answer has no spelling of one token, or two answers share one.
    """
    ids = {answer: answerer.answer_ids(spellings) for answer, spellings in answers.items()}
    for answer, found in ids.items():
        if not found:
            raise ParameterError(f"no spelling of {answer!r} is a single token of this model: {list(answers[answer])}")
    taken = [i for found in ids.values() for i in found]
    if len(set(taken)) < len(taken):
        raise ParameterError(f"some answers begin with the same token in this model: {ids}")
    return ids
