"""Noun phrases that name no new object: the picture itself, its style and background, a material, a side, an amount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forgekit.scene.lexicon import split_words
from forgekit.scene.phrases import Attribute, NounPhrase, read_noun_phrase
from forgekit.scene.relating import Relating
from forgekit.scene.tokens import Token

MEDIA = frozenset(
    ["photo", "photograph", "painting", "illustration", "drawing", "sketch", "render", "rendering", "portrait"]
)

POSSESSIVES = frozenset(["its", "his", "her", "their"])


class Asides(Relating):
    """The part of a pass that tells such phrases from objects and reads what they say."""

    def _describe(self, phrase: NounPhrase) -> None:
        """Take "… is a handy tool": said of the subject, not another object."""
        words = " ".join([*(value for _, value in phrase.attributes), phrase.name])
        for subject in self.link.subjects if self.link else ():
            self._attribute(subject, [("other", words)])
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
            or noun.split()[-1] not in split_words(frames["words"])
        ):
            return False
        if following.value not in ("of", "with", "about") and following.word not in (
            "showing",
            "shows",
            "depicting",
            "depicts",
            ":",
            ",",
            "featuring",
        ):
            return False
        self.framed = True
        plain = phrase.name in split_words(frames["plain"])
        words = [value for _, value in phrase.attributes] + phrase.name.split()
        style = self._style_at_the_end(words) or ("" if plain else phrase.name)
        if style:
            self.styles.append(style)
        self.negated = False
        return True

    def _is_the_picture(self, phrase: NounPhrase, following: Token | None) -> bool:
        """Take "The picture is …": said of the whole."""
        plain = phrase.name in split_words(self.lexicon.grammar["frame"]["plain"])
        return plain and phrase.determiner == "the" and following is not None and following.tag in "BV"

    def _is_part_of_the_picture(self, phrase: NounPhrase) -> bool:
        """Take "on the left side of the picture": where in the frame, beside no thing."""
        plain = phrase.name in split_words(self.lexicon.grammar["frame"]["plain"])
        link = self.link
        if not (plain and phrase.determiner == "the" and link and link.predicate in self.spatial):
            return False
        self.link = None
        return True

    def _is_view(self, phrase: NounPhrase, of: bool) -> bool:
        """Take "from the perspective of a person": who looks is not in the picture. Moves the phrase's end behind them."""
        if not of or not self.lexicon.hints(phrase.head.noun, "viewing"):
            return False
        viewer = read_noun_phrase(self.tokens, phrase.after + 1, self.lexicon)
        phrase.after = viewer.after if viewer else phrase.after + 1
        self.link = None
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
        set_off = bool(self.objects) or any(token.tag == "X" and token.end <= phrase.start for token in self.tokens)
        alone = not phrase.determiner and not self.link and phrase.count is None and set_off
        ends = following is None or following.tag == "X" or (following.word == "in" and " " in phrase.name)
        return alone and ends and phrase.head.noun.split()[-1] in split_words(self.lexicon.grammar["frame"]["words"])

    def _is_side_of(self, phrase: NounPhrase) -> bool:
        """Take "a dog with a cat to its left": a place beside the object named before."""
        link, side = self.link, phrase.head.noun
        if side not in ("left", "right") or phrase.determiner not in POSSESSIVES:
            return False
        beside = (link.near or link.subjects) if link else []
        if link and link.predicate in ("to", "on", "at") and beside and beside[0]:
            placed = {r["subject"] for r in self.relations if r["predicate"] in ("left of", "right of")}
            for subject in [s for s in beside if s not in placed] or beside:
                self._add_relation(subject, f"{side} of", beside[0] - 1, link.verb)
            self.group, self.linked, self.link = list(beside), "", None
        return True

    def _is_made_of(self, phrase: NounPhrase) -> bool:
        """Take "made of wood": a material of the subject, and its colour, not another object."""
        link = self.link
        if not (link and link.subjects and link.makes):
            return False
        is_thing = phrase.head.entry.kind != "material" and (" " in phrase.name or phrase.plural)
        if phrase.determiner or is_thing:
            self.link = None if link.told else link
            return False
        colors = [value for kind, value in phrase.attributes if kind == "color"]
        for subject in link.subjects:
            self._attribute(subject, [("material", phrase.name), *(("color", color) for color in colors)])
        link.told = True
        return True

    def _is_maker(self, phrase: NounPhrase) -> bool:
        """Take "by Vincent van Gogh", "designed by …": whose hand it is, not a thing beside the subject."""
        link = self.link
        if not link or link.wording != "by":
            return False
        made = self._acts(link.verb, "making") and not phrase.determiner
        if not made and (link.verb or not self._is_name(phrase)):
            return False
        self.styles.append(phrase.name)
        self.group, self.link = list(link.subjects), None
        return True

    def _is_name(self, phrase: NounPhrase) -> bool:
        """Say whether the phrase is a person's name, in capitals or of words no dictionary has: no "Lake Tahoe"."""
        words = [token for token in self.tokens if phrase.start <= token.start < phrase.end]
        if phrase.determiner or phrase.count or any(self.lexicon.is_thing(words[end].noun) for end in (0, -1)):
            return False
        return phrase.head.entry.tags == "U" or (words[0].proper and words[-1].proper)

    def _is_likeness(self, phrase: NounPhrase) -> bool:
        """Take "like cotton candy", "shaped like a star": said of the subject, no thing of its own.

        "Fruits like apples and pears" names things that are there.
        """
        link = self.link
        if not (link and link.predicate == "like" and link.subjects):
            return False
        if not link.verb and link.wording == "like" and phrase.plural and not phrase.determiner:
            return False
        words = " ".join([*(value for _, value in phrase.attributes), phrase.name])
        if phrase.after < len(self.tokens) and self.tokens[phrase.after].tag == "I":  # "like a lion's head"
            owned = read_noun_phrase(self.tokens, phrase.after + 1, self.lexicon)
            words, phrase.after = (f"{words}'s {owned.name}", owned.after) if owned else (words, phrase.after)
        wording = "shaped like" if link.verb == "shape" else link.wording
        for subject in link.subjects:
            self._attribute(subject, [("other", f"{wording} {phrase.determiner} {words}".replace("  ", " "))])
        self.group, self.linked, self.link = list(link.subjects), "", None
        return True

    def _is_coloring(self, phrase: NounPhrase) -> bool:
        """Take "a tie in red tones": colours of the subject."""
        link = self.link
        colors = [("color", value) for kind, value in phrase.attributes if kind == "color"]
        if not (link and link.predicate == "inside" and colors and self.lexicon.hints(phrase.head.noun, "coloring")):
            return False
        for subject in link.near or link.subjects:
            self._attribute(subject, colors)
        self.link = None
        return True

    def _called(self, phrase: NounPhrase) -> NounPhrase | None:
        """Return "the city of London" as one phrase; None where no name follows."""
        if not self.lexicon.hints(phrase.head.noun, "named"):
            return None
        name = read_noun_phrase(self.tokens, phrase.after + 1, self.lexicon)
        if name is None or name.determiner or not name.head.proper:
            return None
        return replace(phrase, name=f"{phrase.name} of {name.name}", after=name.after)

    def _kind_of_garment(self, phrase: NounPhrase) -> NounPhrase | None:
        """Return the hat of "wearing a conductor's hat" as one thing: no conductor need be there."""
        if phrase.determiner not in ("a", "an") or not (self.link and self.link.subjects):
            return None
        owned = read_noun_phrase(self.tokens, phrase.after + 1, self.lexicon)
        if owned is None or not self.lexicon.hints(owned.name.split()[-1], "worn"):
            return None
        owned.name = " ".join([*(value for _, value in phrase.attributes), f"{phrase.name}'s {owned.name}"])
        owned.determiner, owned.start = phrase.determiner, phrase.start
        return owned

    def _attribute(self, subject: int, attributes: Sequence[Attribute]) -> None:
        self.objects[subject]["attributes"] += [{"kind": kind, "value": value} for kind, value in attributes]

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
        plural_only = self.lexicon.hints(inner.head.noun, "plural")
        if inner.count is None and not plural_only:
            if outer.count not in (None, 1) and not meant:
                inner.count = outer.count
            elif meant.isdigit() and inner.head.word != inner.head.noun:
                inner.count = int(meant) * (outer.count if isinstance(outer.count, int) else 1)
            elif meant and not meant.isdigit():
                inner.count = meant
            elif not meant and not inner.plural and outer.plural:  # "slices of bread"
                inner.count = "some"
            elif (not meant and not inner.plural) or meant.isdigit():
                inner.count = 1
        inner.attributes = [*outer.attributes, *inner.attributes]
        inner.determiner = outer.determiner
        inner.start = outer.start

    def _is_abstract(self, phrase: NounPhrase, of: bool) -> bool:
        skip = self.lexicon.grammar["skip"]
        noun = phrase.head.noun
        if phrase.head.word in split_words(skip["mood"]) and not (phrase.determiner or of or self.link):
            return phrase.count is None
        if self.lexicon.hints(noun, "game") and " " not in phrase.name:
            return not phrase.determiner
        is_time = self.lexicon.hints(noun, "time")
        if is_time and self.link and self.link.predicate in ("at", "during", "in front of"):  # the last is "before"
            return True
        if self.lexicon.hints(noun, "determined"):
            # "carries a castle on its back", but "floats on its back"
            owned = phrase.determiner in POSSESSIVES and self.lexicon.hints(noun, "body")
            of_body = owned and self.link is not None and (bool(self.link.near) or not self.link.verb)
            return not phrase.attributes and " " not in phrase.name and not of_body
        words = split_words(skip["compound_abstract" if " " in phrase.name else "abstract"])
        if noun in words or phrase.head.word in words:
            return True
        return noun.endswith(tuple(skip["suffixes"])) and noun not in split_words(skip["seen"])
