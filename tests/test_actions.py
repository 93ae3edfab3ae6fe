"""What a refiner can do to a prompt: each action on a sentence whose outcome is known."""

from __future__ import annotations

import pytest

from forgekit.refiner.actions import ACTIONS, Draft, propose
from forgekit.scene import compare, default_lexicon, list_elements, load_lexicon, parse
from forgekit.scene.lexicon import FIGURES

MINI = default_lexicon().in_world(FIGURES)  # as for the generator `mini`
PARAMETERS = {"true_cfg_scale": 3.0, "num_inference_steps": 16, "negative_prompt": ""}


def candidates(text: str, key: str, action: str, *, scene: str | None = None, lexicon=MINI, **parameters):
    wanted = parse(scene or text)
    element = next(e for e in list_elements(wanted) if e.key == key)
    draft = Draft(text, PARAMETERS | parameters, parse(text), wanted, lexicon)
    return propose(draft, element, [action])


def texts(*arguments, **options) -> list[str]:
    return [candidate.text for candidate in candidates(*arguments, **options)]


def test_a_term_is_replaced_by_the_commonest_word_for_it():
    assert texts("a scarlet disc", "color:0", "use_plain_word") == ["a red disc"]
    assert texts("a scarlet disc", "object:0", "use_plain_word") == ["a scarlet circle"]
    assert texts("a disc on an ebony background", "background", "use_plain_word") == ["a disc on a black background"]
    assert texts("a red circle", "color:0", "use_plain_word") == []


def test_a_ball_is_a_circle_only_where_the_mini_worlds_generator_draws_figures_only():
    text = "a red ball and a blue square"
    assert texts(text, "object:0", "use_plain_word") == ["a red circle and a blue square"]
    assert texts("a dog and a red ball", "object:1", "use_plain_word") == []
    for action in ("use_plain_word", "substitute"):
        assert texts(text, "object:0", action, lexicon=default_lexicon()) == []


def test_a_term_is_substituted_by_words_that_mean_the_same_and_by_no_other_kind():
    assert texts("a gray disc", "color:0", "substitute") == ["a grey disc"]
    assert texts("a navy disc", "color:0", "substitute") == ["a navy blue disc"]
    assert texts("a scarlet disc", "color:0", "substitute") == []  # crimson is another red
    assert texts("a giant disc", "size:0", "substitute")[:2] == ["a big disc", "a huge disc"]
    assert texts("a disc", "object:0", "substitute")[:3] == ["a dot", "a ball", "an orb"]


def test_a_replacement_keeps_the_plural_and_mends_the_article():
    assert texts("two tangerine pyramids", "object:0", "use_plain_word") == ["two tangerine triangles"]
    assert "an orange cube" in texts("a tangerine cube", "color:0", "use_plain_word")


def test_a_word_is_replaced_in_the_object_that_fails_and_not_in_the_other():
    text = "a red star above a scarlet disc"
    assert texts(text, "color:1", "use_plain_word") == ["a red star above a red disc"]
    assert texts("a gray star above a gray disc", "color:1", "substitute") == ["a gray star above a grey disc"]


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
    assert texts("a red disc", "color:0", "substitute", scene="a scarlet disc") == ["a scarlet disc"]


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


def test_a_term_is_stressed_once_and_stays_what_it_is():
    assert texts("an orange disc", "color:0", "strengthen") == ["a clearly orange disc"]
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


CATS = "two orange cats next to a vintage camera"
PHOTO = f"{CATS}, photograph, sharp focus, natural light"


@pytest.mark.parametrize(
    ("key", "action", "sentence"),
    [
        ("object:1", "place_in_front", "The vintage camera is in the foreground and clearly visible."),
        ("count:0", "place_in_front", "The two orange cats are in the foreground and clearly visible."),
        ("object:1", "add_detail", "The vintage camera is shown in fine detail."),
        ("relation:0", "lay_out", "The two orange cats and the vintage camera are side by side."),
    ],
)
def test_a_generator_that_reads_prose_is_told_again_in_a_sentence(key, action, sentence):
    assert texts(PHOTO, key, action, scene=CATS, lexicon=default_lexicon()) == [f"{PHOTO}. {sentence}"]
    assert compare(parse(CATS), parse(f"{PHOTO}. {sentence}")) == []
    assert texts(PHOTO, key, action, scene=CATS) == []  # mini knows no such words


