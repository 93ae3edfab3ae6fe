"""Language models that complete and rewrite prompts: a local transformers model, or any OpenAI-compatible endpoint."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forgekit.errors import ItemError
from forgekit.models.memory import placement, weights
from forgekit.models.naming import plain_name
from forgekit.models.running import in_batches, quiet
from forgekit.models.weights import load_weights

TAGGED = re.compile(r"<PROMPT>(.*?)</PROMPT>", re.DOTALL | re.IGNORECASE)
ENDPOINT = re.compile(r"^(?P<base_url>https?://[^#\s]+)#(?P<model>\S+)$")


@dataclass(frozen=True)
class TransformersLanguageModel:
    """An instruction-tuned causal language model, run here. Its fields are what gets recorded."""

    name: str
    repo: str  # Hugging Face id or local folder
    revision: str | None = None
    dtype: str = "auto"  # the one that the weights are stored in
    device: str = "auto"
    max_new_tokens: int = 256
    temperature: float = 0.0  # 0 takes the likeliest token: the same request has the same answer
    seed: int = 0

    @classmethod
    def from_address(cls, address: str) -> TransformersLanguageModel | None:
        """Return the model in a local folder or at a Hugging Face id; None where the address is neither."""
        name = plain_name(address, "config.json")
        return cls(name, address) if name else None

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

        with quiet():
            return pipeline(
                "text-generation",
                model=self.repo,
                revision=self.revision,
                dtype=self.dtype,
                device=placement(self)[0],
                trust_remote_code=False,
            )

    def _answer(self, pipeline: Any, request: str) -> str:
        import torch

        torch.manual_seed(self.seed)
        sampling = {"do_sample": True, "temperature": self.temperature} if self.temperature else {"do_sample": False}
        asked = [{"role": "user", "content": request}] if pipeline.tokenizer.chat_template else request
        with quiet():
            (answer,) = pipeline(asked, max_new_tokens=self.max_new_tokens, return_full_text=False, **sampling)
        return answer["generated_text"].strip()


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

    @classmethod
    def from_address(cls, address: str) -> EndpointLanguageModel | None:
        """Return the model at "http(s)://host/v1#model"; None where the address is of no such form."""
        endpoint = ENDPOINT.match(address)
        return cls(endpoint["model"], endpoint["base_url"], endpoint["model"]) if endpoint else None

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


def tagged_prompts(answer: str) -> list[str]:
    """Return the prompts between <PROMPT> tags, or the whole answer where a model forgot them; no duplicates."""
    found = TAGGED.findall(answer) or [answer]
    prompts = [" ".join(prompt.split()).strip("\"'` ") for prompt in found]
    return list(dict.fromkeys(prompt for prompt in prompts if prompt))
