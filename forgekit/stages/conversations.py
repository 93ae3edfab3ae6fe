"""Conversations with a language model about one prompt: each answer is on record before it is used, many wait side by side."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from forgekit.errors import ForgekitError, ItemError, without_secrets
from forgekit.ids import storable
from forgekit.models import LanguageModel
from forgekit.models.served_calls import Exchange, listening
from forgekit.scene.language.reader import generate
from forgekit.stages.calls import Call, reason_of
from forgekit.store import Store
from forgekit.store.rows import insert_rows

WAVES = 4  # prompts in hand for each request in flight
Item = TypeVar("Item")
Result = TypeVar("Result")

# An answer that a killed worker left behind: since then the prompt has not moved. An attempt that came to an end, also
# to a bad one, moves it, and what was answered in that attempt is not used again.
LEFT_BEHIND = """
select l.id, l.prompt_id, l.stage, l.endpoint, l.request ->> '$.text' as request, l.response ->> '$.text' as text
from api_logs l
join prompts p on p.id = l.prompt_id
where l.prompt_id in (select unnest($ids::uuid[]))
  and l.ok
  and l.learning_id is null
  and l.response is not null
  and l.created_at >= p.last_updated
order by l.created_at, l.id
"""


@dataclass
class Turns:
    """Who works, of several conversations: one at a time, while the others wait for their answers. `rows` are not stored yet."""

    store: Store
    at_once: int = 1  # conversations
    rows: deque[dict[str, Any]] = field(default_factory=deque)  # filled by all, emptied by who has the turn
    left: dict[tuple[str, ...], list[Mapping[str, Any]]] = field(default_factory=dict)  # LEFT_BEHIND by what was asked
    _work: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, store: Store, model: Any) -> Turns:
        """Return the turns of conversations with a model: as many as it takes requests at a time."""
        return cls(store, getattr(model, "in_flight", 1))

    def in_hand(self) -> int:
        """Return how many prompts to take in hand at a time: one, or enough for a slow answer to hold up few."""
        return WAVES * self.at_once if self.at_once > 1 else 1

    def each(
        self, work: Callable[[Item], Result], items: Sequence[Item], prompt_ids: Sequence[str]
    ) -> Iterator[Result]:
        """Yield `work(item)` of each item, in order. While the caller works on one, it has the turn.

        `prompt_ids` are those of all of them: answers that were left behind about these are used.
        """
        self.left = {}
        for row in self.store.rows(LEFT_BEHIND, ids=prompt_ids):
            asked = row["stage"], row["endpoint"], row["prompt_id"], row["request"]
            self.left.setdefault(asked, []).append(row)

        def in_turn(item: Item) -> Result:
            with self._work:
                return work(item)

        with ThreadPoolExecutor(self.at_once) as pool:
            waiting = [pool.submit(in_turn, item) for item in items] if self.at_once > 1 else []
            try:
                for place, item in enumerate(items):
                    result = waiting[place].result() if waiting else in_turn(item)
                    with self._work:
                        yield result
            finally:
                pool.shutdown(cancel_futures=True)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let the others work while this conversation waits for its answer. What it notes in `rows` is stored after that.

        The rows of all whose answers came meanwhile are stored with it, in one transaction.
        """
        self._work.release()
        try:
            yield
        finally:
            self._work.acquire()
            rows = [self.rows.popleft() for _ in range(len(self.rows))]
            try:
                if rows:  # else they are stored with those of somebody before
                    with self.store.transaction() as con:
                        insert_rows(con, "api_logs", rows)
            except BaseException:  # for the next one to try
                self.rows.extend(rows)
                raise


@dataclass
class Conversation:
    """One attempt at one prompt, in which a language model may be asked: its answer is on record before it is used.

    `call` is the attempt itself, `asked` are the `api_logs` ids of the answers it has had, in order, and `rows` are those
    that are not in `api_logs` yet. It is held within `turns.each`.
    """

    turns: Turns
    call: Call
    asked: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    raised: Exception | None = None

    @property
    def store(self) -> Store:
        """Where it is on record."""
        return self.turns.store

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
        for left in self.turns.left.get((call.stage, call.endpoint, str(call.prompt_id), request), ()):
            if left["id"] not in self.asked:
                self.asked.append(left["id"])
                return left["text"]
        self.asked.append(call.id)
        try:
            with self.turns.waiting():
                return _answer(call, model, schema, self.turns)
        except Exception as error:
            self.raised = error
            raise


def _answer(call: Call, model: LanguageModel, schema: Mapping[str, Any] | None, turns: Turns) -> str | ItemError:
    """Ask, and note the call among the rows of `turns` whatever comes of it."""
    said: dict[str, Any] = {}
    try:
        with call.running(), listening(call.exchanges.extend):
            answer = generate(model, call.request, schema)
        if isinstance(answer, ItemError):
            answer = ItemError(without_secrets(storable(answer.reason)))
            call.errors.append(answer.reason)
        else:
            said["text"] = answer = storable(answer)
        return answer
    finally:
        call.response = said | _told(call.exchanges) or None
        turns.rows.append(call.row())


def _told(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """Return what a server says of the requests that one answer took: their tokens and costs in all."""
    if not exchanges:
        return {}
    answered = [exchange.answered for exchange in exchanges]
    usage: Counter[str] = Counter()
    for each in answered:
        usage.update(each.get("usage", {}))
    costs = [each["cost"] for each in answered if "cost" in each]
    return {
        "request_id": answered[-1].get("request_id"),
        "retries": sum(each.get("retries", 0) for each in answered),
        "requests": len(exchanges),
        **({"usage": dict(usage)} if usage else {}),
        **({"cost": sum(costs)} if costs else {}),
    }
