"""The judges of a batch: who steers, under which key each judges, and which of them cannot judge at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from forgekit.errors import ItemError, ParameterError
from forgekit.models import VisionModel
from forgekit.stages.calls import recorded_calls
from forgekit.stages.verdicts import HELDOUT, OBJECTIVE
from forgekit.store import Store
from forgekit.store.pass_marks import keep_pass_mark

NO_KEY = ""  # under which a judge whose key cannot be told fails


@dataclass(frozen=True)
class Seat:
    """A judge with its role, key and pass mark. With an `error` it cannot judge, and each of its verdicts is that."""

    judge: VisionModel
    role: str
    key: str
    pass_mark: float
    error: str | None = None

    @property
    def identity(self) -> dict[str, str]:
        """What tells its verdicts from those of others."""
        return {"vision_model": self.judge.name, "judge_key": self.key}


def refuse_unfit(judges: Sequence[VisionModel]) -> None:
    """Refuse judges that cannot sit together.

    Raises:
        ParameterError: none, two of one name, or one whose `adhering_at` is no number in [0, 1].
    """
    names = [judge.name for judge in judges]
    if not judges or len(set(names)) < len(names):
        raise ParameterError(f"vision_models={names}: give at least one, each name once")
    for judge in judges:
        mark = judge.adhering_at
        if isinstance(mark, bool) or not isinstance(mark, Real) or not 0 <= mark <= 1:
            raise ParameterError(f"adhering_at={mark!r} of {judge.name}: give a number from 0 to 1")


def take_seats(store: Store, judges: Sequence[VisionModel], unable: dict[str, str]) -> list[Seat]:
    """Return the judges as they are now, the first one steering; those that are `unable` (name → why) with their error.

    The pass mark of each is stored.
    """
    seats = []
    with recorded_calls(store, "evaluate") as calls:
        for place, judge in enumerate(judges):
            key = calls.attempt(judge.name, {"read": "judge_key"}, _key, judge)
            error = key.reason if isinstance(key, ItemError) else unable.get(judge.name)
            role = HELDOUT if place else OBJECTIVE
            seats.append(Seat(judge, role, NO_KEY if isinstance(key, ItemError) else key, judge.adhering_at, error))
    with store.transaction() as con:
        return [replace(seat, pass_mark=_kept_mark(con, seat)) if seat.key else seat for seat in seats]


def _kept_mark(con: Any, seat: Seat) -> float:
    return keep_pass_mark(con, seat.judge.name, seat.key, adhering_at=seat.judge.adhering_at)


def _key(judge: VisionModel) -> str:
    key = judge.judge_key
    if not isinstance(key, str) or not key:
        raise ParameterError(f"judge_key={key!r} of {judge.name}: give a text that hashes its weights and settings")
    return key
