"""The fidelity gate: does a rewritten prompt still ask for what the scene asks for?"""

from __future__ import annotations

from typing import Any

from forgekit.scene.lexicon import ATTRIBUTE_KINDS, Lexicon, default_lexicon

FIRM_KINDS = ("color", "size", "shape", "material")  # added ones narrow the scene; textures and moods only dress it
FIRM_RELATIONS = (
    "left of", "right of", "above", "below", "in front of", "behind", "on", "inside", "next to", "between",
)  # fmt: skip
SYMMETRIC = "next to"
Relation = tuple[int, str, int | None]


def compare(wanted: dict[str, Any], got: dict[str, Any], *, lexicon: Lexicon | None = None) -> list[str]:
    """Return a reason for each element of `wanted` that `got` lost or changed and each that it added; [] is faithful.

    Both are parsed scenes. Synonyms of one concept are the same ("scarlet" / "red"), so is a relation stated from the other end
    ("A left of B" / "B right of A"). A style, background, mood or texture where none was asked for may be added; an object,
    count, colour, size, shape, material, spatial relation, negation or rendered text may not.
    """
    return _Comparison(wanted, got, lexicon or default_lexicon()).reasons()


def align(wanted: dict[str, Any], got: dict[str, Any], *, lexicon: Lexicon | None = None) -> dict[int, int]:
    """Return which object of `got` is which object of `wanted`, by index; objects that were lost are left out."""
    return dict(_Comparison(wanted, got, lexicon or default_lexicon()).pairs)


