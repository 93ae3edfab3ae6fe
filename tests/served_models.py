"""Servers on loopback for the tests: embedded models behind the endpoints of an OpenAI-compatible server, and what goes wrong."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], bytes]


def answered(document: Any, status: int = 200, **headers: str) -> Answer:
    return status, {"content-type": "application/json", **headers}, json.dumps(document).encode()


@contextmanager
def serving(
    answer: Callable[[str, dict[str, Any]], Answer | None], received: list[dict[str, str]] | None = None
) -> Iterator[str]:
    """Serve `answer(path, body)` on a free port of loopback, each request in its own thread; None cuts the connection.

    The headers of each request are put into `received`.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"] or 0)) or "{}")
            if received is not None:
                received.append(dict(self.headers))
            given = answer(self.path, body)
            if given is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, headers, data = given
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            with suppress(OSError):  # who asked did not wait
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as address:
        yield f"{address}/v1"


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on loopback until the end of the block; yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def drawing_server(latency_s: float = 0.0) -> Callable[[str, dict[str, Any]], Answer]:
    """Return what answers `/v1/images/generations` with pictures of `mini`; a parameter that mini lacks is a 400."""
    from forgekit.errors import ItemError
    from forgekit.models import DrawRequest, load_model

    mini, one = load_model("image_generator", "mini"), threading.Lock()

    def answer(path: str, body: dict[str, Any]) -> Answer:
        assert path == "/v1/images/generations" and body.pop("n") == 1, (path, body)
        time.sleep(latency_s)
        body.pop("model")
        prompt, seed = body.pop("prompt"), body.pop("seed", 0)
        if "size" in body:
            body["width"], body["height"] = (int(side) for side in body.pop("size").split("x"))
        with one:
            (drawn,) = mini.draw([DrawRequest(prompt, seed, {**mini.default_parameters(), **body})])
        if isinstance(drawn, ItemError):
            return answered({"error": {"message": drawn.reason}}, 400)
        return picture(drawn.image)

    return answer


def picture(image: Any) -> Answer:
    file = io.BytesIO()
    image.save(file, "PNG")
    return answered({"created": 1, "data": [{"b64_json": base64.b64encode(file.getvalue()).decode()}]})


def judging_server(latency_s: float = 0.0, *, logprobs: bool = True, seeds: bool = True) -> Callable[..., Answer]:
    """Return what answers `/v1/chat/completions` about a picture by `mini-fuyu`; without `logprobs` it refuses to give any."""
    import torch
    from PIL import Image

    from forgekit.models import load_model

    answerer, one = load_model("vision_model", "mini-fuyu")._answerer, threading.Lock()

    def name(token: int) -> str:
        return answerer.tokenizer.decode([token])

    def answer(path: str, body: dict[str, Any]) -> Answer:
        assert path == "/v1/chat/completions", path
        time.sleep(latency_s)
        picture_part, text_part = body["messages"][0]["content"]
        if body.get("logprobs") and not logprobs:
            return answered({"error": {"message": "logprobs are not supported"}}, 400)
        data = picture_part["image_url"]["url"].partition("base64,")[2]
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        with one:
            if not body.get("logprobs") and not body["temperature"]:
                [text] = answerer.describe([image], text_part["text"], body["max_tokens"])
                return chat(text)
            tokens: list[int] = []
            positions = []
            random = torch.Generator().manual_seed(body["seed"] if seeds and "seed" in body else int(time.time() * 1e6))
            while len(tokens) < body["max_tokens"] and answerer.tokenizer.eos_token_id not in tokens:
                [odds] = answerer.next_word([image], [[(text_part["text"], tuple(tokens))]])[0]
                sampled = body["temperature"] and torch.multinomial(odds, 1, generator=random)
                tokens.append(int(sampled if body["temperature"] else odds.argmax()))
                top = odds.log().topk(body.get("top_logprobs", 1))
                likeliest = [
                    {"token": name(int(i)), "logprob": float(p)} for p, i in zip(top.values, top.indices, strict=True)
                ]
                positions.append({"token": name(tokens[-1]), "top_logprobs": likeliest})
        text = answerer.tokenizer.decode(tokens, skip_special_tokens=True)
        return chat(text, logprobs={"content": positions} if body.get("logprobs") else None)

    return answer


def without_max_tokens(answer: Callable[..., Answer], **refusal: str) -> Callable[..., Answer]:
    """Have `answer` asked with `max_completion_tokens` alone, as models that think are; `max_tokens` is a 400 with `refusal`."""

    def asked(path: str, body: dict[str, Any]) -> Answer:
        if "max_tokens" in body:
            return answered({"error": {"code": "unsupported_parameter", **refusal}}, 400)
        return answer(path, body | {"max_tokens": body["max_completion_tokens"]})

    return asked


def chat(text: str | None, *, logprobs: Any = None, status: int = 200, **choice: Any) -> Answer:
    """Return a chat completion that says `text`."""
    message = {"role": "assistant", "content": text}
    told = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs, **choice}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return answered({"id": "chat-1", "choices": [told], "usage": usage}, status, **{"x-request-id": "asked-1"})
