"""Judges what a detector proposed on one image, by GenEval's rules for objects, counts, colours and positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from forgekit.models.detecting import Proposals
from forgekit.models.sought import DIRECTIONS, Check, Sought, counted

LIMIT = 0.5  # share of a direction along one axis from which an object lies that way
SAME_PLACE = 0.5  # intersection over union from which two phrases compete for one place
SOFTNESS = 0.1  # of the share; how quickly the chance of a direction falls around LIMIT
COMPBENCH_OVERLAP = 0.1  # T2I-CompBench lets things with a position overlap so much


@dataclass(frozen=True)
class Rules:
    """Thresholds and limits; see `DetectorJudge` for what each means."""

    threshold: float
    count_threshold: float
    most: int
    overlap: float
    position: str
    shrink: float
    unwanted_at: float


@dataclass(frozen=True)
class Seen:
    """A box that may be what a phrase says, the chance that it is, and the phrase that fits better there, if any."""

    box: np.ndarray
    chance: float
    rival: str | None


class Sighting:
    """Reads the elements of one scene off the proposals on one image; `scores` and `reasons` fill check by check."""

    def __init__(self, sought: Sought, proposals: Proposals, rules: Rules) -> None:
        """Take proposals whose columns are `sought.phrases`."""
        self.sought, self.proposals, self.rules = sought, proposals, rules
        self.column = {phrase: i for i, phrase in enumerate(sought.phrases)}
        shared = overlaps(proposals.boxes, proposals.boxes)
        np.fill_diagonal(shared, 1.0)  # a box without area overlaps nothing, not even itself
        self.same, self.rivalling = shared > rules.overlap, shared > SAME_PLACE
        odds = np.clip(proposals.scores, 1e-6, 1 - 1e-6)
        self.odds = odds / (1 - odds)
        self.scores: dict[str, float | None] = {}
        self.reasons: dict[str, str] = {}
        self._unwanted: list[str] = []
        self._known: dict[tuple[str, float], list[Seen]] = {}

    def judge(self, check: Check) -> None:
        """Score one check and, where its rule does not hold, say why."""
        judges: Mapping[str, Callable[[Check], tuple[float, str | None]]] = {
            "there": self._there,
            "exactly": self._exactly,
            "absent": self._absent,
            "relation": self._relation,
        }
        score, found = judges[check.rule](check)
        self.scores[check.element.key] = score
        if found is not None:
            self.reasons[check.element.key] = f"expected {check.expected}, found {found}"

    def refuse(self, check: Check, reason: str) -> None:
        """Leave a check without a score."""
        self.scores[check.element.key] = None
        self.reasons[check.element.key] = reason

    def unwanted(self) -> list[str]:
        """Return what is there and should not be: negated and surplus things, and objects that nobody asked for."""
        surplus = [p for p in self.sought.extras if self._chance(self.seen(p), 1) >= self.rules.unwanted_at]
        return list(dict.fromkeys([*self._unwanted, *surplus]))

    def description(self) -> str:
        """Return all that was found as "two red circles, a blue square"."""
        parts = []
        for full, plain in (*self.sought.objects, *((p, p) for p in self.sought.extras)):
            phrase = full if self._number(self.seen(full)) else plain
            if number := self._number(self.seen(phrase)):
                parts.append(phrase if number == 1 else counted(phrase, number))
        return ", ".join(dict.fromkeys(parts))

    def seen(self, phrase: str, threshold: float | None = None) -> list[Seen]:
        """Return the boxes of different things that `phrase` may be true of, the likeliest first, at most `most`."""
        threshold = self.rules.threshold if threshold is None else threshold
        if (phrase, threshold) not in self._known:
            rivals = [r for r in self.sought.rivals.get(phrase, ()) if r in self.column]
            columns = [self.column[r] for r in rivals]
            found = []
            for row in self._apart(self.odds[:, self.column[phrase]]):
                there = self.odds[self.rivalling[row]][:, columns].max(0) if columns else np.zeros(0)
                best = int(there.argmax()) if columns else None
                rival = there[best] if columns else 0.0
                own, nothing = self.odds[row, self.column[phrase]], threshold / (1 - threshold)
                wins = columns and rival > max(own, nothing)
                found.append(
                    Seen(
                        self.proposals.boxes[row],
                        float(own / (own + nothing + rival)),
                        rivals[best] if wins else None,
                    )
                )
            self._known[phrase, threshold] = sorted(found, key=lambda seen: -seen.chance)
        return self._known[phrase, threshold]

    def _apart(self, odds: np.ndarray) -> list[int]:
        """Return the rows of the best boxes of which no two are the same thing."""
        left, rows = np.ones(len(odds), dtype=bool), []
        for row in np.argsort(-odds, kind="stable"):
            if left[row]:
                rows.append(int(row))
                left &= ~self.same[row]
            if len(rows) == self.rules.most:
                break
        return rows

    def _chance(self, seen: list[Seen], n: int) -> float:
        """Return the chance of the `n`-th best box; 0 where there are fewer."""
        return seen[n - 1].chance if len(seen) >= n else 0.0

    def _number(self, seen: list[Seen]) -> int:
        return sum(each.chance >= LIMIT for each in seen)

    def _there(self, check: Check) -> tuple[float, str | None]:
        seen = self.seen(check.phrase)
        score, number = self._chance(seen, check.count), self._number(seen)
        if score >= LIMIT:
            return score, None
        rival = next((s.rival for s in seen if s.rival and s.chance < LIMIT), None)
        if rival and rival not in self.sought.extras and check.element.kind != "object":
            self._unwanted.append(f"{rival} instead of {check.phrase}")
        if check.count > 1 or not rival:
            return score, (str(number) if number else "none")
        return score, rival

    def _exactly(self, check: Check) -> tuple[float, str | None]:
        seen = self.seen(check.phrase, self.rules.count_threshold)
        score = self._chance(seen, check.count) * (1 - self._chance(seen, check.count + 1))
        number = self._number(seen)
        if number > check.count:
            self._unwanted.append(f"{counted(check.phrase, number)} instead of {check.expected}")
        return score, None if number == check.count else str(number)

    def _absent(self, check: Check) -> tuple[float, str | None]:
        seen = self.seen(check.phrase)
        chance, number = self._chance(seen, 1), self._number(seen)
        if chance >= self.rules.unwanted_at:
            self._unwanted.append(check.phrase)
        return 1 - chance, str(number) if number else None

    def _relation(self, check: Check) -> tuple[float, str | None]:
        ones, others = self.seen(check.phrase)[: check.count], self.seen(check.other)[: check.other_count]
        there = self._chance(ones, check.count), self._chance(others, check.other_count)
        direction, rule = DIRECTIONS[check.predicate], POSITION_RULES[self.rules.position]
        places = [rule(a.box, b.box, direction, self.rules.shrink) for a in ones for b in others]
        score = there[0] * there[1] * min(places, default=0.0)
        missing = [phrase for phrase, chance in zip((check.phrase, check.other), there, strict=True) if chance < LIMIT]
        if missing:
            return score, f"no {' and no '.join(phrase.split(' ', 1)[-1] for phrase in missing)}"
        if min(places) >= LIMIT:
            return score, None
        shares = {name: rule(ones[0].box, others[0].box, way, self.rules.shrink) for name, way in DIRECTIONS.items()}
        best = max(shares, key=shares.__getitem__)
        return score, f"it {best}" if shares[best] >= LIMIT else "them in no clear direction"


def overlaps(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes (n, 4) and (m, 4): (n, m)."""
    low = np.maximum(ones[:, None, :2], others[None, :, :2])
    high = np.minimum(ones[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1) for boxes in (ones, others)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None, :] - shared, 1e-9)


