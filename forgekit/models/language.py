"""Language models that complete and rewrite prompts: a local transformers model, or any OpenAI-compatible endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from forgekit.errors import ItemError
from forgekit.models.memory import placement, weights
from forgekit.models.naming import plain_name
from forgekit.models.roles import in_order
from forgekit.models.running import RunHere, in_batches, quiet
from forgekit.models.server import Line, Server, said
from forgekit.models.weights import load_weights, settings_at
from forgekit.scene.language.json_answers import fenced, spoken

OPENED = re.compile(r"<\s*PROMPT\s*>", re.IGNORECASE)
TAGGED = re.compile(r"<\s*PROMPT\s*>((?:(?!<\s*PROMPT\s*>).)*?)<\s*[/\\]\s*PROMPT\s*>?", re.DOTALL | re.IGNORECASE)
SENTENCE_END = (".", "!", "?", '."', ".'", ".”", "。", "！")
LABEL = re.compile(
    r"^[^:\n]{0,60}\b(?:prompt|answer|caption|description|paraphrase|version|output|result)\b[^:\n]{0,20}:",
    re.IGNORECASE,
)
BULLET = re.compile(r"^\s*(?:[-*+•>#]+|\(?\d{1,2}[.):])\s+")
REMARK = re.compile(  # a line about the prompt
    r".*:\W*$|(?:sure|certainly|of course|okay|great|absolutely|here(?:'s| is| are)|i (?:hope|have|kept|added|can|will)|i'(?:ve|ll)"
    r"|let me|let us|note|please|this (?:prompt|version|keeps|scene)|as requested|feel free|would you)\b",
    re.IGNORECASE,
)
QUOTES = ('""', "“”", "„“", "„”", "''", "‘’", "«»", "»«", "「」")


@dataclass(frozen=True)
class TransformersLanguageModel(RunHere):
    """An instruction-tuned causal language model, run here. Its fields are what gets recorded.

    `dtype` "auto" is the one that the weights are stored in.
    """

    max_new_tokens: int = 1024  # what is thought aloud included
    thinking: bool = False  # whether a model that can is to think before it answers
    temperature: float = 0.0  # 0 takes the likeliest token: the same request has the same answer
    seed: int = 0

    @classmethod
    def from_address(cls, address: str) -> TransformersLanguageModel | None:
        """Return the model in a local folder or at a Hugging Face id; None where the address is neither."""
        name = plain_name(address, "config.json")
        part = "_class_name" in (settings_at(address, "config.json") or {})  # of a pipeline
        return cls(name, address) if name and not part else None

    def generate(self, requests: Sequence[str]) -> list[str | ItemError]:
        """Answer each request with text, in order, one at a time; a request that fails is an ItemError.

        Raises:
            UnknownModelError: the weights are not there.
        """
        pipeline = self._pipeline
        return in_batches(requests, 1, lambda batch: [self._answer(pipeline, request) for request in batch], self)

    @weights
    def _pipeline(self) -> Any:
        return load_weights(self, self.repo, self._load)

    def _load(self) -> Any:
        from transformers import pipeline

        how = {"revision": self.revision, "dtype": self.dtype, "device": placement(self)[0], "trust_remote_code": False}
        with quiet("transformers"):
            return pipeline("text-generation", model=self.repo, **how)

    def _answer(self, pipeline: Any, request: str) -> str:
        import torch

        torch.manual_seed(self.seed)
        sampling: dict[str, Any] = {"do_sample": False}
        if self.temperature:
            sampling = {"do_sample": True, "temperature": self.temperature}
        asked: Any = request
        if pipeline.tokenizer.chat_template:
            asked = [{"role": "user", "content": request}]
            sampling["tokenizer_encode_kwargs"] = {"enable_thinking": self.thinking}  # read by the template, if at all
        with quiet("transformers"):
            (answer,) = pipeline(asked, max_new_tokens=self.max_new_tokens, return_full_text=False, **sampling)
        return answer["generated_text"].strip()


@dataclass(frozen=True)
class EndpointLanguageModel(Server):
    """A chat model behind an OpenAI-compatible server (vLLM, llama.cpp, Ollama, OpenAI …)."""

    temperature: float = 0.7
    max_tokens: int = 2048  # what is thought aloud included

    def generate(self, requests: Sequence[str]) -> list[str | ItemError]:
        """Answer each request with text, in order, `in_flight` at a time; a request that fails is an ItemError."""
        return in_order(self.ask_each(requests, self._answer), len(requests))

    def generate_json(self, requests: Sequence[str], schema: Mapping[str, Any]) -> list[str | ItemError]:
        """Answer as `generate` does, in JSON that follows the schema where the server can make sure of that.

        One that refuses to be asked so (status 400 or 422) is asked without it.
        """
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        return in_order(self.ask_each(requests, partial(self._answer, form=form)), len(requests))

    def _answer(self, request: str, line: Line, form: Mapping[str, Any] | None = None) -> str:
        from openai import BadRequestError, UnprocessableEntityError

        asked = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        try:
            answer = line.chat(request, asked, **({"response_format": form} if form else {}))
        except (BadRequestError, UnprocessableEntityError):
            if not form:
                raise
            answer = line.chat(request, asked)
        return said(answer)


def tagged_prompts(answer: str) -> list[str]:
    """Return the complete prompts between <PROMPT> tags, or what a model that forgot them can have meant; no duplicates.

    What was thought aloud is no part of the answer, unless it is all that there is.
    """
    return _clean(_tagged(answer) or _untagged(spoken(answer)))


def final_prompts(answer: str) -> list[str]:
    """Return the prompts of an answer that was to hold one, the last one, which it settled on, first."""
    return tagged_prompts(answer)[:: -1 if _tagged(answer) else 1]


def _tagged(answer: str) -> list[str]:
    return TAGGED.findall(spoken(answer)) or TAGGED.findall(answer)


def _untagged(said: str) -> list[str]:
    """Return the parts of an answer that may be the prompt, the likeliest first: in a fence, in quotes, behind a label."""
    opened = OPENED.split(said)
    if len(opened) > 1:  # a tag that was never closed: a whole sentence, or what the end of the answer cut off
        return [opened[-1]] if opened[-1].rstrip().endswith(SENTENCE_END) else []
    lines = [LABEL.sub("", BULLET.sub("", line)).strip() for line in said.replace("**", "").splitlines()]
    telling = [line for line in lines if line and not line.startswith("```") and not REMARK.match(line)]
    quoted = [line for line in telling if _unquoted(line) != line]
    paragraphs = [" ".join(paragraph.splitlines()) for paragraph in re.split(r"\n\s*\n", "\n".join(telling))]
    if sum(bool(BULLET.match(line)) for line in said.splitlines()) > 1:  # a list, of one prompt each
        paragraphs = []
    return [*fenced(said)[::-1], *quoted[::-1], *paragraphs[::-1], *telling[::-1], said]


def _clean(prompts: Sequence[str]) -> list[str]:
    cleaned = (_unquoted(" ".join(prompt.split()).strip("`*_ ")) for prompt in prompts)
    return list(dict.fromkeys(prompt for prompt in cleaned if any(map(str.isalnum, prompt))))


def _unquoted(text: str) -> str:
    """Return a text without the quotation marks around all of it; those of a quotation in it stay."""
    marks, inside = text[:1] + text[-1:], text[1:-1].strip()
    return inside if marks in QUOTES and not {*marks} & {*inside} else text
