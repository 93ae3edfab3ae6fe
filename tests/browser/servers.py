"""Starts the servers that the browser's pages come from, on loopback, and stops them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_S = 300  # a server on a busy machine
WAIT_MS = 180_000  # anything on a page, likewise


@contextmanager
def serving(command: list[str], health: str, log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run a server until the end of the block; it is up when the URL `health` answers."""
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until(lambda: answers(health) or process.poll() is not None, START_S)
            assert process.poll() is None, log.read_text()[-2000:]
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def answers(url: str) -> bool:
    """Whether something answers at the URL."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until `holds()`; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s"
        time.sleep(0.2)


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
