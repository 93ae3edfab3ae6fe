"""Judges behind a server: the same verdicts as here, sampled ones marked and never mixed, and failures that are an image's own."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import pandas as pd
import pytest
from benchmark_files import TIFA, write_tifa
from served_models import answered, chat, judging_server, serving

import forgekit as fk
from forgekit.errors import ForgekitError, ItemError, ParameterError
from forgekit.mini import world
from forgekit.mini.render import images
from forgekit.models import Judgement, VisionModel, load_model
from forgekit.models.served_judge import ServedJudge
from forgekit.scene import Scene, parse
from forgekit.sources import read

TEXTS = ("two red circles above a blue square", "a green star, no hearts", "three yellow rings, watercolor")
LIKE_MINI = {"prompt": "{}", "description_tokens": 24}


def scene(text: str) -> Scene:
    return Scene(text, parse(text))


@pytest.fixture(scope="module")
def pictures():
    return images([world.sample_scene(random.Random(seed)) for seed in range(3)])


def judge(base_url: str, **settings) -> ServedJudge:
    return ServedJudge("served", base_url, "mini-fuyu", **{**LIKE_MINI, "retries": 0, "timeout_s": 20, **settings})


def assert_alike(here: Judgement, there: Judgement) -> None:
    assert there.element_scores == pytest.approx(here.element_scores, abs=1e-4)
    assert there.text_match_score == pytest.approx(here.text_match_score, abs=1e-4)
    assert there.metrics == pytest.approx(here.metrics, abs=1e-4)
    assert (there.description, there.unwanted_elements) == (here.description, here.unwanted_elements)
    assert there.answers.keys() == here.answers.keys()
    for key, said in here.answers.items():
        assert (there.answers[key]["answer"], there.answers[key]["right"]) == (said["answer"], said["right"])


def test_the_same_scenes_get_the_same_verdicts_here_and_through_a_server(pictures):
    here, scenes = load_model("vision_model", "mini-fuyu"), [scene(text) for text in TEXTS]
    with serving(judging_server()) as url:
        there = load_model("vision_model", f"{url}#mini-fuyu?prompt={{}}&description_tokens=24")
        assert isinstance(there, VisionModel) and there.answers_by() == "logprobs"
        for one, other in zip(here.judge(pictures, scenes), there.judge(pictures, scenes), strict=True):
            assert_alike(one, other)


def test_a_benchmarks_choices_are_asked_alike(pictures, tmp_path):
    frame = read(write_tifa(tmp_path / "tifa.json", TIFA), format="tifa").frame
    scenes = [Scene(text, elements) for text, elements in zip(frame["text"], frame["elements"], strict=True)]
    here = replace(load_model("vision_model", "mini-fuyu"), least_mass=0.0)
    with serving(judging_server()) as url:
        asked = [pictures[0]] * len(scenes)
        verdicts = judge(url, least_mass=0.0).judge(asked, scenes)
        for one, other in zip(here.judge(asked, scenes), verdicts, strict=True):
            assert any(element.answers for element in (one, other))
            assert_alike(one, other)


def test_a_server_without_logprobs_is_sampled_and_says_so(pictures):
    here, asked = load_model("vision_model", "mini-fuyu"), [scene("a red circle")]
    with serving(judging_server(logprobs=False)) as url, serving(judging_server()) as other:
        served = judge(url, samples=24)
        [sampled] = served.judge(pictures[:1], asked)
        [exact] = here.judge(pictures[:1], asked)
        assert sampled.metrics["samples"] == 24 and "samples" not in exact.metrics
        assert sampled.text_match_score * 24 == pytest.approx(round(sampled.text_match_score * 24))
        for key, score in exact.element_scores.items():
            assert abs(sampled.element_scores[key] - score) <= 0.35  # 3.4 standard deviations of 24 tosses
        few = judge(url, samples=3)
        assert few.judge(pictures[:1], asked) == few.judge(pictures[:1], asked)  # samples have their seeds
        keys = {judge(url).judge_key, judge(url, ask_by="samples").judge_key, judge(url, samples=9).judge_key}
        assert len(keys) == 2 and judge(url, ask_by="logprobs").judge_key not in keys
        assert judge(other).judge_key == judge(other, ask_by="logprobs").judge_key


def test_the_key_is_that_of_the_address_and_of_what_is_asked_not_of_how_fast(pictures):
    keyed = judge("http://host/v1", ask_by="logprobs")
    changes = ({"whole": "Is this {}?"}, {"least_mass": 0.1}, {"base_url": "http://other/v1"}, {"top_logprobs": 5})
    assert len({replace(keyed, **change).judge_key for change in ({}, *changes)}) == 5
    assert replace(keyed, in_flight=1, timeout_s=1, price_per_million_input=2.0).judge_key == keyed.judge_key


def test_a_server_that_is_down_keeps_its_key_to_itself():
    with pytest.raises(ForgekitError, match="ask_by=samples"):
        _ = judge("http://127.0.0.1:9/v1").judge_key


def test_an_unknown_way_of_asking_or_template_is_refused():
    with pytest.raises(ParameterError, match="ask_by='logits'"):
        load_model("vision_model", "http://host/v1#m?ask_by=logits")
    with pytest.raises(ParameterError, match="put {}"):
        judge("http://host/v1", whole="Is it so?")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda: chat("Yes"), "without logprobs"),
        (lambda: answered({"choices": []}), "IndexError"),
        (lambda: answered({"error": {"message": "slow down"}}, 429, **{"retry-after": "3600"}), "3600 s, too long"),
        (lambda: answered({"error": {"message": "on fire"}}, 500), "500: on fire"),
        (lambda: None, "Connection"),
        (lambda: (200, {"content-type": "application/json"}, b"{"), "JSONDecodeError"),
        (lambda: chat("Yes", logprobs={"content": [{"token": "Yes", "top_logprobs": [{"token": "Yes", "logprob": 5.0}]}]}), "logprobs are none"),
    ],
    ids=["null logprobs", "empty", "429", "500", "cut", "garbage", "no probabilities"],
)  # fmt: skip
def test_what_goes_wrong_with_one_question_is_the_error_of_its_image(pictures, answer, reason):
    right = judging_server()

    def now_and_then(path, body):
        wrong = "green star" in body["messages"][0]["content"][1]["text"]
        return answer() if wrong else right(path, body)

    with serving(now_and_then) as url:
        one, other, last = judge(url, ask_by="logprobs").judge(pictures, [scene(text) for text in TEXTS])
    assert isinstance(other, ItemError) and reason in other.reason
    assert isinstance(one, Judgement) and isinstance(last, Judgement)


@pytest.mark.parametrize(
    "wrong", [{}, {"noul": 1.5}, {"noul": "yes"}, {"noul": float("nan")}, {"probabilities": {"yes": 1}}]
)
def test_typed_answers_that_are_no_probabilities_are_the_error_of_the_image(pictures, wrong):
    with serving(lambda path, body: answered({"answers": dict.fromkeys(body["questions"], wrong)})) as url:
        [found] = judge(url, ask_by="systemone", description="").judge(pictures[:1], [scene("a red circle")])
    assert isinstance(found, ItemError) and ("no probability" in found.reason or "TypeError" in found.reason)


def test_a_refusal_is_no_answer_and_has_no_score(pictures):
    sorry = {"content": [{"token": "I", "top_logprobs": [{"token": "I", "logprob": -0.01}]}]}
    with serving(lambda path, body: chat("I'm sorry, I can't help with that.", logprobs=sorry)) as url:
        for by in ("logprobs", "samples"):
            [verdict] = judge(url, ask_by=by).judge(pictures[:1], [scene("a red circle")])
            assert set(verdict.element_scores.values()) == {None}
            assert all("was not answered" in reason for reason in verdict.reasons.values())


def test_after_a_failure_nothing_more_is_asked_about_the_image(pictures):
    asked, lock = [], threading.Lock()

    def broken(path, body):
        with lock:
            asked.append(body)
        return answered({"error": {"message": "no"}}, 500)

    with serving(broken) as url:
        judge(url, ask_by="logprobs", in_flight=1).judge(pictures[:1], [scene(TEXTS[0])])
    assert len(asked) == 1


def test_the_stage_stores_verdicts_of_a_server_and_asks_failed_ones_again(store, pictures):
    fk.import_prompts(
        store, pd.DataFrame({"prompt": ["a red circle", "a blue star"]}), parameters={"num_inference_steps": 2}
    )
    fk.complete_prompts(store)
    fk.generate_images(store, images_per_prompt=2)
    right, down = judging_server(), [True]

    def half(path, body):
        wrong = down[0] and "star" in body["messages"][0]["content"][1]["text"]
        return answered({"error": {"message": "on fire"}}, 500) if wrong else right(path, body)

    with serving(half) as url:
        address = f"{url}#mini-fuyu?prompt={{}}&retries=0&ask_by=logprobs"
        report = fk.evaluate_images(store, vision_models=[address])
        assert report.done == 1 and "on fire" in next(iter(report.failures.values()))
        down[0] = False
        assert fk.evaluate_images(store, vision_models=[address]).done == 1
    assert [row["n"] for row in store.rows("select count(*) as n from image_evaluations where error is null")] == [4]
