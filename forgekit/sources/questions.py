"""Benchmarks that ask questions of their own: DSG-1k, TIFA and GenEval 2, in the form of `scenes.elements`.

Their questions stand under "questions" (`scene.annotation` says how) and are asked as they stand. Objects and relations come
from DSG's tuples, else from the parser; they tell judges that answer no questions what to look for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from forgekit.scene import Element, default_lexicon, list_elements, parse
from forgekit.scene.annotation import YES_NO
from forgekit.scene.lexicon import ATTRIBUTE_KINDS
from forgekit.scene.vocabulary import entry_of
from forgekit.scene.wording import number_word
from forgekit.sources.ground_truth import RELATIONS, Record, add_object, empty, singular

# What they call a kind of question, and what we do. DSG: category_detailed, or category_broad; TIFA: element_type; GenEval 2: skill.
KINDS = {
    "entity": "object", "global": "style", "text rendering": "text",
    "animal": "object", "human": "object", "animal/human": "object", "food": "object", "counting": "count",
    "activity": "action", "verb": "action", "spatial": "relation", "position": "relation", "location": "background",
    "attribute": "other",
}  # fmt: skip
OWN_KINDS = {*ATTRIBUTE_KINDS, "object", "count", "relation", "action", "text", "style", "other"}
SEVERAL, SOME = "several", "some"
LONGEST_ATTRIBUTE = 2  # words


def from_geneval2(record: Record) -> dict[str, Any] | None:
    """Take GenEval 2's questions; the objects are the parser's, the benchmark names none."""
    if not isinstance(record.get("vqa_list"), list):
        return None
    skills = record.get("skills") or []
    kinds = [*skills, *[None] * len(record["vqa_list"])]
    pairs = zip(record["vqa_list"], kinds, strict=False)
    asked = [{"question": question, "answer": answer, "type": kind} for (question, answer), kind in pairs]
    return _with_questions(parse(record["prompt"]), asked)


def from_tifa(records: Sequence[Record]) -> dict[str, Any] | None:
    """Take TIFA's questions of one caption, with their choices; the objects are the parser's."""
    named = [record for record in records if record.get("question")]
    asked = [{**record, "type": record.get("element_type"), "term": record.get("element")} for record in named]
    return _with_questions(parse(records[0]["caption"]), asked) if asked else None


def from_dsg(records: Sequence[Record]) -> dict[str, Any]:
    """Take DSG's tuples of one text (entities, attributes, counts, relations) and its questions with their dependencies."""
    document = empty()
    propositions = [(int(float(record["proposition_id"])), _words(record), record) for record in records]
    named = dict.fromkeys(words[0] for _, words, record in propositions if _broad(record) == "entity" and words[0])
    entities = {name: _add_entity(document, name) for name in named}
    asked = {}
    for number, words, record in propositions:
        asked[number] = {
            "question": record["question_natural_language"],
            "answer": "yes",
            "type": f"{_broad(record)}/{_detailed(record)}",
            "kind": _kind(_detailed(record), _kind(_broad(record))),
            "term": number_word(_count(words[-1])) if _detailed(record) == "count" else words[-1],
            "about": _add(document, entities, record, words),
            "after": [int(n) for n in re.findall(r"\d+", str(record["dependency"])) if n != "0"],
        }
    keys = dict(zip(asked, _keys(list(asked.values())), strict=True))
    for number, question in asked.items():
        question["parents"] = [keys[parent] for parent in question["after"] if parent in keys and parent != number]
    return {**document, "questions": _questions(document, list(asked.values()))}


