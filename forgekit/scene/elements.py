"""The list of elements a judge is asked about, each with its phrase, its question and its contrasts.

The questions have few forms, so that a small model can be trained on all of them:

    object      Is there a disc?                               (also for several: Is there a heart?)
    count       Are there two hearts?
    attribute   Is the disc scarlet?   Are the hearts pink?    (Is there a scarlet disc? where another disc is in the scene)
    relation    Is the red circle to the left of the blue square?
    action      Is the dog running?
    background  Is the background yellow?
    style       Is the image a watercolor?                     (Is the image in flat style? where the style is an adjective)
    text        Does the image show the text "STOP"?
    negation    Is there a person?                             (expected: no)

Phrases are captions as CLIP likes them. A contrast is the phrase with exactly one thing changed; an attribute that the lexicon
does not know has no contrast but the object without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from forgekit.scene.lexicon import ATTRIBUTE_KINDS, Lexicon, default_lexicon
from forgekit.scene.wording import (
    described,
    ing_form,
    is_many,
    is_plural_only,
    noun_phrase,
    said_relation,
    stands_behind,
    with_article,
)

MAX_CONTRASTS = 10
NOTHING = "an empty background"
Item = dict[str, Any]


@dataclass(frozen=True)
class Element:
    """One thing that a scene asks for and a judge can be asked about."""

    key: str  # stable within a scene: "object:0", "count:0", "color:0", "relation:1", "background", "style", "negation:0"
    kind: str  # object, count, color, size, material, …, relation, action, background, style, text, negation
    term: str  # the words of the scene text it came from: "scarlet"
    phrase: str  # the short caption of the element alone: "a scarlet disc"
    question: str  # the yes/no question: "Is the disc scarlet?"
    expected: str  # the adherent answer: "yes", or "no" for a negation
    contrasts: tuple[str, ...]  # the phrase with exactly this one thing changed: "a blue disc", …
    objects: tuple[int, ...]  # the indexes into `objects` it is about


@dataclass(frozen=True)
class Scene:
    """A scene text and what it asks for. `elements` is the JSON document that `scenes.elements` stores."""

    text: str
    elements: dict[str, Any]


def list_elements(elements: dict[str, Any], *, lexicon: Lexicon | None = None) -> list[Element]:
    """Return every element of a parsed scene, in the order objects, counts, attributes, relations, background, style, text, negations.

    Keys are unique: "object:0"; a second colour of object 0 is "color:0:1".
    """
    seen: Counter[str] = Counter()
    result = []
    for element in _Writer(elements, lexicon or default_lexicon()).all():
        times = seen[element.key]
        seen[element.key] += 1
        result.append(replace(element, key=f"{element.key}:{times}") if times else element)
    return result


def _element(
    key: str, term: str, phrase: str, question: str, contrasts: Iterable[str], objects: tuple[int, ...] = ()
) -> Element:
    """Return the element that is expected, of the kind its key begins with."""
    return Element(key, key.split(":")[0], term, phrase, question, "yes", tuple(contrasts), objects)


class _Writer:
    """Writes the elements of one scene."""

    def __init__(self, scene: dict[str, Any], lexicon: Lexicon) -> None:
        self.scene = scene
        self.lexicon = lexicon
        self.objects: list[Item] = scene["objects"]
        names = [item["name"] for item in self.objects]
        self.shared = {name for name in names if names.count(name) > 1}

    def all(self) -> Iterator[Element]:
        for index, item in enumerate(self.objects):
            yield self.object(index, item["name"])
        for index, item in enumerate(self.objects):
            if isinstance(item["count"], int) and item["count"] > 1:
                yield self.count(index, item)
            for attribute in item["attributes"]:
                yield self.attribute(index, item, attribute["kind"], attribute["value"])
        for index, relation in enumerate(self.scene["relations"]):
            yield self.relation(index, relation) if relation["object"] is not None else self.action(index, relation)
        if self.scene.get("background"):
            yield self.background(self.scene["background"])
        if self.scene.get("style"):
            yield self.style(self.scene["style"])
        for index, text in enumerate(self.scene.get("rendered_text") or []):
            shown = f'the text "{text}"'
            yield _element(f"text:{index}", text, shown, f"Does the image show {shown}?", ["no text"])
        for index, item in enumerate(self.scene.get("negations") or []):
            yield self.negation(index, item)

    # one method for each kind

    def object(self, index: int, name: str) -> Element:
        one = self.one(name)
        contrasts = [*(self.one(other) for other in self.siblings(name)), NOTHING]
        return _element(f"object:{index}", name, one, self.is_there(one, name), contrasts, (index,))

    def count(self, index: int, item: Item) -> Element:
        words = described(item) if item["name"] in self.shared else item["name"]
        phrase = noun_phrase(words, item["count"], self.lexicon)
        others = [number for number in range(1, max(6, item["count"] + 2)) if number != item["count"]][:MAX_CONTRASTS]
        contrasts = ["one " + words if number == 1 else noun_phrase(words, number, self.lexicon) for number in others]
        return _element(f"count:{index}", phrase.split()[0], phrase, f"Are there {phrase}?", contrasts, (index,))

    def attribute(self, index: int, item: Item, kind: str, value: str) -> Element:
        name, count = item["name"], "some" if is_many(item) else 1
        if stands_behind(value):
            phrase = f"{noun_phrase(name, count, self.lexicon)} {value}"
        else:
            phrase = noun_phrase(f"{value} {name}", count, self.lexicon)
        verb, noun = self.the(item, name)
        question = f"{verb} the {noun} {value}?"
        if name in self.shared:
            question = f"{'Are' if is_many(item) else verb} there {phrase}?"
        # A value that another object of this name is to have shows on a faithful image, too.
        attributes = [a for other in self.objects if other["name"] == name for a in other["attributes"]]
        asked = {self.lexicon.concept(a["value"], kind) for a in attributes}
        others = [other for other in self.other_values(kind, value) if other not in asked][:MAX_CONTRASTS]
        contrasts = [noun_phrase(f"{other} {name}", count, self.lexicon) for other in others]
        return _element(f"{kind}:{index}", value, phrase, question, contrasts, (index,))

    def relation(self, index: int, relation: Item) -> Element:
        predicate, ends = relation["predicate"], (relation["subject"], relation["object"])
        first, second = (self.objects[end] for end in ends)
        one, two = self.full(first), self.full(second)
        said = said_relation(predicate, self.lexicon)
        if relation.get("verb"):
            said = f"{ing_form(relation['verb'])} {said}"
        verb, noun = self.the(first, described(first))
        question = f"{verb} the {noun} {said} the {self.the(second, described(second))[1]}?"
        if predicate in ("with", "of"):
            question = f"Is there {one} {said} {two}?"
        changed = [f"{one} {said_relation(other, self.lexicon)} {two}" for other in self.others(predicate)]
        if predicate not in ("next to", "with", "of", "between"):
            changed.append(f"{two} {said} {one}")
        return _element(f"relation:{index}", predicate, f"{one} {said} {two}", question, changed, ends)

    def action(self, index: int, relation: Item) -> Element:
        item = self.objects[relation["subject"]]
        doing = ing_form(relation["predicate"])
        verb, noun = self.the(item, described(item))
        contrasts = [f"{self.full(item)} {other}" for other in self.lexicon.contrasts["action"] if other != doing]
        phrase, question = f"{self.full(item)} {doing}", f"{verb} the {noun} {doing}?"
        return _element(f"action:{index}", relation["predicate"], phrase, question, contrasts, (relation["subject"],))

    def background(self, value: str) -> Element:
        others = self.others_than(value, "color")[:MAX_CONTRASTS]
        contrasts = [with_article(f"{other} background") for other in others]
        return _element(
            "background", value, with_article(f"{value} background"), f"Is the background {value}?", contrasts
        )

    def style(self, value: str) -> Element:
        question = (
            f"Is the image in {value} style?" if self.is_manner(value) else f"Is the image {self.a_style(value)}?"
        )
        contrasts = [self.style_phrase(other) for other in self.others_than(value, "style")]
        return _element("style", value, self.style_phrase(value), question, contrasts)

    def negation(self, index: int, item: Item) -> Element:
        one = self.one(described(item))
        element = _element(f"negation:{index}", item["name"], one, self.is_there(one, item["name"]), [NOTHING])
        return replace(element, expected="no")

    # words

    def one(self, words: str) -> str:
        return noun_phrase(words, 1, self.lexicon)

    def full(self, item: Item) -> str:
        return noun_phrase(described(item), item["count"], self.lexicon)

    def is_there(self, phrase: str, name: str) -> str:
        return f"{'Are' if is_plural_only(name, self.lexicon) else 'Is'} there {phrase}?"

    def the(self, item: Item, words: str) -> tuple[str, str]:
        """Return ("Is", "disc") or ("Are", "discs")."""
        if is_plural_only(item["name"], self.lexicon):
            return "Are", words
        return ("Are", noun_phrase(words, "some", self.lexicon)) if is_many(item) else ("Is", words)

    def is_manner(self, style: str) -> bool:
        """Say whether a style is an adjective: "in flat style", but "a watercolor"."""
        return self.lexicon.concept(style, "style") in self.lexicon.words["style_adjective"]

    def style_phrase(self, value: str) -> str:
        if self.is_manner(value):
            return f"a {value} image" if value.split()[-1] in ("style", "design", "art") else f"a {value} style image"
        return self.a_style(value)

    def a_style(self, value: str) -> str:
        noun = f"{value} painting" if value in ("watercolor", "watercolour") else value
        return noun if noun.split()[-1] in self.lexicon.words["bare_style"] else with_article(noun)

    # what stands in the place of a term in contrasts

    def siblings(self, name: str) -> list[str]:
        """Return other things of the same kind that the scene does not ask for; figures stand beside figures."""
        concept, siblings = self.lexicon.concept, self.lexicon.siblings
        asked = {concept(item["name"], kind) for item in self.objects for kind in ("figure", "object")}
        if self.lexicon.all_figures(self.scene):  # a kite in the sky is no diamond
            return [other for other in siblings["figure"] if other not in asked][:MAX_CONTRASTS]
        for group in siblings.values():
            if concept(name, "object") in group or name in group:
                return [other for other in group if other not in {*asked, name}][:6]
        return []

    def others_than(self, value: str, kind: str) -> list[str]:
        """Return the contrasts of a kind but the concept of `value`."""
        concept, is_kind = self.lexicon.concept(value, kind), self.lexicon.kinds.is_kind
        others = (other for other in self.lexicon.contrasts[kind] if other != concept)
        return [other for other in others if not (is_kind(other, value, kind) or is_kind(value, other, kind))]

    def other_values(self, kind: str, value: str) -> list[str]:
        concept = self.lexicon.concept(value, kind)
        if kind == "color":
            return self.others_than(value, "color")
        if kind in ATTRIBUTE_KINDS and concept in self.lexicon.opposites:
            return [self.lexicon.opposites[concept]]
        if kind in ("shape", "material", "texture"):
            return [other for other in self.lexicon.concepts[kind] if other != concept][:4]
        return []

    def others(self, predicate: str) -> list[str]:
        """Return the opposite of a relation and the sides that it is not."""
        sides = self.lexicon.contrasts["relation"] if predicate in self.lexicon.contrasts["relation"] else ()
        others = [self.lexicon.opposites.get(predicate), *(side for side in sides if side != predicate)]
        return list(dict.fromkeys(filter(None, others)))
