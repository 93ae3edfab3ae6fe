"""Runs a vision-language model of transformers: the odds of its next word after many questions about one image.

All questions of an image share one pass over it: the prompt up to the question is computed once and kept as a cache of
keys and values, and every question continues from there. Where that does not give what a pass over the whole prompt
gives (checked on the first image), each question gets its own pass.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from forgekit.errors import ParameterError
from forgekit.models.batches import as_rgb
from forgekit.models.loading import is_out_of_memory, quiet

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

log = logging.getLogger(__name__)

MARKER = "Is it red?"  # a question that shows where in a prompt questions stand
PROBE = "What is in the image?"
TOLERANCE = 0.02  # of a probability, between a shared pass and a whole one


class Answerer:
    """A loaded vision-language model with its processor."""

    def __init__(self, repo: str, revision: str | None, device: str, dtype: str, prompt: str) -> None:
        """Load from a hub id or local folder. `prompt` holds {} where the question belongs."""
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        with quiet():
            self.processor = AutoProcessor.from_pretrained(repo, revision=revision, trust_remote_code=False)
            self.model = AutoModelForImageTextToText.from_pretrained(
                repo, revision=revision, dtype=getattr(torch, dtype), trust_remote_code=False
            )
        self.model.to(device).eval()
        self.device, self.dtype, self.prompt = device, getattr(torch, dtype), prompt
        self.tokenizer = self.processor.tokenizer
        accepted = inspect.signature(type(self.model).forward).parameters
        self._cache = "cache" if "cache" in accepted else "past_key_values"  # the older name
        self._shares: bool | None = None

    def answer_ids(self, spellings: Iterable[str]) -> list[int]:
        """Return the token ids of those spellings of an answer that are one token, each id once."""
        found = []
        for spelling in spellings:
            ids = self.tokenizer(spelling, add_special_tokens=False).input_ids
            if len(ids) == 1 and ids[0] != self.tokenizer.unk_token_id:
                found.append(ids[0])
        return list(dict.fromkeys(found))

    def next_word(self, images: Sequence[Image], questions: Sequence[Sequence[str]]) -> list[Tensor]:
        """Return for each image the probabilities of the next token after each of its questions: (questions, words).

        All images must give prompts of the same length, which those of one size do.
        """
        import torch

        with torch.inference_mode():
            if not self._shares_passes(images[0]):
                return [
                    torch.stack([self._whole(i, q) for q in asked]) for i, asked in zip(images, questions, strict=True)
                ]
            return self._shared(images, questions)

    def describe(self, images: Sequence[Image], question: str, max_tokens: int) -> list[str]:
        """Answer `question` about each image in up to `max_tokens` tokens, always taking the likeliest."""
        import torch

        with quiet():
            inputs = [self._inputs(image, question) for image in images]
        lengths = {i["input_ids"].shape[1] for i in inputs}
        if len(lengths) > 1:
            return [text for image in images for text in self.describe([image], question, max_tokens)]
        joined = {name: torch.cat([i[name] for i in inputs]) for name in inputs[0]}
        with torch.inference_mode():
            out = self.model.generate(**joined, max_new_tokens=max_tokens, do_sample=False, use_cache=True)
        return [t.strip() for t in self.tokenizer.batch_decode(out[:, lengths.pop() :], skip_special_tokens=True)]

    def _inputs(self, image: Image, question: str) -> dict[str, Any]:
        """Return the model's arguments for one image and question."""
        arguments: dict[str, Any] = {"images": as_rgb(image), "text": self._prompt(question), "return_tensors": "pt"}
        if type(self.processor).__name__ == "FuyuProcessor":
            arguments["return_legacy_image_output"] = False
        inputs = self.processor(**arguments)
        moved = {name: value.to(self.device) for name, value in inputs.items()}
        return {name: v.to(self.dtype) if v.is_floating_point() else v for name, v in moved.items()}

    def _prompt(self, question: str) -> str:
        text = self.prompt.format(question)
        if not getattr(self.processor, "chat_template", None):
            return text
        content = [{"type": "image"}, {"type": "text", "text": text}]
        return self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)

    def _whole(self, image: Image, question: str) -> Tensor:
        return self.model(**self._inputs(image, question)).logits[0, -1].float().softmax(-1)

    def _shares_passes(self, image: Image) -> bool:
        if self._shares is None:
            try:
                shared, whole = self._shared([image], [[PROBE, MARKER]])[0][0], self._whole(image, PROBE).cpu()
                self._shares = bool((shared - whole).abs().max() < TOLERANCE)
            except (_NoPrefixError, RuntimeError, ValueError, TypeError, AttributeError) as error:
                if is_out_of_memory(error):  # says nothing about the architecture
                    raise
                log.warning("no shared pass over an image with this model: %s", error)
                self._shares = False
        return self._shares

    def _shared(self, images: Sequence[Image], questions: Sequence[Sequence[str]]) -> list[Tensor]:
        import torch

        if hasattr(self.model.model, "rope_deltas") and len(images) > 1:
            # These models remember the image's rotary offset between the passes, one image at a time.
            return self._one_by_one(images, questions)
        with quiet():
            inputs = [self._inputs(image, MARKER) for image in images]
        length = inputs[0]["input_ids"].shape[1]
        if any(i["input_ids"].shape[1] != length for i in inputs):
            return self._one_by_one(images, questions)
        start, tail = self._question_place(inputs[0]["input_ids"][0].tolist())
        joined = {name: torch.cat([i[name] for i in inputs]) for name in inputs[0]}
        like_tokens = joined["input_ids"].shape
        cut = {n: v[:, :start] if v.shape == like_tokens else v for n, v in joined.items()}
        cache = getattr(self.model(**cut, use_cache=True, logits_to_keep=1), self._cache)
        ids = {q: self._question_ids(q) + tail for q in dict.fromkeys(chain.from_iterable(questions))}
        rows = [(i, ids[q]) for i, asked in enumerate(questions) for q in asked]
        chances = self._continue(cache, rows)
        ends = torch.tensor([len(asked) for asked in questions]).cumsum(0).tolist()
        return [chances[end - len(asked) : end] for end, asked in zip(ends, questions, strict=True)]

    def _one_by_one(self, images: Sequence[Image], questions: Sequence[Sequence[str]]) -> list[Tensor]:
        return [self._shared([image], [asked])[0] for image, asked in zip(images, questions, strict=True)]

    def _continue(self, cache: Any, rows: Sequence[tuple[int, list[int]]]) -> Tensor:
        """Return the next-token probabilities of each row: (an image's place in `cache`, the tokens that follow).

        Rows of like length are computed together: the question for a whole text is several times as long as the others.
        """
        import torch

        order = sorted(range(len(rows)), key=lambda i: len(rows[i][1]))
        groups: list[list[int]] = []
        for i in order:
            if not groups or len(rows[i][1]) > 2 * len(rows[groups[-1][0]][1]):
                groups.append([])
            groups[-1].append(i)
        chances = torch.cat([self._continue_alike(cache, [rows[i] for i in group]) for group in groups])
        return chances[torch.tensor(order).argsort()]

    def _continue_alike(self, cache: Any, rows: Sequence[tuple[int, list[int]]]) -> Tensor:
        """Do the work of `_continue` with all rows filled up on the right to the longest.

        Attention is causal, so what follows the last token of a row cannot change it, and no mask is needed.
        """
        import torch

        places = torch.tensor([place for place, _ in rows], device=self.device)
        longest = max(len(ids) for _, ids in rows)
        tokens = torch.tensor([ids + [ids[-1]] * (longest - len(ids)) for _, ids in rows], device=self.device)
        cache = _selected(cache, places)
        logits = self.model(**{"input_ids": tokens, self._cache: cache}, use_cache=True).logits
        last = torch.tensor([len(ids) - 1 for _, ids in rows], device=self.device)
        return logits[torch.arange(len(rows), device=self.device), last].float().softmax(-1).cpu()

    def _question_ids(self, question: str) -> list[int]:
        return self.tokenizer(self.prompt.format(question), add_special_tokens=False).input_ids

    def _question_place(self, ids: list[int]) -> tuple[int, list[int]]:
        """Return where the marker question starts in a prompt and the tokens that follow it."""
        question = self._question_ids(MARKER)
        for start in range(len(ids) - len(question), 0, -1):
            if ids[start : start + len(question)] == question:
                return start, ids[start + len(question) :]
        raise _NoPrefixError("its tokenizer reads a question differently inside a prompt")


def _selected(cache: Any, places: Tensor) -> Any:
    """Return the cache's images at `places`, leaving `cache` as it is.

    Layers replace their tensors and never write into them, so none need be copied.
    """
    chosen = copy.copy(cache)
    chosen.layers = [copy.copy(layer) for layer in cache.layers]
    chosen.batch_select_indices(places)
    return chosen


class _NoPrefixError(Exception):
    """The prompts of two questions do not begin alike."""


def distinct_answers(answerer: Answerer, answers: dict[str, Sequence[str]]) -> dict[str, list[int]]:
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
