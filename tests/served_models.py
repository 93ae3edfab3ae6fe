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
def serving(answer: Callable[[str, dict[str, Any]], Answer | None]) -> Iterator[str]:
    """Serve `answer(path, body)` on a free port of loopback, each request in its own thread; None cuts the connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"] or 0)) or "{}")
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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
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
