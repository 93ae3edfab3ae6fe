"""A language model's answer about a scene, checked element by element against the scene's text.

What the text does not say, or nobody can be asked about, is dropped with its reason; the rest becomes the document that
`scenes.elements` stores. Each part of it has its English ("name", "value", "predicate"), which phrases and questions are
made of, and "words": how the text says it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from forgekit.scene.language.content_words import Span, TextWords, fold, words_of
from forgekit.scene.language.json_answers import STRAIGHT
from forgekit.scene.language.request import KINDS
from forgekit.scene.lexicon import ATTRIBUTE_KINDS, Lexicon
from forgekit.scene.rules.numbers import join_numbers
from forgekit.scene.rules.tokens import cut
from forgekit.scene.vocabulary import entry_of

SETTING = ("background", "style")
PARTS = ("objects", "relations", *SETTING, "rendered_text", "negations")
LONGEST = 6  # words of a name or value; what is longer is no element but a sentence
MOST = 1000  # things that anybody counts; more are "many"
LATIN = re.compile(r"[\x20-\x7e\u00c0-\u024f’–]+")
Item = dict[str, Any]


class UnfitError(Exception):
    """Why one part of an answer is dropped."""


class Predicate(NamedTuple):
    """A relation: a place or tie of the lexicon and the verb that stood before it, or what is done."""

    predicate: str
    verb: str = ""


@dataclass
class Checked:
    """What is left of an answer, what was `dropped` and why, and what the rest says: in the text's words, in English."""

    document: Item = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    english: list[str] = field(default_factory=list)


