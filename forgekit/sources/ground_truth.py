"""What benchmarks say their prompts ask for, in the form of `scenes.elements`.

Questions that come with a benchmark are kept under "questions": [{"question", "answer", "kind", "id", "after"}],
where `after` lists the ids of the questions that must hold first (DSG's dependencies).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from forgekit.scene import parse

Record = Mapping[str, Any]
RELATIONS = {
    "on the left of": "left of", "on the right of": "right of", "on the top of": "above", "on top of": "on",
    "on the bottom of": "below",
    "near": "next to", "on side of": "next to", "to the left of": "left of", "to the right of": "right of",
    "under": "below", "over": "above", "beneath": "below", "in": "inside", "beside": "next to",
}  # fmt: skip
DSG_KINDS = {"color", "size", "material", "texture", "shape", "state"}


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


def from_geneval(record: Record) -> dict[str, Any] | None:
    """Take GenEval's "include" (class, count, colour, position relative to an earlier one) and "exclude"."""
    if not isinstance(record.get("include"), list):
        return None
    document = empty()
    for item in record["include"]:
        index = add_object(document, item["class"], int(item.get("count", 1)), color=item.get("color"))
        if item.get("position"):
            where, target = item["position"]
            document["relations"].append(
                {"subject": index, "predicate": RELATIONS.get(where, where), "object": int(target)}
            )
    included = {item["class"] for item in record["include"]}
    document["negations"] = [
        {"name": item["class"], "attributes": [], "span": None}
        for item in record.get("exclude") or []
        if item["class"] not in included  # "exclude three" of an included class is its exact count
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


def from_geneval2(record: Record) -> dict[str, Any] | None:
    """Take GenEval 2's questions; the objects are the parser's, the benchmark names none."""
    if not isinstance(record.get("vqa_list"), list):
        return None
    skills = record.get("skills") or []
    questions = [
        {
            "id": number,
            "question": question,
            "answer": answer,
            "kind": skills[number] if number < len(skills) else None,
            "after": [],
        }
        for number, (question, answer) in enumerate(record["vqa_list"])
    ]
    return {**parse(record["prompt"]), "questions": questions, "source": "annotation"}


def from_tifa(records: Sequence[Record]) -> dict[str, Any] | None:
    """Take TIFA's questions of one caption, with their choices."""
    questions = [
        {
            "id": number, "question": record["question"], "answer": record["answer"],
            "kind": record.get("element_type"), "choices": record.get("choices"), "after": [],
        }
        for number, record in enumerate(records)
        if record.get("question")
    ]  # fmt: skip
    if not questions:
        return None
    return {**parse(records[0]["caption"]), "questions": questions, "source": "annotation"}


def from_dsg(records: Sequence[Record]) -> dict[str, Any]:
    """Take DSG's tuples of one text (entities, attributes, counts, relations) and its questions with dependencies."""
    document = empty()
    entities: dict[str, int] = {}
    questions = []
    for record in records:
        words = [word.strip() for word in _inside(record["tuple"]).split(",")]
        broad, detailed = record["category_broad"], record["category_detailed"]
        if broad == "entity" and words[0]:
            entities[words[0]] = add_object(document, words[0])
        elif broad == "global":
            document["style"] = document["style"] or words[-1]
        elif len(words) > 1 and words[0] in entities:
            _add_to(document, entities, broad, detailed, words)
        questions.append(
            {
                "id": int(record["proposition_id"]), "question": record["question_natural_language"], "answer": "yes",
                "kind": f"{broad}/{detailed}",
                "after": [int(n) for n in re.findall(r"\d+", str(record["dependency"])) if n != "0"],
            }
        )  # fmt: skip
    return {**document, "questions": questions}


def _add_to(document: dict[str, Any], entities: Mapping[str, int], broad: str, detailed: str, words: list[str]) -> None:
    subject = entities[words[0]]
    if broad == "relation":
        target = entities.get(words[1]) if len(words) > 2 else None
        predicate = RELATIONS.get(words[-1], words[-1])
        document["relations"].append({"subject": subject, "predicate": predicate, "object": target})
    elif detailed == "count":
        number = re.search(r"\d+", words[1])
        document["objects"][subject]["count"] = int(number[0]) if number else words[1]
    elif detailed == "text rendering":
        document["rendered_text"].append(words[1].strip("\"'"))
    else:
        kind = detailed if detailed in DSG_KINDS else "other"
        document["objects"][subject]["attributes"].append({"kind": kind, "value": words[1]})


def _inside(text: str) -> str:
    """Return what stands in a tuple's brackets: "entity - whole (bus)" → "bus"."""
    start, end = text.find("("), text.rfind(")")
    return text[start + 1 : end] if 0 <= start < end else text
