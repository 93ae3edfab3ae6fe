"""A benchmark's own questions: imported as they stand, asked so, and not asked of a thing that is not there."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pandas as pd
import pytest
import torch
from benchmark_files import DSG, GENEVAL, TIFA, write_dsg, write_lines, write_tifa
from PIL import Image
from tiny_judges import DETECTORS, VLMS, build_clip, build_judge

import forgekit as fk
from forgekit.ids import content_hash
from forgekit.models import Judgement, load_model
from forgekit.models.choices import Choices
from forgekit.models.next_word import Answerer
from forgekit.scene import Scene, list_elements, parse
from forgekit.sources import read
from forgekit.stages.verdicts import read_pictures

GENEVAL2 = {
    "prompt": "four white boxes in front of three plastic cows",
    "atom_count": 7,
    "vqa_list": [
        ["How many boxes are in the image?", "four"],
        ["Are the boxes white?", "Yes"],
        ["Are the boxes in front of the cows?", "Yes"],
    ],
    "skills": ["count", "attribute", "position"],
}


def documents(file, name):
    return dict(zip((frame := read(file, format=name).frame)["text"], frame["elements"], strict=True))


@pytest.fixture
def dsg(tmp_path):
    return documents(write_dsg(tmp_path / "dsg-1k-anns.csv", DSG), "dsg-1k")


@pytest.fixture
def tifa(tmp_path):
    return documents(write_tifa(tmp_path / "tifa_v1.0_question_answers.json", TIFA), "tifa")


@pytest.fixture(scope="module")
def fuyu(tmp_path_factory):
    """A Fuyu of random weights, which put little on any answer."""
    folder = build_judge("fuyu", tmp_path_factory.mktemp("models") / "tiny-fuyu")
    return replace(load_model("vision_model", str(folder)), least_mass=0.0, prompt="{}", description="")


def test_the_questions_of_dsg_are_the_elements_with_their_parents(dsg):
    elements = list_elements(dsg["a red circle above a blue square"])
    assert [(e.key, e.question, e.expected, e.parents) for e in elements] == [
        ("object:0", "Is there a circle?", "yes", ()),
        ("object:1", "Is there a square?", "yes", ()),
        ("color:0", "Is the circle red?", "yes", ("object:0",)),
        ("color:1", "Is the square blue?", "yes", ("object:1",)),
        ("relation:0", "Is the circle above the square?", "yes", ("object:0", "object:1")),
    ]
    assert elements[2].phrase == "a red circle" and elements[4].phrase == "a red circle above a blue square"


def test_a_plural_is_asked_of_in_the_singular_and_more_than_one_is_not_one(dsg):
    document = dsg["a yellow star under some trees"]
    assert [(item["name"], item["count"]) for item in document["objects"]] == [("star", 1), ("tree", "several")]
    by_hand = {**document, "questions": None}  # what is written where a benchmark had no questions
    assert "Is there a tree?" in [element.question for element in list_elements(by_hand)]
    assert [e.phrase for e in list_elements(document) if e.question == "Are there several trees?"] == [""]


@pytest.mark.parametrize(
    ("told", "count"), [("==4", 4), ("4", 4), (">1", "several"), (">=3", "several"), ("<5", "some")]
)
def test_a_count_of_dsg_is_a_number_only_where_it_is_one(tmp_path, told, count):
    item = ("some men", ("0", "entity/whole", "men", "Are there men?"), ("1", "other/count", f"men, {told}", "How so?"))
    (document,) = documents(write_dsg(tmp_path / "dsg-1k-anns.csv", {"vrd_1": item}), "dsg-1k").values()
    assert (document["objects"][0]["name"], document["objects"][0]["count"]) == ("man", count)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("soccer balls", "soccer ball"), ("wine glasses", "wine glass"), ("skis", "skis"), ("scissors", "scissors"),
        ("man's shirts", "shirt"), ("leaves", "leaf"), ("El Castillo", "El Castillo"), ("cups of tea", "cup of tea"),
    ],
)  # fmt: skip
def test_names_of_dsg_are_singular(tmp_path, theirs, ours):
    item = ("a text", ("0", "entity/whole", theirs, "Is it there?"))
    (document,) = documents(write_dsg(tmp_path / "dsg-1k-anns.csv", {"vrd_1": item}), "dsg-1k").values()
    assert document["objects"][0]["name"] == ours


@pytest.mark.parametrize(
    ("category", "words", "phrase"),
    [
        ("attribute/state", "infant, sit", "an infant sitting"),
        ("attribute/state", "infant, asleep", "an asleep infant"),
        ("attribute/state", "infant, turned away from the window", ""),  # asked, but nothing that stands before a noun
        ("relation/spatial", "infant, some direction, in", ""),  # to no thing that there is
        ("attribute/state", "infant, ", ""),
        ("other/text rendering", 'infant, "so, what"', 'the text "so, what"'),
    ],
)
def test_a_tuple_of_dsg_lends_its_question_a_phrase_where_it_has_one(tmp_path, category, words, phrase):
    item = ("a text", ("0", "entity/whole", "infant", "Is there an infant?"), ("1", category, words, "Is it so?"))
    (document,) = documents(write_dsg(tmp_path / "dsg-1k-anns.csv", {"vrd_1": item}), "dsg-1k").values()
    question = list_elements(document)[1]
    assert (question.question, question.phrase, question.parents) == ("Is it so?", phrase, ("object:0",))


def test_tifa_keeps_its_choices_and_yes_or_no_is_no_choice(tifa):
    elements = list_elements(tifa["a purple triangle and two orange crosses"])
    assert [(e.key, e.expected, e.choices) for e in elements] == [
        ("object:0", "yes", ()), ("object:1", "yes", ()), ("color:0", "yes", ()), ("count:1", "2", ("1", "2", "3", "4")),
    ]  # fmt: skip
    assert elements[3].phrase == "two crosses"  # what a judge that answers no questions can look for
    (dog, *_) = list_elements(tifa["a black dog beside a white circle"])
    assert dog.phrase == "a dog"


def test_geneval2_expects_yes_and_numbers_in_words(tmp_path):
    (document,) = documents(write_lines(tmp_path / "geneval2_data.jsonl", [GENEVAL2]), "geneval2").values()
    assert [(e.question, e.expected, e.phrase) for e in list_elements(document)] == [
        ("How many boxes are in the image?", "four", "four boxes"),
        ("Are the boxes white?", "yes", "white boxes"),
        ("Are the boxes in front of the cows?", "yes", "four white boxes in front of three plastic cows"),
    ]


def test_questions_of_an_older_store_which_nobody_asked_stay_unasked(dsg):
    document = dsg["three green hearts"]
    older = {**document, "questions": [{"id": 1, "question": "Are there hearts?", "answer": "yes", "after": []}]}
    assert list_elements(older) == list_elements({**document, "questions": None})


def test_an_imported_scene_says_that_its_benchmark_read_it(store, tmp_path):
    fk.import_prompts(store, write_lines(tmp_path / "evaluation_metadata.jsonl", GENEVAL), format="geneval")
    (row,) = store.rows("select distinct read_by from scenes")
    assert row["read_by"] == {"reader": "annotation", "benchmark": "geneval"}


def test_a_scene_that_was_read_otherwise_stays_so_and_the_report_says_it(store, tmp_path):
    fk.import_prompts(store, pd.DataFrame({"text": [record["prompt"] for record in GENEVAL[:2]]}))
    file = write_lines(tmp_path / "evaluation_metadata.jsonl", GENEVAL)
    for _ in range(2):
        report = fk.import_prompts(store, file, format="geneval", experiment="study/b")
        assert report.details["scenes stored before without this annotation, which stay so"] == 2
    assert [row["n"] for row in store.rows("select count(*) as n from scenes where elements is null")] == [2]


def judged(judge, document, monkeypatch, odds):
    """Have `judge` judge one image; `odds` gives the probability of words after a question, all others have none."""
    asked = []

    def next_word(answerer, images, questions):
        asked.extend(questions[0])
        rows = torch.zeros(len(questions[0]), len(answerer.tokenizer))
        for row, question in zip(rows, questions[0], strict=True):
            for word, chance in odds.get(question, {"yes": 1.0}).items():
                row[answerer.token_ids(word)[-1]] = chance
        return [rows]

    monkeypatch.setattr(Answerer, "next_word", next_word)
    (verdict,) = judge.judge([Image.new("RGB", (32, 32))], [Scene("a text", document)])
    return asked, verdict


def test_a_question_answering_judge_asks_exactly_the_questions_and_each_once(fuyu, tmp_path, monkeypatch):
    again = {"coco_9": ("two cats", *TIFA["coco_3"][1:2] * 2, *TIFA["coco_3"][2:])}
    (document,) = documents(write_tifa(tmp_path / "tifa_question_answers.json", again), "tifa").values()
    odds = {"how many stars are there?": {"three": 0.1, "four": 0.3, "one": 0.6}}
    asked, verdict = judged(fuyu, document, monkeypatch, odds)
    assert asked[:-1] == ["are there stars?", "how many stars are there?"]  # then the whole text
    count = next(key for key in verdict.answers if key.startswith("count"))
    assert verdict.element_scores[count] == pytest.approx(0.3 / 0.4)  # among its choices, 3 to 6
    assert verdict.answers[count] == {"answer": "4", "right": True, "plain": pytest.approx(0.3)}
    assert [e for e in verdict.element_scores if e.startswith("object")] == ["object:q1", "object:q2"]


def test_choices_that_are_no_numbers_are_named_in_the_question(fuyu, tmp_path, monkeypatch):
    item = {"coco_1": ("a red star", ("red", "color", "what color is it?", ("red", "blue"), "red"))}
    (document,) = documents(write_tifa(tmp_path / "tifa_question_answers.json", item), "tifa").values()
    (element,) = list_elements(document)
    assert (element.question, element.asked) == ("what color is it?", "what color is it? Choices: red, blue.")
    words = {"red": 0.2, "blue": 0.6}
    _, verdict = judged(fuyu, document, monkeypatch, {element.asked: words})
    assert verdict.element_scores[element.key] == pytest.approx(0.25)
    assert verdict.answers[element.key]["answer"] == "blue"


def test_an_answer_that_is_none_of_the_allowed_ones_has_no_score_but_a_reason(fuyu, dsg, monkeypatch):
    strict = replace(fuyu, least_mass=0.3)
    _, verdict = judged(strict, dsg["three green hearts"], monkeypatch, {"Are the hearts green?": {"two": 1.0}})
    assert verdict.element_scores["color:0"] is None and "color:0" not in verdict.answers
    assert verdict.reasons["color:0"].startswith("Are the hearts green? was not answered")


WORDS = {"a": 1, "cat": 2, "dog": 3, "black": 4, "and": 5, "white": 6, "bird": 7}


def tokens(text):
    return tuple(WORDS[word] for word in text.split()) if all(word in WORDS for word in text.split()) else ()


def test_choices_that_begin_alike_share_the_probability_of_their_first_word():
    choices = Choices.of(["a cat", "a dog", "bird"], tokens)
    assert choices.beginnings == [(), (1,)]
    first, second = torch.zeros(8), torch.zeros(8)
    first[1], first[7] = 0.6, 0.2
    second[2], second[3], second[5] = 0.3, 0.1, 0.6  # "a cat" is three times as likely as "a dog"; "a and" is no choice
    assert choices.chances({(): first, (1,): second}) == pytest.approx({"a cat": 0.45, "a dog": 0.15, "bird": 0.2})


def test_a_choice_that_another_one_goes_on_from_has_what_the_other_leaves():
    choices = Choices.of(["black", "black and white"], tokens)
    first, second = torch.zeros(8), torch.zeros(8)
    first[4], second[5] = 0.8, 0.25
    assert choices.chances({(): first, (4,): second}) == pytest.approx({"black": 0.6, "black and white": 0.2})


@pytest.mark.parametrize("kind", VLMS)
def test_a_begun_answer_goes_on_as_after_a_pass_over_the_whole(kind, tmp_path):
    answerer = load_model("vision_model", str(build_judge(kind, tmp_path / f"tiny-{kind}")))._answerer
    image, begun = Image.new("RGB", (64, 64), "red"), answerer.token_ids("yes") or (5,)
    question = ("Is there a circle?", (*begun, *begun))
    with torch.inference_mode():
        (shared,) = answerer._shared([image], [[question, "Is there a circle?"]])
        assert torch.allclose(shared[0], answerer._whole(image, question), atol=1e-4)
        assert not torch.allclose(shared[0], shared[1], atol=1e-4)


@pytest.mark.parametrize("kind", ["clip", *DETECTORS])
def test_a_judge_that_answers_no_questions_says_nothing_of_those_without_a_phrase(kind, dsg, tmp_path):
    folder = tmp_path / "judge"
    address = f"local-dir:{build_clip(folder)}" if kind == "clip" else str(build_judge(kind, folder))
    document = dsg["a yellow star under some trees"]
    (verdict,) = load_model("vision_model", address).judge(
        [Image.new("RGB", (64, 64), "red")], [Scene("a text", document)]
    )
    assert set(verdict.element_scores) == {"object:0", "object:1", "color:0", "relation:0"}  # not the several trees


class Blind:
    """A judge to which every thing is there but the trees."""

    name, adhering_at, judge_key = "blind", 0.5, "blind-1"

    def judge(self, images, scenes):
        verdicts = []
        for scene in scenes:
            questions = {e.key: e.question for e in list_elements(scene.elements)}
            verdicts.append(
                Judgement({key: 0.1 if q == "Are there trees?" else 0.8 for key, q in questions.items()}, 0.5)
            )
        return verdicts


def test_a_part_of_what_is_not_there_has_no_score_but_a_reason_and_counts_as_absent(store, fake_generator, tmp_path):
    file = write_dsg(tmp_path / "dsg-1k-anns.csv", {"whoops_3": DSG["whoops_3"]})
    fk.import_prompts(store, file, format="dsg-1k", model=fake_generator.name)
    fk.complete_prompts(store, template="{scene}")
    fk.generate_images(store, images_per_prompt=1, image_generator=fake_generator)
    report = fk.evaluate_images(store, vision_models=[Blind()])
    (row,) = store.rows("select * from image_evaluations")
    assert (report.done, row["error"]) == (1, None)
    scores = {"object:0": 0.8, "object:1": 0.1, "color:0": 0.8, "count:q3": None, "relation:0": None}
    assert row["element_scores"] == scores
    assert row["model_output"]["reasons"]["relation:0"] == "not askable: Are there trees? no"
    assert row["model_output"]["not_askable"] == {"count:q3": 0.8, "relation:0": 0.8}  # what it would have said
    assert row["soft_tifa_am"] == pytest.approx((0.8 + 0.1 + 0.8) / 5)
    assert row["soft_tifa_gm"] == pytest.approx((0.8 * 0.1 * 0.8 * 0.02 * 0.02) ** (1 / 5))
    (prompt,) = store.rows("select id, status from prompts")
    assert prompt["status"] == "evaluated"
    shown = fk.trends.version_elements(store, prompt["id"]).set_index("phrase")
    assert shown.loc["Are there several trees?", ["images", "not_askable"]].tolist() == [0, 1]
    assert "verdicts of blind" not in fk.evaluate_images(store, vision_models=[Blind()], backfill=True).details


def test_what_a_judge_is_told_of_a_scene_without_annotation_is_hashed_as_ever(tmp_path):
    text = "two red circles, no people"
    row = {"image_id": "i", "image_path": "i.png", "prompt_id": "p", "scene_hash": "s", "learning_id": None}
    Image.new("RGB", (4, 4)).save(tmp_path / "i.png")
    ((picture,),) = read_pictures(tmp_path, [{**row, "scene_text": text, "elements": parse(text)}], 1)
    fields = ("key", "kind", "term", "phrase", "question", "expected", "contrasts", "objects")
    told = [{name: asdict(element)[name] for name in fields} for element in list_elements(parse(text))]
    assert picture.asked == content_hash([text, json.loads(json.dumps(told))])
