"""What judges are asked: phrases, questions, contrasts; the fidelity gate."""

from __future__ import annotations

import pytest

from forgekit.scene import compare, list_elements, parse


def elements(text: str) -> dict:
    return {element.key: element for element in list_elements(parse(text))}


SCENE = "a small scarlet disc to the left of two pink hearts on a yellow background, watercolor, no people"


@pytest.mark.parametrize(
    ("key", "phrase", "question", "expected"),
    [
        ("object:0", "a disc", "Is there a disc?", "yes"),
        ("object:1", "a heart", "Is there a heart?", "yes"),
        ("count:1", "two hearts", "Are there two hearts?", "yes"),
        ("color:0", "a scarlet disc", "Is the disc scarlet?", "yes"),
        ("size:0", "a small disc", "Is the disc small?", "yes"),
        ("color:1", "pink hearts", "Are the hearts pink?", "yes"),
        (
            "relation:0", "a small scarlet disc to the left of two pink hearts",
            "Is the small scarlet disc to the left of the pink hearts?", "yes",
        ),
        ("background", "a yellow background", "Is the background yellow?", "yes"),
        ("style", "a watercolor painting", "Is the image a watercolor painting?", "yes"),
        ("negation:0", "a person", "Is there a person?", "no"),
    ],
)  # fmt: skip
def test_each_element_has_its_phrase_and_question(key, phrase, question, expected):
    element = elements(SCENE)[key]
    assert (element.phrase, element.question, element.expected) == (phrase, question, expected)


def test_all_elements_are_listed_once_under_unique_keys():
    assert list(elements(SCENE)) == [
        "object:0", "object:1", "size:0", "color:0", "count:1", "color:1", "relation:0", "background", "style", "negation:0",
    ]  # fmt: skip
    assert list(elements("a black and white cat"))[1:] == ["color:0", "color:0:1"]


def test_contrasts_change_one_thing_and_never_to_a_synonym():
    found = elements(SCENE)
    assert "a blue disc" in found["color:0"].contrasts and "a red disc" not in found["color:0"].contrasts
    assert "a square" in found["object:0"].contrasts and "a circle" not in found["object:0"].contrasts
    assert found["count:1"].contrasts[:2] == ("one heart", "three hearts")
    assert found["size:0"].contrasts == ("a large disc",)
    assert "a small scarlet disc to the right of two pink hearts" in found["relation:0"].contrasts
    assert "two pink hearts to the left of a small scarlet disc" in found["relation:0"].contrasts
    for element in found.values():
        assert element.phrase not in element.contrasts and len(set(element.contrasts)) == len(element.contrasts)


def test_where_two_objects_share_a_name_the_question_names_the_attribute():
    found = elements("a red circle and a blue circle")
    assert found["color:0"].question == "Is there a red circle?"


@pytest.mark.parametrize(
    ("text", "key", "question"),
    [
        ("a dog is running", "action:0", "Is the dog running?"),
        ("a woman holding an umbrella", "relation:0", "Is the woman holding the umbrella?"),
        ("two cats sitting on a bench", "relation:0", "Are the cats sitting on the bench?"),
        ("a pair of scissors", "object:0", "Are there scissors?"),
        ("clouds in the sky, like cotton candy", "other:0", "Are the clouds like cotton candy?"),
        ("a house surrounded by trees", "relation:0", "Are the trees around the house?"),
        ("a glass of water", "object:1", "Is there water?"),
        ("a house with an umbrella", "object:1", "Is there an umbrella?"),
        ('a sign that says "STOP"', "text:0", 'Does the image show the text "STOP"?'),
        ("a star, flat design", "style", "Is the image in flat design style?"),
        ("a house, low poly", "style", "Is the image in low poly style?"),
    ],
)
def test_questions_are_plain_english(text, key, question):
    assert elements(text)[key].question == question


def gate(wanted: str, got: str) -> list[str]:
    return compare(parse(wanted), parse(got))


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ("a scarlet disc left of a blue square", "a blue square to the right of a red circle, watercolor, soft light"),
        (
            "a cat on a mat",
            "a highly detailed photo of a cat on a mat, soft lighting, sharp focus, 8k, on a plain white background",
        ),
        ("two stars", "2 pentagrams, flat design"),
        ("a cat above a dog", "a dog beneath a cat"),
        ("a sofa", "a couch, cinematic lighting"),
        ("a cat, no people", "a cat without people"),
        ('a sign that says "STOP"', 'a photo of a sign reading "STOP"'),
        ("a cat", "photograph of a fluffy cat, sharp focus, natural light"),
    ],
)
def test_a_faithful_rewriting_passes_the_gate(wanted, got):
    assert gate(wanted, got) == []


@pytest.mark.parametrize(
    ("wanted", "got", "reason"),
    [
        ("a cat and a dog", "a cat", "object lost: dog"),
        ("a cat", "a cat and a dog", "object added: dog"),
        ("two cats", "three cats", "count of cat changed: 2 to 3"),
        ("a cat", "two cats", "count of cat changed: 1 to 2"),
        ("a red car", "a blue car", "color of car changed: red to blue"),
        ("a red car", "a car", "color of car lost: red"),
        ("a car", "a red car", "color of car added: red"),
        ("a red cube and a blue ball", "a blue cube and a red ball", "color of cube changed: red to blue"),
        ("a cat left of a dog", "a dog left of a cat", "relation lost: cat left of dog"),
        ("a cat left of a dog", "a cat and a dog", "relation lost: cat left of dog"),
        ("a cat and a dog", "a cat above a dog", "relation added: cat above dog"),
        ("a cat, no people", "a cat", "negation lost: no person"),
        ('a sign "STOP"', 'a sign "GO"', 'rendered text lost: "STOP"'),
        ("a cat on a black background", "a cat on a white background", "background changed: black to white"),
        ("watercolor of a cat", "oil painting of a cat", "style changed: watercolor to oil painting"),
        ("a ball and a cat", "a circle and a cat", "object lost: ball"),
    ],
)
def test_a_change_is_named(wanted, got, reason):
    assert reason in gate(wanted, got)
