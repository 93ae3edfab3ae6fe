"""A server cannot hold a stage: answers end in bounded time and size, pauses too, and it is said when that bites."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from served_models import answered, chat, serving

from forgekit.errors import ItemError
from forgekit.models import DrawRequest
from forgekit.models.language import EndpointLanguageModel
from forgekit.models.served_generator import ServedGenerator

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@contextmanager
def sending(send: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve whatever `send` puts on the wire, on a free port of loopback, to each connection in its own thread."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(1 << 16)
            send(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.close()


def forever(connection: socket.socket, *parts: bytes, pause_s: float = 0.0) -> None:
    while True:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)


def endless_body(connection):
    connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    forever(connection, b"1\r\n \r\n", pause_s=0.02)


def endless_head(connection):
    connection.sendall(HEAD)
    forever(connection, b"x", pause_s=0.02)


def ten_gigabytes(connection):
    connection.sendall(HEAD + b"content-length: 10000000000\r\n\r\n")
    forever(connection, b" " * (1 << 20))


def packed(connection):
    body = gzip.compress(b" " * (1 << 24))
    connection.sendall(HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


@pytest.mark.parametrize(
    ("send", "reason"),
    [
        (endless_body, "did not end within 0.4 s"),
        (endless_head, "longer than 0.8 s with all its tries"),
        (ten_gigabytes, "larger than 64 MiB"),
        (packed, "packed (gzip)"),
    ],
)
def test_an_answer_without_end_is_cut_off_and_said_so(send, reason):
    slow = send in (endless_body, endless_head)
    limits = {"timeout_s": 0.4 if slow else 30.0, "total_s": 0.8 if slow else 30.0}
    with sending(send) as url:
        began = time.monotonic()
        model = EndpointLanguageModel("m", url, "m", retries=0, **limits)
        one, other = model.generate(["a", "b"])
        (picture,) = ServedGenerator("m", url, "m", retries=0, **limits).draw([DrawRequest("a", 1)])
        assert time.monotonic() - began < 30
    for result in (one, other, picture):
        assert isinstance(result, ItemError) and reason in result.reason, result


def test_a_request_that_hangs_holds_none_of_the_others():
    def answer(path, body):
        if body["messages"][0]["content"] == "hang":
            time.sleep(3)
        return chat("here")

    with serving(answer) as url:
        model = EndpointLanguageModel("m", url, "m", retries=0, timeout_s=30, total_s=0.4, in_flight=2)
        answers = model.generate(["hang", "hang", "a", "b", "c"])
    assert [isinstance(each, ItemError) for each in answers] == [True, True, False, False, False]


def test_a_pause_of_an_hour_is_not_waited_for_and_said_so():
    with serving(lambda *_: answered({"error": {"message": "slow down"}}, 429, **{"retry-after": "3600"})) as url:
        began = time.monotonic()
        [answer] = EndpointLanguageModel("m", url, "m", retries=3).generate(["a"])
    assert time.monotonic() - began < 5
    assert "slow down" in answer.reason and "3600 s, too long" in answer.reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda *_: answered({"error": {"message": "on fire"}}, 500), "500: on fire"),
        (lambda *_: answered({"choices": []}), "IndexError"),
        (lambda *_: chat(None), "answered with nothing (finish reason: stop)"),
        (lambda *_: (200, {"content-type": "application/json"}, b"{"), "JSONDecodeError"),
        (lambda *_: (200, {"content-type": "text/html"}, b"<html>log in</html>"), "AttributeError"),
        (lambda *_: None, "Connection"),
        (lambda *_: time.sleep(1), "timed out"),
    ],
    ids=["500", "empty", "nothing", "garbage", "html", "cut", "hangs"],
)
def test_whatever_goes_wrong_with_a_language_model_is_a_reason(answer, reason):
    with serving(answer) as url:
        [said] = EndpointLanguageModel("m", url, "m", retries=0, timeout_s=0.4).generate(["a"])
    assert isinstance(said, ItemError) and reason in said.reason and url in said.reason, said
