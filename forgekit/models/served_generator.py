"""Image generators behind OpenAI-compatible servers (vLLM-Omni, SGLang, hosted ones)."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from forgekit.errors import ItemError
from forgekit.models.roles import Drawing, DrawRequest, in_order
from forgekit.models.server import Line, Server, refusal

if TYPE_CHECKING:
    from PIL.Image import Image

REASON = 200  # characters of why a parameter was left out


def _named(error: Any, optional: frozenset[str]) -> set[str]:
    """Return which parameter a refusal is about: the one that `param` or the message names first; a `size` is two."""
    body = error.body if isinstance(error.body, Mapping) else {}
    sides = optional & {"width", "height"}
    words = re.findall(r"\w+", f"{body.get('param')} {refusal(error)}")
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
        return in_order(self.draw_each(requests), len(requests))

    def draw_each(self, requests: Sequence[DrawRequest]) -> Iterator[list[tuple[int, Drawing | ItemError]]]:
        """Yield (place, picture) in groups as they come; what `draw` returns, before the last one is there."""
        first = 0
        if requests and "_honours_seeds" not in vars(self):
            [[(_, drawn)]] = self.ask_each(requests[:1], self._draw)
            if isinstance(drawn, Drawing):
                [[(_, again)]] = self.ask_each(requests[:1], self._draw)
                if isinstance(again, Drawing):
                    vars(self)["_honours_seeds"] = again.image.tobytes() == drawn.image.tobytes()
            first = 1
            yield [(0, self._with_seen(drawn))]
        places = range(first, len(requests))
        for group in self.ask_each(requests[first:], self._draw, places=places):
            yield [(places[number], self._with_seen(drawn)) for number, drawn in group]

    def _with_seen(self, drawn: Drawing | ItemError) -> Drawing | ItemError:
        """Return a picture whose metadata say whether the server honours seeds, as far as that was seen."""
        if isinstance(drawn, ItemError):
            return drawn
        return Drawing(drawn.image, {**drawn.metadata, "seed_honoured": vars(self).get("_honours_seeds")})

    def _draw(self, request: DrawRequest, line: Line) -> Drawing:
        """Draw one picture. What the server refuses and the request can do without is left out, one parameter at a time."""
        from openai import BadRequestError, UnprocessableEntityError

        left_out: dict[str, str] = {}
        while True:
            kept = {name: value for name, value in request.parameters.items() if name not in left_out}
            try:
                drawn = self._drawn(replace(request, parameters=kept), line)
            except (BadRequestError, UnprocessableEntityError) as error:
                refused = _named(error, request.optional - left_out.keys())
                if not refused:
                    raise
                left_out |= dict.fromkeys(refused, f"{self.name} refuses it: {refusal(error)}"[:REASON])
            else:
                told = {"parameters_not_applied": left_out} if left_out else {}
                return replace(drawn, metadata={**drawn.metadata, **told})

    def _drawn(self, request: DrawRequest, line: Line) -> Drawing:
        parameters = dict(request.parameters)
        size = [parameters.pop(side, None) for side in ("width", "height")]
        if self.send_seed:
            parameters["seed"] = request.seed
        asked: dict[str, Any] = {"prompt": request.prompt, "n": 1}
        if all(size):
            asked["size"] = "{}x{}".format(*size)
        create = self.client.images.with_raw_response.generate
        started = time.perf_counter()
        answer = line.send(create, asked | parameters, extra_body=parameters, **asked)
        image = self._picture(answer.data[0])
        told = line.exchanges[-1].answered
        made = {
            "seed": request.seed,
            "parameters": dict(request.parameters),
            "width": image.width,
            "height": image.height,
            "duration_s": round(time.perf_counter() - started, 4),
            "request_id": told["request_id"],
            "retries": told["retries"],
        }
        return Drawing(image, {**self.describe(), **made})

    def _picture(self, answer: Any) -> Image:
        """Return the picture in an answer: there as base64, or behind an address. Raises ValueError: neither, or no picture."""
        from PIL import Image, UnidentifiedImageError

        from forgekit.models.served_limits import bounded_client

        if answer.b64_json:
            data = base64.b64decode(answer.b64_json, validate=True)
        elif answer.url:
            with bounded_client(self.timeout_s) as web:  # another one than asks: no key goes to wherever this is
                data = web.get(answer.url, follow_redirects=True).raise_for_status().content
        else:
            raise ValueError("the server answered without a picture")
        try:
            image = Image.open(io.BytesIO(data))
            image.load()
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"the server answered with {len(data)} bytes that are no picture: {error}") from error
        return image
