"""What a refiner can do to a prompt: each action on a sentence whose outcome is known."""

from __future__ import annotations

import pytest

from forgekit.refiner.actions import ACTIONS, Draft, propose
from forgekit.scene import compare, list_elements, load_lexicon, parse

PARAMETERS = {"true_cfg_scale": 3.0, "num_inference_steps": 16, "negative_prompt": ""}


def candidates(text: str, key: str, action: str, *, scene: str | None = None, **parameters):
    wanted = parse(scene or text)
    element = next(e for e in list_elements(wanted) if e.key == key)
    draft = Draft(text, PARAMETERS | parameters, parse(text), wanted)
    return propose(draft, element, [action])


def texts(*arguments, **options) -> list[str]:
    return [candidate.text for candidate in candidates(*arguments, **options)]


def test_a_term_is_replaced_by_the_commonest_word_for_it():
    assert texts("a scarlet disc", "color:0", "use_plain_word") == ["a red disc"]
    assert texts("a scarlet disc", "object:0", "use_plain_word") == ["a scarlet circle"]
    assert texts("a disc on an ebony background", "background", "use_plain_word") == ["a disc on a black background"]
    assert texts("a red circle", "color:0", "use_plain_word") == []


def test_a_ball_is_a_circle_only_where_all_are_figures():
    assert texts("a red ball and a blue square", "object:0", "use_plain_word") == ["a red circle and a blue square"]
    assert texts("a dog and a red ball", "object:1", "use_plain_word") == []


def test_a_term_is_substituted_by_its_less_common_synonyms_most_common_first():
    assert texts("a scarlet disc", "color:0", "substitute")[0] == "a crimson disc"
    assert "a red disc" not in texts("a scarlet disc", "color:0", "substitute")


def test_a_replacement_keeps_the_plural_and_mends_the_article():
    assert texts("two tangerine pyramids", "object:0", "use_plain_word") == ["two tangerine triangles"]
    assert "an orange cube" in texts("a tangerine cube", "color:0", "use_plain_word")


def test_a_word_is_replaced_in_the_object_that_fails_and_not_in_the_other():
    text = "a red star above a scarlet disc"
    assert texts(text, "color:1", "use_plain_word") == ["a red star above a red disc"]
    assert "a red star above a crimson disc" in texts("a red star above a red disc", "color:1", "substitute")


def test_the_failing_object_is_found_where_an_earlier_rewrite_put_the_objects_in_another_order():
    reordered = texts(
        "a blue star and a scarlet disc", "color:1", "use_plain_word", scene="a scarlet disc and a blue star"
    )
    assert reordered == []  # the second object of the scene is the blue star
    found = texts("a blue star and a scarlet disc", "color:0", "use_plain_word", scene="a scarlet disc and a blue star")
    assert found == ["a blue star and a red disc"]


def test_synonyms_come_from_the_users_lexicon_too(tmp_path):
    (tmp_path / "mine.toml").write_text('[color]\nred = ["sanguine"]\n')
    lexicon = load_lexicon(tmp_path / "mine.toml")
    parsed = parse("a sanguine disc", lexicon=lexicon)
    draft = Draft("a sanguine disc", PARAMETERS, parsed, parsed, lexicon)
    element = next(e for e in list_elements(parsed, lexicon=lexicon) if e.term == "sanguine")
    assert [c.text for c in propose(draft, element, ["use_plain_word"])] == ["a red disc"]


def test_a_substituted_term_can_be_substituted_again():
    assert "a crimson disc" in texts("a red disc", "color:0", "substitute", scene="a scarlet disc")


def test_the_failing_object_moves_to_the_front():
    assert texts("a red heart and a blue star", "object:1", "move_first") == ["a blue star and a red heart"]
    assert texts("a red circle above a blue star", "object:1", "move_first") == ["a blue star below a red circle"]


def test_a_failing_style_moves_to_the_front():
    assert texts("a blue star, line art", "style", "move_first") == ["line art of a blue star"]


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
    parsed = parse("a red circle")
    draft = Draft("a red circle", PARAMETERS, parsed, parsed, unwanted=["a green star"])
    color = next(e for e in list_elements(parsed) if e.kind == "color")
    [seen] = propose(draft, color, ["negate_unwanted"])
    assert seen.parameters["negative_prompt"] == "a green star"


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
    made = [c for e in list_elements(wanted) for c in propose(Draft(scene, PARAMETERS, wanted, wanted), e, [action])]
    faithful = [c for c in made if not compare(wanted, parse(c.text))]
    assert len(faithful) * 2 >= len(made)
