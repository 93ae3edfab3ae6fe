"""What benchmarks say their prompts ask for, in the form of `scenes.elements`: objects, counts, colours, positions.

Benchmarks that ask questions of their own are read by `questions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forgekit.scene import default_lexicon, parse
from forgekit.scene.vocabulary import entry_of

Record = Mapping[str, Any]
RELATIONS = {
    "on the left of": "left of", "on the right of": "right of", "on the top of": "above", "on top of": "on",
    "on the bottom of": "below",
    "near": "next to", "on side of": "next to", "to the left of": "left of", "to the right of": "right of",
    "under": "below", "over": "above", "beneath": "below", "in": "inside", "beside": "next to",
}  # fmt: skip


def empty() -> dict[str, Any]:
    """Return a document that asks for nothing yet."""
    return {
        "objects": [], "relations": [], "background": None, "style": None, "rendered_text": [], "negations": [],
        "source": "annotation",
    }  # fmt: skip


def add_object(document: dict[str, Any], name: str, count: int | str = 1, **attributes: str | None) -> int:
    """Append an object without a place in the text and return its index."""
    kept = [{"kind": kind, "value": value} for kind, value in attributes.items() if value]
    document["objects"].append({"name": name, "count": count, "attributes": kept, "span": None})
    return len(document["objects"]) - 1


def singular(name: str) -> str:
    """Return a name in the singular: "soccer balls" → "soccer ball", "cups of tea" → "cup of tea", "scissors" as it is."""
    things = parse(name)["objects"] if " " in name and name.islower() else []  # "wine glasses" is no pair of glasses
    if len(things) == 1 and not things[0]["attributes"] and len(things[0]["name"].split()) == len(name.split()):
        return things[0]["name"]
    head, of, rest = name.partition(" of ")
    *before, last = head.split() or [""]
    if last.isalpha() and last.islower():  # no name: "Paris", "El Castillos"
        last = entry_of(last, default_lexicon()).noun or last
    return " ".join([*before, last]) + of + rest


def from_geneval(record: Record) -> dict[str, Any] | None:
    """Take GenEval's "include" (class, count, colour, position relative to an earlier one) and "exclude"."""
    if not isinstance(record.get("include"), list):
        return None
    document = empty()
    for item in record["include"]:
        index = add_object(document, singular(item["class"]), int(item.get("count", 1)), color=item.get("color"))
        if item.get("position"):
            where, target = item["position"]
            predicate = RELATIONS.get(where, where)
            document["relations"].append({"subject": index, "predicate": predicate, "object": int(target)})
    included = {item["class"] for item in record["include"]}
    document["negations"] = [
        {"name": singular(item["class"]), "attributes": [], "span": None}
        for item in record.get("exclude") or []
        if item["class"] not in included and item.get("count", 1) == 1  # else it is an exact count, or some are allowed
    ]
    return document


def from_t2i_r1(record: Record) -> dict[str, Any] | None:
    """Take T2I-R1's nouns with their attributes, numbers and place; the attributes' kinds are the parser's."""
    if not isinstance(record.get("nouns"), list):
        return None
    document = empty()
    counts = {item["obj_name"]: item["num"] for item in record.get("numeracy_info") or []}
    phrases = [parse(phrase)["objects"] for phrase in record.get("attr_nouns") or []]
    attributes = {objects[-1]["name"]: objects[-1]["attributes"] for objects in phrases if objects}
    for noun in record["nouns"]:
        add_object(document, noun, counts.get(noun, 1))
        document["objects"][-1]["attributes"] = attributes.get(noun, [])
    place, nouns = record.get("spatial_info"), list(record["nouns"])
    if place and place["obj1"] in nouns and place["obj2"] in nouns:
        first = nouns.index(place["obj1"])
        second = len(nouns) - 1 - nouns[::-1].index(place["obj2"])
        predicate = RELATIONS.get(place["locality"], place["locality"])
        document["relations"].append({"subject": first, "predicate": predicate, "object": second})
    return document
