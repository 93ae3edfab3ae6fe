"""The mini world's scenes: what is in them, and how they are sampled."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

CANVAS = 64  # pixels along each side
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring")
COLORS = {
    "red": (220, 40, 40),
    "blue": (50, 80, 220),
    "green": (40, 160, 70),
    "yellow": (245, 215, 50),
    "purple": (140, 60, 170),
    "orange": (245, 140, 35),
    "pink": (245, 140, 185),
    "black": (25, 25, 25),
    "white": (250, 250, 250),
    "gray": (135, 135, 135),
}
BACKGROUNDS = ("white", "black", "gray", "yellow", "pink")
STYLES = ("flat", "line art", "watercolor")
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
RELATIONS = tuple(OPPOSITE)
PREDICATES = {"left": "left of", "right": "right of", "above": "above", "below": "below"}

RADII = {"": (10.0, 12.5), "small": (6.5, 8.0), "large": (15.0, 18.0)}  # pixels, before `RADIUS_SCALE`
RADIUS_SCALE = {1: 1.15, 2: 1.0, 3: 0.8}  # by the number of objects
_GRID = 16  # pixels: two image tokens of the generator
_GRID_RADII = {"": 11.25, "small": 7.25, "large": 15.0}  # two large ones fit side by side
_CLEARANCE = 1.12  # least distance of two centres, in sums of radii
_GRID_CLEARANCE = 1.05
ATTEMPTS = 200  # to find a place for something


@dataclass(frozen=True)
class WorldObject:
    """A coloured shape. `size` is "", "small" or "large"; centre (`cx`, `cy`) and radius `r` are pixels, y down."""

    shape: str
    color: str
    size: str = ""
    cx: float = 0.0
    cy: float = 0.0
    r: float = 0.0

    @property
    def look(self) -> tuple[str, str, str]:
        """What a caption can say about the object; objects that look alike are counted together."""
        return self.shape, self.color, self.size


@dataclass(frozen=True)
class WorldScene:
    """Everything that is true of one picture. `relation` is where the first object lies as seen from the second."""

    objects: tuple[WorldObject, ...]
    background: str = "white"
    style: str = "flat"
    relation: str | None = None

    @property
    def kind(self) -> str:
        """Return "count" where all of several objects look alike, else "mix"."""
        return "count" if len(self.objects) > 1 and len({o.look for o in self.objects}) == 1 else "mix"

    @property
    def groups(self) -> list[tuple[WorldObject, int]]:
        """Objects that look alike and how many there are of them, in order of first appearance."""
        looks = [o.look for o in self.objects]
        firsts = [i for i, look in enumerate(looks) if look not in looks[:i]]
        return [(self.objects[i], looks.count(looks[i])) for i in firsts]


def sample_scene(rng: random.Random, *, grid: bool = False) -> WorldScene:
    """Draw a scene of one to three objects; the same state of `rng` gives the same scene.

    With `grid`, centres lie on multiples of 16 pixels (nine places) and each size has one radius. Shapes then meet the
    generator's 8-pixel image tokens in one way only, and where a caption leaves the place open there are few to choose
    from, so that it learns to draw from far fewer pictures; judges learn from free positions, which contain these.
    """
    while True:
        n = rng.choices((1, 2, 3), (0.3, 0.5, 0.2))[0]
        background = rng.choices(BACKGROUNDS, (0.5, 0.18, 0.14, 0.1, 0.08))[0]
        style = rng.choices(STYLES, (0.66, 0.17, 0.17))[0]
        objects = _sample_objects(rng, n, background)
        alike = n > 1 and objects[0].look == objects[1].look
        relation = rng.choice(RELATIONS) if n == 2 and not alike and rng.random() < 0.7 else None
        placed = _place(objects, relation, rng, grid=grid)
        if placed:
            return WorldScene(placed, background, style, relation)


def _sample_objects(rng: random.Random, n: int, background: str) -> list[WorldObject]:
    if n > 1 and rng.random() < {2: 0.2, 3: 0.4}[n]:
        return [replace(_sample_object(rng, background), size="")] * n
    objects: list[WorldObject] = []
    while len(objects) < n:
        new = _sample_object(rng, background)
        if all((new.shape, new.color) != (o.shape, o.color) for o in objects):
            objects.append(replace(new, size="") if n == 3 else new)
    return objects


def _sample_object(rng: random.Random, background: str) -> WorldObject:
    color = rng.choice([c for c in COLORS if c != background])
    return WorldObject(rng.choice(SHAPES), color, rng.choices(("", "small", "large"), (0.6, 0.2, 0.2))[0])


def _place(
    objects: Sequence[WorldObject], relation: str | None, rng: random.Random, *, grid: bool
) -> tuple[WorldObject, ...] | None:
    for _ in range(ATTEMPTS):
        placed = tuple(_put(o, RADIUS_SCALE[len(objects)], rng, grid=grid) for o in objects)
        clearance = _GRID_CLEARANCE if grid else _CLEARANCE
        free = all(apart(a, b, clearance) for i, a in enumerate(placed) for b in placed[:i])
        if free and (relation is None or _relation_of(*placed) == relation):
            return placed
    return None


def placed_again(scene: WorldScene, rng: random.Random) -> WorldScene:
    """Return `scene` with its objects at other places: looks, sizes and the relation stay."""
    while not (placed := _place(scene.objects, scene.relation, rng, grid=False)):
        pass
    return replace(scene, objects=placed)


def _put(thing: WorldObject, scale: float, rng: random.Random, *, grid: bool) -> WorldObject:
    low, high = RADII[thing.size]
    if grid:
        r = _GRID_RADII[thing.size] * scale
        first, last = math.ceil((r + 1) / _GRID), math.floor((CANVAS - r - 1) / _GRID)
        cx, cy = (float(_GRID * rng.randint(first, last)) for _ in "xy")
    else:
        r = rng.uniform(low, high) * scale
        cx, cy = (rng.uniform(r + 3, CANVAS - r - 3) for _ in "xy")
    return replace(thing, cx=cx, cy=cy, r=r)


def apart(a: WorldObject, b: WorldObject, clearance: float = _CLEARANCE) -> bool:
    """Say whether two objects keep `clearance` sums of their radii between their centres."""
    return math.hypot(a.cx - b.cx, a.cy - b.cy) > (a.r + b.r) * clearance


def _relation_of(a: WorldObject, b: WorldObject) -> str | None:
    """Return where `a` lies as seen from `b`, or None where that is in doubt."""
    dx, dy = a.cx - b.cx, a.cy - b.cy
    if abs(dx) > 10 and abs(dx) > 1.3 * abs(dy):
        return "left" if dx < 0 else "right"
    if abs(dy) > 10 and abs(dy) > 1.3 * abs(dx):
        return "above" if dy < 0 else "below"
    return None
