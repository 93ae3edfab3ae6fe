"""What an answer of a server may be: so large, so long on its way, not packed. The client reads no further than that."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx2
from openai import DefaultHttpxClient

LARGEST = 1 << 26  # bytes of one answer that are read: 64 MiB


class AnswerError(ValueError):
    """An answer that is not read to its end."""


class _Bounded(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, timeout_s: float) -> None:
        self._stream, self._timeout_s = stream, timeout_s

    def __iter__(self) -> Iterator[bytes]:
        size, end = 0, time.monotonic() + self._timeout_s
        for part in self._stream:
            size += len(part)
            if size > LARGEST:
                raise AnswerError(f"its answer is larger than {LARGEST >> 20} MiB")
            if time.monotonic() > end:
                raise AnswerError(f"its answer did not end within {self._timeout_s:g} s (timeout_s)")
            yield part

    def close(self) -> None:
        self._stream.close()


def bounded_client(timeout_s: float) -> httpx2.Client:
    """Return a web client whose answers end within `timeout_s` and 64 MiB; where they do not, reading one is an AnswerError."""

    def bound(response: httpx2.Response) -> None:
        packed = response.headers.get("content-encoding", "identity")
        if packed != "identity":  # how large it is would show when it has filled the memory
            raise AnswerError(f"its answer is packed ({packed}), which was not asked for")
        if isinstance(response.stream, httpx2.SyncByteStream):
            response.stream = _Bounded(response.stream, timeout_s)

    hooks = {"response": [bound]}
    return DefaultHttpxClient(timeout=timeout_s, event_hooks=hooks, headers={"Accept-Encoding": "identity"})
