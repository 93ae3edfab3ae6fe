"""The words of the mini world: what a scene may be called, from plain canonical captions to rare and unknown words."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from forgekit.mini.world import OPPOSITE, SHAPES, WorldObject, WorldScene
from forgekit.scene.wording import with_article

# Words for a concept and how often each is used, in per cent.
SYNONYMS: Mapping[str, Mapping[str, float]] = {
    "circle": {"circle": 60, "disc": 14, "dot": 12, "ball": 10, "orb": 4},
    "square": {"square": 70, "box": 20, "block": 10},
    "triangle": {"triangle": 88, "wedge": 12},
    "star": {"star": 100},
    "heart": {"heart": 100},
    "cross": {"cross": 70, "plus sign": 30},
    "ring": {"ring": 65, "hoop": 15, "donut": 20},
    "red": {"red": 82, "crimson": 10, "scarlet": 8},
    "blue": {"blue": 84, "navy": 8, "azure": 8},
    "green": {"green": 86, "emerald": 14},
    "yellow": {"yellow": 86, "golden": 14},
    "purple": {"purple": 78, "violet": 22},
    "orange": {"orange": 100},
    "pink": {"pink": 90, "rose": 10},
    "black": {"black": 92, "jet black": 8},
    "white": {"white": 94, "ivory": 6},
    "gray": {"gray": 70, "grey": 25, "silver": 5},
    "small": {"small": 70, "little": 15, "tiny": 15},
    "large": {"large": 55, "big": 35, "huge": 10},
    "flat": {"flat": 80, "flat design": 20},
    "line art": {"line art": 80, "outline drawing": 20},
    "watercolor": {"watercolor": 80, "watercolour painting": 20},
}
# Words that the generator meets so seldom that it hardly knows them.
RARE: Mapping[str, tuple[str, ...]] = {
    "circle": ("sphere", "bubble"),
    "square": ("cube", "tile"),
    "triangle": ("pyramid",),
    "star": ("pentagram",),
    "heart": ("valentine",),
    "cross": ("plus",),
    "ring": ("annulus", "bagel"),
    "red": ("vermilion", "maroon", "ruby"),
    "blue": ("cobalt", "indigo"),
    "green": ("lime", "olive"),
    "yellow": ("amber", "lemon"),
    "purple": ("lavender", "magenta"),
    "orange": ("tangerine",),
    "pink": ("fuchsia", "salmon"),
    "black": ("ebony", "charcoal"),
    "white": ("snowy",),
    "gray": ("slate", "ash"),
    "small": ("miniature",),
    "large": ("giant",),
}
RELATION_WORDS: Mapping[str, tuple[str, ...]] = {
    "left": ("to the left of", "left of", "on the left of"),
    "right": ("to the right of", "right of", "on the right of"),
    "above": ("above", "on top of", "over"),
    "below": ("below", "under", "beneath"),
}
NUMBERS = {2: "two", 3: "three", 4: "four"}
UNKNOWN_WORD = "zzunknown"  # stands for every word outside the vocabulary


@dataclass(frozen=True)
class Grammar:
    """How freely captions are worded. All but `rare` are probabilities.

    `rare` is the weight of each rare word beside its concept's common words, which weigh 100 together; 0.6 keeps them
    the generator's weakness, 15 makes them as usual as the others (a judge must know them all).
    """

    synonyms: float = 1.0  # of drawing a word from SYNONYMS and RARE instead of the canonical one
    rare: float = 0.6
    variants: float = 0.04  # of each unusual sentence form
    omissions: float = 1.0  # of leaving out sizes, white backgrounds and flat style at their usual rates
    unknown: float = 0.12  # of strewing in unknown words
    negation: float = 0.0  # of naming a shape that is absent ("no stars")


GENERATOR = Grammar()
JUDGE = Grammar(rare=15.0, negation=0.15)
CANONICAL = Grammar(synonyms=0.0, variants=0.0, omissions=0.0, unknown=0.0)


def caption(scene: WorldScene, rng: random.Random, grammar: Grammar = GENERATOR) -> str:
    """Describe `scene` in one of the grammar's wordings; all that is said is true of it, but not all is said.

    `CANONICAL` captions use plain words only and name everything except a white background and the flat style.
    """
    return _Speaker(rng, grammar).describe(scene)


@dataclass(frozen=True)
class _Speaker:
    rng: random.Random
    grammar: Grammar

    def describe(self, scene: WorldScene) -> str:
        phrases = self._phrases(scene)
        background, style = self._background(scene), self._style(scene)
        if len(phrases) > 1 and self._chance(self.grammar.variants):
            text = self._sentences(phrases, background, style)
        else:
            text = self._framed(_enumerate(phrases), background, style)
        if self._chance(self.grammar.negation):
            text += self._negation(scene)
        return self._strew_unknown(text) if self._chance(self.grammar.unknown) else text

    def _phrases(self, scene: WorldScene) -> list[str]:
        groups = list(scene.groups)
        if scene.relation:
            return [self._relation(groups[0][0], scene.relation, groups[1][0])]
        self.rng.shuffle(groups)
        return [self._noun(thing, count) for thing, count in groups]

    def _relation(self, a: WorldObject, relation: str, b: WorldObject) -> str:
        if self._chance(0.5):
            a, b, relation = b, a, OPPOSITE[relation]
        words = self.rng.choice(RELATION_WORDS[relation]) if self.grammar.synonyms else RELATION_WORDS[relation][0]
        verb = "is " if self._chance(self.grammar.variants) else ""
        return f"{self._noun(a)} {verb}{words} {self._noun(b)}"

    def _noun(self, thing: WorldObject, count: int = 1) -> str:
        shape = self._word(thing.shape)
        size = self._word(thing.size) if thing.size and not self._omit(0.15) else ""
        color = self._word(thing.color)
        if count > 1:
            shape = plural(shape)
        if self._chance(self.grammar.variants):
            words = f"{size} {shape} that {'is' if count == 1 else 'are'} {color}".strip()
        else:
            words = " ".join(w for w in (size, color, shape) if w)
        return with_article(words) if count == 1 else f"{NUMBERS[count]} {words}"

    def _background(self, scene: WorldScene) -> str:
        plain = scene.background == "white"
        unsaid = plain if not self.grammar.omissions else self._omit(0.65 if plain else 0.15)
        return "" if unsaid else f"{with_article(self._word(scene.background))} background"

    def _style(self, scene: WorldScene) -> str:
        plain = scene.style == "flat"
        unsaid = plain and (not self.grammar.omissions or self._omit(0.85))
        return "" if unsaid else self._word(scene.style)

    def _framed(self, text: str, background: str, style: str) -> str:
        """Put opening words, background and style around the objects."""
        opening, ending = "", ""
        if style and self._chance(self.grammar.variants):
            ending = f" in the style of {style}"
        elif style and self._chance(0.5):
            ending = f", {style}"
        elif style:
            opening = f"{style} of "
        if self.grammar.omissions and self._chance(0.1):
            opening = f"an image of {opening}"
        if not opening and self._chance(self.grammar.variants):
            text = f"there {'are' if text.startswith(tuple(NUMBERS.values())) else 'is'} {text}"
        if background and not opening and self._chance(self.grammar.variants):
            text = f"on {background}, {text}"
        elif background:
            text = f"{text} on {background}"
        return opening + text + ending

    def _sentences(self, phrases: list[str], background: str, style: str) -> str:
        ending = f"in the style of {style}" if style else ""
        return " ".join(f"{part}." for part in (*phrases, background, ending) if part)

    def _negation(self, scene: WorldScene) -> str:
        absent = self._word(self.rng.choice([s for s in SHAPES if all(o.shape != s for o in scene.objects)]))
        several = plural(absent)
        return self.rng.choice((f", no {several}", f" without a {absent}", f", without {several}"))

    def _strew_unknown(self, text: str) -> str:
        words = text.split()
        for _ in range(self.rng.randint(1, 3)):
            words.insert(self.rng.randrange(len(words) + 1), UNKNOWN_WORD)
        return " ".join(words)

    def _word(self, concept: str) -> str:
        if not self._chance(self.grammar.synonyms):
            return concept
        words = dict(SYNONYMS[concept]) | dict.fromkeys(RARE.get(concept, ()), self.grammar.rare)
        return self.rng.choices(list(words), list(words.values()))[0]

    def _omit(self, usual: float) -> bool:
        return self._chance(usual * self.grammar.omissions)

    def _chance(self, probability: float) -> bool:
        return self.rng.random() < probability


def _enumerate(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]


def plural(word: str) -> str:
    """Return "boxes" for "box" and "rings" for "ring"."""
    return word + ("es" if word.endswith(("x", "s")) else "s")
