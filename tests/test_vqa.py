"""The question-answering family on small models of random weights: Fuyu, Qwen2.5-VL, Qwen3-VL and SmolVLM's architecture."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_judges import VLMS, build_judge, picture, scene

from forgekit.errors import ParameterError, UnknownModelError
from forgekit.ids import content_hash
from forgekit.models import Judgement, VisionModel, load_model, memory
from forgekit.models.next_word import Answerer, distinct_answers
from forgekit.models.vlm import NUMBERS, YES_NO, VQAJudge
from forgekit.models.weights import weights_of
from forgekit.scene import Scene, parse

TEXTS = ("a red circle left of a blue square", "two pink hearts on a white background, watercolor", "a star, no rings")
QUESTIONS = ["Is there a red circle?", "How many hearts are there?", "Is the background pink?"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {kind: build_judge(kind, place / f"tiny-{kind}") for kind in VLMS}


@pytest.fixture(scope="module", params=list(VLMS))
def judge(request, folders):
    """Random weights put little on any answer, so nothing is asked of the mass, and descriptions are short."""
    return replace(load_model("vision_model", str(folders[request.param])), least_mass=0.0, description_tokens=3)


@pytest.fixture(scope="module")
def fuyu(folders):
    return replace(VQAJudge.from_address(str(folders["fuyu"])), prompt="{}", least_mass=0.0, description="")


def test_a_judge_of_quantised_weights_is_another_judge(folders):
    whole, small = (load_model("vision_model", f"{folders['smolvlm']}{how}") for how in ("", "?quantisation=int8"))
    assert whole.judge_key != small.judge_key
    pytest.importorskip("torchao")
    scores = [
        replace(each, least_mass=0.0, description="").judge([picture(0)], [scene(TEXTS[1])])[0]
        for each in (whole, small)
    ]
    assert scores[1].element_scores == pytest.approx(scores[0].element_scores, abs=0.05)


def test_a_folder_of_each_architecture_is_a_vision_model(judge):
    assert isinstance(judge, VQAJudge)
    assert isinstance(judge, VisionModel)
    (verdict,) = judge.judge([picture(0)], [scene(TEXTS[1])])
    assert set(verdict.element_scores) == {"object:0", "count:0", "color:0", "background", "style"}
    assert all(0 <= score <= 1 for score in verdict.element_scores.values())
    assert verdict.style_deviation == pytest.approx(1 - verdict.element_scores["style"])


def test_one_pass_over_an_image_gives_what_a_pass_for_each_question_gives(judge):
    answerer = judge._answerer
    images = [picture(0), picture(1)]
    shared = answerer.next_word(images, [QUESTIONS, QUESTIONS[:2]])
    assert answerer._shares  # all of these architectures can
    with torch.no_grad():
        whole = [[answerer._whole(image, q) for q in QUESTIONS] for image in images]
    assert [rows.shape[0] for rows in shared] == [3, 2]
    for rows, expected in zip(shared, whole, strict=True):
        for row, chances in zip(rows, expected, strict=False):
            assert row.numpy() == pytest.approx(chances.numpy(), abs=1e-5)


def test_a_model_without_a_shared_pass_answers_each_question_on_its_own(fuyu, monkeypatch):
    expected = fuyu.judge([picture(0)], [scene(TEXTS[0])])[0].element_scores
    monkeypatch.setattr(
        Answerer, "_shared", lambda self, images, questions: (_ for _ in ()).throw(TypeError("no cache"))
    )
    fresh = replace(fuyu)
    (verdict,) = fresh.judge([picture(0)], [scene(TEXTS[0])])
    assert fresh._answerer._shares is False
    assert verdict.element_scores == pytest.approx(expected, abs=1e-5)


def test_a_score_is_the_share_of_the_right_answer_among_the_possible_ones(fuyu):
    (verdict,) = fuyu.judge([picture(1)], [scene("a star, no rings")])
    answerer = fuyu._answerer
    with torch.no_grad():
        words = {q: answerer._whole(picture(1), q) for q in ("Is there a star?", "Is there a ring?")}
    vocabulary = answerer.tokenizer.get_vocab()
    chance = {q: {a: row[vocabulary[a]].item() for a in ("yes", "no")} for q, row in words.items()}
    star, ring = chance["Is there a star?"], chance["Is there a ring?"]
    assert verdict.element_scores["object:0"] == pytest.approx(star["yes"] / (star["yes"] + star["no"]), abs=1e-5)
    # The adherent answer about what should be absent is no.
    assert verdict.element_scores["negation:0"] == pytest.approx(ring["no"] / (ring["yes"] + ring["no"]), abs=1e-5)
    assert verdict.metrics["soft_tifa_am"] == pytest.approx((star["yes"] + ring["no"]) / 2, abs=1e-5)
    assert verdict.metrics["soft_tifa_gm"] == pytest.approx((star["yes"] * ring["no"]) ** 0.5, abs=1e-5)


def test_a_count_is_asked_for_and_scored_among_all_numbers(fuyu):
    (verdict,) = fuyu.judge([picture(1)], [scene("two pink hearts")])
    answerer = fuyu._answerer
    with torch.no_grad():
        row = answerer._whole(picture(1), "How many hearts are there?")
    vocabulary = answerer.tokenizer.get_vocab()
    numbers = {word: row[vocabulary[word]].item() for word in NUMBERS if word in vocabulary}
    assert {"zero", "one", "two", "three", "four"} <= set(numbers)
    assert verdict.element_scores["count:0"] == pytest.approx(numbers["two"] / sum(numbers.values()), abs=1e-5)
    (asked,) = replace(fuyu, count_questions=False).judge([picture(1)], [scene("two pink hearts")])
    with torch.no_grad():
        row = answerer._whole(picture(1), "Are there two hearts?")
    yes, no = (row[vocabulary[a]].item() for a in ("yes", "no"))
    assert asked.element_scores["count:0"] == pytest.approx(yes / (yes + no), abs=1e-5)


def test_an_unanswered_question_is_null_with_its_reason(fuyu):
    (verdict,) = replace(fuyu, least_mass=0.9).judge([picture(0)], [scene("a star")])
    assert verdict.element_scores == {"object:0": None}
    assert verdict.text_match_score is None
    assert verdict.reasons["object:0"].startswith("Is there a star? was not answered: only 0.0")
    assert 0 < verdict.metrics["answer_mass"] < 0.9


def test_a_number_seen_instead_of_the_asked_one_is_unwanted(fuyu, monkeypatch):
    vocabulary = fuyu._answerer.tokenizer.get_vocab()

    def three(self, images, questions):
        rows = torch.full((len(questions[0]), len(vocabulary)), 1e-6)
        rows[:, vocabulary["three"]] = rows[:, vocabulary["yes"]] = 0.5
        return [rows] * len(images)

    monkeypatch.setattr(Answerer, "next_word", three)
    (verdict,) = fuyu.judge([picture(0)], [scene("two hearts, no rings")])
    assert verdict.unwanted_elements == ["three instead of two hearts", "a ring"]
    assert verdict.reasons["count:0"] == "How many hearts are there? three (1.00)"
    assert verdict.element_scores["negation:0"] < 0.01


def test_full_memory_halves_the_batch_and_loses_nothing(folders, monkeypatch):
    sizes, shared = [], Answerer._shared

    def crowded(self, images, questions):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return shared(self, images, questions)

    monkeypatch.setattr(Answerer, "_shared", crowded)
    judge = replace(VQAJudge.from_address(str(folders["fuyu"])), prompt="{}", description="", batch_size=5)
    memory.let_others_go(judge)  # or they would be, before a batch is halved
    verdicts = judge.judge([picture(i) for i in range(5)], [scene("a star")] * 5)
    assert all(isinstance(v, Judgement) for v in verdicts)
    assert sizes == [1, 5, 2, 2, 1]  # the first is the check that passes can be shared


def test_full_memory_during_the_check_does_not_give_up_sharing(folders, monkeypatch):
    calls, shared = [], Answerer._shared

    def crowded(self, images, questions):
        calls.append(len(images))
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return shared(self, images, questions)

    monkeypatch.setattr(Answerer, "_shared", crowded)
    judge = replace(VQAJudge.from_address(str(folders["fuyu"])), prompt="{}", description="")
    assert all(isinstance(v, Judgement) for v in judge.judge([picture(0), picture(1)], [scene("a star")] * 2))
    assert judge._answerer._shares


def test_an_answer_without_a_token_of_its_own_is_refused_at_load(folders, monkeypatch):
    judge = VQAJudge.from_address(str(folders["fuyu"]))
    answerer = judge._answerer
    monkeypatch.setattr(answerer, "tokenizer", answerer.tokenizer)
    with pytest.raises(ParameterError, match="no spelling of 'perhaps'"):
        distinct_answers(answerer, {"yes": ("yes",), "perhaps": ("perhaps maybe",)})
    with pytest.raises(ParameterError, match="same token"):
        distinct_answers(answerer, {"yes": ("yes",), "no": ("YES", "no")})


def test_an_answer_that_the_model_cannot_say_stops_the_judge_before_any_image(folders, monkeypatch):
    monkeypatch.setattr("forgekit.models.vlm.YES_NO", {"yes": ("indubitably",), "no": ("no",)})
    with pytest.raises(ParameterError, match="indubitably"):
        replace(VQAJudge.from_address(str(folders["fuyu"])), count_questions=False).judge(
            [picture(0)], [scene("a star")]
        )


def test_the_key_changes_with_templates_and_weights_but_not_with_the_batch_size(folders):
    judge = VQAJudge.from_address(str(folders["fuyu"]))
    changes = ({"prompt": "{} Say it."}, {"whole": "Is this {}?"}, {"least_mass": 0.1}, {"count_questions": False})
    assert len({replace(judge, **change).judge_key for change in ({}, *changes)}) == 5
    assert replace(judge, batch_size=1, device="cpu").judge_key == judge.judge_key
    assert replace(judge, repo=str(folders["qwen3"])).judge_key != judge.judge_key


def test_missing_weights_are_an_error_that_names_the_way_out(folders, tmp_path):
    (tmp_path / "config.json").write_text((folders["fuyu"] / "config.json").read_text())
    with pytest.raises(UnknownModelError, match=f"`forgekit doctor {tmp_path}` says what the folder lacks"):
        VQAJudge.from_address(str(tmp_path)).judge([picture(0)], [scene("a star")])


@pytest.mark.parametrize("field", ["prompt", "whole"])
def test_a_template_without_a_place_for_the_text_is_refused(field):
    with pytest.raises(ParameterError, match="where the text belongs"):
        VQAJudge("x", "y", **{field: "what?"})


def test_addresses_name_folders_and_hub_models():
    assert VQAJudge.from_address("Qwen/Qwen3-VL-4B-Instruct").repo == "Qwen/Qwen3-VL-4B-Instruct"
    assert VQAJudge.from_address("no-such-folder") is None


@pytest.fixture
def asked(monkeypatch):
    """Every text that is put to a model about an image, in order."""
    texts, next_word, describe = [], Answerer.next_word, Answerer.describe

    def listen(self, images, questions):
        texts.extend(question if isinstance(question, str) else question[0] for each in questions for question in each)
        return next_word(self, images, questions)

    monkeypatch.setattr(Answerer, "next_word", listen)
    monkeypatch.setattr(Answerer, "describe", lambda s, i, text, n: texts.append(text) or describe(s, i, text, n))
    return texts


CHOICE = {"key": "color:0", "kind": "color", "term": "red", "parents": []}
CHOICE |= {"question": "What color is the circle?", "expected": "red", "choices": ["red", "blue"]}
COUNTED = {"key": "count:0", "kind": "count", "term": "two", "parents": []}
COUNTED |= {"question": "How many circles are there?", "expected": "two", "choices": []}


def test_only_a_question_about_an_element_is_put_in_the_prompt_and_the_rest_is_said_as_it_stands(folders, asked):
    judge = replace(VQAJudge.from_address(str(folders["qwen3"])), least_mass=0.0, description_tokens=2)
    judge.judge([picture(0)], [scene("two hearts, no rings")])
    assert asked == [
        "Is there a heart? Answer in one word.",
        "How many hearts are there? Answer in one word.",
        "Is there a ring? Answer in one word.",
        'Does this image show "two hearts, no rings"? Answer the question with Yes or No.',
        "Describe the image.",
    ]


def test_a_benchmarks_question_that_names_its_answers_says_itself_how_to_answer(folders, asked):
    judge = replace(VQAJudge.from_address(str(folders["qwen3"])), least_mass=0.0, description="")
    judge.judge([picture(0)], [Scene("two circles", {**parse("two circles"), "questions": [COUNTED, CHOICE]})])
    assert asked[:2] == [
        "How many circles are there? Answer in one word.",
        "What color is the circle? Choices: red, blue.",
    ]


def test_a_frame_stands_around_all_that_is_said_and_changes_the_key(folders, asked):
    plain = replace(VQAJudge.from_address(str(folders["fuyu"])), prompt="{}", least_mass=0.0, description_tokens=2)
    judge = replace(plain, frame="{} answer :")
    judge.judge([picture(0)], [scene("a star")])
    assert [text.endswith(" answer :") for text in asked] == [True] * 3
    assert judge.judge_key != plain.judge_key


def test_a_key_changes_where_the_asking_does_and_is_the_old_one_where_it_does_not(folders):
    """Before there was a frame, `prompt` stood around everything: a judge that says the same as then has its old key."""

    def old_key(judge, prompt):
        asking = [prompt, judge.whole, judge.description, judge.description_tokens, judge.count_questions]
        weights = weights_of(judge, judge.repo, "config.json")
        thresholds = [judge.least_mass, judge.unwanted_at, judge.adhering_at]
        told = {"family": "vqa", "weights": weights, "asking": [*asking, YES_NO, NUMBERS], "thresholds": thresholds}
        return content_hash(told)

    bare = replace(VQAJudge.from_address(str(folders["fuyu"])), prompt="{}")
    assert bare.judge_key == old_key(bare, "{}")
    framed = replace(bare, frame="{}\n")
    assert framed.judge_key == old_key(framed, "{}\n")
    usual = replace(bare, prompt="{} Answer in one word.")
    assert usual.judge_key != old_key(usual, "{} Answer in one word.")
    assert len({judge.judge_key for judge in (bare, framed, usual, replace(framed, prompt=usual.prompt))}) == 4
