"""What is recorded with an image: its round, its place, the decision that it was drawn for; and each judge's pass mark."""

from __future__ import annotations

import pytest
from conftest import FakeGenerator, FakeJudge

import forgekit as fk
from forgekit.store.rows import insert_rows

LOGS = "select learning_id, request from api_logs where stage = $stage order by created_at desc, id limit 1"
MARKS = "select vision_model, judge_key, pass_mark, source from pass_marks order by all"


def decide(store, prompt_id, *, redraw=True) -> str:
    """Note a decision about a prompt, as the refiner does, and have the prompt drawn again with other seeds."""
    n = store.rows("select count(*) as n from prompt_learnings")[0]["n"]
    learning = fk.ids.content_id("learning", n=n)
    with store.transaction() as con:
        row = {"id": learning, "prompt_id": prompt_id, "actions": {"decision": "resample"}}
        insert_rows(con, "prompt_learnings", [row])
        if redraw:
            parameters = f'{{"seed": {n + 1}}}'
            con.execute(
                "update prompts set status = 'needs_refinement', base_parameters = $p::json where id = $id",
                {"id": prompt_id, "p": parameters},
            )
    return learning


def prompts(store) -> list[str]:
    return [row["id"] for row in store.rows("select id from prompts order by created_at, id")]


def draw_and_judge(store, **settings):
    fk.generate_images(store, images_per_prompt=2, image_generator=FakeGenerator(), **settings)
    fk.evaluate_images(store, vision_models=[FakeJudge()])


def test_an_image_has_its_round_and_its_place(completed):
    draw_and_judge(completed)
    first, second, third = prompts(completed)
    decide(completed, first)
    draw_and_judge(completed)
    decide(completed, first)
    decide(completed, third)
    draw_and_judge(completed)
    images = (
        "select round, image_index, count(*) as n from generated_images where prompt_id = $id group by all order by all"
    )
    told = {prompt: [tuple(row.values()) for row in completed.rows(images, id=prompt)] for prompt in prompts(completed)}
    assert told == {
        first: [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 1), (2, 0, 1), (2, 1, 1)],
        second: [(0, 0, 1), (0, 1, 1)],
        third: [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 1)],
    }


def test_calls_of_round_0_have_no_learning(completed):
    draw_and_judge(completed)
    assert completed.rows("select distinct learning_id from api_logs") == [{"learning_id": None}]


def test_calls_for_one_decision_alone_carry_it(completed):
    draw_and_judge(completed)
    first = prompts(completed)[0]
    decide(completed, first)
    draw_and_judge(completed)
    learning = decide(completed, first)
    draw_and_judge(completed)
    drawn, judged = (completed.rows(LOGS, stage=stage)[0] for stage in ("generate", "evaluate"))
    assert drawn["learning_id"] == judged["learning_id"] == learning
    assert {item["learning_id"] for item in drawn["request"]["requests"]} == {learning}
    images = completed.rows("select id from generated_images where round = 2 order by id")
    assert sorted(judged["request"]["images"]) == [row["id"] for row in images]


def test_images_that_are_judged_late_carry_the_decision_that_they_were_drawn_for(completed):
    class Broken(FakeJudge):
        def judge(self, images, scenes):
            raise OSError("cable")

    draw_and_judge(completed)
    first = prompts(completed)[0]
    cause = decide(completed, first)
    fk.generate_images(completed, images_per_prompt=2, image_generator=FakeGenerator())
    fk.evaluate_images(completed, vision_models=[FakeJudge(), Broken("watcher")])
    with completed.transaction() as con:
        con.execute(
            "delete from image_evaluations where vision_model = 'watcher' "
            "and image_id in (select id from generated_images where round = 0)"
        )
    decide(completed, first, redraw=False)
    fk.evaluate_images(completed, vision_models=[FakeJudge(), FakeJudge("watcher")])
    assert completed.rows(LOGS, stage="evaluate")[0]["learning_id"] == cause


def test_a_call_that_mixes_decisions_names_them_item_by_item(completed):
    draw_and_judge(completed)
    first, _, third = prompts(completed)
    learnings = {first: decide(completed, first), third: decide(completed, third)}
    draw_and_judge(completed)
    drawn, judged = (completed.rows(LOGS, stage=stage)[0] for stage in ("generate", "evaluate"))
    assert drawn["learning_id"] is judged["learning_id"] is None
    assert {(i["prompt_id"], i["learning_id"]) for i in drawn["request"]["requests"]} == set(learnings.items())


def test_every_judge_that_was_used_has_its_pass_mark(generated):
    fk.evaluate_images(generated, vision_models=[FakeJudge(adhering_at=0.6), FakeJudge("watcher", adhering_at=0.3)])
    assert [tuple(row.values()) for row in generated.rows(MARKS)] == [
        ("fake-judge", "key-1", 0.6, "default"),
        ("watcher", "key-1", 0.3, "default"),
    ]


def calibration(truth, threshold, key="key-1"):
    return {
        "id": fk.ids.content_id("calibration", truth=truth, key=key), "vision_model": "fake-judge", "judge_key": key,
        "truth": truth, "wanted_precision": 0.9, "threshold": threshold, "images": 9, "curve": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("calibrations", "mark", "source"),
    [
        ([("error graphs", 0.8)], 0.8, "error graphs"),
        ([("error graphs", 0.8), ("human ratings", 0.4)], 0.4, "human ratings"),
        ([("human ratings", 0.4), ("error graphs", 0.8)], 0.4, "human ratings"),
        ([("error graphs", 0.8), ("human ratings", None)], 0.8, "error graphs"),
        ([("error graphs", None)], 0.5, "default"),
    ],
)
def test_the_pass_mark_is_the_calibrated_threshold_and_people_outrank_renders(generated, calibrations, mark, source):
    with generated.transaction() as con:
        for truth, threshold in calibrations:
            insert_rows(con, "judge_calibrations", [calibration(truth, threshold)])
        insert_rows(con, "judge_calibrations", [calibration("human ratings", 0.99, key="another key")])
    fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.6)])
    assert [tuple(row.values())[2:] for row in generated.rows(MARKS)] == [(mark, source)]
    images = "select distinct is_adhering, cast(evaluation_details ->> '$.adhering_at' as double) as mark from generated_images"
    assert generated.rows(images) == [{"is_adhering": mark <= 0.6, "mark": mark}]
    missing = "select adherence_analysis as a from image_evaluations"
    assert all(bool(row["a"]["missing_elements"]) == (mark > 0.6) for row in generated.rows(missing))