def geneval_position(one: np.ndarray, other: np.ndarray, direction: tuple[int, int], shrink: float) -> float:
    """Return the chance that `one` lies in `direction` of `other`, as GenEval's relative_position measures it.

    The offset of the centres, less `shrink` of the two sizes along each axis, as a unit vector: more than half of it
    must point the wanted way. No offset is left where things lie over each other.
    """
    offset = (one[:2] + one[2:] - other[:2] - other[2:]) / 2
    sizes = (one[2:] - one[:2]) + (other[2:] - other[:2])
    offset = np.sign(offset) * np.clip(np.abs(offset) - shrink * sizes, 0, None)
    length = float(np.hypot(*offset))
    return _soft(float(offset @ np.array(direction)) / length if length else 0.0)


def compbench_position(one: np.ndarray, other: np.ndarray, direction: tuple[int, int], shrink: float) -> float:
    """Return the same as T2I-CompBench measures it: the wanted way on the longer axis, and hardly overlapping."""
    del shrink
    offset = (one[:2] + one[2:] - other[:2] - other[2:]) / 2
    length = float(np.abs(offset).sum())
    along = float(offset @ np.array(direction)) / length if length else 0.0
    overlap = float(overlaps(one[None], other[None])[0, 0])
    return _soft(along) * min(1.0, COMPBENCH_OVERLAP / max(overlap, 1e-9))


def _soft(share: float) -> float:
    return 1 / (1 + math.exp((LIMIT - share) / SOFTNESS))


POSITION_RULES: Mapping[str, Callable[[np.ndarray, np.ndarray, tuple[int, int], float], float]] = {
    "geneval": geneval_position,
    "t2i-compbench": compbench_position,
}
