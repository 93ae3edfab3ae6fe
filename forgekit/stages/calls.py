"""Asking models: whatever a model does, the answer is a result or a reason for each item, and a row in `api_logs`."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from forgekit.errors import ForgekitError, ItemError, UnknownModelError
from forgekit.ids import content_id, storable
from forgekit.models import LanguageModel
from forgekit.scene.language.reader import generate
from forgekit.store import Store
from forgekit.store.rows import insert_rows

TRACEBACK_END = 10_000  # characters of a traceback that are kept, from its end
Result = TypeVar("Result")

# An answer that a killed worker left behind: since then the prompt has not moved. An attempt that came to an end, also
# to a bad one, moves it, and what was answered in that attempt is not used again.
LEFT_BEHIND = """
select l.id, l.response ->> '$.text' as text
from api_logs l
join prompts p on p.id = l.prompt_id
where l.prompt_id = $prompt_id::uuid
  and l.stage = $stage
  and l.endpoint = $endpoint
  and l.request ->> '$.text' = $request
  and l.ok
  and l.learning_id is null
  and l.response is not null
  and l.created_at >= p.last_updated
  and l.id not in (select unnest($used::uuid[]))
order by l.created_at, l.id
limit 1
"""


class Item(Protocol):
    """What a model is asked about."""

    @property
    def prompt_id(self) -> str:
        """The prompt that it is of."""

    @property
    def learning_id(self) -> str | None:
        """The decision of the refiner that brought it about, if any."""


Thing = TypeVar("Thing", bound=Item)


@dataclass(frozen=True)
class CallError(ItemError):
    """Why a whole call gave nothing; `lasting` where asking about fewer items at a time would not help."""

    lasting: bool = False


class WrongAnswerError(ForgekitError):
    """A model did not return one result per item."""


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

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time the call. An exception, also an interruption, is noted on it and goes on to the caller."""
        started = time.perf_counter()
        try:
            yield
        except BaseException as error:
            self.note(error)
            raise
        finally:
            self.duration_ms = (time.perf_counter() - started) * 1000

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
            "request": _document(self.request),
            "response": _document(self.response),
            "duration_ms": self.duration_ms,
            "ok": not self.errors,
            "error_context": _document(context) if self.errors else None,
            "created_at": self.started_at,
        }


