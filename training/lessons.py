"""What judges learn from: pictures that differ in one thing, true and false statements about them, and their wording."""

from __future__ import annotations

import random
from dataclasses import replace

from forgekit.mini.captions import (
    JUDGE,
    NUMBERS,
    RARE,
    RELATION_WORDS,
    SYNONYMS,
    Grammar,
    caption,
    plural,
    with_article,
)
from forgekit.mini.changes import CHANGES, changed
from forgekit.mini.statements import Facts, Look, Statement
from forgekit.mini.world import BACKGROUNDS, COLORS, OPPOSITE, RELATIONS, SHAPES, STYLES, WorldScene, sample_scene

COMPLETE = Grammar(rare=15.0, omissions=0.0, unknown=0.0)  # says all but a white background and the flat style
# Changes whose complete caption is false of the picture before the change; the others may leave the change unsaid.
TELLING = frozenset({"object", "color", "count", "relation", "size", "swapped", "extra"})
COUNTS = {1: "one", **NUMBERS}
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


def sample_pairs(n: int, rng: random.Random, *, most: int = 3) -> tuple[list[WorldScene], list[str]]:
    """Return `n` scenes each followed by itself with one thing changed, 2n in all, and the `n` kinds of change.

    Scenes have at most `most` objects before the change.
    """
    scenes: list[WorldScene] = []
    kinds: list[str] = []
    while len(kinds) < n:
        scene, kind = sample_scene(rng), rng.choice(CHANGES)
        if len(scene.objects) > most:
            continue
        other = changed(scene, kind, rng)
        if other is not None:
            scenes += [scene, other]
            kinds.append(kind)
    return scenes, kinds


def pair_caption(before: WorldScene, after: WorldScene, kind: str, rng: random.Random) -> tuple[str, float, float]:
    """Return a caption of one of two pictures and its truth of both: 1, 0, or nan where it may leave the change unsaid.

    `kind` says what was changed between them.
    """
    unsaid = kind == "extra" and after.relation  # such a caption names the two related objects only
    if kind in TELLING and not unsaid and rng.random() < 0.5:
        return caption(after, rng, COMPLETE), 0.0, 1.0
    return caption(before, rng, JUDGE), 1.0, float("nan")


def true_statement(scene: WorldScene, rng: random.Random) -> Statement:
    """Draw something that is true of `scene`: each kind of element by its weight, as far as the scene has it."""
    weights, makers = zip(*(_TRUE if scene.relation else _TRUE[:-1]), strict=True)
    return rng.choices(makers, weights)[0](scene, rng)


def _object(scene: WorldScene, rng: random.Random) -> Statement:
    return Statement("object", Look(rng.choice(scene.objects).shape))


def _color(scene: WorldScene, rng: random.Random) -> Statement:
    thing = rng.choice(scene.objects)
    return Statement("color", Look(thing.shape, thing.color))


def _size(scene: WorldScene, rng: random.Random) -> Statement:
    thing = rng.choice(scene.objects)
    if not thing.size:
        return _color(scene, rng)
    return Statement("size", Look(thing.shape, rng.choice((thing.color, None)), thing.size))


def _count(scene: WorldScene, rng: random.Random) -> Statement:
    colored, thing = rng.random() < 0.6, rng.choice(scene.objects)
    look = Look(thing.shape, thing.color if colored else None)
    return Statement("count", look, count_of(look, scene))


def _background(scene: WorldScene, rng: random.Random) -> Statement:
    return Statement("background", value=scene.background)


def _style(scene: WorldScene, rng: random.Random) -> Statement:
    return Statement("style", value=scene.style)


def _negation(scene: WorldScene, rng: random.Random) -> Statement:
    absent = [s for s in SHAPES if all(o.shape != s for o in scene.objects)]
    if rng.random() < 0.6:
        return Statement("negation", Look(rng.choice(absent)))
    looks = {(o.shape, o.color) for o in scene.objects}
    return Statement("negation", Look(*rng.choice([(s, c) for s in SHAPES for c in COLORS if (s, c) not in looks])))


def _relation(scene: WorldScene, rng: random.Random) -> Statement:
    (a, b), relation = scene.objects[:2], scene.relation
    if rng.random() < 0.5:
        a, b, relation = b, a, OPPOSITE[relation]
    plain = a.shape != b.shape and rng.random() < 0.3
    sized = rng.random() < 0.4
    first, second = (Look(o.shape, None if plain else o.color, o.size if sized and o.size else None) for o in (a, b))
    return Statement("relation", first, relation, second)


# How often each is drawn. The last is for scenes that have a relation.
_TRUE = (
    *((2, _object), (4, _color), (1.5, _size), (2, _count), (1, _background), (1, _style), (1.5, _negation)),
    (6, _relation),
)


def count_of(look: Look, scene: WorldScene) -> int:
    """Return how many objects have this shape, and this colour where `look` has one."""
    return sum(o.shape == look.shape and look.color in (None, o.color) for o in scene.objects)


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
        others = [o.color for o in scene.objects if o.color != look.color]
        stolen = [replace(statement, look=replace(look, color=color)) for color in others]
        return recolored + reshaped[:3] + stolen * 4  # swapped colours are hardest
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
        things = several(statement.look, rng)
        forms = ("no {}", "no {}", "without {}", "a picture without {}", "without any {}")
        return rng.choice((rng.choice(forms).format(things), f"without {noun(statement.look, rng)}"))
    else:
        text = noun(statement.look, rng)
        if statement.kind != "object" and rng.random() < 0.15:
            return several(statement.look, rng)  # as for one of several
    return rng.choice(OPENINGS).format(text) if rng.random() < 0.1 else text


def noun(look: Look, rng: random.Random, count: int | None = None) -> str:
    """Return "a small red circle" or, with a count, "two small red circles"."""
    shape = choose_word(look.shape, rng)
    if count not in (None, 1):
        shape = plural(shape)
    words = [choose_word(look.size, rng), choose_word(look.color, rng), shape]
    text = " ".join(w for w in words if w)
    return with_article(text) if count is None else f"{COUNTS[count]} {text}"


def several(look: Look, rng: random.Random) -> str:
    """Return "small red circles"."""
    return noun(look, rng, count=2).split(" ", 1)[1]


def choose_word(concept: str | None, rng: random.Random) -> str:
    """Return one of the words for `concept`, "" for None; rare words are as likely as common ones."""
    if concept is None:
        return ""
    words = dict(SYNONYMS.get(concept, {concept: 100})) | dict.fromkeys(RARE.get(concept, ()), COMPLETE.rare)
    return rng.choices(list(words), list(words.values()))[0]
