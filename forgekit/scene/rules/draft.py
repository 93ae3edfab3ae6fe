"""The scene as it grows in one pass over a text, and what is known of the things in it. Objects are named by their index."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import islice
from typing import Any

from forgekit.scene.lexicon import Lexicon
from forgekit.scene.rules.clauses import Clause, Link
from forgekit.scene.rules.phrases import Attribute, NounPhrase, read_noun_phrase
from forgekit.scene.rules.surroundings import lists_tags
from forgekit.scene.rules.tokens import Token, token_at

HAVING = ("with", "wear")
JOINTS = ("and", "&", "or", "plus")
SIDES = (("left", "right", "left of"), ("top", "bottom", "above"))


class Draft:
    """The document of a text, to which things are only added, and the text it is read from."""

    def __init__(self, tokens: list[Token], lexicon: Lexicon) -> None:
        self.tokens = tuple(tokens)
        self._starts, self._ends = [token.start for token in tokens], [token.end for token in tokens]
        self.lexicon = lexicon
        self.objects: list[dict[str, Any]] = []
        self.relations: list[dict[str, Any]] = []
        self.negations: list[dict[str, Any]] = []
        self.rendered_text: list[str] = []
        self.styles: list[str] = []
        self.background: str | None = None
        self.lists = lists_tags(tokens)
        self.framed = False  # whether the text has said what kind of picture it is
        self._sides: dict[str, list[int]] = {}  # what was said to be on the left, at the top, …
        self._last: NounPhrase | None = None  # the phrase of the object added last
        self._mentioned = (-1, 0, 0)  # the object named last, new or again, and where

    def document(self) -> dict[str, Any]:
        """Return what was found, in the form that `scenes.elements` stores."""
        for side, opposite, predicate in SIDES if self._sides else ():
            ones, others = self._sides.get(side, []), self._sides.get(opposite, [])
            for one, other in zip(ones, others, strict=False):
                self.relate(one, predicate, other)
            paired, at = min(len(ones), len(others)), "on" if predicate == "left of" else "at"
            self.describe(ones[paired:], [("other", f"{at} the {side}")])
            self.describe(others[paired:], [("other", f"{at} the {opposite}")])
        return {
            "objects": self.objects,
            "relations": self.relations,
            "background": self.background,
            "style": ", ".join(dict.fromkeys(self.styles)) or None,
            "rendered_text": self.rendered_text,
            "negations": self.negations,
        }

    # the text

    def token(self, index: int) -> Token:
        """Return the token at `index`, or EDGE outside of the text."""
        return token_at(self.tokens, index)

    def phrase(self, index: int) -> NounPhrase | None:
        """Return the noun phrase that begins at token `index`, or None where none does."""
        return read_noun_phrase(self.tokens, index, self.lexicon)

    def phrase_of(self, index: int) -> NounPhrase | None:
        """Return the phrase that named the object, if it was named just now."""
        return self._last if index == len(self.objects) - 1 else None

    def _span(self, index: int) -> tuple[int, int]:
        """Return where the object was named last, if just now, else first."""
        return self._mentioned[1:] if self._mentioned[0] == index else tuple(self.objects[index]["span"])

    def ahead(self, index: int) -> Token:
        """Return the token before the object, or EDGE."""
        return self.before(self._span(index)[0])

    def behind(self, index: int) -> Token:
        """Return the token behind the object, adverbs left aside, or EDGE."""
        after = self._at(self._span(index)[1])
        while self.token(after).tag == "R":
            after += 1
        return self.token(after)

    def before(self, place: int) -> Token:
        """Return the last token that ends by that place of the text, or EDGE."""
        return self.token(bisect_right(self._ends, place) - 1)

    def _at(self, place: int) -> int:
        """Return the index of the first token that begins at that place of the text or behind it."""
        return bisect_left(self._starts, place)

    # what is added

    def add(self, phrase: NounPhrase) -> int:
        """Add the object that the phrase names, or find the one it speaks of again; return its index."""
        bare = not phrase.numbered and phrase.number is None and not phrase.plural and not phrase.attributes
        if (phrase.determiner == "the" or bare) and (known := self._spoken_of(phrase)) is not None:
            self._mentioned = (known, phrase.start, phrase.end)
            return known
        attributes = self._shared_colors(phrase) if bare else phrase.attributes
        item = {"name": phrase.name, "count": self._count(phrase), "attributes": _listed(attributes)}
        called = {"called": phrase.called} if phrase.called else {}
        self.objects.append(item | called | {"span": [phrase.start, phrase.end]})
        self._last, self._mentioned = phrase, (len(self.objects) - 1, phrase.start, phrase.end)
        return len(self.objects) - 1

    def describe(self, subjects: Iterable[int], attributes: Iterable[Attribute]) -> None:
        """Add attributes to objects."""
        for subject in subjects:
            self.objects[subject]["attributes"] += _listed(attributes)

    def place(self, index: int, side: str) -> None:
        """Say on which side of the picture the object is; things on opposite sides are told from each other."""
        self._sides.setdefault(side, []).append(index)

    def negate(self, name: str, start: int, end: int, attributes: Iterable[Attribute] = ()) -> None:
        """Add what must not be there."""
        self.negations.append({"name": name, "attributes": _listed(attributes), "span": [start, end]})

    def relate(self, subject: int, predicate: str, item: int | None, link: Link | None = None) -> None:
        """Add a relation, or an action where `item` is None; what someone is inside may be worn. `link` has its verb."""
        if subject == item or predicate in self.lexicon.words["no_relation"]:
            return
        if predicate == "inside" and item is not None:
            worn = self.is_any(item, "worn") and not self.is_any(subject, "worn")
            predicate = "wear" if worn else predicate
        relation: dict[str, Any] = {"subject": subject, "predicate": predicate, "object": item}
        if link and link.verb not in ("", "be") and item is not None and predicate in self.lexicon.places:
            relation["verb"] = link.verb
        if link and link.participle and link.verb in (relation.get("verb"), predicate.split()[0]):
            relation["passive"] = link.participle
        if link and link.particle and predicate == link.verb:
            relation["particle"] = link.particle
        if relation not in self.relations:
            self.relations.append(relation)

    def repeat(self, relation: dict[str, Any], item: int) -> None:
        """Say the same of one more thing: "covered in frosting and sprinkles"."""
        if relation["subject"] != item and (again := {**relation, "object": item}) not in self.relations:
            self.relations.append(again)

    # what is known

    def is_any(self, index: int, *lists: str) -> bool:
        """Say whether the object's noun is in one of the lexicon's lists."""
        return self.lexicon.hints(self.objects[index]["name"].split()[-1], *lists)

    def is_part(self, index: int, whole: int) -> bool:
        """Say whether one is said to be of the other: the horse of "a statue of a horse"."""
        return {"subject": whole, "predicate": "of", "object": index} in self.relations

    def is_placed(self, index: int) -> bool:
        """Say whether a place was said of the object."""
        return any(r["subject"] == index and r["predicate"] in self.lexicon.places for r in self.relations)

    def is_told_of(self, index: int) -> bool:
        """Say whether a place, clothes or a belonging were said of the object."""
        if any(index in placed for placed in self._sides.values()):
            return True
        return any(r["subject"] == index and r["predicate"] in (*self.lexicon.places, *HAVING) for r in self.relations)

    def is_living(self, index: int) -> bool:
        """Say whether the object is a person or an animal."""
        return self.lexicon.is_living(self.objects[index]["name"])

    def joined(self, one: int, other: int) -> bool:
        """Say whether "and" stands between two objects."""
        end, start = self.objects[one]["span"][1], self.objects[other]["span"][0]
        between = self.tokens[self._at(end) : self._at(start)]
        return any(token.word in ("and", "&", "or", "/") for token in between)

    def has_verb(self, index: int) -> bool:
        """Say whether a verb of its own follows the object: "and a man in goggles is writing"."""
        for token in islice(self.tokens, self._at(self._span(index)[1]), None):
            if token.tag in "XCO":
                return False
            if token.tag in "VB":
                return True
        return False

    def listed(self, index: int) -> bool:
        """Say whether the object is one more of a list with "and": "a hat, a coat and boots", not "a hat, a coat, a lamp"."""
        start, end = self._span(index)
        if self.before(start).word != ",":
            return self.before(start).word in JOINTS
        for token in islice(self.tokens, self._at(end), None):
            if token.word in JOINTS:
                return True
            if token.tag not in "DSQJNRYI" and token.word not in (",", "of", "with"):
                return False
        return False

    def sentence_begins(self, index: int) -> int:
        """Return the first object of the sentence that the object stands in."""
        until = bisect_right(self._ends, self.objects[index]["span"][0])
        start = next((self._ends[at] for at in range(until - 1, -1, -1) if self.tokens[at].word in ".;!?"), 0)
        return next(i for i, item in enumerate(self.objects) if item["span"][0] >= start)

    def among(self, group: tuple[int, ...]) -> tuple[int, ...]:
        """Return the group, or the last of it where no "and" joins it to the others."""
        return group if len(group) < 2 or self.joined(*group[-2:]) else group[-1:]

    def owner_of(self, index: int, predicates: tuple[str, ...] = HAVING) -> int | None:
        """Return who was first said to have or wear the object, if anyone was."""
        owners = (r["subject"] for r in self.relations if r["object"] == index and r["predicate"] in predicates)
        return next(owners, None)

    def is_owned(self, index: int) -> bool:
        """Say whether the object was named just now as somebody's own: "her hair"."""
        phrase = self.phrase_of(index)
        return phrase is not None and phrase.determiner in self.lexicon.words["possessive"]

    def has(self, owner: int, index: int) -> bool:
        """Say whether the owner was said to have, wear or hold the object."""
        said = {r["predicate"] for r in self.relations if (r["subject"], r["object"]) == (owner, index)}
        return bool(said & {*HAVING, "hold", "carry"})

    # how an object is added

    def _count(self, phrase: NounPhrase) -> int | str:
        if phrase.number is not None:
            return phrase.number
        noun, lexicon = phrase.head.noun, self.lexicon
        many = phrase.plural or noun in lexicon.words["plural"]
        many = many or (not phrase.determiner and noun.endswith(lexicon.endings["same_plural"]))
        return "some" if many and phrase.determiner not in ("a", "an") else 1

    def _shared_colors(self, phrase: NounPhrase) -> list[Attribute]:
        """Return the colours said of two things at once: the door's in "a white sink and door"."""
        last = self._last
        if last is None or last.determiner not in ("a", "an") or last.plural:
            return []
        joined = self.token(last.after).word in ("and", "&") and self.token(last.after + 1).start == phrase.start
        is_living = self.lexicon.is_living
        begins_anew = is_living(phrase.name) and not is_living(last.name)
        other_sort = begins_anew or self.lexicon.is_mass(phrase.head.noun)
        return [a for a in last.attributes if a[0] == "color"] if joined and not other_sort else []

    def _spoken_of(self, phrase: NounPhrase) -> int | None:
        """Return the object that "the …" means, if one of that name is in the scene and nothing said of both differs."""
        for index, item in enumerate(self.objects):
            same = item["name"] == phrase.name
            if same or (" " not in phrase.name and item["name"].split()[-1] == phrase.name):
                known = {a["kind"]: a["value"] for a in item["attributes"]}
                if all(known.get(kind) == value for kind, value in phrase.attributes):
                    return index
        return None


def close_link(clause: Clause, draft: Draft) -> Clause:
    """End a link that found no object: a verb alone is an action ("a dog is running"), a participle alone a state ("blurred")."""
    link = clause.link
    if link is None:
        return clause
    acts = link.verb not in ("", "have", "do", "wear", "hold", "carry") and not draft.lexicon.hints(link.verb, "static")
    if not acts or link.denied or link.lists:  # "surrounded by" has had its objects
        return clause._replace(link=None)
    if link.passive:
        if not link.predicate and not draft.lexicon.hints(link.verb, "idle"):
            draft.describe(link.subjects, [("state", link.participle)])
        return clause._replace(link=None)
    says = draft.lexicon.hints(link.verb, "saying")  # "a sign that reads welcome"
    for subject in link.subjects:
        if not says or draft.is_living(subject):
            draft.relate(subject, link.verb, None)
    return clause._replace(link=None)


def _listed(attributes: Iterable[Attribute]) -> list[dict[str, str]]:
    return [{"kind": kind, "value": value} for kind, value in attributes]
