"""Language models that complete and rewrite prompts: a local transformers model, or any OpenAI-compatible endpoint."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from forgekit.errors import ItemError, UnknownModelError

TAGGED = re.compile(r"<PROMPT>(.*?)</PROMPT>", re.DOTALL | re.IGNORECASE)
HUGGING_FACE_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
ENDPOINT = re.compile(r"^(?P<base_url>https?://[^#\s]+)#(?P<model>\S+)$")
FAILURES = (RuntimeError, ValueError, TypeError, LookupError, MemoryError)


@dataclass(frozen=True)
class TransformersLanguageModel:
    """An instruction-tuned causal language model, run here. Its fields are what gets recorded."""

    name: str
    repo: str  # Hugging Face id or local folder
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    max_new_tokens: int = 256
    temperature: float = 0.0  # 0 takes the likeliest token: the same request has the same answer
    seed: int = 0

    def generate(self, requests: Sequence[str]) -> list[str | ItemError]:
        """Answer each request with text, in order, one at a time; a request that fails is an ItemError.

        Raises:
            UnknownModelError: the weights are not there.
        """
        model, tokenizer = self._loaded
        return [self._answer(model, tokenizer, request) for request in requests]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.repo, revision=self.revision, trust_remote_code=False)
            model = AutoModelForCausalLM.from_pretrained(
                self.repo, revision=self.revision, dtype=self.dtype, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise UnknownModelError(
                f"language model {self.repo!r} cannot be loaded: {error}. Give a local folder, or a Hugging Face id "
                "whose files are in the cache or can be downloaded"
            ) from error
        return model.to(device).eval(), tokenizer

    def _answer(self, model: Any, tokenizer: Any, request: str) -> str | ItemError:
        import torch

        try:
            if tokenizer.chat_template:
                text = tokenizer.apply_chat_template(
                    [{"role": "user", "content": request}], tokenize=False, add_generation_prompt=True
                )
            else:
                text = request
            inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False).to(model.device)
            sampling = (
                {"do_sample": True, "temperature": self.temperature} if self.temperature else {"do_sample": False}
            )
            torch.manual_seed(self.seed)
            with torch.inference_mode():
                tokens = model.generate(**inputs, max_new_tokens=self.max_new_tokens, **sampling)
            return tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
        except FAILURES as error:
            return ItemError(f"{self.name}: {type(error).__name__}: {error}")


@dataclass(frozen=True)
class EndpointLanguageModel:
    """A chat model behind an OpenAI-compatible endpoint (vLLM, llama.cpp, Ollama, OpenAI …).

    The key is read from the environment variable `api_key_variable` when it is needed; it is not a field, so it is
    never recorded.
    """

    name: str
    base_url: str  # up to and including "/v1"
    model: str
    api_key_variable: str = "OPENAI_API_KEY"
    temperature: float = 0.7
    max_tokens: int = 512
    timeout_s: float = 120.0
    retries: int = 2

    def generate(self, requests: Sequence[str]) -> list[str | ItemError]:
        """Answer each request with text, in order; a request that fails, after `retries` more tries, is an ItemError."""
        with self._session() as session:
            return [self._answer(session, request) for request in requests]

    def _session(self) -> Any:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry

        retry = Retry(
            total=self.retries, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503), allowed_methods=None
        )
        session = requests.Session()
        session.mount(self.base_url, HTTPAdapter(max_retries=retry))
        key = os.environ.get(self.api_key_variable)
        if key:
            session.headers["Authorization"] = f"Bearer {key}"
        return session

    def _answer(self, session: Any, request: str) -> str | ItemError:
        import requests

        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": request}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        try:
            response = session.post(f"{self.base_url.rstrip('/')}/chat/completions", json=body, timeout=self.timeout_s)
            response.raise_for_status()
            return response.json()["choices"][0]["message"]["content"].strip()
        except (requests.RequestException, ValueError, LookupError, AttributeError, TypeError) as error:
            return ItemError(f"{self.name} at {self.base_url}: {type(error).__name__}: {error}")


KNOWN: dict[str, TransformersLanguageModel | EndpointLanguageModel] = {
    "qwen3-4b": TransformersLanguageModel("qwen3-4b", "Qwen/Qwen3-4B-Instruct-2507"),
    "qwen3-8b": TransformersLanguageModel("qwen3-8b", "Qwen/Qwen3-8B"),
    "smollm3": TransformersLanguageModel("smollm3", "HuggingFaceTB/SmolLM3-3B"),
}


def from_address(address: str) -> TransformersLanguageModel | EndpointLanguageModel | None:
    """Return the model at "http(s)://host/v1#model", at a Hugging Face id or in a local folder; else None."""
    endpoint = ENDPOINT.match(address)
    if endpoint:
        return EndpointLanguageModel(endpoint["model"][:32], endpoint["base_url"], endpoint["model"])
    if (Path(address) / "config.json").exists():
        return TransformersLanguageModel(Path(address).name[:32], address)
    if HUGGING_FACE_ID.match(address):
        return TransformersLanguageModel(address.split("/")[1][:32], address)
    return None


def tagged_prompts(answer: str) -> list[str]:
    """Return the prompts between <PROMPT> tags, or the whole answer where a model forgot them; no duplicates."""
    found = TAGGED.findall(answer) or [answer]
    prompts = [" ".join(prompt.split()).strip("\"'` ") for prompt in found]
    return list(dict.fromkeys(prompt for prompt in prompts if prompt))
