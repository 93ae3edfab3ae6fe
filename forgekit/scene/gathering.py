"""Things named one by one, gathered: "a cat and another cat" are two cats."""

from __future__ import annotations

from typing import Any

from forgekit.scene.lexicon import Lexicon

Look = tuple[str, frozenset[tuple[str, str]]]


def gathered(scene: dict[str, Any], lexicon: Lexicon) -> dict[str, Any]:
    """Return a parsed scene in which things that are told apart by nothing are one object with their number.

    Things of the same name and attributes stay apart where more than one of them is related to something: "a man in a hat
    and a man in a coat" are not two men in a hat and a coat.
    """
    objects, related = scene["objects"], {end for r in scene["relations"] for end in (r["subject"], r["object"])}
    groups: dict[Look | int, list[int]] = {}
    for index, item in enumerate(objects):
        countable = isinstance(item["count"], int)
        groups.setdefault(_look(item, lexicon) if countable else index, []).append(index)
    merged = [[i for i in group if i in related] for group in groups.values()]
    parts = [
        [group] if len(ends) < 2 else [[i] for i in group] for group, ends in zip(groups.values(), merged, strict=True)
    ]
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


def _sum(objects: list[dict[str, Any]], group: list[int]) -> dict[str, Any]:
    first = objects[group[0]]
    return first if len(group) == 1 else {**first, "count": sum(objects[index]["count"] for index in group)}
