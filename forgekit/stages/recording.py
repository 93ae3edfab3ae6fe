"""One model call: timed, and told as a row of `api_logs`, whatever the model said."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from forgekit.errors import ForgekitError
from forgekit.ids import content_id

TRACEBACK_END = 10_000  # characters of a traceback that are kept, from its end


@dataclass
class Call:
    """One model call while it runs; `row()` is its entry in `api_logs`."""

    stage: str
    endpoint: str
    request: Any
    prompt_id: str | None = None
    learning_id: str | None = None
    response: Any = None
    errors: list[str] = field(default_factory=list)
    traceback: str | None = None  # of an error that nobody raised on purpose
    duration_ms: float | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(tzinfo=None))

    def note(self, error: BaseException) -> None:
        """Write down an error while it is being handled; with its traceback where it is none of forgekit's own."""
        self.errors.append(f"{type(error).__name__}: {error}")
        if not isinstance(error, ForgekitError):
            self.traceback = traceback.format_exc()[-TRACEBACK_END:]

    def row(self) -> dict[str, Any]:
        """Return the `api_logs` row. A call that raised, or of which an item failed, is not `ok`."""
        context = {"errors": self.errors} | ({"traceback": self.traceback} if self.traceback else {})
        return {
            "id": content_id("api_log", call=[self.stage, self.endpoint, self.request, self.started_at]),
            "learning_id": self.learning_id,
            "prompt_id": self.prompt_id,
            "stage": self.stage,
            "endpoint": self.endpoint,
            "request": as_document(self.request),
            "response": as_document(self.response),
            "duration_ms": self.duration_ms,
            "ok": not self.errors,
            "error_context": as_document(context) if self.errors else None,
            "created_at": self.started_at,
        }


@contextmanager
def recorded_call(stage: str, endpoint: str, request: Any, **ids: str | None) -> Iterator[Call]:
    """Time a model call. An exception, also an interruption, is noted on the call and goes on to the caller."""
    call = Call(stage, endpoint, request, **ids)
    started = time.perf_counter()
    try:
        yield call
    except BaseException as error:
        call.note(error)
        raise
    finally:
        call.duration_ms = (time.perf_counter() - started) * 1000


def as_document(value: Any) -> Any:
    """Return `value` as something a JSON column takes: a dict or list, or {"text": …} for plain text."""
    return storable({"text": value} if isinstance(value, str) else value)


def storable(value: Any) -> Any:
    """Return `value` without what JSON cannot hold: nan and inf, and halves of characters, become text that can."""
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
