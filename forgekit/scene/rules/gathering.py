"""Things named one by one, gathered: "a cat and another cat" are two cats."""

from __future__ import annotations

from typing import Any

from forgekit.scene.lexicon import Lexicon

Look = tuple[str, frozenset[tuple[str, str]]]


def gathered(scene: dict[str, Any], lexicon: Lexicon) -> dict[str, Any]:
    """Return a parsed scene in which things that are told apart by nothing are one object with their number.

    Things of the same name and attributes stay apart where they are related to different things: "a man in a hat and a man
    in a coat" are not two men in a hat and a coat.
    """
    objects = scene["objects"]
    groups: dict[Look | int, list[int]] = {}
    for index, item in enumerate(objects):
        countable = isinstance(item["count"], int)
        groups.setdefault(_look(item, lexicon) if countable else index, []).append(index)
    alike = [_related_alike(scene, group) for group in groups.values()]
    parts = [[group] if same else [[i] for i in group] for group, same in zip(groups.values(), alike, strict=True)]
    kept = sorted(group for split in parts for group in split)
    places = {index: place for place, group in enumerate(kept) for index in group}
    return {
        **scene,
        "objects": [_sum(objects, group) for group in kept],
        "relations": [
            {**r, "subject": places[r["subject"]], "object": None if r["object"] is None else places[r["object"]]}
            for r in scene["relations"]
        ],
    }


def _look(item: dict[str, Any], lexicon: Lexicon) -> Look:
    name = lexicon.kinds.word(item["name"], lexicon.naming(item["name"]))
    return name, frozenset((a["kind"], lexicon.kinds.word(a["value"], a["kind"])) for a in item["attributes"])


def _related_alike(scene: dict[str, Any], group: list[int]) -> bool:
    """Say whether those of the objects that are related to anything are related to the same things in the same way."""
    ties: dict[int, set[tuple[Any, ...]]] = {}
    for relation in scene["relations"]:
        subject, item = relation["subject"], relation["object"]
        ties.setdefault(subject, set()).add((relation["predicate"], "to", item))
        ties.setdefault(item, set()).add((relation["predicate"], "from", subject))
    tied = [ties[index] for index in group if index in ties]
    return all(each == tied[0] for each in tied)


def _sum(objects: list[dict[str, Any]], group: list[int]) -> dict[str, Any]:
    first = objects[group[0]]
    return first if len(group) == 1 else {**first, "count": sum(objects[index]["count"] for index in group)}