def _with_questions(document: dict[str, Any], asked: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a parsed document with questions, each tied to the element that it asks for, where one is found."""
    written = list_elements(document)
    for question in asked:
        question["kind"] = _kind(question["type"])
        about = next((element for element in written if _asks_for(question, element, document)), None)
        question["about"] = about.key if about else None
        question["kind"] = about.kind if about else question["kind"]
    return {**document, "questions": _questions(document, asked), "source": "annotation"}


def _questions(document: dict[str, Any], asked: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    terms = {element.key: element.term for element in list_elements(document, repeated=True)}
    return [
        {
            "key": key, "kind": question["kind"],
            "term": terms.get(question["about"]) or str(question.get("term") or question["type"] or ""),
            "question": question["question"], "expected": _answer(question["answer"]), "choices": _choices(question.get("choices")),
            "parents": question.get("parents", []), "about": question["about"], "type": question["type"],
        }
        for key, question in zip(_keys(asked), asked, strict=True)
    ]  # fmt: skip


def _keys(asked: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a key for each question: that of the element it asks for, where no other asks for it, else of its own."""
    keys: list[str] = []
    for number, question in enumerate(asked, 1):
        about = question["about"]
        keys.append(about if about and about not in keys else f"{question['kind']}:q{number}")
    return keys


def _kind(theirs: str | None, otherwise: str = "other") -> str:
    return theirs if theirs in OWN_KINDS else KINDS.get(theirs or "", otherwise)


def _answer(answer: Any) -> str:
    said = str(answer).strip()
    return said.lower() if said.lower() in YES_NO else said


def _choices(choices: Any) -> list[str]:
    """Return the answers that may be given; none where they are yes and no."""
    said = list(dict.fromkeys(_answer(choice) for choice in choices)) if isinstance(choices, list) else []
    return [] if set(said) <= YES_NO else said


# Which element of a parsed text a question asks for


def _asks_for(question: Mapping[str, Any], element: Element, document: Mapping[str, Any]) -> bool:
    """Say whether a question asks for `element`: it is of its kind, and names its things and its term."""
    answer, kind = _answer(question["answer"]), question["kind"]
    said = _lemmas(question["question"]) if answer in YES_NO else _lemmas(f"{question['question']} {answer}")
    names = [document["objects"][i]["name"] for i in element.objects]
    of_kind = element.kind == kind or (kind == "other" and element.kind in ATTRIBUTE_KINDS)
    if kind == "action":
        of_kind = element.kind in ("action", "relation")
    terms = _lemmas(element.term)
    return bool(names) and answer != "no" and of_kind and terms <= said and all(_lemmas(name) <= said for name in names)


def _lemmas(text: str) -> set[str]:
    words = re.findall(r"[^\W_]+(?:'\w+)?", text.lower())
    counts = default_lexicon().tables["count"]
    return {counts.get(word, singular(word)) for word in words}


# DSG's tuples


def _broad(record: Record) -> str:
    return str(record["category_broad"]).strip()


def _detailed(record: Record) -> str:
    return str(record["category_detailed"]).strip()


def _words(record: Record) -> list[str]:
    """Return the parts of a tuple: "relation - spatial (bench, trees, near)" → bench, trees, near."""
    text = str(record["tuple"])
    start, end = text.find("("), text.rfind(")")
    inside = text[start + 1 : end] if 0 <= start < end else text
    parts = inside.split(",") if _broad(record) == "relation" else inside.split(",", 1)
    return [part.strip() for part in parts]


def _add_entity(document: dict[str, Any], name: str) -> int:
    """Add an entity in the singular: "man's shirts" are some shirts."""
    thing = re.sub(r"^.*?(?:'s|s') ", "", name)
    one = singular(thing)
    return add_object(document, one, 1 if one == thing else SOME)


def _add(document: dict[str, Any], entities: Mapping[str, int], record: Record, words: Sequence[str]) -> str | None:
    """Add what a tuple says to the document; return the key of the element that this makes."""
    broad, detailed, subject = _broad(record), _detailed(record), entities.get(words[0])
    if broad == "global" and not document["style"]:
        document["style"] = words[-1]
        return "style"
    if detailed == "text rendering" and len(words) > 1:
        document["rendered_text"].append(words[1].strip("\"'"))
        return f"text:{len(document['rendered_text']) - 1}"
    if subject is None or broad == "entity":
        return None if subject is None else f"object:{subject}"
    if len(words) < 2 or not words[1]:
        return None
    if broad == "relation":
        return _add_relation(document, subject, entities, words)
    if detailed == "count":
        count = document["objects"][subject]["count"] = _count(words[1])
        return f"count:{subject}" if isinstance(count, int) and count > 1 else None
    if detailed == "state" and _is_verb(words[1].split()[0]):
        document["relations"].append({"subject": subject, "predicate": words[1], "object": None})
        return f"action:{len(document['relations']) - 1}"
    if len(words[1].split()) > LONGEST_ATTRIBUTE:  # "in three different directions" stands before no noun
        return None
    kind = detailed if detailed in ATTRIBUTE_KINDS else "other"
    attributes = document["objects"][subject]["attributes"]
    before = sum(attribute["kind"] == kind for attribute in attributes)
    attributes.append({"kind": kind, "value": words[1]})
    return f"{kind}:{subject}:{before}" if before else f"{kind}:{subject}"


def _add_relation(
    document: dict[str, Any], subject: int, entities: Mapping[str, int], words: Sequence[str]
) -> str | None:
    target = entities.get(words[1]) if len(words) > 2 else None
    if len(words) > 2 and target is None:  # "in three different directions": no thing that it could stand to
        return None
    predicate = RELATIONS.get(words[-1], words[-1])
    document["relations"].append({"subject": subject, "predicate": predicate, "object": target})
    return f"{'action' if target is None else 'relation'}:{len(document['relations']) - 1}"


def _is_verb(word: str) -> bool:
    """Say whether a state is something that is done: "sit", "stand"; not "open", which a door can be."""
    entry = entry_of(word.lower(), default_lexicon())
    return entry.verb == word and "V" in entry.tags and "J" not in entry.tags


def _count(said: str) -> int | str:
    """Return "==2" as 2, ">1" as several, "==bunch" as it is said."""
    relation, word = re.findall(r"^([=<>!~]*)\s*(.*)$", said)[0]
    number = default_lexicon().tables["count"].get(word.lower(), word)
    if relation.startswith(">"):
        return SEVERAL
    if relation in ("", "=", "=="):
        return int(number) if number.isdigit() else word if word.isalpha() else SOME
    return SOME
