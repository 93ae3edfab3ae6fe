"""Mini-world scenes with exactly one thing changed: hard negatives for judges, errors for testing them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from forgekit.mini.world import (
    ATTEMPTS,
    BACKGROUNDS,
    CANVAS,
    COLORS,
    OPPOSITE,
    RADII,
    RADIUS_SCALE,
    SHAPES,
    STYLES,
    WorldObject,
    WorldScene,
    apart,
)


def changed(scene: WorldScene, kind: str, rng: random.Random) -> WorldScene | None:
    """Return `scene` with exactly one thing changed, or None where the scene has no such thing to change.

    Kinds (`CHANGES`): another shape ("object"), color, count, relation (reversed by mirroring), style, background,
    size, one object "dropped", an "extra" one that looks like no other, and the colors of two objects "swapped".

    Raises:
        KeyError: `kind` is none of `CHANGES`.
    """
    return _CHANGERS[kind](scene, rng)


def _change_object(scene: WorldScene, rng: random.Random) -> WorldScene | None:
    return _change_group(scene, rng, lambda o: [replace(o, shape=shape) for shape in SHAPES])


def _change_color(scene: WorldScene, rng: random.Random) -> WorldScene | None:
    colors = [color for color in COLORS if color != scene.background]
    return _change_group(scene, rng, lambda o: [replace(o, color=color) for color in colors])


def _change_group(
    scene: WorldScene, rng: random.Random, variants: Callable[[WorldObject], list[WorldObject]]
) -> WorldScene | None:
    """Make one group of like objects one of its `variants`, never making it look like another group."""
    chosen = rng.choice(scene.groups)[0]
    others = {(o.shape, o.color) for o in scene.objects if o.look != chosen.look}
    options = [o for o in variants(chosen) if o != chosen and (o.shape, o.color) not in others]
    new = rng.choice(options)
    objects = (replace(o, shape=new.shape, color=new.color) if o.look == chosen.look else o for o in scene.objects)
    return replace(scene, objects=tuple(objects))


def _change_count(scene: WorldScene, rng: random.Random) -> WorldScene | None:
    if len(scene.groups) > 1:
        return None
    if len(scene.objects) == 1 or (len(scene.objects) == 2 and rng.random() < 0.5):
        return _with_object(scene, scene.objects[0], rng)
    gone = rng.randrange(len(scene.objects))
    return replace(scene, objects=scene.objects[:gone] + scene.objects[gone + 1 :])


def _change_relation(scene: WorldScene, rng: random.Random) -> WorldScene | None:
    if scene.relation is None:
        return None
    if scene.relation in ("left", "right"):
        objects = tuple(replace(o, cx=CANVAS - o.cx) for o in scene.objects)
    else:
        objects = tuple(replace(o, cy=CANVAS - o.cy) for o in scene.objects)
    return replace(scene, objects=objects, relation=OPPOSITE[scene.relation])


def _change_style(scene: WorldScene, rng: random.Random) -> WorldScene | None:
    return replace(scene, style=rng.choice([s for s in STYLES if s != scene.style]))


def _change_background(scene: WorldScene, rng: random.Random) -> WorldScene | None:
    taken = {scene.background, *(o.color for o in scene.objects)}
    options = [b for b in BACKGROUNDS if b not in taken]
    return replace(scene, background=rng.choice(options)) if options else None


def _change_size(scene: WorldScene, rng: random.Random) -> WorldScene | None:
    if len(scene.objects) > 2 or scene.kind == "count":
        return None  # sizes are not told apart there
    i = rng.randrange(len(scene.objects))
    old = scene.objects[i]
    sizes = [s for s in ("small", "large") if s != old.size]
    for size in rng.sample(sizes, len(sizes)):
        r = sum(RADII[size]) / 2 * RADIUS_SCALE[len(scene.objects)]
        new = replace(old, size=size, r=r)
        others = scene.objects[:i] + scene.objects[i + 1 :]
        inside = all(r + 1 <= c <= CANVAS - r - 1 for c in (new.cx, new.cy))
        if inside and all(apart(new, o) for o in others):
            return replace(scene, objects=(*scene.objects[:i], new, *scene.objects[i + 1 :]))
    return None


def _drop(scene: WorldScene, rng: random.Random) -> WorldScene | None:
    if len(scene.groups) < 2:
        return None
    gone = rng.randrange(len(scene.objects))
    return replace(scene, objects=scene.objects[:gone] + scene.objects[gone + 1 :], relation=None)


def _add(scene: WorldScene, rng: random.Random) -> WorldScene | None:
    taken = {(o.shape, o.color) for o in scene.objects}
    looks = [(s, c) for s in SHAPES for c in COLORS if c != scene.background and (s, c) not in taken]
    shape, color = rng.choice(looks)
    return _with_object(scene, WorldObject(shape, color, r=min(o.r for o in scene.objects)), rng)


def _with_object(scene: WorldScene, new: WorldObject, rng: random.Random) -> WorldScene | None:
    """Add an object where there is room for it, or for a smaller one; None where there is not."""
    for attempt in range(ATTEMPTS):
        r = new.r * (1 if attempt < ATTEMPTS // 2 else 0.75)
        cx, cy = (rng.uniform(r + 3, CANVAS - r - 3) for _ in "xy")
        put = replace(new, cx=cx, cy=cy, r=r)
        if all(apart(put, o) for o in scene.objects):
            return replace(scene, objects=(*scene.objects, put))
    return None


def _swap_colors(scene: WorldScene, rng: random.Random) -> WorldScene | None:
    if len(scene.objects) != 2 or scene.objects[0].shape == scene.objects[1].shape:
        return None
    a, b = scene.objects
    if a.color == b.color:
        return None
    return replace(scene, objects=(replace(a, color=b.color), replace(b, color=a.color)))


_CHANGERS = {
    "object": _change_object,
    "color": _change_color,
    "count": _change_count,
    "relation": _change_relation,
    "style": _change_style,
    "background": _change_background,
    "size": _change_size,
    "dropped": _drop,
    "extra": _add,
    "swapped": _swap_colors,
}
CHANGES = tuple(_CHANGERS)
