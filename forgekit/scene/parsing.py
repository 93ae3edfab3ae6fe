"""From a scene text to what it asks for: the JSON document that `scenes.elements` stores (design §4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from forgekit.scene.lexicon import Lexicon, default_lexicon
from forgekit.scene.phrases import NounPhrase, read_noun_phrase
from forgekit.scene.tagging import Token, tag_words

STATIC_VERBS = frozenset(
    [
        "be",
        "sit",
        "stand",
        "lie",
        "lay",
        "hang",
        "rest",
        "lean",
        "place",
        "locate",
        "position",
        "set",
        "perch",
        "situate",
        "mount",
        "stack",
        "nestle",
        "suspend",
        "put",
        "park",
        "arrange",
        "show",
        "see",
        "float",
        "display",
    ]
)
MEDIA = frozenset(
    ["photo", "photograph", "painting", "illustration", "drawing", "sketch", "render", "rendering", "portrait"]
)
AUXILIARIES = {"has": "have", "have": "have", "having": "have", "had": "have", "do": "do", "does": "do", "did": "do"}
SHARED_PLACES = frozenset({"on", "inside", "in front of", "behind"})  # "a cat and a dog on a bed": both are
AGENT_VERBS = frozenset(
    [
        "hold",
        "wear",
        "look",
        "ride",
        "carry",
        "eat",
        "drink",
        "read",
        "play",
        "watch",
        "talk",
        "stare",
        "drive",
        "walk",
        "run",
        "write",
        "use",
        "sing",
        "smile",
        "kick",
        "throw",
    ]
)


def parse(text: str, *, lexicon: Lexicon | None = None) -> dict[str, Any]:
    """Return what `text` asks for: objects, relations, background, style, rendered_text, negations.

    Objects are in the order of the text; `count` is 1 where a noun is singular, a number or word where one stands, and "some"
    for a bare plural. Relations name their objects by index; `object` is null for an action alone. A text without any
    object gives an empty list, never an error.
    """
    return _Parse(text, lexicon or default_lexicon()).run()


@dataclass
class _Link:
    """What stands between a subject and the object still to come."""

    subjects: list[int] = field(default_factory=list)
    predicate: str = ""  # a preposition's canonical relation
    wording: str = ""  # the preposition as it stands
    verb: str = ""
    negated: bool = False


class _Parse:
    """One pass over the tokens of a text, left to right."""

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
        self.subjects: list[int] = []  # of the clause
        self.group: list[int] = []  # the objects named last, joined by "and" or ","
        self.spoken_of: list[int] = []  # the subjects of the sentence before
        self.linked = ""  # how the group came: "", "verb" or "prep"
        self.link: _Link | None = None
        self.leading: tuple[str, int] | None = None  # "In front of a house, …" waits for its subject
        self.negated = False
        self.framed = False
        self.finite = False  # whether the clause has its verb
        self.fresh = True  # at the start of a clause or list item

    def run(self) -> dict[str, Any]:
        """Read all tokens and return the document."""
        index = 0
        while index < len(self.tokens):
            index = self._step(index)
        self._close_link()
        return {
            "objects": self.objects,
            "relations": self.relations,
            "background": self.background,
            "style": ", ".join(dict.fromkeys(self.styles)) or None,
            "rendered_text": self.rendered,
            "negations": self.negations,
        }

    def _step(self, index: int) -> int:
        token = self.tokens[index]
        tag = token.tag
        if tag in "DSQJNEGK" and (phrase := read_noun_phrase(self.tokens, index, self.lexicon)):
            if tag in "EG" and not self._modifier_opens(index):
                self._on_verb(token, index)
                return index + 1
            return self._on_noun_phrase(phrase)
        if tag in "VGEB":
            self._on_verb(token, index)
        elif tag == "P":
            self._on_preposition(token, index)
        elif tag == "J":
            return self._on_adjective(index)
        elif tag == "K":
            self.negated = True
        elif tag == "R":
            self.negated = self.negated or token.word == "not"
        elif tag == "O":
            self._on_pronoun(token)
        elif tag == "I":
            self._link_to("with", self.group[-1:])
        elif tag == "T":
            self.rendered.append(token.word)
            self.link = None
        elif tag == "Y":
            self.styles.append(token.value)
        elif tag in "XC":
            self._on_break(token, index)
        return index + 1

    def _on_pronoun(self, token: Token) -> None:
        """Let "she", "it", "they" stand for the subject of the sentence before; elsewhere they end a link."""
        if token.word in ("who", "which", "that", "there", "what"):
            return
        self._close_link()
        if not self.group:
            self.group, self.linked = list(self.spoken_of), ""

    def _modifier_opens(self, index: int) -> bool:
        previous = self.tokens[index - 1].tag if index else "X"
        return previous in "XCPR" and self.tokens[index].tag == "E" and not (previous in "C" and self.subjects)

    # noun phrases

    def _on_noun_phrase(self, phrase: NounPhrase) -> int:
        following = self.tokens[phrase.after] if phrase.after < len(self.tokens) else None
        of = following is not None and following.value == "of"
        noun = phrase.head.noun
        if self._is_frame(phrase, following):
            return phrase.after + 1
        if self._is_medium(phrase, following):
            self.styles.append(phrase.name)
            return phrase.after
        if self._is_made_of(phrase):
            return phrase.after
        if self._is_side_of(phrase):
            return phrase.after
        self._split_medium(phrase, following)
        if noun in ("background", "backdrop") or phrase.name.endswith(" background"):
            return self._on_background(phrase, of)
        if noun == "style":
            return self._on_style(phrase, of)
        if of and noun in self.lexicon.grammar["partitive"]:
            inner = read_noun_phrase(self.tokens, phrase.after + 1, self.lexicon)
            if inner and inner.determiner not in ("the", "its", "their", "his", "her"):
                self._merge_partitive(phrase, inner)
                return self._on_noun_phrase(inner)
            if inner and phrase.name in ("line", "number", "lot"):  # "the lines of the sculpture"
                return phrase.after + 1
        if self._is_abstract(phrase, of):
            if not of:
                self._close_link(object_lost=True)
            else:
                return phrase.after + 1
            return phrase.after
        if phrase.determiner == "no" or self.negated:
            self._negate(phrase)
            return phrase.after
        if self.link and self.link.verb == "be" and not self.link.predicate and self.link.subjects:
            self._describe(phrase)
            return phrase.after
        self._relate(self._add_object(phrase))
        return phrase.after

    def _describe(self, phrase: NounPhrase) -> None:
        """Take "… is a handy tool": said of the subject, not another object."""
        words = " ".join([*(value for _, value in phrase.attributes), phrase.name])
        for subject in self.link.subjects if self.link else ():
            self.objects[subject]["attributes"].append({"kind": "other", "value": words})
        self.group, self.linked, self.link = list(self.subjects), "", None

    def _is_frame(self, phrase: NounPhrase, following: Token | None) -> bool:
        """Take "a photo of", "an oil painting of": the picture itself, not a thing in it."""
        frames = self.lexicon.grammar["frame"]
        noun = phrase.head.noun
        if (
            self.objects
            or self.framed
            or phrase.count
            or following is None
            or noun.split()[-1] not in _split(frames["words"])
        ):
            return False
        if following.value not in ("of", "with") and following.word not in (
            "showing",
            "depicting",
            ":",
            ",",
            "featuring",
        ):
            return False
        self.framed = True
        plain = phrase.name in _split(frames["plain"])
        words = [value for _, value in phrase.attributes] + phrase.name.split()
        style = self._style_at_the_end(words) or ("" if plain else phrase.name)
        if style:
            self.styles.append(style)
        self.negated = False
        return True

    def _style_at_the_end(self, words: list[str]) -> str:
        """Return the longest run of style words that ends `words`: "small watercolor sketch" → "watercolor sketch"."""
        meanings, start = self.lexicon.meanings, len(words)
        while start and (
            ("style", " ".join(words[start - 1 :])) in meanings or ("style", words[start - 1]) in meanings
        ):
            start -= 1
        known = [" ".join(words[at:]) for at in range(start)]
        return next((name for name in known if ("style", name) in meanings), " ".join(words[start:]))

    def _split_medium(self, phrase: NounPhrase, following: Token | None) -> None:
        """Take "disney graveyard photo" for a photo of a disney graveyard."""
        *before, head = phrase.name.split()
        alone = not self.objects and not self.link and (following is None or following.tag == "X")
        if before and alone and head in MEDIA and phrase.name not in self.lexicon.concepts["style"]:
            self.styles.append(head)
            phrase.name = " ".join(before)

    def _is_medium(self, phrase: NounPhrase, following: Token | None) -> bool:
        """Say whether the phrase is a medium set off at the end: "…, ink sketch"."""
        alone = not phrase.determiner and not self.link and phrase.count is None and bool(self.objects)
        ends = following is None or following.tag == "X"
        return alone and ends and phrase.head.noun.split()[-1] in _split(self.lexicon.grammar["frame"]["words"])

    def _is_side_of(self, phrase: NounPhrase) -> bool:
        """Take "a dog with a cat to its left": a place beside the object named before."""
        link, side = self.link, phrase.head.noun
        if side not in ("left", "right") or phrase.determiner not in ("its", "his", "her", "their"):
            return False
        if link and link.subjects and link.predicate in ("to", "on", "at") and link.subjects[0]:
            for subject in link.subjects:
                self._add_relation(subject, f"{side} of", link.subjects[0] - 1, link.verb)
            self.group, self.linked, self.link = list(link.subjects), "", None
        return True

    def _is_made_of(self, phrase: NounPhrase) -> bool:
        """Take "made of wood": a material of the subject, not another object."""
        link = self.link
        if not (link and link.verb in ("make", "build", "carve") and link.predicate in ("of", "from")):
            return False
        if phrase.head.entry.kind != "material" and " " in phrase.name:
            return False
        for subject in link.subjects:
            self.objects[subject]["attributes"].append({"kind": "material", "value": phrase.name})
        self.link = None
        return True

    def _on_background(self, phrase: NounPhrase, of: bool) -> int:
        words = [value for _, value in phrase.attributes] + phrase.name.split()[:-1]
        after = phrase.after
        if of and (inner := read_noun_phrase(self.tokens, phrase.after + 1, self.lexicon)):
            words += [value for _, value in inner.attributes] + [inner.name]
            after = inner.after
        if words:
            self.background = " ".join(words)
        self.link = None
        return after

    def _on_style(self, phrase: NounPhrase, of: bool) -> int:
        """Take "in gothic style" and "in the style of Van Gogh"."""
        self.link = None
        words, after = [value for _, value in phrase.attributes] + phrase.name.split()[:-1], phrase.after
        if of:
            inner = read_noun_phrase(self.tokens, phrase.after + 1, self.lexicon)
            words = [value for _, value in inner.attributes] + [inner.name] if inner else []
            after = inner.after if inner else phrase.after + 1
        if words:
            self.styles.append(" ".join(words))
        return after

    def _merge_partitive(self, outer: NounPhrase, inner: NounPhrase) -> None:
        meant = self.lexicon.grammar["partitive"][outer.head.noun]
        if inner.count is None:
            if outer.count not in (None, 1) and not meant:
                inner.count = outer.count
            elif meant.isdigit() and inner.head.word != inner.head.noun:
                inner.count = int(meant) * (outer.count if isinstance(outer.count, int) else 1)
            elif meant and not meant.isdigit():
                inner.count = meant
            elif (not meant and not inner.plural) or meant.isdigit():
                inner.count = 1
        inner.attributes = [*outer.attributes, *inner.attributes]
        inner.determiner = outer.determiner
        inner.start = outer.start

    def _is_abstract(self, phrase: NounPhrase, of: bool) -> bool:
        skip = self.lexicon.grammar["skip"]
        noun = phrase.head.noun
        if phrase.head.word in _split(skip["mood"]) and not (phrase.determiner or of or self.link):
            return phrase.count is None
        if noun in _split(self.lexicon.grammar["hint"]["determined"]):
            return not phrase.attributes and " " not in phrase.name
        words = _split(skip["compound_abstract" if " " in phrase.name else "abstract"])
        if noun in words or phrase.head.word in words:
            return True
        return noun.endswith(tuple(skip["suffixes"])) and noun not in _split(skip["seen"])

    def _negate(self, phrase: NounPhrase) -> None:
        attributes = [{"kind": kind, "value": value} for kind, value in phrase.attributes]
        self.negations.append({"name": phrase.name, "attributes": attributes, "span": [phrase.start, phrase.end]})
        self.link = None

    def _add_object(self, phrase: NounPhrase) -> int:
        count = phrase.count
        if count is None:
            count = "some" if phrase.plural else 1
        attributes = [{"kind": kind, "value": value} for kind, value in phrase.attributes]
        bare = not phrase.determiner and phrase.count is None and not phrase.plural and not attributes
        if (phrase.determiner == "the" or bare) and (known := self._spoken_of(phrase, attributes)) is not None:
            return known
        item = {"name": phrase.name, "count": count, "attributes": attributes, "span": [phrase.start, phrase.end]}
        self.objects.append(item)
        return len(self.objects) - 1

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

    def _relate(self, index: int) -> None:
        """Tie the new object to what went before: by a link, as one more of a list, or as a new subject."""
        link = self.link
        if link and (link.predicate or link.verb):
            if not link.subjects:
                self.leading = (link.predicate, index) if link.predicate in self.spatial else None
                self.group, self.linked, self.link = [], "", None
                return
            predicate = self._predicate(link)
            for subject in link.subjects if predicate else ():
                if link.wording == "on top of" and self._figures(subject, index):
                    predicate = "above"  # figures lie in a plane: nothing can lie on another
                self._add_relation(subject, predicate, index, link.verb)
            self.group = [index]
            self.linked = "verb" if link.verb and not link.predicate else "prep"
            self.link = link if predicate == "between" else None
            return
        if self.group and not self.fresh and self.linked:
            for relation in [r for r in self.relations if r["object"] == self.group[-1]]:
                if self.linked == "prep" and relation["predicate"] != "with":
                    continue
                self._add_relation(relation["subject"], relation["predicate"], index, "")
        if self.leading and not self.group:
            self._add_relation(index, self.leading[0], self.leading[1], "")
            self.leading = None
        self.group = [*self.group, index]

    def _worn(self, subject: int, item: int) -> bool:
        worn = _split(self.lexicon.grammar["hint"]["worn"])
        return self.objects[item]["name"].split()[-1] in worn and self._animate(subject)

    def _figures(self, *indexes: int) -> bool:
        return all(("figure", self.objects[index]["name"]) in self.lexicon.meanings for index in indexes)

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

    def _predicate(self, link: _Link) -> str:
        if link.verb in ("", "be"):
            return link.predicate
        if not link.predicate:
            return "with" if link.verb in ("have", "feature", "contain", "include") else link.verb
        if link.predicate in self.spatial:
            return link.predicate
        return f"{link.verb} {link.predicate}" if link.verb not in STATIC_VERBS else link.predicate

    # links

    def _on_verb(self, token: Token, index: int) -> None:
        verb = token.entry.verb or token.word
        if token.tag == "B":
            verb = AUXILIARIES.get(token.word, "be")
        if self.link and self.link.verb == "be" and not self.link.predicate:
            self.link.verb = verb  # "is sitting", "has been painted"
            return
        previous = self.tokens[index - 1] if index else None
        self._close_link()
        if (
            previous is not None and previous.word == "there"
        ):  # "on the right there is a …": nothing said before is meant
            self.group, self.linked, self.subjects, self.finite = [], "", [], False
            return
        if previous is not None and previous.word in ("that", "which", "who") and self.group:
            self.link = _Link(self.group[-1:], verb=verb)
            return
        if token.tag in "GE" and previous is not None and previous.tag == "N" and self.group:
            subjects = self._agent(verb)
            if not self.subjects and not self.linked:
                self.subjects = list(self.group)
        elif self.finite and previous is not None and previous.tag == "N" and self.fresh_subject:
            subjects = self.group[-1:]
            self.subjects = subjects
        else:
            if not self.subjects or not self.linked:
                self.subjects = self.subjects if self.linked else list(self.group)
            subjects = self.subjects
        self.finite = self.finite or (token.tag in "VBE" and bool(subjects))
        self.link = _Link(list(subjects), verb=verb) if subjects else None  # "there is a cat": no subject, no link

    @property
    def fresh_subject(self) -> bool:
        """Whether the last object of the group was joined on by "and" and so may be the subject of a new clause."""
        return len(self.group) > 1

    def _agent(self, verb: str) -> list[int]:
        nearest = self.group if not self.linked else self.group[-1:]
        if (
            verb in AGENT_VERBS
            and self.linked
            and self.subjects
            and not self._animate(nearest[-1])
            and self._animate(self.subjects[0])
        ):
            return self.subjects
        return nearest

    def _animate(self, index: int) -> bool:
        name = self.objects[index]["name"].split()[-1]
        concept = self.lexicon.concept(name, "object")
        if any(concept in self.lexicon.siblings.get(kind, ()) for kind in ("person", "worker", "animal", "bird")):
            return True
        return name in _split(self.lexicon.grammar["hint"]["people"]) or name.endswith(("person", "man", "er", "ist"))

    def _on_preposition(self, token: Token, index: int) -> None:
        if self.link and self.link.verb and not self.link.predicate:
            self.link.predicate, self.link.wording = token.value or token.word, token.word
            return
        previous = self.tokens[index - 1] if index else None
        if previous is not None and previous.tag == "Y" and not self.objects:  # "watercolor of a cat"
            return
        subjects: list[int] = []
        if self.group:
            subjects = self.group[-1:]
            if not self.linked and token.value in SHARED_PLACES:
                subjects = list(self.group)
            elif (self.linked == "verb" and token.value in self.spatial) or (
                previous is not None and previous.tag in "XC"
            ):
                subjects = self.subjects or self.group[:1]
        if not self.subjects and not self.linked:
            self.subjects = subjects
        self._link_to(token.value or token.word, subjects, token.word)

    def _link_to(self, predicate: str, subjects: list[int], wording: str = "") -> None:
        self._close_link()
        self.link = _Link(list(subjects), predicate, wording)

    def _close_link(self, *, object_lost: bool = False) -> None:
        """End a link that found no object: a verb alone is an action ("a dog is running")."""
        link, self.link = self.link, None
        if link and link.verb and link.verb not in STATIC_VERBS and link.verb not in ("have", "do"):
            for subject in link.subjects:
                self._add_relation(subject, link.verb, None, "")

    def _on_adjective(self, index: int) -> int:
        """Take an adjective without a noun: "a circle that is red", "the wall was round and blue"."""
        token = self.tokens[index]
        subjects = self.link.subjects if self.link and self.link.verb == "be" else self.group[-1:]
        if subjects and not self.negated and token.entry.kind:
            for subject in subjects:
                self.objects[subject]["attributes"].append(
                    {"kind": token.entry.kind, "value": token.value or token.word}
                )
        self.negated = False
        return index + 1

    def _on_break(self, token: Token, index: int) -> None:
        if token.word in ".;!?:" or token.word in ("while", "whereas", "as"):
            self._close_link()
            self.spoken_of = self.subjects or self.group[:1] or self.spoken_of
            self.group, self.linked, self.subjects = [], "", []
            self.negated = self.finite = False
            self.leading = None if token.word != ":" else self.leading
        elif token.word in (",", "and", "but", "&", "plus") and self.link and self.link.predicate != "between":
            keep = self.link.verb == "be" and index + 1 < len(self.tokens) and self.tokens[index + 1].tag in "JR"
            if not keep:
                self._close_link()
        if token.word in (",", "but"):
            self.negated = False
        self.fresh = False


def _split(words: str) -> frozenset[str]:
    found = _SPLIT.get(words)
    if found is None:
        found = _SPLIT[words] = frozenset(words.split())
    return found


_SPLIT: dict[str, frozenset[str]] = {}
