"""Models for pools of workers: light to start, they note who worked at what, and do what a word of the prompt says."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conftest import FakeGenerator

from forgekit.errors import ItemError, UnknownModelError
from forgekit.models import Drawing, DrawRequest
from forgekit.models.running import in_batches


@dataclass
class Moody(FakeGenerator):
    """Draws one request after the other. It notes them in the working folder, which it shares with who asks."""

    name: str = "pool_models:Moody"
    batch_size: int = 2
    device: str = "cpu"
    dtype: str = "float32"

    def draw(self, requests: Sequence[DrawRequest]) -> list[Drawing | ItemError]:
        return in_batches(requests, self.batch_size, self._draw, self)

    def _draw(self, requests: Sequence[DrawRequest]) -> list[Drawing | ItemError]:
        with Path("notes").open("a") as file:
            file.writelines(f"{os.getpid()} {request.prompt}\n" for request in requests)
        for request in requests:
            if "deadly" in request.prompt:
                os._exit(1)
            if "large" in request.prompt:
                raise MemoryError("not enough for this one")
            if "slow" in request.prompt:
                time.sleep(0.3)
        return super().draw(requests)


class Rude(Moody):
    """Raises what is no fault of an item."""

    def draw(self, requests: Sequence[DrawRequest]) -> list[Drawing | ItemError]:
        raise ZeroDivisionError("nobody thought of that")


class Varied(Moody):
    """Says of itself something else in each process."""

    def describe(self) -> dict[str, int]:
        return {"process": os.getpid()}


class Echo:
    """A language model that says again what it is told."""

    name = "pool_models:Echo"

    def generate(self, requests: Sequence[str]) -> list[str | ItemError]:
        return [f"{request}!" for request in requests]

    def generate_json(self, requests: Sequence[str], schema: object) -> list[str | ItemError]:
        return ["{}" for _ in requests]


def absent() -> Moody:
    """Has no weights where the workers are."""
    if Path("driver").exists() and Path("driver").read_text() != str(os.getpid()):
        raise UnknownModelError("no weights here. Put them there")
    return Moody()
