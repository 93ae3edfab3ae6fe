"""Asking models: whatever a model does, the answer is a result or a reason for each item, and a row in `api_logs`.

Where a model is behind a server each of its requests is a row, too, stored as it ends: `request.call` is the id of the call that
it is a part of, `response` has its tokens, cost and retries.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from forgekit.errors import ForgekitError, ItemError, UnknownModelError, without_secrets
from forgekit.ids import content_id, storable
from forgekit.models.served_calls import Exchange, listening
from forgekit.store import Store
from forgekit.store.rows import insert_rows

TRACEBACK_END = 10_000  # characters of a traceback that are kept, from its end
ONE_EACH = "it must return a list, one for each"
Result = TypeVar("Result")


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
    prompts: Sequence[str] = ()  # of the items, in order
    exchanges: list[Exchange] = field(default_factory=list)  # the requests to a server that it took

    @property
    def id(self) -> str:
        """The id of its row."""
        return content_id("api_log", call=[self.stage, self.endpoint, self.request, self.started_at])

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
            "id": self.id,
            "learning_id": self.learning_id,
            "prompt_id": self.prompt_id,
            "stage": self.stage,
            "endpoint": without_secrets(self.endpoint),
            "request": _document(self.request),
            "response": _document(self.response),
            "duration_ms": self.duration_ms,
            "ok": not self.errors,
            "error_context": _document(context) if self.errors else None,
            "created_at": self.started_at,
        }

    def parts(self, exchanges: Sequence[Exchange]) -> list[dict[str, Any]]:
        """Return the `api_logs` rows of requests that the call took, and note them on it."""
        rows = []
        for exchange in exchanges:
            told = {**exchange.asked, "call": self.id, "number": len(self.exchanges), "item": exchange.place}
            prompt_id = self.prompts[exchange.place] if exchange.place < len(self.prompts) else self.prompt_id
            part = Call(self.stage, self.endpoint, told, prompt_id, response=dict(exchange.answered) or None)
            part.errors += [exchange.error] if exchange.error else []
            part.started_at, part.duration_ms = exchange.started_at, exchange.duration_ms
            rows.append(part.row())
            self.exchanges.append(exchange)
        return rows


@dataclass
class Calls:
    """The calls of one batch of a stage; `rows` are those that are not in `api_logs` yet."""

    stage: str
    store: Store
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
        keep: Callable[[Sequence[tuple[Thing, Any]]], Any],
    ) -> list[Result | ItemError]:
        """Return what `work` says about each item, in order, as `check` passes it.

        Where `work` hands results back as they come (lists of place and result), those that pass are given to `keep` at once.

        Where the call fails as a whole (it raises, or does not return one result per item), each prompt's items are
        asked about alone, so that a prompt that no model can bear costs itself only. `counted` is what the results are
        called in the call's log row.
        """
        causes = {item.learning_id for item in items}
        call = Call(self.stage, endpoint, request(items), learning_id=next(iter(causes)) if len(causes) == 1 else None)
        call.prompts = [item.prompt_id for item in items]
        answers: dict[int, Result | ItemError] = {}

        def take() -> None:
            results = work(items)
            for group in _groups(call, items, results):
                new = {place: _passed(call, items[place], result, check) for place, result in group}
                answers.update(new)
                if isinstance(results, Iterator):
                    _kept(keep, [(items[place], each) for place, each in new.items()])
            _note(call, answers.values(), counted)

        failed = self._run(call, take, log_success=True)
        if failed is None:
            return [answers[place] for place in range(len(items))]
        places: dict[str, list[int]] = {}
        for place, item in enumerate(items):
            if place not in answers:
                places.setdefault(item.prompt_id, []).append(place)
        if len(places) == 1 or failed.lasting:
            return [answers.get(place, failed) for place in range(len(items))]
        for own in places.values():
            some = [items[place] for place in own]
            parts = self.ask(endpoint, some, work, check=check, request=request, counted=counted, keep=keep)
            answers |= zip(own, parts, strict=True)
        return [answers[place] for place in range(len(items))]

    def _run(self, call: Call, work: Callable[..., Result], *arguments: Any, log_success: bool = False) -> Any:
        try:
            with call.running(), listening(lambda exchanges: self._store(call.parts(exchanges))):
                return work(*arguments)
        except Exception as error:  # this model's failure, or this item's: the others go on
            return CallError(reason_of(error), lasting=isinstance(error, UnknownModelError))
        finally:
            if log_success or call.errors:
                self.rows.append(call.row())

    def _store(self, rows: Sequence[dict[str, Any]]) -> None:
        """Store the rows of requests as they come; where that cannot be, they wait for the end of the batch."""
        try:
            with self.store.transaction() as con:
                insert_rows(con, "api_logs", rows)
        except Exception:  # no failure of the model, which is not to be asked again for it: the end of the batch tells
            self.rows += rows


@contextmanager
def recorded_calls(store: Store, stage: str) -> Iterator[Calls]:
    """Collect a batch's calls. Rows that the block has not stored itself, because it broke off, are stored at its end."""
    calls = Calls(stage, store)
    try:
        yield calls
    finally:
        if calls.rows:
            with store.transaction() as con:
                insert_rows(con, "api_logs", calls.rows)


def reason_of(error: BaseException) -> str:
    """Return an error as a reason: forgekit's own say all themselves, others need their type."""
    text = without_secrets(storable(str(error)))
    return text if isinstance(error, ForgekitError) else f"{type(error).__name__}: {text}".removesuffix(": ")


def _document(value: Any) -> Any:
    """Return `value` as something a JSON column takes: a dict or list, or {"text": …} for plain text, which is a model's own."""
    return storable({"text": value}) if isinstance(value, str) else _redacted(storable(value))


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    return without_secrets(value) if isinstance(value, str) else value


def _groups(call: Call, items: Sequence[Thing], results: Any) -> Iterator[Sequence[tuple[int, Any]]]:
    """Yield lists of (place, result) as they come, or all at once; in the end there is one for each item."""
    come: set[int] = set()
    if isinstance(results, list | tuple):
        come = set(range(len(results)))
        groups: Iterable[Any] = [list(enumerate(results))] if len(results) == len(items) else []
    elif isinstance(results, Iterator):
        groups = results
    else:
        raise WrongAnswerError(f"{call.endpoint} returned a {type(results).__name__}; {ONE_EACH}")
    for group in groups:
        come |= {place for place, _ in group}
        yield group
    if come != set(range(len(items))):
        raise WrongAnswerError(f"{call.endpoint} returned {len(come)} results for {len(items)} items; {ONE_EACH}")


def _kept(keep: Callable[[Sequence[Any]], Any], come: Sequence[tuple[Any, Any]]) -> None:
    good = [(item, result) for item, result in come if not isinstance(result, ItemError)]
    with suppress(Exception):  # no failure of the model: it shows when all is stored at the end of the batch
        if good:
            keep(good)


def _passed(
    call: Call, item: Thing, result: Any, check: Callable[[Thing, Any], Result | ItemError]
) -> Result | ItemError:
    if isinstance(result, ItemError):
        return ItemError(without_secrets(storable(str(result.reason))))
    try:
        return check(item, result)
    except Exception as error:  # this item's failure
        call.note(error)
        return ItemError(reason_of(error))


def _note(call: Call, answers: Iterable[Any], counted: str) -> None:
    answers = list(answers)
    call.errors += sorted({answer.reason for answer in answers if isinstance(answer, ItemError)} - set(call.errors))
    call.response = {counted: sum(not isinstance(answer, ItemError) for answer in answers)}
