"""Asking models: whatever a model does, the answer is a result or a reason for each item, and a row in `api_logs`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from forgekit.errors import ForgekitError, ItemError, UnknownModelError
from forgekit.stages.recording import Call, recorded_call, storable
from forgekit.store import Store
from forgekit.store.rows import insert_rows

Result = TypeVar("Result")


class Item(Protocol):
    """What a model is asked about: of which prompt, and which decision of the refiner brought it about, if any."""

    prompt_id: str
    learning_id: str | None


@dataclass(frozen=True)
class CallError(ItemError):
    """Why a whole call gave nothing; `lasting` where asking about fewer items at a time would not help."""

    lasting: bool = False


class WrongAnswerError(ForgekitError):
    """A model did not return one result per item."""


@dataclass
class Calls:
    """The calls of one batch of a stage; `rows` are those that are not in `api_logs` yet."""

    stage: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def make(
        self,
        endpoint: str,
        request: Any,
        work: Callable[[Call], Result],
        *,
        learning_id: str | None = None,
        log_success: bool = True,
    ) -> Result | CallError:
        """Return what `work` returns, or why it could not; its traceback is in the row of the call."""
        try:
            with recorded_call(self.stage, endpoint, request, learning_id=learning_id) as call:
                return work(call)
        except Exception as error:  # this model's failure, or this item's: the others go on
            return CallError(reason_of(error), lasting=isinstance(error, UnknownModelError))
        finally:
            if log_success or call.errors:
                self.rows.append(call.row())

    def ask(
        self,
        endpoint: str,
        items: Sequence[Item],
        work: Callable[[Sequence[Item]], Sequence[Any]],
        *,
        check: Callable[[Item, Any], Result | ItemError],
        request: Callable[[Sequence[Item]], Any],
        counted: str,
    ) -> list[Result | ItemError]:
        """Return what `work` says about each item, in order, as `check` passes it.

        Where the call fails as a whole (it raises, or does not return one result per item), each prompt's items are
        asked about alone, so that a prompt that no model can bear costs itself only. `counted` is what the results are
        called in the call's log row.
        """
        causes = {item.learning_id for item in items}
        results = self.make(
            endpoint,
            request(items),
            lambda call: _checked(call, items, work(items), check, counted),
            learning_id=next(iter(causes)) if len(causes) == 1 else None,
        )
        if not isinstance(results, CallError):
            return results
        places: dict[str, list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault(item.prompt_id, []).append(place)
        answers: list[Result | ItemError] = [results] * len(items)
        if len(places) > 1 and not results.lasting:
            for own in places.values():
                parts = self.ask(endpoint, [items[i] for i in own], work, check=check, request=request, counted=counted)
                for place, part in zip(own, parts, strict=True):
                    answers[place] = part
        return answers


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


def reason_of(error: BaseException) -> str:
    """Return an error as a reason: forgekit's own say all themselves, others need their type."""
    text = storable(str(error))
    return text if isinstance(error, ForgekitError) else f"{type(error).__name__}: {text}".removesuffix(": ")


def _checked(
    call: Call, items: Sequence[Item], results: Any, check: Callable[[Item, Any], Result | ItemError], counted: str
) -> list[Result | ItemError]:
    if not isinstance(results, list | tuple) or len(results) != len(items):
        given = f"{len(results)} results" if isinstance(results, list | tuple) else f"a {type(results).__name__}"
        raise WrongAnswerError(
            f"{call.endpoint} returned {given} for {len(items)} items; it must return a list, one for each"
        )
    checked = []
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
