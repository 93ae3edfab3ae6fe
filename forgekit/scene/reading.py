"""What one pass over a text has found so far, and what it knows of the things found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from forgekit.scene.lexicon import Lexicon, split_words
from forgekit.scene.phrases import NounPhrase
from forgekit.scene.tagging import tag_words
from forgekit.scene.tokens import Token

TURNED = {("surround", "by"): "around", ("fill", "with"): "inside", ("top", "with"): "on"}


@dataclass
class Link:
    """What stands between a subject and the object still to come."""

    subjects: list[int] = field(default_factory=list)
    predicate: str = ""  # a preposition's canonical relation
    wording: str = ""  # the preposition as it stands
    verb: str = ""
    passive: bool = False  # "watched": what follows "by" did it
    denied: bool = False  # "is not running"
    quoted: bool = False  # said of quoted text
    makes: bool = False  # a material follows: "made of wood"
    told: bool = False  # one of the things it lists has been named
    near: list[int] = field(default_factory=list)  # what else may be meant: the comet in "watching a comet in the sky"

    @property
    def lists(self) -> bool:
        """Whether several things joined by "and" follow: "between a cat and a dog"."""
        return self.predicate == "between" or self.makes or self.turned != ""

    @property
    def turned(self) -> str:
        """The relation by which what follows is told of the subject: "surrounded by trees", "filled with flowers"."""
        return TURNED.get((self.verb, self.wording), "")


class Reading:
    """The document as it grows, and where in the sentence the pass stands. Objects are named by their index."""

    def __init__(self, text: str, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self.tokens = tag_words(text, lexicon)
        self.spatial = frozenset(lexicon.grammar["spatial"]["words"])
        self.objects: list[dict[str, Any]] = []
        self.relations: list[dict[str, Any]] = []
        self.negations: list[dict[str, Any]] = []
        self.rendered: list[str] = []
        self.styles: list[str] = []
        self.background: str | None = None
        self.last: NounPhrase | None = None  # the phrase of the object added last
        self.owner: int | None = None  # "a man whose beard is white …": whose clause goes on behind the aside
        self.subjects: list[int] = []  # of the clause
        self.group: list[int] = []  # the objects named last, joined by "and" or ","
        self.spoken_of: list[int] = []  # the subjects of the sentence before
        self.linked = ""  # how the group came: "", "verb" or "prep"
        self.link: Link | None = None
        self.leading: tuple[str, int] | None = None  # "In front of a house, …" waits for its subject
        self.negated = False
        self.framed = False
        self.finite = False  # whether the clause has its verb
        self.told_of = ""  # that verb, where it may say what a place is told of: "watching a bird in …"
        self.fresh = True  # at the start of a clause or list item

    def _add_object(self, phrase: NounPhrase) -> int:
        count = phrase.count
        if count is None:
            many = phrase.plural or self.lexicon.hints(phrase.head.noun, "plural")
            many = many or (not phrase.determiner and self.lexicon.hints(phrase.head.noun, "same_plural"))
            count = "some" if many and phrase.determiner not in ("a", "an") else 1
        attributes = [{"kind": kind, "value": value} for kind, value in phrase.attributes]
        bare = not phrase.determiner and phrase.count is None and not phrase.plural and not attributes
        if (phrase.determiner == "the" or bare) and (known := self._spoken_of(phrase, attributes)) is not None:
            return known
        item = {"name": phrase.name, "count": count, "attributes": attributes, "span": [phrase.start, phrase.end]}
        if bare:
            item["attributes"] = self._shared_colors(phrase)
        self.last = phrase
        self.objects.append(item)
        return len(self.objects) - 1

    def _shared_colors(self, phrase: NounPhrase) -> list[dict[str, str]]:
        """Return the colours said of two things at once: the door's in "a white sink and door"."""
        last = self.last
        if last is None or last.determiner not in ("a", "an") or last.plural:
            return []
        joint = self.tokens[last.after : last.after + 2]
        joined = len(joint) == 2 and joint[0].word in ("and", "&") and joint[1].start == phrase.start
        other_sort = self.lexicon.hints(phrase.head.noun, "mass") or (
            self.lexicon.is_living(phrase.name) and not self.lexicon.is_living(last.name)
        )
        if not joined or other_sort:
            return []
        return [{"kind": kind, "value": value} for kind, value in last.attributes if kind == "color"]

    def _spoken_of(self, phrase: NounPhrase, attributes: list[dict[str, str]]) -> int | None:
        """Return the object that "the …" means, if one of that name is in the scene and nothing said of both differs."""
        for index, item in enumerate(self.objects):
            if item["name"].split()[-1] != phrase.name.split()[-1] or (
                " " in phrase.name and item["name"] != phrase.name
            ):
                continue
            known = {a["kind"]: a["value"] for a in item["attributes"]}
            if all(known.get(a["kind"]) == a["value"] for a in attributes):
                return index
        return None

    def _negate(self, phrase: NounPhrase) -> None:
        attributes = [{"kind": kind, "value": value} for kind, value in phrase.attributes]
        self.negations.append({"name": phrase.name, "attributes": attributes, "span": [phrase.start, phrase.end]})
        self.link = None

    def _add_relation(self, subject: int, predicate: str, item: int | None, verb: str) -> None:
        if subject == item:
            return
        if predicate == "inside" and item is not None and self._worn(subject, item):
            predicate = "wear"
        relation = {"subject": subject, "predicate": predicate, "object": item}
        if verb not in ("", "be") and item is not None and predicate in self.spatial:
            relation["verb"] = verb
        if relation not in self.relations:
            self.relations.append(relation)

    def _worn(self, subject: int, item: int) -> bool:
        return self._is(item, "worn") and not self._is(subject, "worn")

    def _has(self, subject: int, item: int) -> bool:
        """Say whether the subject was said to have, wear or hold `item`."""
        said = {r["predicate"] for r in self.relations if (r["subject"], r["object"]) == (subject, item)}
        return bool(said & {"with", "wear", "hold", "carry"})

    def _figures(self, *indexes: int) -> bool:
        return all(("figure", self.objects[index]["name"]) in self.lexicon.meanings for index in indexes)

    def _is(self, index: int, *hints: str) -> bool:
        """Say whether the object's noun is among the words of one of the grammar's hints."""
        return self.lexicon.hints(self.objects[index]["name"].split()[-1], *hints)

    def _acts(self, verb: str, *kinds: str) -> bool:
        """Say whether the verb is of one of the grammar's kinds."""
        return any(verb in split_words(self.lexicon.grammar["verb"][kind]) for kind in kinds)

    def _token_after(self, index: int) -> Token | None:
        """Return the token behind the object."""
        end = self.objects[index]["span"][1]
        return next((token for token in self.tokens if token.start >= end), None)

    def _animate(self, index: int) -> bool:
        return self.lexicon.is_living(self.objects[index]["name"])
