"""Runs a vision-language model of transformers: the odds of its next word after many questions about one image.

All questions of an image share one pass over it: the prompt up to the question is computed once and kept as a cache of
keys and values, and every question continues from there (`python benchmarks/judging.py --only vqa` measures what that
saves). Where it does not give what a pass over the whole prompt gives (checked on the first image), whole prompts of one
length are passed together.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from forgekit.errors import ParameterError
from forgekit.models.memory import is_full
from forgekit.models.running import Remembered, alike, as_rgb, load_transformers, on_device, quiet

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

log = logging.getLogger(__name__)

MARKER = "Is it red?"  # a question that shows where in a prompt questions stand
PROBE = "What is in the image?"  # and one that begins differently
PREFIX_LMS = ("paligemma",)  # `model_type`s in which an image is looked at with the question in mind
TOLERANCE = 0.02  # of a probability, between a shared pass and a whole one
Question = str | tuple[str, tuple[int, ...]]  # alone, or with the first tokens of its answer


class Answerer:
    """A loaded vision-language model with its processor."""

    def __init__(self, repo: str, revision: str | None, device: str, dtype: str, quantisation: str = "") -> None:
        """Load from a hub id or local folder."""
        self.model, self.processor = load_transformers(
            "AutoModelForImageTextToText", repo, revision, device, dtype, quantisation=quantisation
        )
        self.tokenizer = self.processor.tokenizer
        self._prompts = Remembered()
        self._chats = bool(getattr(self.processor, "chat_template", None))
        accepted = inspect.signature(type(self.model).forward).parameters
        self._cache = "cache" if "cache" in accepted else "past_key_values"  # the older name
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        # Models with rotary offsets of images remember them between the passes, one image at a time.
        self._one_by_one = hasattr(getattr(self.model, "model", None), "rope_deltas")
        self._shares: bool | None = False if self.model.config.model_type in PREFIX_LMS else None

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

        A question may come with the first tokens of its answer: the next token is then that of the answer. What a model
        that overflows gives is no number (nan).
        """
        import torch

        with torch.inference_mode():
            if self._can_share(images[0]):
                return self._shared(images, questions)
            return [self._apart(image, asked) for image, asked in zip(images, questions, strict=True)]

    def describe(self, images: Sequence[Image], question: str, max_tokens: int) -> list[str]:
        """Answer `question` about each image in up to `max_tokens` tokens, always taking the likeliest."""
        import torch

        texts: list[str] = []
        for inputs in self._batches(images, question):
            with torch.inference_mode(), quiet("transformers"):
                out = self.model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False, use_cache=True)
            texts += self.tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _batches(self, images: Sequence[Image], question: str, *, one_by_one: bool = False) -> list[dict[str, Tensor]]:
        """Return the model's arguments for `question` about the images: in one batch where all prompts are as long."""
        inputs = [self._inputs(image, question) for image in images]
        if one_by_one or len({each["input_ids"].shape[1] for each in inputs}) > 1:
            return inputs
        return [_joined(inputs)]

    def _inputs(self, image: Image, question: str) -> dict[str, Any]:
        """Return the model's arguments for one image and question.

        A chat template is filled in and read in one step: some write the first token themselves, and it must not come twice.
        """
        with quiet("transformers"):
            if self._chats:
                tensors = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
                inputs = self._in_chat(question, {"type": "image", "image": as_rgb(image)}, **tensors)
            else:
                fuyu = type(self.processor).__name__ == "FuyuProcessor"
                options = {"return_legacy_image_output": False} if fuyu else {}
                inputs = self.processor(images=as_rgb(image), text=question, return_tensors="pt", **options)
                inputs.pop("labels", None)  # PaliGemma's, which are for training
        return on_device(inputs, self.model)

    def _in_chat(self, question: str, image: Mapping[str, Any], **how: Any) -> Any:
        messages = [{"role": "user", "content": [image, {"type": "text", "text": question}]}]
        return self.processor.apply_chat_template(messages, add_generation_prompt=True, **how)

    def _whole(self, image: Image, question: Question) -> Tensor:
        return self._apart(image, [question])[0]

    def _apart(self, image: Image, questions: Sequence[Question]) -> Tensor:
        """Do it with a pass over the whole prompt of each question."""
        prompts = [_continued(self._inputs(image, text), begun) for text, begun in map(_parts, questions)]
        lengths = [each["input_ids"].shape[1] for each in prompts]
        return _together(lengths, lambda places: self._passed([prompts[place] for place in places]))

    def _passed(self, prompts: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """Return the next-token probabilities of prompts of one length; of fewer at a time where memory is full."""
        try:
            output = self.model(**_joined(prompts), **self._last_only)
            return list(output.logits[:, -1].float().softmax(-1).cpu())
        except RuntimeError as error:
            if not is_full(error) or len(prompts) == 1:
                raise
        half = len(prompts) // 2
        return self._passed(prompts[:half]) + self._passed(prompts[half:])

    def _can_share(self, image: Image) -> bool:
        if self._shares is None:
            whole = self._whole(image, PROBE)
            if not whole.isfinite().all():  # an overflow says nothing about the architecture
                return False
            try:
                shared = self._shared([image], [[PROBE, MARKER]])[0][0]
                self._shares = bool((shared - whole).abs().max() < TOLERANCE)
            except Exception as error:  # whatever a library raises that cannot do it; each question gets its own pass
                if is_full(error):  # nor does full memory
                    raise
                log.warning("no shared pass over an image with this model: %s", error)
                self._shares = False
        return self._shares

    def _shared(self, images: Sequence[Image], questions: Sequence[Sequence[Question]]) -> list[Tensor]:
        chances: list[Tensor] = []
        for inputs in self._batches(images, MARKER, one_by_one=self._one_by_one):
            like_tokens = inputs["input_ids"].shape
            asked = questions[len(chances) : len(chances) + like_tokens[0]]
            turns = [(place, *_parts(question)) for place, each in enumerate(asked) for question in each]
            start, rest = self._parting(inputs["input_ids"][0].tolist(), [text for _, text, _ in turns])
            before = {name: v[:, :start] if v.shape == like_tokens else v for name, v in inputs.items()}
            cache = getattr(self.model(**before, use_cache=True, **self._last_only), self._cache)
            rows = [(place, [*rest[text], *begun]) for place, text, begun in turns]
            chances += self._continue(cache, rows).split([len(each) for each in asked])
        return chances

    def _continue(self, cache: Any, rows: Sequence[tuple[int, list[int]]]) -> Tensor:
        """Return the next-token probabilities of each row: (an image's place in `cache`, the tokens that follow)."""
        import torch

        def passed(numbers: list[int]) -> Sequence[Tensor]:
            chosen = copy.deepcopy(cache)  # which the pass makes longer
            chosen.batch_select_indices(torch.tensor([rows[n][0] for n in numbers], device=self.model.device))
            tokens = torch.tensor([rows[n][1] for n in numbers], device=self.model.device)
            output = self.model(**{"input_ids": tokens, self._cache: chosen}, use_cache=True, **self._last_only)
            return list(output.logits[:, -1].float().softmax(-1).cpu())

        return _together([len(ids) for _, ids in rows], passed)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def _read(self, texts: Sequence[str]) -> dict[str, list[int]]:
        return {text: self._ids(self._in_chat(text, {"type": "image"}) if self._chats else text) for text in texts}

    def _parting(self, ids: list[int], questions: Sequence[str]) -> tuple[int, dict[str, list[int]]]:
        """Return where the prompt of the marker question, `ids`, ceases to be that of `questions`, and how each goes on.

        Tokenizers read a word by what stands before it, so prompts are compared as a whole, but for their images.
        """
        prompts = self._prompts.of([MARKER, PROBE, *questions], self._read)
        columns = zip(*(prompt[:-1] for prompt in prompts.values()), strict=False)
        alike = sum(1 for _ in takewhile(lambda ids: len(set(ids)) == 1, columns))
        marker = prompts[MARKER][alike:]
        for start in range(len(ids) - len(marker), 0, -1):
            if ids[start : start + len(marker)] == marker:
                after = ids[start + len(marker) :]
                return start, {text: [*prompts[text][alike:], *after] for text in questions}
        raise ValueError("its tokenizer reads a question differently inside a prompt")


def _together(lengths: Sequence[int], compute: Callable[[list[int]], Sequence[Tensor]]) -> Tensor:
    """Return what `compute` gives for each place; those of one length are computed together."""
    import torch

    rows: dict[int, Tensor] = {}
    for places in alike(lengths):
        rows |= zip(places, compute(places), strict=True)
    return torch.stack([rows[place] for place in range(len(lengths))])


def _joined(inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return a model's arguments for several prompts of one length."""
    import torch

    return {name: torch.cat([each[name] for each in inputs]) for name in inputs[0]}


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


def distinct_answers(answerer: Answerer, answers: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Return the token ids of each answer. Raises ParameterError: an answer has no spelling of one token, or two answers share one."""
    ids = {answer: answerer.answer_ids(spellings) for answer, spellings in answers.items()}
    for answer, found in ids.items():
        if not found:
            raise ParameterError(f"no spelling of {answer!r} is a single token of this model: {list(answers[answer])}")
    taken = [i for found in ids.values() for i in found]
    if len(set(taken)) < len(taken):
        raise ParameterError(f"some answers begin with the same token in this model: {ids}")
    return ids
