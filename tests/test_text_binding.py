"""What each word of a caption is said to belong to, and that the text encoder learns it."""

from __future__ import annotations

import torch

from forgekit.mini.world import COLORS, RELATIONS, SHAPES, WorldObject, WorldScene
from training.generator import MiniFlux, tokenizer
from training.text_binding import BindingHead, teach_binding
from training.words import word_concepts

SCENE = WorldScene((WorldObject("ring", "yellow"), WorldObject("triangle", "gray")), "black", "flat", "right")
COLOR_NAMES = list(COLORS)


def labels_of(text: str, scene: WorldScene) -> dict[str, list[int]]:
    """The facts of each word of the caption that has any."""
    tokenize = tokenizer()
    ids = tokenize([text], return_tensors="pt")["input_ids"]
    facts = BindingHead().labels(ids, [scene])[0].tolist()
    words = tokenize.convert_ids_to_tokens(ids[0].tolist())
    return {word: fact for word, fact in zip(words, facts, strict=True) if fact[0] >= 0}


def test_each_word_has_the_facts_of_its_own_object():
    labels = labels_of("a yellow ring to the right of a gray triangle on a black background", SCENE)
    ring = [SHAPES.index("ring"), COLOR_NAMES.index("yellow"), 0, 1 + RELATIONS.index("right")]
    triangle = [SHAPES.index("triangle"), COLOR_NAMES.index("gray"), 0, 1 + RELATIONS.index("left")]
    assert labels == {"yellow": ring, "ring": ring, "gray": triangle, "triangle": triangle}


def test_a_word_that_could_mean_two_objects_has_no_facts():
    scene = WorldScene((WorldObject("ring", "yellow"), WorldObject("ring", "gray")))
    assert set(labels_of("a yellow ring and a gray ring", scene)) == {"yellow", "gray"}


def test_synonyms_and_plurals_stand_for_their_concept():
    concepts = word_concepts()
    assert (concepts["hoops"], concepts["crosses"], concepts["scarlet"], concepts["cobalt"]) == (
        *("ring", "cross", "red", "blue"),
    )


def test_a_little_teaching_moves_the_text_encoder_and_nothing_else():
    torch.manual_seed(0)
    model, head = MiniFlux(), BindingHead()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    teach_binding(model, head, 256, keep=0.0)
    moved = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"t5"}