class _Comparison:
    """Aligns the objects of two scenes and collects what differs."""

    def __init__(self, wanted: dict[str, Any], got: dict[str, Any], lexicon: Lexicon) -> None:
        self.wanted, self.got, self.lexicon = wanted, got, lexicon
        self.figures = all(("figure", item["name"]) in lexicon.meanings for item in wanted["objects"])
        self.pairs = self._align()

    def reasons(self) -> list[str]:
        """Return all reasons, objects first."""
        return [*self._objects(), *self._relations(), *self._setting(), *self._texts(), *self._negations()]

    def _concept(self, name: str) -> str:
        if self.figures and ("figure", name) in self.lexicon.meanings:
            return self.lexicon.concept(name, "figure")
        concept = self.lexicon.concept(name, "object")
        return concept if concept != name else self.lexicon.concept(name.split()[-1], "object")

    def _align(self) -> dict[int, int]:
        """Pair each wanted object with the unused one of its concept that agrees in most attributes."""
        pairs: dict[int, int] = {}
        for index, item in enumerate(self.wanted["objects"]):
            free = [
                (self._agreement(item, other), -position, position)
                for position, other in enumerate(self.got["objects"])
                if position not in pairs.values() and self._concept(item["name"]) == self._concept(other["name"])
            ]
            if free:
                pairs[index] = max(free)[2]
        return pairs

    def _agreement(self, one: dict[str, Any], other: dict[str, Any]) -> int:
        shared = self._values(one) & self._values(other)
        return 2 * len(shared) + (one["count"] == other["count"]) + 4 * (one["name"] == other["name"])

    def _values(self, item: dict[str, Any]) -> set[tuple[str, str]]:
        return {(a["kind"], self.lexicon.concept(a["value"], a["kind"])) for a in item["attributes"]}

    def _objects(self) -> list[str]:
        reasons = []
        for index, item in enumerate(self.wanted["objects"]):
            if index not in self.pairs:
                reasons.append(f"object lost: {item['name']}")
                continue
            other = self.got["objects"][self.pairs[index]]
            counts = item["count"], other["count"]
            vague = all(isinstance(count, str) and count in self.lexicon.words["vague"] for count in counts)
            if counts[0] != counts[1] and not vague:
                reasons.append(f"count of {item['name']} changed: {counts[0]} to {counts[1]}")
            reasons += self._attributes(item, other)
        used = set(self.pairs.values())
        return reasons + [f"object added: {o['name']}" for i, o in enumerate(self.got["objects"]) if i not in used]

    def _attributes(self, item: dict[str, Any], other: dict[str, Any]) -> list[str]:
        reasons = []
        for kind in (*ATTRIBUTE_KINDS, "other"):
            asked, given = self._of_kind(item, kind), self._of_kind(other, kind)
            lost = [value for value, concept in asked if concept not in dict(given).values()]
            added = [value for value, concept in given if concept not in dict(asked).values()]
            firm = kind in FIRM_KINDS
            if lost and added and firm:
                reasons.append(f"{kind} of {item['name']} changed: {', '.join(lost)} to {', '.join(added)}")
            elif lost:
                reasons.append(f"{kind} of {item['name']} lost: {', '.join(lost)}")
            elif added and firm:
                reasons.append(f"{kind} of {item['name']} added: {', '.join(added)}")
        return reasons

    def _of_kind(self, item: dict[str, Any], kind: str) -> list[tuple[str, str]]:
        values = [attribute["value"] for attribute in item["attributes"] if attribute["kind"] == kind]
        return [(value, self.lexicon.concept(value, kind)) for value in values]

    def _relations(self) -> list[str]:
        back = {position: index for index, position in self.pairs.items()}
        asked = self._oriented(self.wanted["relations"], {index: index for index in self.pairs})
        given = self._oriented(self.got["relations"], back)
        reasons = [f"relation lost: {self._say(relation)}" for relation in sorted(asked - given, key=str)]
        added = [relation for relation in given - asked if relation[1] in FIRM_RELATIONS]
        return reasons + [f"relation added: {self._say(relation)}" for relation in sorted(added, key=str)]

    def _oriented(self, relations: list[dict[str, Any]], meant: dict[int, int]) -> set[Relation]:
        """Return the relations of known objects, each in the one form of two: "B right of A" is "A left of B"."""
        inverse, found = self.lexicon.tables["inverse"], set()
        for relation in relations:
            subject, predicate, item = (relation[key] for key in ("subject", "predicate", "object"))
            if subject not in meant or (item is not None and item not in meant):
                continue
            one, other = meant[subject], None if item is None else meant[item]
            if other is not None and (predicate in inverse or (predicate == SYMMETRIC and one > other)):
                one, predicate, other = other, inverse.get(predicate, predicate), one
            found.add((one, predicate, other))
        return found

    def _say(self, relation: Relation) -> str:
        subject, predicate, other = relation
        names = [item["name"] for item in self.wanted["objects"]]
        return f"{names[subject]} {predicate} {names[other] if other is not None else ''}".strip()

    def _setting(self) -> list[str]:
        reasons = []
        for kind, known in (("background", "color"), ("style", "style")):
            asked, given = self.wanted.get(kind), self.got.get(kind)
            if asked and not given:
                reasons.append(f"{kind} lost: {asked}")
            elif asked and given and not self._keeps(asked, given, known):
                reasons.append(f"{kind} changed: {asked} to {given}")
        return reasons

    def _keeps(self, asked: str, given: str, kind: str) -> bool:
        parts = {self.lexicon.concept(part, kind) for part in (given, *given.split(", "), *given.split())}
        return all(self.lexicon.concept(part, kind) in parts for part in asked.split(", "))

    def _texts(self) -> list[str]:
        asked, given = self.wanted.get("rendered_text") or [], self.got.get("rendered_text") or []
        reasons = [f'rendered text lost: "{text}"' for text in asked if text not in given]
        return reasons + [f'rendered text added: "{text}"' for text in given if text not in asked]

    def _negations(self) -> list[str]:
        asked = {self._concept(item["name"]) for item in self.wanted.get("negations") or []}
        given = {self._concept(item["name"]) for item in self.got.get("negations") or []}
        reasons = [f"negation lost: no {name}" for name in sorted(asked - given)]
        return reasons + [f"negation added: no {name}" for name in sorted(given - asked)]
