"""evaluate_images: one verdict per image, judge and key; failures as null with a reason; who steers."""

from __future__ import annotations

import pytest
from conftest import FakeJudge

import forgekit as fk
from forgekit.errors import ItemError, ParameterError

SCORED = "select adherence_score, is_adhering, evaluation_details from generated_images"


def test_the_score_of_an_image_is_the_geometric_mean_of_its_elements(generated):
    fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.9, scores={"color:0": 0.4})])
    circle = generated.rows(
        SCORED + " where prompt_id = (select id from prompts where prompt_text like 'a red circle%') limit 1"
    )[0]
    assert circle["adherence_score"] == pytest.approx((0.9 * 0.4) ** 0.5)  # object and colour
    assert circle["is_adhering"] is True
    assert circle["evaluation_details"]["soft_tifa_am"] == pytest.approx((0.9 + 0.4) / 2)


def test_the_first_judge_steers_and_the_others_watch(generated):
    judges = [FakeJudge(score=0.8), FakeJudge("watcher", score=0.1)]
    fk.evaluate_images(generated, vision_models=judges)
    assert generated.rows("select count(*) as n from image_evaluations") == [{"n": 12}]
    scores = {round(row["adherence_score"], 6) for row in generated.rows(SCORED)}
    assert scores == {0.8}
    prompts = generated.rows("select status, round(current_score, 6) as score, best_image_id from prompts")
    assert {(row["status"], row["score"]) for row in prompts} == {("evaluated", 0.8)}
    assert all(row["best_image_id"] for row in prompts)


def test_a_verdict_is_asked_for_once_per_judge_key(generated):
    judge = FakeJudge()
    fk.evaluate_images(generated, vision_models=[judge])
    fk.evaluate_images(generated, vision_models=[judge], backfill=True)
    assert judge.judged == 6
    judge.judge_key = "key-2"  # as a changed template would make it
    fk.evaluate_images(generated, vision_models=[judge], backfill=True)
    assert judge.judged == 12
    assert generated.rows("select count(*) as n from image_evaluations") == [{"n": 12}]


def test_a_missing_image_is_null_with_a_reason_and_the_rest_is_judged(generated):
    gone = generated.rows("select id, image_path from generated_images order by id limit 1")[0]
    (generated.folder / gone["image_path"]).unlink()
    report = fk.evaluate_images(generated, vision_models=[FakeJudge()])
    assert report.done == 3
    assert list(report.failures) == [f"image {gone['id']} by fake-judge"]
    row = generated.rows("select element_scores, error from image_evaluations where image_id = $id", id=gone["id"])[0]
    assert row["element_scores"] is None
    assert "is missing" in row["error"]
    score = generated.rows("select adherence_score from generated_images where id = $id", id=gone["id"])
    assert score == [{"adherence_score": None}]
    assert any("image file is missing" in finding for finding in fk.check(generated).findings)


class RefusingJudge(FakeJudge):
    def judge(self, images, scenes):
        verdicts = super().judge(images, scenes)
        return [ItemError("refuses to look"), *verdicts[1:]]


def test_a_failed_verdict_is_asked_for_again_and_replaced(generated):
    fk.evaluate_images(generated, vision_models=[RefusingJudge()])
    failed = "select count(*) as n from image_evaluations where error is not null"
    assert generated.rows(failed) == [{"n": 1}]
    fk.evaluate_images(generated, vision_models=[FakeJudge()], backfill=True)
    assert generated.rows(failed) == [{"n": 0}]
    assert generated.rows("select count(*) as n from image_evaluations") == [{"n": 6}]


def test_the_two_documents_of_the_seed_have_their_fields(generated):
    fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.3)])
    row = generated.rows("select model_output, adherence_analysis from image_evaluations limit 1")[0]
    assert {"description", "confidence_scores", "detected_artifacts"} <= set(row["model_output"])
    assert set(row["model_output"]["confidence_scores"]) == {"objects", "colors", "spatial"}
    assert set(row["adherence_analysis"]) == {
        "text_match_score", "missing_elements", "unwanted_elements", "style_deviation",
    }  # fmt: skip
    assert row["adherence_analysis"]["missing_elements"]


def test_two_judges_of_one_name_are_refused(generated):
    with pytest.raises(ParameterError, match="each name once"):
        fk.evaluate_images(generated, vision_models=[FakeJudge(), FakeJudge()])
