"""The list of elements a judge is asked about, each with its phrase, its question and its contrasts.

The questions have few forms, so that a small model can be trained on all of them:

    object      Is there a disc?                               (also for several: Is there a heart? For a name: Is Ada Lovelace shown?)
    count       Are there two hearts?
    attribute   Is the disc scarlet?   Are the hearts pink?    (Is there a scarlet disc? where another disc is in the scene)
    relation    Is the red circle to the left of the blue square?
    action      Is the dog running?
    background  Is the background yellow?
    style       Is the image a watercolor?                     (Is the image in flat style?)
    text        Does the image show the text "STOP"?
    negation    Is there a person?                             (expected: no)

No question is asked twice: two red flowers and three white ones are asked for once as flowers. Things that the scene tells apart by
nothing are counted together ("a dog and a dog": Are there two dogs?).

Phrases are captions as CLIP likes them. A contrast is the phrase with exactly one thing changed; an attribute that the lexicon
does not know has no contrast but the object without it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from forgekit.scene.annotation import asked_elements, own_questions
from forgekit.scene.element import Element, Scene
from forgekit.scene.lexicon import ATTRIBUTE_KINDS, Lexicon, default_lexicon
from forgekit.scene.vocabulary import entry_of
from forgekit.scene.wording import (
    described,
    full,
    is_many,
    is_plural_only,
    is_predicate,
    noun_phrase,
    plural,
    said_relation,
    said_style,
    shown_style,
    stands_behind,
    with_article,
)

MAX_CONTRASTS = 10
COUNTABLE = 20  # nobody counts more in a picture
NOTHING = "an empty background"
Item = dict[str, Any]
__all__ = ["NOTHING", "Element", "Scene", "list_elements"]


def list_elements(elements: dict[str, Any], *, lexicon: Lexicon | None = None, repeated: bool = False) -> list[Element]:
    """Return every element of a parsed scene, in the order objects, counts, attributes, relations, background, style, text, negations.

    Keys are unique: "object:0"; a second colour of object 0 is "color:0:1". Of elements with the same question the first is
    kept; `repeated` keeps all. Where a benchmark has questions of its own, exactly these are the elements.
    """
    questions = own_questions(elements)
    written = _written(elements, lexicon or default_lexicon(), repeated=repeated or bool(questions))
    return asked_elements(questions, written) if questions else written


def _written(elements: dict[str, Any], lexicon: Lexicon, *, repeated: bool) -> list[Element]:
    seen: Counter[str] = Counter()
    result: dict[str, Element] = {}
    for element in _Writer(elements, lexicon).all():
        times = seen[element.key]
        seen[element.key] += 1
        key = f"{element.key}:{times}" if times else element.key
        result.setdefault(key if repeated else element.question, replace(element, key=key) if times else element)
    return list(result.values())


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
        self.named: dict[str, list[int]] = defaultdict(list)  # the objects of each name
        self.alike: dict[str, list[int]] = defaultdict(list)  # those that nothing tells apart
        self.values: dict[str, set[str]] = defaultdict(set)  # what those of each name are to be
        for index, item in enumerate(self.objects):
            self.named[item["name"]].append(index)
            self.alike[described(item)].append(index)
            self.values[item["name"]].update(attribute["value"] for attribute in item["attributes"])
        concepts = {lexicon.concept(name, kind) for name in self.named for kind in ("figure", "object")}
        self.asked = frozenset(concepts)
        self.figures = lexicon.all_figures(scene)

    def all(self) -> Iterator[Element]:
        for index in range(len(self.objects)):
            yield self.object(index)
        for index, item in enumerate(self.objects):
            yield from self.count(index, item)
            for attribute in item["attributes"]:
                if not attribute["value"][0].isdigit():  # nobody sees how old somebody is, or what measures 30 ml
                    yield self.attribute(index, item, attribute["kind"], attribute["value"])
        for index, relation in enumerate(self.scene["relations"]):
            yield self.relation(index, relation) if relation["object"] is not None else self.action(index, relation)
        if self.scene.get("background"):
            yield self.background(self.scene["background"])
        for style in filter(None, (self.scene.get("style") or "").split(", ")):
            if shown := shown_style(style, self.lexicon):
                yield self.style(style, shown)
        for index, text in enumerate(self.scene.get("rendered_text") or []):
            shown = f'the text "{text}"'
            yield _element(f"text:{index}", text, shown, f"Does the image show {shown}?", ["no text"])
        for index, item in enumerate(self.scene.get("negations") or []):
            yield self.negation(index, item)

    # one method for each kind

    def object(self, index: int) -> Element:
        item = self.objects[index]
        name = item["name"]
        one = item.get("called") or self.one(name)
        question = f"Is {one} shown?" if item.get("called") else self.is_there(one, name)
        contrasts = [*(self.one(other) for other in self.siblings(name)), NOTHING]
        return _element(f"object:{index}", name, one, question, contrasts, (index,))

    def count(self, index: int, item: Item) -> Iterator[Element]:
        alike = self.alike[described(item)]
        if index != alike[0]:
            return
        numbers = [self.objects[other]["count"] for other in alike]
        if isinstance(item["count"], str) and " " in item["count"] and len(alike) == 1:  # "at least three"
            phrase = noun_phrase(item["name"], item["count"], self.lexicon)
            yield _element(f"count:{index}", item["count"], phrase, f"Are there {phrase}?", [NOTHING], (index,))
        if not all(isinstance(number, int) for number in numbers) or sum(numbers) < 2:
            return
        if sum(numbers) > COUNTABLE:
            phrase = f"many {plural(item['name'])}"
            contrasts = [self.one(item["name"]), f"a few {plural(item['name'])}"]
            yield _element(f"count:{index}", "many", phrase, f"Are there {phrase}?", contrasts, tuple(alike))
            return
        words = described(item) if len(self.named[item["name"]]) > len(alike) else item["name"]
        phrase = noun_phrase(words, sum(numbers), self.lexicon)
        others = [number for number in range(1, max(6, sum(numbers) + 2)) if number != sum(numbers)][:MAX_CONTRASTS]
        contrasts = ["one " + words if number == 1 else noun_phrase(words, number, self.lexicon) for number in others]
        yield _element(f"count:{index}", phrase.split()[0], phrase, f"Are there {phrase}?", contrasts, tuple(alike))

    def attribute(self, index: int, item: Item, kind: str, value: str) -> Element:
        name, count = item["name"], "some" if is_many(item) else 1
        if item.get("called"):
            phrase = f"{item['called']}, {value}"
        elif stands_behind(value):
            phrase = f"{noun_phrase(name, count, self.lexicon)} {value}"
        else:
            phrase = noun_phrase(f"{value} {name}", count, self.lexicon)
        verb, noun = self.the(item, name)
        question = f"{verb} {noun} {value}?"
        if kind == "material" and self.lexicon.hints(value, "made_of"):
            question = f"{verb} {noun} made of {value}?"
        told_apart = len(self.named[name]) > 1 or not is_predicate(kind, value, self.lexicon)
        if told_apart and not item.get("called"):
            question = f"{'Are' if is_many(item) else verb} there {phrase}?"
        # A value that another object of this name is to have shows on a faithful image, too.
        taken = {self.lexicon.concept(each, kind) for each in self.values[name]}
        others = [other for other in self.other_values(kind, value) if other not in taken]
        contrasts = [noun_phrase(f"{other} {name}", count, self.lexicon) for other in others[:MAX_CONTRASTS]]
        return _element(f"{kind}:{index}", value, phrase, question, contrasts, (index,))

    def relation(self, index: int, relation: Item) -> Element:
        predicate, ends = relation["predicate"], (relation["subject"], relation["object"])
        first, second = (self.objects[end] for end in ends)
        one, two = full(first, self.lexicon), full(second, self.lexicon)
        said = said_relation(relation, self.lexicon)
        verb, noun = self.the(first, described(first))
        twin = one == two and not is_many(second)  # "a dog next to another dog"
        other = f"another {described(second)}" if twin else self.the(second, described(second))[1]
        if predicate == "play" and self.lexicon.is_mass(second["name"]):
            other = second["name"]  # "playing chess"
        question = f"{verb} {noun} {said} {other}?"
        if (predicate in ("with", "of") or twin) and not first.get("called"):
            be = "Is" if one.startswith(("a ", "an ")) else verb  # "a stack of books"
            question = f"{be} there {one} {said} {other if twin else two}?"
        changed = [f"{one} {self.lexicon.relations.get(other, other)} {two}" for other in self.others(predicate)]
        if predicate not in ("next to", "with", "of", "between"):
            changed.append(f"{two} {said} {one}")
        return _element(f"relation:{index}", predicate, f"{one} {said} {two}", question, changed, ends)

    def action(self, index: int, relation: Item) -> Element:
        item = self.objects[relation["subject"]]
        doing, one = said_relation(relation, self.lexicon), full(item, self.lexicon)
        verb, noun = self.the(item, described(item))
        contrasts = [f"{one} {other}" for other in self.lexicon.contrasts["action"] if other != doing]
        phrase, question = f"{one} {doing}", f"{verb} {noun} {doing}?"
        return _element(f"action:{index}", relation["predicate"], phrase, question, contrasts, (relation["subject"],))

    def background(self, value: str) -> Element:
        others = self.others_than(value, "color")[:MAX_CONTRASTS]
        contrasts = [with_article(f"{other} background") for other in others]
        last = entry_of(value.split()[-1], self.lexicon)
        said = value if "J" in last.tags or last.kind or last.noun != value.split()[-1] else self.one(value)
        phrase = with_article(f"{value} background")
        return _element("background", value, phrase, f"Is the background {said}?", contrasts)

    def style(self, value: str, shown: str) -> Element:
        contrasts = [said_style(other, self.lexicon)[1] for other in self.others_than(value, "style")]
        said, phrase = said_style(shown, self.lexicon)
        return _element("style", value, phrase, f"Is the image {said}?", contrasts)

    def negation(self, index: int, item: Item) -> Element:
        one = self.one(described(item))
        element = _element(f"negation:{index}", item["name"], one, self.is_there(one, item["name"]), [NOTHING])
        return replace(element, expected="no")

    # words

    def one(self, words: str) -> str:
        return noun_phrase(words, 1, self.lexicon)

    def is_there(self, phrase: str, name: str) -> str:
        return f"{'Are' if is_plural_only(name, self.lexicon) else 'Is'} there {phrase}?"

    def the(self, item: Item, words: str) -> tuple[str, str]:
        """Return ("Is", "the disc"), ("Are", "the discs") or ("Is", "Ada Lovelace")."""
        if item.get("called"):
            return "Is", item["called"]
        if is_plural_only(item["name"], self.lexicon):
            return "Are", f"the {words}"
        mass = self.lexicon.is_mass(item["name"]) and isinstance(item["count"], str)
        if not is_many(item) or mass:
            return "Is", f"the {words}"
        return "Are", f"the {noun_phrase(words, 'some', self.lexicon)}"

    # what stands in the place of a term in contrasts

    def siblings(self, name: str) -> list[str]:
        """Return other things of the same kind that the scene does not ask for; figures stand beside figures."""
        concept, siblings = self.lexicon.concept, self.lexicon.siblings
        if self.figures:  # a kite in the sky is no diamond
            return [other for other in siblings["figure"] if other not in self.asked][:MAX_CONTRASTS]
        for group in siblings.values():
            if concept(name, "object") in group or name in group:
                return [other for other in group if other not in self.asked and other != name][:6]
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
