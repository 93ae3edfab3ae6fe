"""Semantic error graphs: a correct picture of the mini world, then the same with one, two and three errors."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from forgekit.errors import ParameterError
from forgekit.mini.captions import CANONICAL, caption, plural
from forgekit.mini.changes import changed
from forgekit.mini.render import images
from forgekit.mini.statements import Facts, Look, Statement
from forgekit.mini.world import PREDICATES, WorldScene, placed_again, sample_scene
from forgekit.scene import Element, Scene, list_elements, parse

if TYPE_CHECKING:
    from PIL.Image import Image

ERRORS = ("dropped", "swapped", "count", "relation", "style", "extra")  # as `changes.changed` calls them
STEPS = 3  # errors at the end of a graph
# A number of like objects cannot be had together with two different ones.
COUNTED = ("count", "style", "extra")
MIXED = ("dropped", "swapped", "relation", "style", "extra")
_SIDES = {predicate: side for side, predicate in PREDICATES.items()}
_TRIES = 400


@dataclass(frozen=True)
class ErrorGraph:
    """One scene text and pictures of it that grow worse. `worlds[d][n]` is drawing `d` with `n` errors.

    Within a drawing, each picture is the one before it with `errors[n]` added and nothing else changed; the drawings
    show the same things at other places. `truths[n]` says for each element key whether the pictures with `n` errors
    show it; every error makes at least one more element false.
    """

    scene: Scene
    errors: tuple[str, ...]
    worlds: tuple[tuple[WorldScene, ...], ...]
    truths: tuple[dict[str, bool], ...]


def error_graphs(n: int, *, drawings: int = 3, seed: int = 0) -> list[ErrorGraph]:
    """Return `n` error graphs; kinds of error come up equally often as far as they go together.

    Texts are plain captions that name everything. An extra object is an error only where the text excludes it, so
    texts of graphs with that error end in "no stars".

    Raises:
        ParameterError: `n` or `drawings` is below 1.
    """
    if n < 1 or drawings < 1:
        raise ParameterError(f"n={n}, drawings={drawings}: both must be at least 1")
    rng = random.Random(seed)
    return [_graph(ERRORS[i % len(ERRORS)], drawings, rng) for i in range(n)]


def draw(graph: ErrorGraph, *, seed: int = 0) -> list[list[Image]]:
    """Return the pictures of `graph.worlds`, 64 × 64 pixels. `seed` draws watercolor's wobble and grain."""
    drawn = images([world for drawing in graph.worlds for world in drawing], seed)
    steps = len(graph.errors) + 1
    return [drawn[i : i + steps] for i in range(0, len(drawn), steps)]


def element_truths(scene: Scene, shown: Sequence[WorldScene]) -> list[dict[str, bool | None]]:
    """Return for each picture and each element of `scene`, worded in the world's plain words, whether it is shown.

    For a negation: whether the thing is absent. None where that is in doubt (a nearly diagonal relation).
    """
    facts = Facts(shown)
    columns = {e.key: facts.truth(_statement(e, scene)).tolist() for e in list_elements(scene.elements)}
    return [{key: None if c[i] != c[i] else bool(c[i]) for key, c in columns.items()} for i in range(len(shown))]


def _statement(element: Element, scene: Scene) -> Statement:
    objects = scene.elements["objects"]
    looks = [_look(objects[i]) for i in element.objects]
    if element.kind == "negation":
        return Statement("negation", _look(scene.elements["negations"][int(element.key.split(":")[1])]))
    if element.kind in ("background", "style"):
        return Statement(element.kind, value=element.term)
    if element.kind == "relation":
        return Statement("relation", looks[0], _SIDES[element.term], looks[1])
    (look,) = looks
    if element.kind == "count":
        shared = sum(o["name"] == look.shape for o in objects) > 1
        return Statement("count", look if shared else Look(look.shape), objects[element.objects[0]]["count"])
    if element.kind == "object":
        return Statement("object", Look(look.shape))
    return Statement(element.kind, Look(look.shape, **{element.kind: element.term}))


def _look(item: dict) -> Look:
    return Look(item["name"], **{a["kind"]: a["value"] for a in item["attributes"]})


def _graph(first: str, drawings: int, rng: random.Random) -> ErrorGraph:
    """Sample until there is a graph with the error `first` in one of its steps."""
    while True:
        others = [kind for kind in (COUNTED if first == "count" else MIXED) if kind != first]
        chosen = [first, *rng.sample(others, STEPS - 1)]
        errors, seed = tuple(rng.sample(chosen, STEPS)), rng.getrandbits(32)
        worlds = _walk(sample_scene(rng), errors, seed)
        scene = _scene(worlds, errors) if worlds else None
        if worlds is None or scene is None:
            continue
        truths = _worsening(element_truths(scene, worlds))
        if truths is None:
            continue
        found = [worlds]
        for _ in range(_TRIES):
            if len(found) == drawings:
                return ErrorGraph(scene, errors, tuple(found), tuple(truths))
            again = _walk(placed_again(worlds[0], rng), errors, seed)
            if again and _contents(again) == _contents(worlds) and element_truths(scene, again) == truths:
                found.append(again)


def _walk(root: WorldScene, errors: Sequence[str], seed: int) -> tuple[WorldScene, ...] | None:
    """Return `root` and what it becomes with each error; None where it has nothing of the kind to change.

    The same seed makes the same choices wherever the objects lie: which one is dropped, which colour is added.
    """
    worlds = [root]
    for n, error in enumerate(errors):
        after = changed(worlds[-1], error, random.Random(seed + n))
        if after is None:
            return None
        worlds.append(after)
    return tuple(worlds)


def _scene(worlds: Sequence[WorldScene], errors: Sequence[str]) -> Scene | None:
    """Return the text of the first picture; None where it cannot make one of the errors false."""
    if "style" in errors and worlds[0].style == "flat":
        return None  # plain captions leave that style unsaid
    text = caption(worlds[0], random.Random(0), CANONICAL)
    if "extra" in errors:
        n = errors.index("extra")
        added = worlds[n + 1].objects[-1].shape
        if any(o.shape == added for o in worlds[0].objects):
            return None
        text += f", no {plural(added)}"
    return Scene(text, parse(text))


def _worsening(truths: Sequence[dict[str, bool | None]]) -> list[dict[str, bool]] | None:
    """Return `truths` if all is true of the first picture and more is false of each next one, none in doubt; else None."""
    certain = [{key: truth for key, truth in shown.items() if truth is not None} for shown in truths]
    false = [sum(not truth for truth in shown.values()) for shown in certain]
    worsening = false[0] == 0 and all(a < b for a, b in pairwise(false))
    return certain if certain == truths and worsening else None


def _contents(worlds: Sequence[WorldScene]) -> list[tuple]:
    return [(sorted(o.look for o in w.objects), w.background, w.style, w.relation) for w in worlds]