@pytest.mark.parametrize(
    ("text", "key", "action", "found"),
    [
        (
            "a red cube left of a blue ball",
            "relation:0",
            "lay_out",
            "The red cube is on the left, the blue ball is on the right.",
        ),
        ("two cats below a dog", "relation:0", "lay_out", "The two cats are at the bottom, the dog is at the top."),
        ("a cat and a dog", "object:0", "tell_apart", "The cat and the dog are clearly distinct."),
        ("a red cube and a blue cube", "color:1", "tell_apart", "The red cube and the blue cube are clearly distinct."),
        ("a dog behind a fence", "object:0", "place_in_front", "The dog is clearly visible."),
        ("a cat on a mat", "object:1", "place_in_front", "The mat is clearly visible."),
    ],
)
def test_what_is_said_again_is_what_the_scene_says(text, key, action, found):
    [said] = texts(text, key, action, lexicon=default_lexicon())
    assert said == f"{text}. {found}" and compare(parse(text), parse(said)) == []


def test_things_that_nobody_takes_for_each_other_are_not_told_apart():
    assert texts("a cat and a teapot", "object:0", "tell_apart", lexicon=default_lexicon()) == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (CATS, "one orange cat and another orange cat next to a vintage camera"),
        ("exactly three dogs in a park", "one dog, another dog and another dog in a park"),
        ("five dogs", None),
        ("many dogs", None),
    ],
)
def test_two_to_four_things_are_named_one_by_one_and_are_as_many(text, named):
    keys = [e.key for e in list_elements(parse(text))]
    found = texts(text, "count:0", "name_each", lexicon=default_lexicon()) if "count:0" in keys else []
    assert found == ([named] if named else [])
    assert not named or compare(parse(text), parse(named)) == []


def test_another_scheduler_is_taken_where_the_parameters_name_one():
    found = candidates("a cat", "object:0", "change_scheduler", scheduler="EulerDiscreteScheduler")
    others = ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DDIMScheduler"]
    assert [c.parameters["scheduler"] for c in found] == others
    assert candidates("a cat", "object:0", "change_scheduler") == []
    assert candidates("a cat", "object:0", "change_scheduler", scheduler="FlowMatchEulerDiscreteScheduler") == []


def test_more_or_less_is_taken_of_each_lora_that_the_parameters_name_and_of_no_other():
    loras = {"art": 0, "sks": {"strength": 0.8, "words": "in sks style"}}
    found = candidates("a cat", "object:0", "change_lora", loras=loras)
    sks = [loras | {"sks": {"strength": strength, "words": "in sks style"}} for strength in (0, 0.5, 1)]
    assert [c.parameters["loras"] for c in found] == [loras | {"art": 0.5}, loras | {"art": 1}, *sks]
    assert [c.detail for c in found][::2] == ["art 0 -> art 0.5", "sks 0.8 -> sks 0", "sks 0.8 -> sks 1"]
    assert {c.text for c in found} == {"a cat"}
    assert (
        candidates("a cat", "object:0", "change_lora") == candidates("a cat", "object:0", "change_lora", loras={}) == []
    )


def test_a_photo_whose_every_element_fails_has_several_fitting_actions():
    wanted, parsed = parse(CATS), parse(PHOTO)
    made = [c for e in list_elements(wanted) for c in propose(Draft(PHOTO, {"guidance_scale": 5.0}, parsed, wanted), e)]
    faithful = {c.action for c in made if not compare(wanted, parse(c.text))}
    assert {"place_in_front", "lay_out", "name_each", "add_detail", "strengthen", "change_guidance"} <= faithful


SCENES = [
    "a scarlet disc",
    "two tangerine pyramids",
    "an olive bagel below a ruby tile",
    "a red heart, a blue star and a green square on a gray background",
    "watercolor of a giant lavender bubble",
    PHOTO,
    "a man in a red shirt and a woman in a blue dress on a beach",
]


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("lexicon", [default_lexicon(), MINI], ids=["any scene", "mini"])
def test_every_action_makes_mostly_candidates_that_ask_for_the_same_elements(scene, action, lexicon):
    wanted = parse(scene)
    draft = Draft(scene, PARAMETERS, wanted, wanted, lexicon)
    made = [c for e in list_elements(wanted) for c in propose(draft, e, [action])]
    faithful = [c for c in made if not compare(wanted, parse(c.text), lexicon=lexicon)]
    assert len(faithful) * 2 >= len(made)