class AnswerCheck:
    """Checks one answer. `places` says which object each of the answer's has become, by its position and its name."""

    def __init__(self, text: TextWords) -> None:
        self.text, self.lexicon = text, text.lexicon
        self.checked = Checked()
        self.objects: list[Item] = []
        self.places: dict[Any, int] = {}
        self.setting_words: dict[str, str] = {}  # of background and style, which are mere texts in the document

    def check(self, answer: Mapping[str, Any]) -> Checked:
        """Return the parts of an answer that the text says; nothing in an answer is an error."""
        for position, item in enumerate(_listed(answer.get("objects"))):
            self._each("object", self._add_object, (position, item))
        relations = [self._each("relation", self._relation, item) for item in _listed(answer.get("relations"))]
        setting = {name: self._setting(name, answer.get(name)) for name in SETTING}
        texts = [self._each("text", self._rendered, item) for item in _listed(answer.get("rendered_text"))]
        negations = [self._each("negation", self._negation, item) for item in _listed(answer.get("negations"))]
        lists = {"rendered_text": _once(texts), "negations": _once(negations)}
        document = {"objects": self.objects, "relations": _once(relations), **setting, **lists}
        self.checked.document = {**document, "words": self.setting_words}
        return self.checked

    def _each(self, kind: str, read: Callable[[Any], Any], item: Any) -> Any:
        """Return what `read` makes of a part, or None where it is dropped."""
        try:
            return read(item)
        except UnfitError as error:
            self.checked.dropped.append(f"{kind}: {error}")
            return None

    # the parts

    def _add_object(self, numbered: tuple[int, Any]) -> None:
        position, item = numbered
        item = _named(item, "name")
        name, words, spans = self._said(item, "name")
        attributes = [self._each("attribute", self._attribute, each) for each in _attributes(item.get("attributes"))]
        attributes = _once(attributes)
        name = self._bare(name, attributes)
        thing = {"name": name, "count": self._count(item.get("count"), name), "attributes": attributes, "words": words}
        taken = [other["span"] for other in self.objects if other["span"] in [list(span) for span in spans]]
        free = [list(span) for span in spans if list(span) not in taken]
        known = next((i for i, other in enumerate(self.objects) if {**other, "span": 0} == {**thing, "span": 0}), None)
        if known is not None and not free:
            self.places.setdefault(position, known)
            raise UnfitError(f"{words!r} is listed twice")
        self._keep(name, words)
        for key in (position, fold(words), name):
            self.places.setdefault(key, len(self.objects))
        self.objects.append({**thing, "span": free[0] if free else list(spans[0])})

    def _attribute(self, item: Any) -> Item:
        item = _named(item, "value")
        value, words, _ = self._said(item, "value")
        told = str(item.get("kind", "")).lower().replace("colour", "color")
        known = next((kind for kind in ATTRIBUTE_KINDS if (kind, value) in self.lexicon.meanings), None)
        kind = told if told in KINDS and (known is None or (told, value) in self.lexicon.meanings) else known or "other"
        self._keep(value, words)
        return {"kind": kind, "value": value, "words": words}

    def _relation(self, item: Any) -> Item:
        if not isinstance(item, Mapping):
            raise UnfitError(f"{_text(item)!r} is no relation")
        english = f"{_text(item.get('verb'))} {_text(item.get('predicate'))}".strip()
        words = _text(item.get("words")) or english
        said = self._predicate(english or words, words)
        subject, other = self._place(item.get("subject")), None
        if item.get("object") is not None:
            other = self._place(item["object"])
        if subject == other or (other is None and said.predicate in self.lexicon.relations):
            raise UnfitError(f"{words!r} relates a thing to nothing else")
        ends = [self.objects[end]["name"].split()[-1] for end in (subject, other) if end is not None]
        if said.predicate == "inside" and [self.lexicon.hints(end, "worn") for end in ends] == [False, True]:
            said = Predicate("wear")
        self._keep(said.predicate, words)
        relation = {"subject": subject, "predicate": said.predicate, "object": other, "words": words}
        return {**relation, "verb": said.verb} if said.verb and other is not None else relation

    def _setting(self, kind: str, value: Any) -> str | None:
        """Return the background or the style; several styles are one text."""
        said = [each for part in _listed(value) if (each := self._each(kind, self._value, part))]
        if said:
            self.setting_words[kind] = ", ".join(words for _, words in said)
        return ", ".join(_once(value.removesuffix(f" {kind}") for value, _ in said)) or None

    def _value(self, item: Any) -> tuple[str, str]:
        value, words, _ = self._said(_named(item, "value"), "value")
        self._keep(value, words)
        return value, words

    def _rendered(self, item: Any) -> str:
        words = _text(item.get("words") or item.get("text")) if isinstance(item, Mapping) else _text(item)
        signs, wanted = (" ".join(fold(text.translate(STRAIGHT)).split()) for text in (self.text.text, words))
        if not wanted or wanted not in signs:
            raise UnfitError(f"{words!r} does not stand in the text")
        self.checked.words.append(words)
        return words

    def _negation(self, item: Any) -> Item:
        item = _named(item, "name")
        name, words, spans = self._said(item, "name")
        self._keep(name, words)
        return {"name": self._bare(name, []), "attributes": [], "words": words, "span": list(spans[0])}

    # what a part says

    def _said(self, item: Mapping[str, Any], key: str) -> tuple[str, str, list[Span]]:
        """Return a part in English, its words in the text, and where they stand."""
        english = self._without_article(_text(item.get(key)).lower())
        words = _text(item.get("words")) or english
        if not words or not english or max(len(words_of(words)), len(words_of(english))) > LONGEST:
            raise UnfitError(f"{words or english!r} is no name of one thing")
        if not words_of(english) or not LATIN.fullmatch(english):
            raise UnfitError(f"{english!r} is not English")
        spans = self.text.places(words)
        if not spans:
            raise UnfitError(f"{words!r} does not stand in the text")
        strange = [each.word for each in words_of(english) if not self.text.says(each.word)]
        if self.text.is_english and strange:
            raise UnfitError(f"{english!r}: the text does not say {strange[0]!r}")
        return english, words, spans

    def _keep(self, english: str, words: str) -> None:
        self.checked.english.append(english)
        self.checked.words.append(words)

    def _without_article(self, name: str) -> str:
        words = name.split()
        while len(words) > 1 and entry_of(words[0], self.lexicon).tags in ("D", "S", "Q"):
            words = words[1:]
        return " ".join(words)

    def _bare(self, name: str, attributes: Iterable[Item]) -> str:
        """Return a name in the singular, without the attributes that are said besides."""
        *before, last = name.split()
        values = {word for attribute in attributes for word in attribute["value"].split()}
        entry = entry_of(last, self.lexicon)
        return " ".join([*(word for word in before if word not in values), entry.noun if "N" in entry.tags else last])

    def _count(self, given: Any, name: str) -> int | str:
        """Return a number of things that the text says, or else "some" where the answer has several, 1 where it has not."""
        said, counts = _text(given).lower(), self.lexicon.tables["count"]
        number = counts.get(said, said)
        if not number.isdecimal():
            if said in self.numbers:
                return said
            several = self.lexicon.hints(said, "vague", "quantity")
            return 1 if not several else "some" if self.text.is_english else said
        count = int(number) if len(number) < LONGEST else MOST + 1
        if count > 1 and self.text.is_english and str(count) not in self.numbers:
            self.checked.dropped.append(f"count: the text does not say {count} of {name!r}")
            return "some"
        return "many" if count > MOST else max(count, 1)

    @cached_property
    def numbers(self) -> set[str]:
        """How many of something the text says anywhere: digits, and counts that are words ("many", "at least three")."""
        words = [token.word for token in join_numbers(cut(self.text.text, self.lexicon), self.lexicon)]
        tables = [self.lexicon.tables[name] for name in ("count", "partitive")]
        counted = [table[word] for table in tables for word in words if word in table]
        return {*counted, *words}

    def _predicate(self, english: str, words: str) -> Predicate:
        """Return what a relation says; where the text is in English and does not say that, what its words there say."""
        said, standing = read_predicate(english, self.lexicon), read_predicate(words, self.lexicon)
        if not self.text.places(words) or said is None:
            raise UnfitError(f"{words!r} does not stand in the text")
        spoken = standing is not None and {standing.predicate, standing.verb} & {said.predicate}
        if self.text.is_english and not spoken and not all(self.text.says(word) for word in said.predicate.split()):
            if standing is None:
                raise UnfitError(f"{english!r}: the text does not say so")
            return standing
        return said

    def _place(self, thing: Any) -> int:
        named = self._without_article(_text(thing))
        key: Any = int(named) if named.isdecimal() and len(named) < LONGEST else fold(named)
        if key not in self.places:
            raise UnfitError(f"it is about {_text(thing)!r}, which was dropped or is not in the list")
        return self.places[key]


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _attributes(value: Any) -> list[Any]:
    """Return attributes as a list, also where they came as {"color": "red"}."""
    if isinstance(value, Mapping) and "value" not in value:
        return [{"kind": kind, "value": each} for kind, several in value.items() for each in _listed(several)]
    return _listed(value)


