"""Statements about mini-world pictures as the questions that `forgekit.scene` asks of a question-answering judge."""

from __future__ import annotations

import random

from forgekit.mini.captions import NUMBERS, RELATION_WORDS, plural
from forgekit.mini.statements import Look, Statement
from forgekit.mini.world import COLORS, OPPOSITE, SHAPES, WorldScene
from forgekit.scene.wording import with_article
from training.lessons import COUNTS, choose_word, noun, several

DESCRIBE = "Describe the image."
WHOLE = 'Does this image show "{}"? Answer the question with Yes or No.'
NUMBER_WORDS = ("zero", *COUNTS.values())
STYLE_QUESTIONS = {
    "flat": ("in flat style", "in flat design style", "flat", "a flat design", "a flat illustration"),
    "line art": ("line art", "an outline drawing", "a line drawing", "in line art style"),
    "watercolor": (
        *("a watercolor painting", "a watercolour painting", "a watercolor", "a watercolour", "watercolor"),
        "in watercolor style",
    ),
}


def question(statement: Statement, rng: random.Random) -> str:
    """Ask whether `statement` is true; a negation asks for the thing itself, so its answer is "no" where it is true."""
    kind, look, value = statement.kind, statement.look, statement.value
    if kind == "background":
        return f"Is the background {choose_word(value, rng)}?"
    if kind == "style":
        forms = STYLE_QUESTIONS.get(value) or (with_article(value), value)
        return f"Is the image {rng.choice(forms)}?"
    if kind == "count":
        return f"{'Is' if value == 1 else 'Are'} there {noun(look, rng, count=value)}?"
    if kind == "relation":
        first, second = (noun(thing, rng).split(" ", 1)[1] for thing in (look, statement.other))
        return f"Is the {first} {rng.choice(RELATION_WORDS[value])} the {second}?"
    if kind == "empty":
        return "Is there an empty background?"
    attribute = look.size or look.color
    if kind in ("color", "size") and attribute and not (look.size and look.color) and rng.random() < 0.7:
        plain = Look(look.shape)
        if rng.random() < 0.3:
            return f"Are the {several(plain, rng)} {choose_word(attribute, rng)}?"
        return f"Is the {noun(plain, rng).split(' ', 1)[1]} {choose_word(attribute, rng)}?"
    if rng.random() < 0.15:
        return f"Are there {several(look, rng)}?"
    return f"Is there {noun(look, rng)}?"


def count_question(look: Look, rng: random.Random) -> str:
    """Ask how many objects of this look there are."""
    return f"How many {several(look, rng)} are there?"


def description(scene: WorldScene) -> str:
    """Describe `scene` in the one way the judge learns: plain words, objects in the order of SHAPES and COLORS."""
    groups = sorted(scene.groups, key=lambda g: (SHAPES.index(g[0].shape), list(COLORS).index(g[0].color)))
    names = []
    for thing, count in groups:
        words = " ".join(w for w in (thing.size, thing.color, thing.shape) if w)
        names.append(with_article(words) if count == 1 else f"{NUMBERS[count]} {plural(words)}")
    text = " and ".join(names)
    if scene.relation and len(groups) == 2:
        same = groups[0][0].look == scene.objects[0].look
        relation = scene.relation if same else OPPOSITE[scene.relation]
        text = f" {RELATION_WORDS[relation][0]} ".join(names)
    return f"{text} on {with_article(scene.background)} background, {scene.style}"


def question_words() -> list[str]:
    """Return the words of questions and answers that captions and phrases lack."""
    texts = [DESCRIBE, WHOLE, "how many are there is the", *NUMBER_WORDS, *COUNTS.values(), "yes no"]
    texts += [form for forms in STYLE_QUESTIONS.values() for form in forms]
    letters = "".join(c if c.isalnum() else f" {c} " for c in " ".join(texts).lower())
    return [*letters.split(), "."]
