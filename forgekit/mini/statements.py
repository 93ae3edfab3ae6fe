"""Statements about mini-world pictures, and which of them are true of which pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from forgekit.mini.world import WorldScene


@dataclass(frozen=True)
class Look:
    """What a noun phrase says of an object; None says nothing. A word outside the world is true of no object."""

    shape: str | None = None
    color: str | None = None
    size: str | None = None


@dataclass(frozen=True)
class Statement:
    """A claim about a picture. `kind` is that of the scene element it stands for.

    object, color, size: there is something of this `look`; count: exactly `value` of them; relation: such a thing lies
    `value` (left, right, above, below) of an `other`; background, style: it is `value`; negation: nothing of this
    `look`; empty: there is nothing at all.
    """

    kind: str
    look: Look = Look()
    value: str | int | None = None
    other: Look = Look()


class Facts:
    """What is true of a batch of pictures, as arrays of one row per picture and one column per object."""

    def __init__(self, scenes: Sequence[WorldScene]) -> None:
        """Read off all objects, centres, backgrounds and styles."""
        self.scenes = scenes
        most = max((len(s.objects) for s in scenes), default=0)
        table = [[s.objects[i] if i < len(s.objects) else None for i in range(most)] for s in scenes]
        self._looks = {
            field: np.array([[getattr(o, field, None) for o in row] for row in table], dtype=object)
            for field in ("shape", "color", "size")
        }
        self._x = np.array([[o.cx if o else np.nan for o in row] for row in table])
        self._y = np.array([[o.cy if o else np.nan for o in row] for row in table])
        self._there = np.array([[o is not None for o in row] for row in table])
        self._sized = np.array([len(s.objects) < 3 and s.kind != "count" for s in scenes])
        self._background = np.array([s.background for s in scenes], dtype=object)
        self._style = np.array([s.style for s in scenes], dtype=object)

    def truth(self, statement: Statement) -> np.ndarray:
        """Return for each picture 1.0 (true), 0.0 (false) or nan (in doubt: nearly diagonal, or sizes unclear)."""
        if statement.kind == "empty":
            return (~self._there.any(1)).astype(float)
        if statement.kind == "background":
            return (self._background == statement.value).astype(float)
        if statement.kind == "style":
            return (self._style == statement.value).astype(float)
        if statement.kind == "relation":
            return self._relation(statement)
        found = self._matches(statement.look).sum(1)
        wanted = {"count": found == statement.value, "negation": found == 0}
        true = wanted.get(statement.kind, found > 0)
        if statement.look.size is None:
            return true.astype(float)
        shapes_there = self._matches(replace(statement.look, size=None)).any(1)
        return np.where(self._sized | ~shapes_there, true.astype(float), np.nan)

    def _matches(self, look: Look) -> np.ndarray:
        match = self._there
        for field, have in self._looks.items():
            want = getattr(look, field)
            if want is not None:
                match = match & (have == want)
        return match

    def _relation(self, statement: Statement) -> np.ndarray:
        first, second = self._matches(statement.look), self._matches(statement.other)
        dx = self._x[:, :, None] - self._x[:, None, :]
        dy = self._y[:, :, None] - self._y[:, None, :]
        sides: dict[str | int | None, tuple[np.ndarray, np.ndarray]] = {
            "left": (-dx, dy),
            "right": (dx, dy),
            "above": (-dy, dx),
            "below": (dy, dx),
        }
        along, across = sides[statement.value]
        pair = first[:, :, None] & second[:, None, :] & ~np.eye(first.shape[1], dtype=bool)
        with np.errstate(invalid="ignore"):
            clear = pair & (along > 10) & (along > 1.3 * np.abs(across))
            doubtful = pair & (along > 0) & (along > 0.7 * np.abs(across))
        true = clear.any((1, 2))
        return np.where(true, 1.0, np.where(doubtful.any((1, 2)), np.nan, 0.0))
