"""Noun phrases that name no new object: the picture itself, its style and background, a material, a side, an amount."""

from __future__ import annotations

from forgekit.scene.phrases import NounPhrase, read_noun_phrase
from forgekit.scene.reading import split_words
from forgekit.scene.relating import Relating
from forgekit.scene.tokens import Token

MEDIA = frozenset(
    ["photo", "photograph", "painting", "illustration", "drawing", "sketch", "render", "rendering", "portrait"]
)


class Asides(Relating):
    """The part of a pass that tells such phrases from objects and reads what they say."""

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
            or noun.split()[-1] not in split_words(frames["words"])
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
        plain = phrase.name in split_words(frames["plain"])
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
        return alone and ends and phrase.head.noun.split()[-1] in split_words(self.lexicon.grammar["frame"]["words"])

    def _is_side_of(self, phrase: NounPhrase) -> bool:
        """Take "a dog with a cat to its left": a place beside the object named before."""
        link, side = self.link, phrase.head.noun
        if side not in ("left", "right") or phrase.determiner not in ("its", "his", "her", "their"):
            return False
        if link and link.subjects and link.predicate in ("to", "on", "at") and link.subjects[0]:
            placed = {r["subject"] for r in self.relations if r["predicate"] in ("left of", "right of")}
            for subject in [s for s in link.subjects if s not in placed] or link.subjects:
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
        if phrase.head.word in split_words(skip["mood"]) and not (phrase.determiner or of or self.link):
            return phrase.count is None
        if noun in split_words(self.lexicon.grammar["hint"]["determined"]):
            return not phrase.attributes and " " not in phrase.name
        words = split_words(skip["compound_abstract" if " " in phrase.name else "abstract"])
        if noun in words or phrase.head.word in words:
            return True
        return noun.endswith(tuple(skip["suffixes"])) and noun not in split_words(skip["seen"])
