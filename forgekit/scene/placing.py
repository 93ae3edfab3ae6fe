"""Places: which of the things named before lies where a preposition says."""

from __future__ import annotations

from forgekit.scene.lexicon import split_words
from forgekit.scene.phrases import NounPhrase
from forgekit.scene.reading import Link, Reading
from forgekit.scene.tokens import Token

SHARED_PLACES = frozenset({"on", "inside", "in front of", "behind"})  # "a cat and a dog on a bed": both are
PLACES = ("room", "within", "place")  # hints of what other things are in
NO_PLACE = {
    "clinging": ("onto",),
    "speaking": ("into",),
    "sensing": ("over", "around"),
    "biting": ("on",),
    "typing": ("on",),
}  # by kind of verb


class Placing(Reading):
    """The part of a pass that settles what a place is told of."""

    def _told_of(self, token: Token, previous: Token | None) -> tuple[list[int], list[int]]:
        """Return what the preposition is said of, and what else may be meant, to be settled when its object is known."""
        nearest = self.group[-1:]
        places = token.value in self.spatial or token.value == "at"
        if not self.group:
            return [], []
        if not self.linked and token.value in SHARED_PLACES:
            return list(self.group), []
        if self.linked == "verb" and places:
            return self.subjects or self.group[:1], nearest
        if previous is not None and previous.tag in "XC":
            return self.subjects or self.group[:1], []
        if self.linked == "prep" and places:
            return self._past_what_it_has(nearest, token)
        return nearest, []

    def _past_what_it_has(self, nearest: list[int], token: Token) -> tuple[list[int], list[int]]:
        """Return what a place behind "X with Y", "X in a shirt" or "X in a room" is told of, and what else it may be.

        "A cake with candles on a plate", but "a room with a bed next to a window".
        """
        has = next(
            (r for r in self.relations if r["object"] == nearest[0] and r["predicate"] in ("with", "wear")), None
        )
        if has and not (has["predicate"] == "with" and self._is(has["subject"], *PLACES)):
            return [has["subject"]], nearest
        if self.subjects and self._is(nearest[0], "ground") and token.value not in ("on", "inside"):
            return self.subjects, []  # "a dog on a street next to a car"
        done = next((r for r in self.relations if r["object"] == nearest[0] and "verb" in r), None)
        if done and token.value not in ("on", "inside"):
            return [done["subject"]], nearest  # "a bird sitting on a branch next to a nest": the bird is
        if self.subjects and token.value in SHARED_PLACES and self._is(nearest[0], "room"):
            return self.subjects, []  # "a sink in a bathroom on a tiled floor"
        if self.subjects and token.value == "inside":
            return self.subjects, nearest  # "a cat on a bench in a park", "a cat on a cake in a box"
        return nearest, []

    def _placed(self, link: Link, index: int) -> list[int]:
        """Return what is where the object `index` says."""
        if link.near and self._lies_near(link, index):
            return link.near
        phrase = self._phrase_of(index)
        if phrase and phrase.determiner in ("his", "her") and self.subjects and not self._animate(link.subjects[0]):
            return self.subjects  # "riding past a truck on his bike"
        return link.subjects

    def _lies_near(self, link: Link, index: int) -> bool:
        """Say whether the thing named last is where the object `index` says, rather than who acts on it.

        "Cutting bread on a board", "watching a comet in the sky", but "eating bread in a park", "reading on a sofa".
        """
        in_sky = link.predicate == "inside" and self.objects[index]["name"].endswith("sky")
        if in_sky or self._is(index, "body") or self._is(link.near[0], "body"):
            return True
        if self._is_had(link.near[0]):  # "a cake with candles on a table"
            return False
        if self.linked == "prep":
            phrase = self._phrase_of(index)
            named = phrase is not None and phrase.head.proper
            return link.predicate == "inside" and not named and not self._is(index, *PLACES)
        if self._acts(self.told_of, "pushing"):
            return link.wording in ("into", "onto", "across", "through", "over")
        if self._acts(self.told_of, "sensing", "moving"):
            return link.predicate != "through"
        if self._animate(link.near[0]):
            return False
        if link.predicate == "on":
            return self._is(index, "surface")
        return link.predicate == "inside" and self._is(index, "container")

    def _is_had(self, index: int) -> bool:
        """Say whether something was said to have or wear the object."""
        return any(r["object"] == index and r["predicate"] in ("with", "wear") for r in self.relations)

    def _shares_place(self, index: int) -> bool:
        """Say whether the object is another end of the relation before: "is next to a fork and a spoon".

        Not in "there is a cat on a mat and a dog", where no verb has the place, nor in "… and a dog is under it".
        """
        phrase, following = self._phrase_of(index), self._token_after(index)
        if phrase and not (phrase.determiner or phrase.count or phrase.plural or self._is(index, "mass")):
            return True  # "a cat next to a blanket and shelf": one article for both
        return self.finite and (following is None or following.tag not in "VBG")

    def _phrase_of(self, index: int) -> NounPhrase | None:
        """Return the phrase that named the object, if it was named just now."""
        return self.last if index == len(self.objects) - 1 else None

    def _is_depiction(self, index: int) -> bool:
        """Say whether what is "of" the object is the thing to look at: "a poster of a cat sitting on …"."""
        return self.objects[index]["name"].split()[-1] in split_words(self.lexicon.grammar["frame"]["words"])

    def _predicate(self, link: Link, index: int) -> str:
        verb, static = link.verb, self._acts(link.verb, "static")
        if link.predicate == "at" and self._is(index, "within"):
            return "inside"
        if link.predicate == "at" and self._is(index, "beside") and not self._acts(verb, "sensing", "aiming"):
            return "next to"
        if verb in ("", "be"):
            return link.predicate
        if not link.predicate:
            return "with" if verb in ("have", "feature", "contain", "include") else verb
        if link.predicate == "inside" and self._acts(verb, "covering"):
            return "wear" if verb in ("dress", "clothe") else f"{verb} in"
        if any(self._acts(verb, kind) and link.wording in wordings for kind, wordings in NO_PLACE.items()):
            return f"{verb} {link.wording}"
        return link.predicate if static or link.predicate in self.spatial else f"{verb} {link.predicate}"
