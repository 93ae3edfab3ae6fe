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

from collections.abc import Iterable, Iterator
from typing import Any

from forgekit.scene.element import Element
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

BASIC_COLORS = ("red", "blue", "green", "yellow", "purple", "orange", "pink", "black", "white", "gray", "brown")
MAX_CONTRASTS = 10
NOTHING = "an empty background"
STYLE_CONTRASTS = ("photo", "watercolor", "line art", "flat", "oil painting", "pencil sketch", "cartoon")
RELATION_CONTRASTS = ("left of", "right of", "above", "below")


def list_elements(elements: dict[str, Any], *, lexicon: Lexicon | None = None) -> list[Element]:
    """Return every element of a parsed scene, in the order objects, counts, attributes, relations, background, style, text, negations.

    Keys are unique: "object:0"; a second colour of object 0 is "color:0:1".
    """
    writer = _Writer(elements, lexicon or default_lexicon())
    return _unique(writer.all())


def _unique(elements: Iterable[Element]) -> list[Element]:
    seen: dict[str, int] = {}
    result = []
    for element in elements:
        times = seen.get(element.key, 0)
        seen[element.key] = times + 1
        if times:
            element = Element(**{**vars(element), "key": f"{element.key}:{times}"})
        result.append(element)
    return result


class _Writer:
    """Writes the elements of one scene."""

    def __init__(self, scene: dict[str, Any], lexicon: Lexicon) -> None:
        self.scene = scene
        self.lexicon = lexicon
        self.objects: list[dict[str, Any]] = scene["objects"]
        self.spatial = frozenset(lexicon.grammar["spatial"]["words"])
        self.adjective_styles = frozenset(lexicon.grammar["style"]["adjective"].split())
        names = [item["name"] for item in self.objects]
        self.shared = {name for name in names if names.count(name) > 1}

    def all(self) -> Iterator[Element]:
        for index, item in enumerate(self.objects):
            yield self.object(index, item)
        for index, item in enumerate(self.objects):
            if isinstance(item["count"], int) and item["count"] > 1:
                yield self.count(index, item)
            for attribute in item["attributes"]:
                yield self.attribute(index, item, attribute)
        for index, relation in enumerate(self.scene["relations"]):
            yield self.relation(index, relation) if relation["object"] is not None else self.action(index, relation)
        if self.scene.get("background"):
            yield self.background(self.scene["background"])
        if self.scene.get("style"):
            yield self.style(self.scene["style"])
        for index, text in enumerate(self.scene.get("rendered_text") or []):
            yield self.text(index, text)
        for index, item in enumerate(self.scene.get("negations") or []):
            yield self.negation(index, item)

    # one method for each kind

    def object(self, index: int, item: dict[str, Any]) -> Element:
        one = self.one(item["name"])
        contrasts = [self.one(name) for name in self.siblings(item["name"])]
        return Element(
            f"object:{index}",
            "object",
            item["name"],
            one,
            self.is_there(one, item["name"]),
            "yes",
            (*contrasts, NOTHING),
            (index,),
        )

    def count(self, index: int, item: dict[str, Any]) -> Element:
        words = described(item) if item["name"] in self.shared else item["name"]
        phrase = noun_phrase(words, item["count"], self.lexicon)
        others = [number for number in range(1, max(6, item["count"] + 2)) if number != item["count"]]
        contrasts = tuple(
            "one " + words if number == 1 else noun_phrase(words, number, self.lexicon) for number in others
        )
        return Element(
            f"count:{index}",
            "count",
            phrase.split()[0],
            phrase,
            f"Are there {phrase}?",
            "yes",
            contrasts[:MAX_CONTRASTS],
            (index,),
        )

    def attribute(self, index: int, item: dict[str, Any], attribute: dict[str, str]) -> Element:
        kind, value = attribute["kind"], attribute["value"]
        count = 1 if not is_many(item) else "some"
        if stands_behind(value):
            phrase = f"{noun_phrase(item['name'], count, self.lexicon)} {value}"
        else:
            phrase = noun_phrase(f"{value} {item['name']}", count, self.lexicon)
        verb, noun = self.the(item, item["name"])
        question = f"{verb} the {noun} {value}?"
        if item["name"] in self.shared:
            question = f"{'Are' if count == 'some' else verb} there {phrase}?"
        # A value that another object of this name is to have shows on a faithful image, too.
        asked = {
            self.lexicon.concept(a["value"], kind)
            for o in self.objects
            if o["name"] == item["name"]
            for a in o["attributes"]
        }
        others = [other for other in self.other_values(kind, value) if other not in asked]
        contrasts = tuple(noun_phrase(f"{other} {item['name']}", count, self.lexicon) for other in others)
        return Element(f"{kind}:{index}", kind, value, phrase, question, "yes", contrasts[:MAX_CONTRASTS], (index,))

    def relation(self, index: int, relation: dict[str, Any]) -> Element:
        subject, predicate, other = relation["subject"], relation["predicate"], relation["object"]
        first, second = self.objects[subject], self.objects[other]
        said = " ".join(
            filter(None, [ing_form(relation["verb"]) if relation.get("verb") else "", self.said(predicate)])
        )
        one, two = self.full(first), self.full(second)
        verb, noun = self.the(first, described(first))
        question = f"{verb} the {noun} {said} the {self.the(second, described(second))[1]}?"
        if predicate in ("with", "of"):
            question = f"Is there {one} {said} {two}?"
        changed = [f"{one} {self.said(p)} {two}" for p in self.other_relations(predicate)]
        contrasts = (
            (*changed, f"{two} {said} {one}")
            if predicate not in ("next to", "with", "of", "between")
            else tuple(changed)
        )
        return Element(
            f"relation:{index}",
            "relation",
            predicate,
            f"{one} {said} {two}",
            question,
            "yes",
            contrasts,
            (subject, other),
        )

    def action(self, index: int, relation: dict[str, Any]) -> Element:
        item = self.objects[relation["subject"]]
        doing = ing_form(relation["predicate"])
        verb, noun = self.the(item, described(item))
        phrase = f"{self.full(item)} {doing}"
        contrasts = tuple(f"{self.full(item)} {other}" for other in ("standing", "sleeping") if other != doing)
        question = f"{verb} the {noun} {doing}?"
        return Element(
            f"action:{index}",
            "action",
            relation["predicate"],
            phrase,
            question,
            "yes",
            contrasts,
            (relation["subject"],),
        )

    def background(self, value: str) -> Element:
        family = self.lexicon.concept(value, "color")
        others = [color for color in BASIC_COLORS if color != family][:MAX_CONTRASTS]
        contrasts = tuple(with_article(f"{other} background") for other in others)
        return Element(
            "background",
            "background",
            value,
            with_article(f"{value} background"),
            f"Is the background {value}?",
            "yes",
            contrasts,
            (),
        )

    def style(self, value: str) -> Element:
        family = self.lexicon.concept(value, "style")
        question = (
            f"Is the image in {value} style?" if family in self.adjective_styles else f"Is the image {_a_style(value)}?"
        )
        contrasts = tuple(self.style_phrase(other) for other in STYLE_CONTRASTS if other != family)
        return Element("style", "style", value, self.style_phrase(value), question, "yes", contrasts, ())

    def text(self, index: int, text: str) -> Element:
        phrase = f'the text "{text}"'
        return Element(f"text:{index}", "text", text, phrase, f"Does the image show {phrase}?", "yes", ("no text",), ())

    def negation(self, index: int, item: dict[str, Any]) -> Element:
        one = self.one(described(item))
        return Element(
            f"negation:{index}", "negation", item["name"], one, self.is_there(one, item["name"]), "no", (NOTHING,), ()
        )

    # words

    def one(self, words: str) -> str:
        return noun_phrase(words, 1, self.lexicon)

    def full(self, item: dict[str, Any]) -> str:
        return noun_phrase(described(item), item["count"], self.lexicon)

    def said(self, predicate: str) -> str:
        return said_relation(predicate, self.spatial)

    def is_there(self, phrase: str, name: str) -> str:
        return f"{'Are' if is_plural_only(name, self.lexicon) else 'Is'} there {phrase}?"

    def the(self, item: dict[str, Any], words: str) -> tuple[str, str]:
        """Return ("Is", "disc") or ("Are", "discs")."""
        if is_plural_only(item["name"], self.lexicon):
            return "Are", words
        if not is_many(item):
            return "Is", words
        return "Are", noun_phrase(words, "some", self.lexicon)

    def siblings(self, name: str) -> list[str]:
        """Return other things of the same kind that the scene does not ask for; figures stand beside figures."""
        figure = self.lexicon.concept(name, "figure")
        asked = {self.lexicon.concept(item["name"], "figure") for item in self.objects}
        asked |= {self.lexicon.concept(item["name"], "object") for item in self.objects}
        if figure in self.lexicon.concepts["figure"]:
            return [other for other in self.lexicon.siblings["figure"] if other not in asked][:MAX_CONTRASTS]
        concept = self.lexicon.concept(name, "object")
        for group in self.lexicon.siblings.values():
            if concept in group or name in group:
                return [other for other in group if other not in {*asked, name}][:6]
        return []

    def other_values(self, kind: str, value: str) -> Iterator[str]:
        if kind not in ATTRIBUTE_KINDS:
            return
        concept = self.lexicon.concept(value, kind)
        if kind == "color":
            yield from (color for color in BASIC_COLORS if color != concept)
        elif (opposite := self.lexicon.opposites.get(concept)) is not None:
            yield opposite
        elif kind in ("shape", "material", "texture"):
            yield from [other for other in self.lexicon.concepts[kind] if other != concept][:4]

    def other_relations(self, predicate: str) -> list[str]:
        opposite = self.lexicon.opposites.get(predicate)
        others = RELATION_CONTRASTS if predicate in RELATION_CONTRASTS else ()
        return list(
            dict.fromkeys([*([opposite] if opposite else []), *(other for other in others if other != predicate)])
        )

    def style_phrase(self, value: str) -> str:
        if self.lexicon.concept(value, "style") in self.adjective_styles:
            return f"a {value} image" if value.split()[-1] in ("style", "design", "art") else f"a {value} style image"
        return _a_style(value)


def _a_style(value: str) -> str:
    noun = f"{value} painting" if value in ("watercolor", "watercolour") else value
    return (
        noun if noun.split()[-1] in ("art", "anime", "graffiti", "photography", "cgi", "white") else with_article(noun)
    )
