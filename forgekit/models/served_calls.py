"""Many requests at a time: at most so many in flight, none longer than it may take, each told to who writes it down."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Exchange:
    """One request to a server and what came of it. `place` is that of the item it was made for.

    `answered` has what the server says of the answer (`request_id`, `retries`, `usage`), and its `cost` where a price is known.
    """

    place: int
    asked: Mapping[str, Any]
    answered: Mapping[str, Any]
    error: str | None
    started_at: datetime
    duration_ms: float


Listener = Callable[[Sequence[Exchange]], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have `listener` told each exchange with a server in this block, as it ends, in the thread of the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(exchanges: Sequence[Exchange]) -> None:
    """Tell who listens, if anybody does."""
    if exchanges and (listener := _listener.get()):
        listener(exchanges)


def as_they_come(
    count: int, work: Callable[[int], Result], late: Callable[[int, float], Result], *, in_flight: int, total_s: float
) -> Iterator[list[tuple[int, Result]]]:
    """Yield `work(place)` for each place below `count`, in groups of what has come since the last one.

    `in_flight` run at a time, each in a thread. One that takes longer than `total_s` is left behind: whatever it waits for
    holds nobody else, nor the end of the process; `late(place, when it began)` stands for its result. `work` is to raise
    nothing.
    """
    left, lock, come = iter(range(count)), threading.Lock(), SimpleQueue[tuple[int, Result]]()
    running: dict[int, float] = {}

    def go_on() -> None:
        while True:
            with lock:
                place = next(left, None)
                if place is None:
                    return
                running[place] = time.monotonic()
            result = work(place)
            with lock:
                if running.pop(place, None) is None:  # it was given up, and another thread has its place
                    return
                come.put((place, result))

    def start(threads: int) -> None:
        for _ in range(threads):
            threading.Thread(target=go_on, daemon=True).start()

    waiting = count
    start(min(in_flight, count))
    try:
        while waiting:
            group: list[tuple[int, Result]] = []
            with suppress(Empty):
                group.append(come.get(timeout=min(1.0, total_s / 4)))
                while True:
                    group.append(come.get_nowait())
            with lock:
                given_up = {place: begun for place, begun in running.items() if time.monotonic() - begun > total_s}
                for place in given_up:
                    del running[place]
            start(len(given_up))
            group += [(place, late(place, begun)) for place, begun in given_up.items()]
            waiting -= len(group)
            if group:
                yield group
    finally:
        with lock:
            deque(left, maxlen=0)  # nobody takes up another


def since(begun: float) -> tuple[datetime, float]:
    """Return when that was which `time.monotonic` called `begun` (UTC), and the milliseconds since then."""
    took = time.monotonic() - begun
    return datetime.fromtimestamp(time.time() - took, UTC).replace(tzinfo=None), took * 1000
