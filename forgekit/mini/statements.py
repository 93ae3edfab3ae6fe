"""Statements about mini-world pictures with their exact truth: what the judges learn from and are tested on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from forgekit.mini.captions import RARE, RELATION_WORDS, SYNONYMS
from forgekit.mini.world import BACKGROUNDS, COLORS, OPPOSITE, RELATIONS, SHAPES, STYLES, WorldScene

RARE_WEIGHT = 15.0  # a judge meets rare words as often as common ones
COUNTS = {1: "one", 2: "two", 3: "three", 4: "four"}
UNSEEN_SHAPES = ("diamond", "oval", "rectangle", "hexagon", "pentagon", "crescent", "arrow", "spiral", "moon", "cat")
UNSEEN_COLORS = ("brown", "cyan", "teal", "turquoise", "beige", "aquamarine")
UNSEEN_STYLES = ("photograph", "oil painting", "pencil sketch", "pixel art", "cartoon", "3d render", "anime")
STYLE_PHRASES = {
    "flat": ("flat", "a flat image", "flat design", "a flat design", "a flat illustration", "a flat style image"),
    "line art": ("line art", "a line drawing", "an outline drawing", "a line art drawing", "line art style", "outline"),
    "watercolor": (
        *("watercolor", "a watercolor", "a watercolor painting", "watercolor style"),
        *("watercolour", "a watercolour", "a watercolour painting"),
    ),
}
OPENINGS = ("an image of {}", "a picture of {}", "a photo of {}", "there is {}")


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
        along, across = {"left": (-dx, dy), "right": (dx, dy), "above": (-dy, dx), "below": (dy, dx)}[statement.value]
        pair = first[:, :, None] & second[:, None, :] & ~np.eye(first.shape[1], dtype=bool)
        with np.errstate(invalid="ignore"):
            clear = pair & (along > 10) & (along > 1.3 * np.abs(across))
            doubtful = pair & (along > 0) & (along > 0.7 * np.abs(across))
        true = clear.any((1, 2))
        return np.where(true, 1.0, np.where(doubtful.any((1, 2)), np.nan, 0.0))


def true_statement(scene: WorldScene, rng: random.Random) -> Statement:
    """Draw something that is true of `scene`: each kind of element in turn, as far as the scene has it."""
    makers: list[Callable[[], Statement]] = [_MAKERS[kind](scene, rng) for kind in _WEIGHTS if kind != "relation"]
    weights = [_WEIGHTS[kind] for kind in _WEIGHTS if kind != "relation"]
    if scene.relation:
        makers.append(_MAKERS["relation"](scene, rng))
        weights.append(_WEIGHTS["relation"])
    return rng.choices(makers, weights)[0]()


_WEIGHTS = {
    "object": 2,
    "color": 4,
    "size": 1.5,
    "count": 2,
    "relation": 6,
    "background": 1,
    "style": 1,
    "negation": 1.5,
}


def _look_of(scene: WorldScene, rng: random.Random, *, color: bool = True) -> Look:
    thing = rng.choice(scene.objects)
    return Look(thing.shape, thing.color if color else None)


def _make_object(scene: WorldScene, rng: random.Random) -> Callable[[], Statement]:
    return lambda: Statement("object", _look_of(scene, rng, color=False))


def _make_color(scene: WorldScene, rng: random.Random) -> Callable[[], Statement]:
    return lambda: Statement("color", _look_of(scene, rng))


def _make_size(scene: WorldScene, rng: random.Random) -> Callable[[], Statement]:
    def make() -> Statement:
        thing = rng.choice(scene.objects)
        if not thing.size:
            return Statement("color", _look_of(scene, rng))
        return Statement("size", Look(thing.shape, rng.choice((thing.color, None)), thing.size))

    return make


def _make_count(scene: WorldScene, rng: random.Random) -> Callable[[], Statement]:
    def make() -> Statement:
        look = _look_of(scene, rng, color=rng.random() < 0.6)
        n = sum(o.shape == look.shape and look.color in (None, o.color) for o in scene.objects)
        return Statement("count", look, n)

    return make


def _make_relation(scene: WorldScene, rng: random.Random) -> Callable[[], Statement]:
    def make() -> Statement:
        (a, b), relation = scene.objects[:2], scene.relation
        if rng.random() < 0.5:
            a, b, relation = b, a, OPPOSITE[relation]
        plain = a.shape != b.shape and rng.random() < 0.3
        sized = rng.random() < 0.4
        first, second = (
            Look(o.shape, None if plain else o.color, o.size if sized and o.size else None) for o in (a, b)
        )
        return Statement("relation", first, relation, second)

    return make


def _make_background(scene: WorldScene, rng: random.Random) -> Callable[[], Statement]:
    return lambda: Statement("background", value=scene.background)


def _make_style(scene: WorldScene, rng: random.Random) -> Callable[[], Statement]:
    return lambda: Statement("style", value=scene.style)


def _make_negation(scene: WorldScene, rng: random.Random) -> Callable[[], Statement]:
    def make() -> Statement:
        absent = [s for s in SHAPES if all(o.shape != s for o in scene.objects)]
        if rng.random() < 0.6:
            return Statement("negation", Look(rng.choice(absent)))
        looks = {(o.shape, o.color) for o in scene.objects}
        shape, color = rng.choice([(s, c) for s in SHAPES for c in COLORS if (s, c) not in looks])
        return Statement("negation", Look(shape, color))

    return make


_MAKERS = {
    "object": _make_object,
    "color": _make_color,
    "size": _make_size,
    "count": _make_count,
    "relation": _make_relation,
    "background": _make_background,
    "style": _make_style,
    "negation": _make_negation,
}


def contrasts(statement: Statement, scene: WorldScene, rng: random.Random, n: int = 3) -> list[Statement]:
    """Return up to `n` statements with exactly one thing of a true `statement` changed, all false of `scene`."""
    options = _changes(statement, scene, rng)
    rng.shuffle(options)
    facts = Facts([scene])
    return [s for s in options if facts.truth(s)[0] == 0.0][:n]


def _changes(statement: Statement, scene: WorldScene, rng: random.Random) -> list[Statement]:
    look, value = statement.look, statement.value
    unseen = rng.random() < 0.15
    colors = UNSEEN_COLORS if unseen else tuple(COLORS)
    shapes = UNSEEN_SHAPES if unseen else SHAPES
    recolored = [replace(statement, look=replace(look, color=c)) for c in colors]
    reshaped = [replace(statement, look=replace(look, shape=s)) for s in shapes]
    if statement.kind == "object":
        return [*reshaped, replace(statement, kind="negation"), Statement("empty")]
    if statement.kind == "color":
        others = [o for o in scene.objects if o.color != look.color]
        stolen = [
            replace(statement, look=replace(look, color=o.color)) for o in others
        ] * 4  # swapped colours are hardest
        return recolored + reshaped[:3] + stolen
    if statement.kind == "size":
        return [replace(statement, look=replace(look, size=s)) for s in ("small", "large")]
    if statement.kind == "count":
        return [replace(statement, value=n) for n in COUNTS] * 2 + recolored[:2] * (look.color is not None)
    if statement.kind == "relation":
        swapped = replace(statement, look=statement.other, other=look)
        turned = [replace(statement, value=r) for r in RELATIONS]
        return [*turned, swapped, rng.choice(reshaped), rng.choice(recolored)]
    if statement.kind == "negation":
        present = [Look(o.shape, rng.choice((None, o.color))) for o in scene.objects]
        return [replace(statement, look=p) for p in present] + [replace(statement, kind="object")]
    values = {"background": (*BACKGROUNDS, *colors), "style": UNSEEN_STYLES if unseen else STYLES}[statement.kind]
    return [replace(statement, value=v) for v in values if v != value]


def phrase(statement: Statement, rng: random.Random) -> str:
    """Say `statement` as a short caption, in any of the world's words."""
    value = statement.value
    if statement.kind == "empty":
        return "an empty background"
    if statement.kind == "background":
        text = with_article(f"{choose_word(value, rng)} background")
        return rng.choice((text, text, f"on {text}"))
    if statement.kind == "style":
        words = STYLE_PHRASES.get(value) or (value, with_article(value), f"{value} style")
        return rng.choice(words)
    if statement.kind == "count":
        text = noun(statement.look, rng, count=value)
    elif statement.kind == "relation":
        words = rng.choice(RELATION_WORDS[value])
        text = f"{noun(statement.look, rng)} {rng.choice(('', '', 'is '))}{words} {noun(statement.other, rng)}"
    elif statement.kind == "negation":
        several = noun(statement.look, rng, count=2).split(" ", 1)[1]
        forms = ("no {}", "no {}", "without {}", "a picture without {}", "without any {}")
        return rng.choice((rng.choice(forms).format(several), f"without {noun(statement.look, rng)}"))
    else:
        text = noun(statement.look, rng)
        if statement.kind != "object" and rng.random() < 0.15:
            return noun(statement.look, rng, count=2).split(" ", 1)[1]  # "red circles", as for one of several
    return rng.choice(OPENINGS).format(text) if rng.random() < 0.1 else text


def noun(look: Look, rng: random.Random, count: int | None = None) -> str:
    """Return "a small red circle" or, with a count, "two small red circles"."""
    shape = choose_word(look.shape, rng)
    if count not in (None, 1):
        shape += "es" if shape.endswith(("x", "s")) else "s"
    words = [choose_word(look.size, rng), choose_word(look.color, rng), shape]
    text = " ".join(w for w in words if w)
    return with_article(text) if count is None else f"{COUNTS[count]} {text}"


def choose_word(concept: str | None, rng: random.Random) -> str:
    """Return one of the words for `concept`, "" for None; rare words are as likely as common ones."""
    if concept is None:
        return ""
    words = dict(SYNONYMS.get(concept, {concept: 100})) | dict.fromkeys(RARE.get(concept, ()), RARE_WEIGHT)
    return rng.choices(list(words), list(words.values()))[0]


def with_article(words: str) -> str:
    """Put "a" or "an" before `words`."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
