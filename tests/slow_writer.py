"""A language model that takes its time and notes each request in a file, for tests of processes that share the work.

The environment says how: WRITER_LOG (the file), WRITER_SECONDS (for each answer), WRITER_TOGETHER (how many processes
must have asked before the first answer comes), WRITER_REFUSED (the first answer about each scene is a wrong one).
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Writer:
    """Answers with the scene as line art."""

    name: str = "slow_writer:Writer"

    def generate(self, requests: Sequence[str]) -> list[str]:
        return [_answer(request) for request in requests]


def asked(log: Path) -> list[tuple[int, str]]:
    """Return who asked (a process id) and for which scene, in order; a retry has " again" behind its scene."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [tuple(json.loads(line)) for line in lines if line.endswith("]")]


def _answer(request: str) -> str:
    log, scene, again = Path(os.environ["WRITER_LOG"]), re.search("Scene: (.*)", request)[1], "was refused" in request
    with log.open("a") as file:
        file.write(json.dumps([os.getpid(), scene + " again" * again]) + "\n")
    deadline = time.monotonic() + 60
    while len({pid for pid, _ in asked(log)}) < int(os.environ.get("WRITER_TOGETHER", "1")):
        assert time.monotonic() < deadline, "the other process never asked"
        time.sleep(0.02)
    time.sleep(float(os.environ.get("WRITER_SECONDS", "0")))
    wrong = os.environ.get("WRITER_REFUSED") and not again
    return f"<PROMPT>{'a cat' if wrong else f'{scene}, line art'}</PROMPT>"
