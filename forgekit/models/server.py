"""The way to models behind OpenAI-compatible servers (vLLM, SGLang, llama.cpp, Ollama, hosted ones), and what each request was."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from forgekit.errors import ItemError, ParameterError, without_secrets
from forgekit.models.served_calls import Exchange, as_they_come, since, tell

if TYPE_CHECKING:
    from openai import OpenAI

log = logging.getLogger(__name__)
ADDRESS = re.compile(r"(?P<base_url>https?://[^#\s]+)#(?P<model>\S+)")
LONGEST_PAUSE = 120  # seconds: the client does not try again where a server asks for a longer one
LIMIT, LIMIT_WITH_THOUGHTS = "max_tokens", "max_completion_tokens"  # names of the most tokens of an answer
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Server:
    """A model behind an OpenAI-compatible server, such as "http://localhost:8000/v1#flux".

    The key is read from the environment variable `api_key_variable` when it is needed; it is not a field, so it is never
    recorded. A request is repeated up to `retries` times, with growing pauses or those that the server asks for, if they are
    two minutes at most; each time it ends after `timeout_s` seconds, and after `total_s` with all its tries.
    """

    name: str
    base_url: str  # up to and including "/v1"
    model: str  # what the server calls it
    api_key_variable: str = "OPENAI_API_KEY"
    timeout_s: float = 120.0
    retries: int = 3
    in_flight: int = 16  # requests at a time
    total_s: float = 900.0
    send_seed: bool = True  # some hosted models refuse a seed
    price_per_million_input: float = 0.0  # of tokens, in whatever currency; 0 where none is known
    price_per_million_output: float = 0.0
    price_per_image: float = 0.0

    @classmethod
    def from_address(cls, address: str) -> Self | None:
        """Return the model at "http(s)://host/v1#model"; None where the address is none of the web.

        Raises:
            ParameterError: no model in it; or a password or a query, which would be recorded with it.
        """
        if not address.startswith(("http://", "https://")):
            return None
        plain, found = without_secrets(address), ADDRESS.fullmatch(address)
        if not found:
            raise ParameterError(f"{plain} names no model of a server; write it as http://host:8000/v1#model")
        if plain != address:
            raise ParameterError(
                f"the address of {found['model']} at {plain} holds a password or a query, which may hold a key; "
                "keys stand in the environment, in OPENAI_API_KEY or the variable named by ?api_key_variable= after the model"
            )
        return cls(found["model"], found["base_url"].rstrip("/"), found["model"])

    @cached_property
    def client(self) -> OpenAI:
        """The client of the server, made on first use."""
        from openai import OpenAI

        from forgekit.models.served_limits import bounded_client

        key = os.environ.get(self.api_key_variable) or "none"  # servers of one's own ask for none
        web, seconds = bounded_client(self.timeout_s), self.timeout_s
        return OpenAI(base_url=self.base_url, api_key=key, timeout=seconds, max_retries=self.retries, http_client=web)

    def ask_each(
        self, items: Sequence[Item], ask: Callable[[Item, Line], Result], *, places: Sequence[int] | None = None
    ) -> Iterator[list[tuple[int, Result | ItemError]]]:
        """Yield (number, what `ask` returns for that item), `in_flight` at a time, in groups as they come.

        What goes wrong is that item's ItemError. Who listens (`served_calls.listening`) is told each request, under the
        item's place in `places`, before its result is handed back.
        """
        places = range(len(items)) if places is None else places
        _ = self.client  # made once, before there are threads

        def answer(number: int) -> tuple[Result | ItemError, list[Exchange]]:
            line = Line(self, places[number])
            try:
                return ask(items[number], line), line.exchanges
            except Exception as error:  # this item's failure: the others go on
                return ItemError(self.why(error)), line.exchanges

        def late(number: int, begun: float) -> tuple[Result | ItemError, list[Exchange]]:
            told = f"it took longer than {self.total_s:g} s with all its tries, and was given up (total_s)"
            reason = f"{self.name} at {self.base_url}: {told}"
            return ItemError(reason), [Exchange(places[number], {}, {}, reason, *since(begun))]

        for group in as_they_come(len(items), answer, late, in_flight=self.in_flight, total_s=self.total_s):
            tell([exchange for _, (_, exchanges) in group for exchange in exchanges])
            yield [(number, result) for number, (result, _) in group]

    def why(self, error: Exception) -> str:
        """Return what went wrong with a request, as a reason without secrets."""
        from openai import APIStatusError

        said = f"{type(error).__name__}: {error}"
        if isinstance(error, APIStatusError):
            said, pause = f"{error.status_code}: {refusal(error)}", error.response.headers.get("retry-after", "")
            if pause.isdigit() and int(pause) > LONGEST_PAUSE:
                said += f"; it asks for a pause of {pause} s, too long to wait"
        return without_secrets(f"{self.name} at {self.base_url}: {said}")

    def cost(self, usage: Mapping[str, int], images: int = 0) -> float | None:
        """Return what an answer cost; None where no price is known, or the server counts no tokens that have one."""
        prices = {"prompt_tokens": self.price_per_million_input, "completion_tokens": self.price_per_million_output}
        prices = {name: price for name, price in prices.items() if price}
        if not (prices or self.price_per_image) or prices.keys() - usage.keys():
            return None
        return self.price_per_image * images + sum(price * usage[name] for name, price in prices.items()) / 1e6


@dataclass
class Line:
    """The requests that one item takes, each noted in `exchanges` whatever comes of it."""

    server: Server
    place: int
    exchanges: list[Exchange] = field(default_factory=list)

    def send(self, create: Callable[..., Any], asked: Mapping[str, Any], **body: Any) -> Any:
        """Send a request by a method of the client's `with_raw_response`; return the answer, which has no `error`.

        `asked` is how the request is written down.
        """
        begun, error, answered = time.monotonic(), None, {}
        try:
            raw = create(model=self.server.model, **body)
            answer = raw.parse()
            answered = {"request_id": raw.headers.get("x-request-id"), "retries": raw.retries_taken}
            if usage := _usage(answer):
                answered["usage"] = usage
            cost = self.server.cost(usage, images=len(getattr(answer, "data", None) or ()))
            if cost is not None:
                answered["cost"] = cost
            return answer
        except Exception as failed:
            error = self.server.why(failed)
            headers = getattr(getattr(failed, "request", None), "headers", {})
            tries = headers.get("x-stainless-retry-count", "0")
            answered = {"retries": int(tries) if tries.isdigit() else 0}
            raise
        finally:
            self.exchanges.append(Exchange(self.place, asked, answered, error, *since(begun)))

    def chat(self, content: Any, asked: Mapping[str, Any], about: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Have a chat model answer `content` with the options `asked`, which are written down after what it is `about`.

        A server that refuses `max_tokens`, as those of hosted models that think do, is asked with `max_completion_tokens`, from
        then on at once.
        """
        from openai import BadRequestError, UnprocessableEntityError

        def send(limit: str) -> Any:
            told = {limit if name == LIMIT else name: value for name, value in asked.items()}
            create = self.server.client.chat.completions.with_raw_response.create
            messages = [{"role": "user", "content": content}]
            return self.send(create, {**(about or {}), **told}, messages=messages, **told, **more)

        known = vars(self.server).get("_limit", LIMIT)
        try:
            return send(known)
        except (BadRequestError, UnprocessableEntityError) as error:
            if known != LIMIT or (error.param != LIMIT and LIMIT_WITH_THOUGHTS not in refusal(error)):
                raise
        answer = send(LIMIT_WITH_THOUGHTS)
        log.warning("%s refuses %s, and is told %s from here on", self.server.name, LIMIT, LIMIT_WITH_THOUGHTS)
        vars(self.server)["_limit"] = LIMIT_WITH_THOUGHTS
        return answer


def _usage(answer: Any) -> dict[str, int]:
    """Return the tokens that a server says it read and wrote; images are counted under other names."""
    said = getattr(answer, "usage", None)
    said = SimpleNamespace(**said) if isinstance(said, Mapping) else said
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
    counts = {name: getattr(said, name, getattr(said, other, None)) for name, other in names.items()}
    return {name: n for name, n in counts.items() if isinstance(n, int) and n >= 0}


def said(answer: Any) -> str:
    """Return the text of a chat's answer. Raises ValueError: there is none: all of it was thought, or it was refused."""
    choice = answer.choices[0]
    if choice.message.content is None:
        why = getattr(choice.message, "refusal", None) or f"finish reason: {choice.finish_reason}"
        raise ValueError(f"it answered with nothing ({why})")
    return str(choice.message.content).strip()


def refusal(error: Any) -> str:
    """Return what a server says of the request it refused."""
    body = error.body if isinstance(error.body, Mapping) else {}
    return str(body.get("message") or error.message)[:500]
