"""evaluate_images: one verdict per image, judge and key; failures as null with a reason; who steers."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from conftest import SCENES, FakeJudge
from PIL import Image

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


def test_an_element_counts_as_at_least_a_fiftieth(generated):
    fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.9, scores={"object:0": 0.0})])
    elements = "select len(json_keys(element_scores)) as n, soft_tifa_gm as score from image_evaluations"
    for row in generated.rows(elements):
        assert row["score"] == pytest.approx((0.02 * 0.9 ** (row["n"] - 1)) ** (1 / row["n"]))


def test_a_prompt_has_the_mean_of_its_images_and_the_best_of_them(generated):
    class InTurn(FakeJudge):
        def judge(self, images, scenes):
            verdicts = super().judge(images, scenes)
            shares = [0.3 + 0.1 * n for n in range(len(images))]
            return [
                replace(v, element_scores=dict.fromkeys(v.element_scores, share))
                for v, share in zip(verdicts, shares, strict=True)
            ]

    fk.evaluate_images(generated, vision_models=[InTurn()])
    prompts = generated.rows(
        "select p.current_score, b.adherence_score as best, list(i.adherence_score) as scores from prompts p "
        "join generated_images b on b.id = p.best_image_id join generated_images i on i.prompt_id = p.id group by all"
    )
    assert len(prompts) == 3
    for row in prompts:
        assert len(set(row["scores"])) == 2
        assert row["current_score"] == pytest.approx(sum(row["scores"]) / 2)
        assert row["best"] == max(row["scores"])


def test_an_image_adheres_and_an_element_is_there_from_the_mark_on(generated):
    fk.evaluate_images(generated, vision_models=[FakeJudge(score=1.0, adhering_at=1.0)])
    assert generated.rows("select distinct adherence_score, is_adhering from generated_images") == [
        {"adherence_score": 1.0, "is_adhering": True}
    ]
    missing = "select distinct adherence_analysis -> '$.missing_elements' as missing from image_evaluations"
    assert generated.rows(missing) == [{"missing": []}]


def test_a_judge_that_comes_late_changes_no_score_and_only_watches(generated):
    fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.8)])
    told = "select status, current_score, best_image_id from prompts order by id"
    before = generated.rows(told), generated.rows(SCORED + " order by id")
    report = fk.evaluate_images(generated, vision_models=[FakeJudge("late", score=0.1)], backfill=True)
    assert report.details == {"verdicts of late": 6}
    assert (generated.rows(told), generated.rows(SCORED + " order by id")) == before
    roles = generated.rows("select distinct vision_model, role from image_evaluations order by all")
    assert [tuple(row.values()) for row in roles] == [("fake-judge", "objective"), ("late", "heldout")]


def test_a_prompt_left_evaluating_is_taken_up(generated):
    with generated.transaction() as con:  # as if the process had died
        con.execute("update prompts set status = 'evaluating'")
    assert fk.evaluate_images(generated, vision_models=[FakeJudge()]).done == 3


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
    verdicts = generated.rows("select * from image_evaluations order by id")
    report = fk.evaluate_images(generated, vision_models=[judge], backfill=True)
    assert (judge.judged, report.details) == (6, {})
    assert generated.rows("select * from image_evaluations order by id") == verdicts  # not even written again
    judge.judge_key = "key-2"  # as a changed template would make it
    fk.evaluate_images(generated, vision_models=[judge], backfill=True)
    assert judge.judged == 12
    assert generated.rows("select count(*) as n from image_evaluations") == [{"n": 12}]


def test_a_missing_image_is_null_with_a_reason_and_the_rest_is_judged(generated):
    gone = generated.rows("select id, image_path from generated_images order by id limit 1")[0]
    (generated.folder / gone["image_path"]).unlink()
    report = fk.evaluate_images(generated, vision_models=[FakeJudge()])
    prompt = generated.rows("select prompt_id from generated_images where id = $id", id=gone["id"])[0]["prompt_id"]
    assert report.done == 2
    assert list(report.failures) == [prompt]
    assert "is missing" in report.failures[prompt]
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


def repaint(store, image_id: str, color: str) -> None:
    """Put another picture into the file of an image."""
    path = store.rows("select image_path from generated_images where id = $id", id=image_id)[0]["image_path"]
    (store.folder / path).unlink()
    Image.new("RGB", (8, 8), color).save(store.folder / path)


def test_a_picture_that_two_prompts_share_is_judged_once(generated, fake_generator):
    """The same scenes in another experiment get the same pictures, linked, under rows of their own."""
    judge = FakeJudge()
    fk.evaluate_images(generated, vision_models=[judge])
    fk.import_prompts(generated, pd.DataFrame({"text": SCENES}), model=fake_generator.name, experiment="again")
    fk.complete_prompts(generated)
    fk.generate_images(generated, images_per_prompt=2, image_generator=fake_generator)
    report = fk.evaluate_images(generated, vision_models=[judge])
    assert judge.judged == 6
    assert report.details["verdicts of fake-judge used again"] == 6
    again = "select count(*) as n, avg(adherence_score) as score from generated_images"
    assert generated.rows(again) == [{"n": 12, "score": pytest.approx(0.5)}]
    assert fk.check(generated).findings == []


def test_a_picture_of_the_same_pixels_is_judged_once_for_one_scene_and_again_for_another(generated):
    rows = generated.rows(
        "select i.id, p.scene_hash from generated_images i join prompts p on p.id = i.prompt_id order by 2"
    )
    for row in rows:
        repaint(generated, row["id"], "white")
    judge = FakeJudge()
    fk.evaluate_images(generated, vision_models=[judge])
    assert judge.judged == 3  # six images, one picture, three scenes


def test_an_image_file_that_was_replaced_is_judged_anew(generated):
    judge = FakeJudge()
    fk.evaluate_images(generated, vision_models=[judge])
    image = generated.rows("select id from generated_images order by id limit 1")[0]["id"]
    repaint(generated, image, "purple")
    fk.evaluate_images(generated, vision_models=[judge], backfill=True)
    assert judge.judged == 7
    assert generated.rows("select count(*) as n from image_evaluations") == [{"n": 6}]


def test_who_steered_and_who_watched_is_recorded(generated):
    fk.evaluate_images(generated, vision_models=[FakeJudge(), FakeJudge("watcher"), FakeJudge("third")])
    roles = generated.rows("select distinct vision_model, role from image_evaluations order by all")
    assert [tuple(row.values()) for row in roles] == [
        ("fake-judge", "objective"),
        ("third", "heldout"),
        ("watcher", "heldout"),
    ]
    details = generated.rows("select evaluation_details as d from generated_images limit 1")[0]["d"]
    assert (details["vision_model"], details["heldout"]) == ("fake-judge", ["watcher", "third"])


def test_what_a_tokenizer_cut_off_is_in_the_row_and_in_the_report(generated):
    class ShortSighted(FakeJudge):
        def judge(self, images, scenes):
            verdicts = super().judge(images, scenes)
            return [replace(v, metrics={"truncated_words": 2}, reasons={"text": "not read: a b"}) for v in verdicts]

    report = fk.evaluate_images(generated, vision_models=[ShortSighted()])
    assert report.details["texts cut short by fake-judge"] == 6
    output = generated.rows("select model_output as o from image_evaluations limit 1")[0]["o"]
    assert output["metrics"] == {"truncated_words": 2}
    assert output["reasons"] == {"text": "not read: a b"}


def test_a_judge_without_weights_leaves_its_verdicts_out_and_the_others_go_on(generated):
    missing = fk.load_model("vision_model", "local-dir:/nowhere/at-all")
    report = fk.evaluate_images(generated, vision_models=[FakeJudge(), missing])
    assert generated.rows("select count(*) as n from image_evaluations where error is null") == [{"n": 6}]
    assert report.done == 3
    assert all("no weights could be loaded" in reason for reason in report.failures.values())


def test_two_judges_of_one_name_are_refused(generated):
    with pytest.raises(ParameterError, match="each name once"):
        fk.evaluate_images(generated, vision_models=[FakeJudge(), FakeJudge()])
