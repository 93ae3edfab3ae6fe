"""The fidelity gate: does a rewritten prompt still ask for what the scene asks for?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from forgekit.scene.lexicon import ATTRIBUTE_KINDS, Lexicon, default_lexicon

FIRM_KINDS = ("color", "size", "shape", "material")  # added ones narrow the scene; textures and moods only dress it
FIRM_RELATIONS = (
    "left of", "right of", "above", "below", "in front of", "behind", "on", "inside", "next to", "between",
)  # fmt: skip
SYMMETRIC = "next to"
Relation = tuple[int, str, int | None]
Look = tuple[str, frozenset[tuple[str, str]]]


def compare(wanted: dict[str, Any], got: dict[str, Any], *, lexicon: Lexicon | None = None) -> list[str]:
    """Return a reason for each element of `wanted` that `got` lost or changed and each that it added; [] is faithful.

    Both are parsed scenes. A word may become one that means the same (grey / gray), and a kind its plain word (crimson / red,
    see `loosened`). From the plain word to a kind (red / crimson), or from one kind to another (maroon / scarlet), the scene
    changes. The same is a relation stated from the other end ("A left of B" / "B right of A"), and several of a thing named
    one by one ("two cats" / "a cat and another cat"). A style, background, mood or texture where none was asked for may be
    added; an object, count, colour, size, shape, material, spatial relation, negation or rendered text may not.
    """
    one_by_one = _Comparison(wanted, got, lexicon)
    lexicon, reasons = one_by_one.lexicon, one_by_one.reasons()
    if not reasons or not _Comparison(_gathered(wanted, lexicon), _gathered(got, lexicon), lexicon).reasons():
        return []
    return reasons


def loosened(wanted: dict[str, Any], got: dict[str, Any], *, lexicon: Lexicon | None = None) -> list[str]:
    """Return what a faithful rewording says less exactly than the scene, in words: "color of ball: crimson to red"."""
    return list(dict.fromkeys(_Comparison(wanted, got, lexicon).loosened()))


def align(wanted: dict[str, Any], got: dict[str, Any], *, lexicon: Lexicon | None = None) -> dict[int, int]:
    """Return which object of `got` is which object of `wanted`, by index; objects that were lost are left out."""
    return _Comparison(wanted, got, lexicon).pairs


class _Comparison:
    """Aligns the objects of two scenes and collects what differs."""

    def __init__(self, wanted: dict[str, Any], got: dict[str, Any], lexicon: Lexicon | None) -> None:
        self.wanted, self.got, self.lexicon = wanted, got, (lexicon or default_lexicon()).for_scene(wanted)
        self.kinds, self._exact = self.lexicon.kinds, self.lexicon.kinds.word
        self.pairs = self._align()

    def reasons(self) -> list[str]:
        """Return all reasons, objects first."""
        return [*self._objects(), *self._relations(), *self._setting(), *self._texts(), *self._negations()]

    def loosened(self) -> Iterator[str]:
        """Yield what was said with a kind and is now said with its plain word."""
        for index, position in self.pairs.items():
            item, other = self.wanted["objects"][index], self.got["objects"][position]
            if self._name(item) != self._name(other):
                yield f"object: {item['name']} to {other['name']}"
            for kind in ATTRIBUTE_KINDS:
                given = _of_kind(other, kind)
                for value in _of_kind(item, kind):
                    if given and self._exact(value, kind) not in {self._exact(each, kind) for each in given}:
                        yield f"{kind} of {item['name']}: {value} to {', '.join(given)}"
        for part, kind in (("background", "color"), ("style", "style")):
            asked, said = self.wanted.get(part), self.got.get(part)
            exact = {self._exact(each, kind) for each in self._said(said or "", kind)}
            if asked and not all(self._exact(each, kind) in exact for each in asked.split(", ")):
                yield f"{part}: {asked} to {said}"

    # which object is which

    def _name(self, item: dict[str, Any]) -> str:
        return self._exact(item["name"], self.lexicon.naming(item["name"]))

    def _keeps(self, asked: str, given: str, kind: str) -> bool:
        """Say whether `given` means what `asked` means, or is the plain word that it is a kind of."""
        return self.kinds.is_kind(asked, given, kind)

    def _may_be(self, item: dict[str, Any], other: dict[str, Any]) -> bool:
        kind = self.lexicon.naming(item["name"])
        return kind == self.lexicon.naming(other["name"]) and self._keeps(item["name"], other["name"], kind)

    def _align(self) -> dict[int, int]:
        """Pair each wanted object with the unused one that it may be and that agrees in most attributes."""
        pairs: dict[int, int] = {}
        alike: dict[str, list[int]] = defaultdict(list)  # what nothing tells apart, the last one first
        for position, other in reversed([*enumerate(self.got["objects"])]):
            attributes = [(a["kind"], a["value"]) for a in other["attributes"]]
            alike[repr([other["name"], other["count"], attributes])].append(position)
        for index, item in enumerate(self.wanted["objects"]):
            ones = [(positions, self.got["objects"][positions[-1]]) for positions in alike.values() if positions]
            may_be = [(positions, other) for positions, other in ones if self._may_be(item, other)]
            if free := [(self._agreement(item, other), -places[-1], places) for places, other in may_be]:
                pairs[index] = max(free)[2].pop()
        return pairs

    def _agreement(self, one: dict[str, Any], other: dict[str, Any]) -> int:
        given = [(a["kind"], a["value"]) for a in other["attributes"]]
        asked = [(a["kind"], a["value"]) for a in one["attributes"]]
        kept = sum(any(kind == k and self._keeps(value, v, k) for k, v in given) for kind, value in asked)
        return 2 * kept + (one["count"] == other["count"]) + 4 * (one["name"] == other["name"])

    # what differs

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
            asked, given = _of_kind(item, kind), _of_kind(other, kind)
            lost = [value for value in asked if not any(self._keeps(value, each, kind) for each in given)]
            added = [value for value in given if not any(self._keeps(each, value, kind) for each in asked)]
            # "a dark crimson ball"
            shaded = given and kind in ("texture", "state", "other") and _of_kind(other, "color")
            firm = kind in FIRM_KINDS or (shaded and not self.kinds.shades.isdisjoint(added))
            if lost and added and firm:
                reasons.append(f"{kind} of {item['name']} changed: {', '.join(lost)} to {', '.join(added)}")
            elif lost:
                reasons.append(f"{kind} of {item['name']} lost: {', '.join(lost)}")
            elif added and firm:
                reasons.append(f"{kind} of {item['name']} added: {', '.join(added)}")
        return reasons

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
        for part, kind in (("background", "color"), ("style", "style")):
            asked, given = self.wanted.get(part), self.got.get(part)
            if not asked:
                continue
            said = self._said(given or "", kind)
            if not all(any(self._keeps(each, other, kind) for other in said) for each in asked.split(", ")):
                reasons.append(f"{part} changed: {asked} to {given}" if given else f"{part} lost: {asked}")
            elif part == "style" and (rivals := self._rivals(asked, said)):
                reasons.append(f"style added: {', '.join(rivals)}")
        return reasons

    def _said(self, text: str, kind: str) -> list[str]:
        """Return the parts of a background or style, and the words of those that the lexicon does not know as a whole."""
        parts = text.split(", ") if text else []
        unknown = [part for part in parts if (kind, self._exact(part, kind)) not in self.kinds.wordings]
        words = [word for part in unknown for word in part.split()]
        return list(dict.fromkeys([*parts, *words]))

    def _rivals(self, asked: str, said: list[str]) -> list[str]:
        """Return the styles that were added and that the asked one rules out: a photograph where a watercolor is asked."""
        wanted = {self.lexicon.concept(each, "style") for each in self._said(asked, "style")}
        rules_out = self.lexicon.rules_out
        return [
            each
            for each in said
            if (style := self.lexicon.concept(each, "style")) not in wanted
            and any(style in rules_out.get(one, ()) or one in rules_out.get(style, ()) for one in wanted)
        ]

    def _texts(self) -> list[str]:
        asked, given = self.wanted.get("rendered_text") or [], self.got.get("rendered_text") or []
        reasons = [f'rendered text lost: "{text}"' for text in asked if text not in given]
        return reasons + [f'rendered text added: "{text}"' for text in given if text not in asked]

    def _negations(self) -> list[str]:
        asked = {self._name(item) for item in self.wanted.get("negations") or []}
        given = {self._name(item) for item in self.got.get("negations") or []}
        reasons = [f"negation lost: no {name}" for name in sorted(asked - given)]
        return reasons + [f"negation added: no {name}" for name in sorted(given - asked)]


def _of_kind(item: dict[str, Any], kind: str) -> list[str]:
    return [attribute["value"] for attribute in item["attributes"] if attribute["kind"] == kind]


def _gathered(scene: dict[str, Any], lexicon: Lexicon) -> dict[str, Any]:
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
        "objects": [_together([objects[index] for index in group]) for group in kept],
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


def _together(items: list[dict[str, Any]]) -> dict[str, Any]:
    return items[0] if len(items) == 1 else {**items[0], "count": sum(item["count"] for item in items)}
