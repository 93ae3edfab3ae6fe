"""Models behind OpenAI-compatible servers (vLLM, SGLang, llama.cpp, Ollama, hosted ones): the way to them, and image generators."""

from __future__ import annotations

import base64
import io
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from forgekit.errors import ItemError, ParameterError
from forgekit.models.roles import Drawing, DrawRequest

if TYPE_CHECKING:
    from openai import OpenAI
    from PIL.Image import Image

ADDRESS = re.compile(r"(?P<base_url>https?://[^#\s]+)#(?P<model>\S+)")
REASON = 200  # characters of why a parameter was left out
LARGEST = 1 << 26  # bytes of one picture that are read: 64 MiB
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Server:
    """A model behind an OpenAI-compatible server, such as "http://localhost:8000/v1#flux".

    The key is read from the environment variable `api_key_variable` when it is needed; it is not a field, so it is never
    recorded. A request is repeated up to `retries` times, with growing pauses or those that the server asks for (two
    minutes at most), and ends after `timeout_s` seconds each time.
    """

    name: str
    base_url: str  # up to and including "/v1"
    model: str  # what the server calls it
    api_key_variable: str = "OPENAI_API_KEY"
    timeout_s: float = 120.0
    retries: int = 3
    in_flight: int = 16  # requests at a time

    @classmethod
    def from_address(cls, address: str) -> Self | None:
        """Return the model at "http(s)://host/v1#model"; None where the address is of no such form.

        Raises:
            ParameterError: a password in the address, which would be recorded with it.
        """
        found = ADDRESS.fullmatch(address)
        if not found:
            return None
        if "@" in urlsplit(found["base_url"]).netloc:
            host = urlsplit(found["base_url"]).hostname
            raise ParameterError(
                f"the address of {found['model']} at {host} holds a password; put it into OPENAI_API_KEY"
            )
        return cls(found["model"], found["base_url"].rstrip("/"), found["model"])

    @cached_property
    def _client(self) -> OpenAI:
        from openai import OpenAI

        key = os.environ.get(self.api_key_variable) or "none"  # servers of one's own ask for none
        return OpenAI(base_url=self.base_url, api_key=key, timeout=self.timeout_s, max_retries=self.retries)

    def ask_all(self, items: Sequence[Item], ask: Callable[[Item], Result]) -> list[Result | ItemError]:
        """Return what `ask` returns for each item, in order, `in_flight` at a time; what the server refuses is an ItemError."""

        def answer(item: Item) -> Result | ItemError:
            from openai import APIStatusError, OpenAIError

            try:
                return ask(item)
            except APIStatusError as error:
                return ItemError(f"{self.name} at {self.base_url}: {error.status_code}: {_told(error)}")
            except (OpenAIError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                return ItemError(f"{self.name} at {self.base_url}: {type(error).__name__}: {error}")

        with ThreadPoolExecutor(self.in_flight) as pool:
            return list(pool.map(answer, items))


def _told(error: Any) -> str:
    """Return what a server says of the request it refused."""
    body = error.body if isinstance(error.body, Mapping) else {}
    return str(body.get("message") or error.message)[:500]


def _named(error: Any, optional: frozenset[str]) -> set[str]:
    """Return which parameter a refusal is about: the one that `param` or the message names first; a `size` is two."""
    body = error.body if isinstance(error.body, Mapping) else {}
    sides = optional & {"width", "height"}
    words = re.findall(r"\w+", f"{body.get('param')} {_told(error)}")
    first = next((word for word in words if word in optional or (word == "size" and sides)), "")
    return set(sides) if first in ("width", "height", "size") else {first} & optional


@dataclass(frozen=True)
class ServedGenerator(Server):
    """A text-to-image model behind `/v1/images/generations`.

    Width and height go as `size`; all other parameters, and the seed, go under their own names: a server that does not
    know one refuses the request, and says so; where it came with data, the request is sent again without it. The first
    picture is asked for twice, to see whether the server honours seeds; what was seen stands in each picture's metadata as
    `seed_honoured`.
    """

    send_seed: bool = True  # some hosted models refuse a seed

    def default_parameters(self) -> dict[str, Any]:
        """Return no parameters: the server has its own defaults."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return what is known of how the pixels come about: the address and the model's name there."""
        return {"model": self.name, "repo": f"{self.base_url}#{self.model}", "revision": None}

    def fits(self, prompt: str) -> bool:
        """Return True: what the server's text encoder reads cannot be known here."""
        return True

    def draw(self, requests: Sequence[DrawRequest]) -> list[Drawing | ItemError]:
        """Draw one picture per request, in order; a request that fails is an ItemError."""
        done: list[Drawing | ItemError] = []
        if "_honours_seeds" not in vars(self):
            done = self.ask_all(requests[:1], self._draw)
            if done and isinstance(done[0], Drawing):
                (again,) = self.ask_all(requests[:1], self._draw)
                if isinstance(again, Drawing):
                    vars(self)["_honours_seeds"] = again.image.tobytes() == done[0].image.tobytes()
        done += self.ask_all(requests[len(done) :], self._draw)
        honoured = vars(self).get("_honours_seeds")
        return [
            Drawing(d.image, {**d.metadata, "seed_honoured": honoured}) if isinstance(d, Drawing) else d for d in done
        ]

    def _draw(self, request: DrawRequest) -> Drawing:
        """Draw one picture. What the server refuses and the request can do without is left out, one parameter at a time."""
        from openai import BadRequestError, UnprocessableEntityError

        left_out: dict[str, str] = {}
        while True:
            kept = {name: value for name, value in request.parameters.items() if name not in left_out}
            try:
                drawn = self._drawn(replace(request, parameters=kept))
            except (BadRequestError, UnprocessableEntityError) as error:
                refused = _named(error, request.optional - left_out.keys())
                if not refused:
                    raise
                left_out |= dict.fromkeys(refused, f"{self.name} refuses it: {_told(error)}"[:REASON])
            else:
                return (
                    replace(drawn, metadata={**drawn.metadata, "parameters_not_applied": left_out})
                    if left_out
                    else drawn
                )

    def _drawn(self, request: DrawRequest) -> Drawing:
        parameters = dict(request.parameters)
        size = [parameters.pop(side, None) for side in ("width", "height")]
        if self.send_seed:
            parameters["seed"] = request.seed
        asked: dict[str, Any] = {"size": "{}x{}".format(*size)} if all(size) else {}
        started = time.perf_counter()
        raw = self._client.images.with_raw_response.generate(
            model=self.model, prompt=request.prompt, n=1, extra_body=parameters, **asked
        )
        image = self._picture(raw.parse().data[0])
        return Drawing(
            image,
            {
                **self.describe(),
                "seed": request.seed,
                "parameters": dict(request.parameters),
                "width": image.width,
                "height": image.height,
                "duration_s": round(time.perf_counter() - started, 4),
                "request_id": raw.headers.get("x-request-id"),
                "retries": raw.retries_taken,
            },
        )

    def _picture(self, answer: Any) -> Image:
        """Return the picture in an answer: there as base64, or behind an address.

        Raises:
            ValueError: neither, or no picture.
        """
        from PIL import Image, UnidentifiedImageError

        if answer.b64_json:
            data = base64.b64decode(answer.b64_json, validate=True)
        elif answer.url:
            data = self._fetched(answer.url)
        else:
            raise ValueError("the server answered without a picture")
        try:
            image = Image.open(io.BytesIO(data))
            image.load()
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"the server answered with {len(data)} bytes that are no picture: {error}") from error
        return image

    def _fetched(self, url: str) -> bytes:
        import requests

        with requests.get(url, timeout=self.timeout_s, stream=True) as response:
            response.raise_for_status()
            data = response.raw.read(LARGEST + 1, decode_content=True)
        if len(data) > LARGEST:
            raise ValueError(f"the picture is larger than {LARGEST >> 20} MiB")
        return data