def _named(item: Any, key: str) -> Mapping[str, Any]:
    return item if isinstance(item, Mapping) else {key: item}


def _text(value: Any) -> str:
    """Return a text or a number as one line of text; "" for anything else."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return " ".join(str(value).split()) if isinstance(value, str) or is_number else ""


def _once(items: Iterable[Any]) -> list[Any]:
    """Return the items that are there, each once."""
    kept: list[Any] = []
    for item in items:
        if item is not None and item not in kept:
            kept.append(item)
    return kept


def read_predicate(words: str, lexicon: Lexicon) -> Predicate | None:
    """Return what English `words` say of one thing and another, or of one alone; None where that is no more than "is"."""
    said = [word for word in words.lower().split() if entry_of(word, lexicon).verb != "be"]
    if not said:
        return None
    verb = entry_of(said[0], lexicon).verb
    for start in range(len(said)):
        predicate = _worded(said[start:], lexicon)
        if predicate in lexicon.places or (predicate and not start):
            return Predicate(predicate, verb if start else "")
    if verb == "have":
        return Predicate("with")
    return Predicate(" ".join([verb or said[0], *said[1:]]))


def _worded(words: list[str], lexicon: Lexicon) -> str:
    """Return the place or tie that the words are a wording of, or ""."""
    phrases = lexicon.phrases.get(words[0], ())
    return next((p.entry.noun for p in phrases if p.entry.tags == "P" and list(p.words) == words), "")
