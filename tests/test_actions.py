"""What a refiner can do to a prompt: each action on a sentence whose outcome is known."""

from __future__ import annotations

import pytest

from forgekit.actions import ACTIONS, Draft, propose
from forgekit.scene import compare, list_elements, parse

PARAMETERS = {"true_cfg_scale": 3.0, "num_inference_steps": 16, "negative_prompt": ""}


def candidates(text: str, key: str, action: str, *, scene: str | None = None, **parameters):
    wanted = parse(scene or text)
    element = next(e for e in list_elements(wanted) if e.key == key)
    draft = Draft(text, PARAMETERS | parameters, parse(text), wanted)
    return propose(draft, element, {action: ACTIONS[action]})


def texts(*arguments, **options) -> list[str]:
    return [candidate.text for candidate in candidates(*arguments, **options)]


def test_a_term_is_substituted_by_its_synonyms_most_common_first():
    assert texts("a scarlet disc", "color:0", "substitute")[0] == "a red disc"
    assert texts("a scarlet disc", "object:0", "substitute")[0] == "a scarlet circle"


def test_a_substitute_keeps_the_plural_and_mends_the_article():
    assert texts("two tangerine pyramids", "object:0", "substitute")[0] == "two tangerine triangles"
    assert "an orange cube" in texts("a tangerine cube", "color:0", "substitute")


def test_a_substituted_term_can_be_substituted_again():
    assert "a crimson disc" in texts("a red disc", "color:0", "substitute", scene="a scarlet disc")


def test_the_failing_object_moves_to_the_front():
    assert texts("a red heart and a blue star", "object:1", "move_first") == ["a blue star and a red heart"]
    assert texts("a red circle above a blue star", "object:1", "move_first") == ["a blue star below a red circle"]


def test_a_relation_is_worded_differently_and_stated_from_the_other_side():
    restated = texts("a red circle above a blue star", "relation:0", "restate_relation")
    assert "a red circle over a blue star" in restated
    assert "a blue star below a red circle" in restated


def test_an_attribute_is_bound_to_its_noun_by_a_clause():
    assert texts("a red circle on a black background", "color:0", "bind_attribute") == [
        "a circle that is red on a black background"
    ]


def test_a_crowded_sentence_is_split():
    assert texts("a red heart and a blue star", "object:0", "split_sentences") == ["a red heart. a blue star."]


def test_a_term_is_strengthened_once():
    assert texts("two green triangles", "count:0", "strengthen") == ["exactly two green triangles"]
    assert texts("exactly two green triangles", "count:0", "strengthen", scene="two green triangles") == []


def test_a_prompt_is_reduced_to_what_the_scene_asks_for():
    text = "a red circle on a white background, flat design"
    assert texts(text, "object:0", "simplify", scene="a red circle") == ["a red circle"]


def test_a_style_that_the_scene_did_not_ask_for_can_go_and_its_own_stays():
    text = "a red circle, watercolor"
    assert texts(text, "object:0", "drop_style", scene="a red circle") == ["a red circle"]
    assert texts(text, "object:0", "drop_style") == []


def test_what_appears_instead_goes_to_the_negative_prompt_where_there_is_one():
    [candidate] = candidates("a red circle", "color:0", "negate_unwanted")
    assert candidate.parameters["negative_prompt"] == "a blue circle"
    assert candidate.text == "a red circle"


def test_guidance_and_steps_are_changed_within_bounds():
    scales = [c.parameters["true_cfg_scale"] for c in candidates("a red circle", "object:0", "change_guidance")]
    assert scales == [4.5, 2.0]
    [strong] = candidates("a red circle", "object:0", "change_guidance", true_cfg_scale=10.0)
    assert strong.parameters["true_cfg_scale"] == 6.7
    [more] = candidates("a red circle", "object:0", "more_steps")
    assert more.parameters["num_inference_steps"] == 24


SCENES = [
    "a scarlet disc",
    "two tangerine pyramids",
    "an olive bagel below a ruby tile",
    "a red heart, a blue star and a green square on a gray background",
    "watercolor of a giant lavender bubble",
]


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_makes_mostly_candidates_that_ask_for_the_same_elements(scene, action):
    wanted = parse(scene)
    made = [
        c
        for e in list_elements(wanted)
        for c in propose(Draft(scene, PARAMETERS, wanted, wanted), e, {action: ACTIONS[action]})
    ]
    faithful = [c for c in made if not compare(wanted, parse(c.text))]
    assert len(faithful) * 2 >= len(made)