@dataclass
class Calls:
    """The calls of one batch of a stage; `rows` are those that are not in `api_logs` yet."""

    stage: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def attempt(self, endpoint: str, request: Any, work: Callable[..., Result], *arguments: Any) -> Result | CallError:
        """Return what `work` returns for `arguments`, or why it could not; only then there is a row, with traceback."""
        return self._run(Call(self.stage, endpoint, request), work, *arguments)

    def ask(
        self,
        endpoint: str,
        items: Sequence[Thing],
        work: Callable[[Sequence[Thing]], Sequence[Any]],
        *,
        check: Callable[[Thing, Any], Result | ItemError],
        request: Callable[[Sequence[Thing]], Any],
        counted: str,
    ) -> list[Result | ItemError]:
        """Return what `work` says about each item, in order, as `check` passes it.

        Where the call fails as a whole (it raises, or does not return one result per item), each prompt's items are
        asked about alone, so that a prompt that no model can bear costs itself only. `counted` is what the results are
        called in the call's log row.
        """
        causes = {item.learning_id for item in items}
        call = Call(self.stage, endpoint, request(items), learning_id=next(iter(causes)) if len(causes) == 1 else None)
        results = self._run(call, lambda: _checked(call, items, work(items), check, counted), log_success=True)
        if not isinstance(results, CallError):
            return results
        places: dict[str, list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault(item.prompt_id, []).append(place)
        if len(places) == 1 or results.lasting:
            return [results] * len(items)
        answers: dict[int, Result | ItemError] = {}
        for own in places.values():
            some = [items[place] for place in own]
            parts = self.ask(endpoint, some, work, check=check, request=request, counted=counted)
            answers |= zip(own, parts, strict=True)
        return [answers[place] for place in range(len(items))]

    def _run(self, call: Call, work: Callable[..., Result], *arguments: Any, log_success: bool = False) -> Any:
        try:
            with call.running():
                return work(*arguments)
        except Exception as error:  # this model's failure, or this item's: the others go on
            return CallError(reason_of(error), lasting=isinstance(error, UnknownModelError))
        finally:
            if log_success or call.errors:
                self.rows.append(call.row())


@contextmanager
def recorded_calls(store: Store, stage: str) -> Iterator[Calls]:
    """Collect a batch's calls. Rows that the block has not stored itself, because it broke off, are stored at its end."""
    calls = Calls(stage)
    try:
        yield calls
    finally:
        if calls.rows:
            with store.transaction() as con:
                insert_rows(con, "api_logs", calls.rows)


@dataclass
class Conversation:
    """One attempt at one prompt, in which a language model may be asked: its answer is on record before it is used.

    `call` is the attempt itself, `asked` are the `api_logs` ids of the answers it has had, in order, and `rows` are those
    that are not in `api_logs` yet.
    """

    store: Store
    call: Call
    asked: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    raised: Exception | None = None

    def attempt(self, work: Callable[..., Result | ItemError], *arguments: Any) -> Result | ItemError:
        """Return what `work` returns for `arguments`, or why it could not.

        It has a row of its own where it asked no language model, and where it met with an unexpected error; there is
        none where the model itself raised, because that call has one.
        """
        try:
            with self.call.running():
                result = work(*arguments)
        except Exception as error:  # here one prompt's unexpected error becomes its failure, and the others go on
            told = isinstance(error, ForgekitError) or error is self.raised
            self.rows += [] if told else [self.call.row()]
            return ItemError(reason_of(error))
        self.rows += [] if self.asked or isinstance(result, ItemError) else [self.call.row()]
        return result

    def ask(self, model: LanguageModel, request: str, schema: Mapping[str, Any] | None = None) -> str | ItemError:
        """Return the model's answer, after its row was committed; an exception of the model is recorded and goes on.

        A model that can is told the JSON Schema of the answer.
        """
        call = Call(self.call.stage, model.name, request, self.call.prompt_id)
        same = {"stage": call.stage, "endpoint": call.endpoint, "request": request, "prompt_id": call.prompt_id}
        if left := self.store.rows(LEFT_BEHIND, used=self.asked, **same):
            self.asked.append(left[0]["id"])
            return left[0]["text"]
        try:
            with call.running():
                answer = _storable(generate(model, request, schema))
        except Exception as error:
            self.raised = error
            self._keep(call)
            raise
        if isinstance(answer, ItemError):
            call.errors.append(answer.reason)
        else:
            call.response = answer
        self._keep(call)
        return answer

    def _keep(self, call: Call) -> None:
        row = call.row()
        self.asked.append(row["id"])
        with self.store.transaction() as con:
            insert_rows(con, "api_logs", [row])


def reason_of(error: BaseException) -> str:
    """Return an error as a reason: forgekit's own say all themselves, others need their type."""
    text = storable(str(error))
    return text if isinstance(error, ForgekitError) else f"{type(error).__name__}: {text}".removesuffix(": ")


def _document(value: Any) -> Any:
    """Return `value` as something a JSON column takes: a dict or list, or {"text": …} for plain text."""
    return storable({"text": value} if isinstance(value, str) else value)


def _checked(
    call: Call, items: Sequence[Thing], results: Any, check: Callable[[Thing, Any], Result | ItemError], counted: str
) -> list[Result | ItemError]:
    if not isinstance(results, list | tuple) or len(results) != len(items):
        given = f"{len(results)} results" if isinstance(results, list | tuple) else f"a {type(results).__name__}"
        raise WrongAnswerError(
            f"{call.endpoint} returned {given} for {len(items)} items; it must return a list, one for each"
        )
    checked: list[Result | ItemError] = []
    for item, result in zip(items, results, strict=True):
        if isinstance(result, ItemError):
            checked.append(ItemError(storable(str(result.reason))))
            continue
        try:
            checked.append(check(item, result))
        except Exception as error:  # this item's failure
            call.note(error)
            checked.append(ItemError(reason_of(error)))
    call.errors += sorted({result.reason for result in checked if isinstance(result, ItemError)} - set(call.errors))
    call.response = {counted: sum(not isinstance(result, ItemError) for result in checked)}
    return checked


def _storable(answer: str | ItemError) -> str | ItemError:
    """Return an answer without what the store cannot hold (half a character)."""
    return storable(answer) if isinstance(answer, str) else ItemError(storable(answer.reason))
