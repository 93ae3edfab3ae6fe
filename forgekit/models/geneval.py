"""Judges what a detector proposed on one image, by GenEval's rules for objects, counts, colours and positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import block_diag
from scipy.special import expit

from forgekit.models.detector_checks import DIRECTIONS, Check, Sought, counted

if TYPE_CHECKING:
    from torch import Tensor

LIMIT = 0.5  # share of a direction along one axis from which an object lies that way
SAME_PLACE = 0.5  # intersection over union from which two phrases compete for one place
CANDIDATES = 48  # boxes kept for each phrase, more than any rule looks at
SOFTNESS = 0.1  # of the share; how quickly the chance of a direction falls around LIMIT


@dataclass(frozen=True)
class Proposals:
    """The boxes on one image. `boxes` (m, 4) are x0, y0, x1, y1 in pixels; `scores` (m, phrases) lie in [0, 1]."""

    boxes: np.ndarray
    scores: np.ndarray

    @classmethod
    def from_centres(cls, boxes: Tensor, scores: Tensor, size: tuple[int, int]) -> Proposals:
        """Return boxes that are given as centre and size, in shares of a picture of `size` pixels."""
        from torchvision.ops import box_convert

        corners = box_convert(boxes.double(), "cxcywh", "xyxy").cpu().numpy() * np.array([*size, *size])
        return cls(corners, scores.double().cpu().numpy())

    @classmethod
    def side_by_side(cls, passes: Sequence[Proposals]) -> Proposals:
        """Join passes over one image; a box of one pass says nothing of the phrases of another."""
        return cls(np.concatenate([each.boxes for each in passes]), block_diag(*(each.scores for each in passes)))

    def best(self) -> Proposals:
        """Keep the boxes that are among the best of some phrase."""
        if len(self.boxes) <= CANDIDATES:
            return self
        rows = np.unique(np.argpartition(-self.scores, CANDIDATES, axis=0)[:CANDIDATES])
        return Proposals(self.boxes[rows], self.scores[rows])


@dataclass(frozen=True)
class Seen:
    """A box that may be what a phrase says, the chance that it is, and the phrase that fits better there, if any."""

    box: np.ndarray
    chance: float
    rival: str | None


class Sighting:
    """Reads the elements of one scene off the proposals on one image; `scores` and `reasons` fill check by check."""

    def __init__(self, sought: Sought, proposals: Proposals, rules: Any) -> None:
        """Take proposals whose columns are `sought.phrases`; `rules` are the settings of a DetectorJudge."""
        import torch
        from torchvision.ops import box_iou

        self.sought, self.rules = sought, rules
        self.column = {phrase: i for i, phrase in enumerate(sought.phrases)}
        self.boxes, boxes = proposals.boxes, torch.from_numpy(proposals.boxes)
        shared = box_iou(boxes, boxes).numpy()
        np.fill_diagonal(shared, 1.0)  # a box without area overlaps nothing, not even itself
        self.rivalling = shared > SAME_PLACE
        odds = np.clip(proposals.scores, 1e-6, 1 - 1e-6)
        self.odds = odds / (1 - odds)
        self.scores: dict[str, float | None] = {}
        self.reasons: dict[str, str] = {}
        self._unwanted: list[str] = []
        self._known: dict[tuple[str, float], list[Seen]] = {}

    def judge(self, check: Check) -> None:
        """Score one check and, where its rule does not hold, say why."""
        judges = {"count": self._exactly, "negation": self._absent, "relation": self._relation}
        score, found = judges.get(check.element.kind, self._there)(check)
        self.scores[check.element.key] = score
        if found is not None:
            self.reasons[check.element.key] = f"expected {check.expected}, found {found}"

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
            odds, others = self.odds[:, self.column[phrase]], self.odds[:, [self.column[r] for r in rivals]]
            nothing = threshold / (1 - threshold)
            found = []
            for row in self._apart(odds):
                there = others[self.rivalling[row]].max(0)
                rival = float(there.max(initial=0.0))
                winner = rivals[there.argmax()] if rival > max(odds[row], nothing) else None
                found.append(Seen(self.boxes[row], float(odds[row] / (odds[row] + nothing + rival)), winner))
            self._known[phrase, threshold] = sorted(found, key=lambda seen: -seen.chance)
        return self._known[phrase, threshold]

    def _apart(self, odds: np.ndarray) -> list[int]:
        """Return the rows of the best boxes of which no two are the same thing."""
        import torch
        from torchvision.ops import nms

        best = nms(torch.from_numpy(self.boxes), torch.from_numpy(odds), self.rules.overlap)
        return best[: self.rules.most].tolist()

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
        direction, shrink = DIRECTIONS[check.predicate], self.rules.shrink
        places = [relative_position(a.box, b.box, direction, shrink) for a in ones for b in others]
        score = there[0] * there[1] * min(places, default=0.0)
        missing = [phrase for phrase, chance in zip((check.phrase, check.other), there, strict=True) if chance < LIMIT]
        if missing:
            return score, f"no {' and no '.join(phrase.split(' ', 1)[-1] for phrase in missing)}"
        if min(places) >= LIMIT:
            return score, None
        first = ones[0].box, others[0].box
        shares = {name: relative_position(*first, way, shrink) for name, way in DIRECTIONS.items()}
        best = max(shares, key=shares.__getitem__)
        return score, f"it {best}" if shares[best] >= LIMIT else "them in no clear direction"


def relative_position(one: np.ndarray, other: np.ndarray, direction: tuple[int, int], shrink: float) -> float:
    """Return the chance that `one` lies in `direction` of `other`, as GenEval's function of that name measures it.

    The offset of the centres, less `shrink` of the two sizes along each axis, as a unit vector: more than half of it
    must point the wanted way. No offset is left where things lie over each other.
    """
    offset = (one[:2] + one[2:] - other[:2] - other[2:]) / 2
    sizes = (one[2:] - one[:2]) + (other[2:] - other[:2])
    offset = np.sign(offset) * np.clip(np.abs(offset) - shrink * sizes, 0, None)
    length = float(np.hypot(*offset))
    share = float(offset @ np.array(direction)) / length if length else 0.0
    return float(expit((share - LIMIT) / SOFTNESS))
