"""A judge that fails never decides: no score, no status, no other's verdict follows from what it did not say."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import FakeJudge

import forgekit as fk
from forgekit.errors import ItemError, UnknownModelError
from forgekit.stages.evaluating import take_seats
from forgekit.stages.scores import score

STATUSES = "select distinct status from prompts order by all"
PROMPTS = "select id from prompts order by id"


class Failing(FakeJudge):
    """A fake judge whose `judge` is whatever `answer` makes of the verdicts."""

    answer = staticmethod(lambda verdicts: verdicts)

    def judge(self, images, scenes):
        return self.answer(super().judge(images, scenes))


def failing(answer, name="fake-judge", **settings) -> Failing:
    judge = Failing(name, **settings)
    judge.answer = answer
    return judge


def raising(error):
    def answer(_):
        raise error

    return answer


def told(number):
    """Every verdict with its first element's score replaced by `number`."""
    return lambda verdicts: [replace(v, element_scores={**v.element_scores, "object:0": number}) for v in verdicts]


NO_WEIGHTS = UnknownModelError("no weights could be loaded")
UNUSABLE = {
    "no weights": raising(NO_WEIGHTS),
    "any error": raising(ZeroDivisionError("by zero")),
    "an iterator's end": raising(StopIteration()),
    "nothing": lambda _: None,
    "a dict": lambda verdicts: dict(enumerate(verdicts)),
    "a generator": lambda verdicts: (v for v in verdicts),
    "too few": lambda verdicts: verdicts[1:],
    "too many": lambda verdicts: [*verdicts, verdicts[0]],
    "text": lambda verdicts: ["good"] * len(verdicts),
    "nan": told(float("nan")),
    "inf": told(float("inf")),
    "above 1": told(1.5),
    "below 0": told(-0.1),
    "a bool": told(True),
    "a string": told("0.9"),
    "null": told(None),
    "no mapping": lambda verdicts: [replace(v, element_scores=[0.5]) for v in verdicts],
    "other elements": lambda verdicts: [replace(v, element_scores={"dog:0": 0.9}) for v in verdicts],
}


def test_without_a_usable_score_by_the_steering_judge_prompts_stay_generated_and_the_next_run_finishes(generated):
    watcher, prompts = FakeJudge("watcher"), [row["id"] for row in generated.rows(PROMPTS)]
    for way, answer in UNUSABLE.items():
        report = fk.evaluate_images(generated, vision_models=[failing(answer), watcher])
        assert (report.done, sorted(report.failures)) == (0, prompts), way
        assert generated.rows("select distinct status, current_score, best_image_id from prompts") == [
            {"status": "generated", "current_score": None, "best_image_id": None}
        ], way
        assert watcher.judged == 6  # the others go on
    judge = FakeJudge(score=0.8)
    assert fk.evaluate_images(generated, vision_models=[judge, watcher]).done == 3
    assert generated.rows(STATUSES) == [{"status": "evaluated"}]
    assert generated.rows("select count(*) as n from image_evaluations where error is not null") == [{"n": 0}]
    assert (judge.judged, watcher.judged) == (6, 6)


def test_a_verdict_without_elements_stands_and_scores_nothing(generated):
    answer = lambda verdicts: [replace(v, element_scores={}) for v in verdicts]  # noqa: E731
    assert fk.evaluate_images(generated, vision_models=[failing(answer)]).done == 0
    assert generated.rows(STATUSES) == [{"status": "generated"}]
    assert fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.8)]).done == 0
    assert fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.8, judge_key="key-2")]).done == 3


def test_numbers_of_numpy_and_torch_are_numbers(generated):
    import torch

    numbers = (np.float32(0.5), np.float64(0.5), torch.tensor(0.5), np.array(0.5), 1, np.int64(1))  # an image each
    judge = failing(lambda verdicts: [told(n)([v])[0] for n, v in zip(numbers, verdicts, strict=True)])
    assert fk.evaluate_images(generated, vision_models=[judge]).failures == {}
    rows = generated.rows("select element_scores as s from image_evaluations")
    assert sorted(row["s"]["object:0"] for row in rows) == [0.5] * 4 + [1.0] * 2


def test_what_stands_beside_the_scores_is_null_with_a_reason_where_it_is_no_number(generated):
    strange = {"clip_score": float("nan"), "share": np.float32(0.25), "truncated_words": 2}
    answer = lambda verdicts: [  # noqa: E731
        replace(v, text_match_score=1.2, style_deviation=float("inf"), metrics=strange, description="\ud800")
        for v in verdicts
    ]
    assert fk.evaluate_images(generated, vision_models=[failing(answer)]).done == 3
    row = generated.rows("select model_output as o, adherence_analysis as a from image_evaluations limit 1")[0]
    assert row["o"]["metrics"] == {"clip_score": None, "share": 0.25, "truncated_words": 2}
    assert (row["a"]["text_match_score"], row["a"]["style_deviation"]) == (None, None)
    assert set(row["o"]["reasons"]) == {"clip_score", "text_match_score", "style_deviation"}


def test_an_element_that_the_scene_does_not_have_is_left_out_with_a_reason(generated):
    answer = lambda verdicts: [replace(v, element_scores={**v.element_scores, "dog:7": 0.0}) for v in verdicts]  # noqa: E731
    assert fk.evaluate_images(generated, vision_models=[failing(answer, score=0.5)]).done == 3
    row = generated.rows("select element_scores as s, model_output as o, error from image_evaluations limit 1")[0]
    assert "dog:7" not in row["s"]
    assert "dog:7" in row["o"]["reasons"]
    assert row["error"] is None
    assert generated.rows("select distinct round(adherence_score, 6) as s from generated_images") == [{"s": 0.5}]


def test_the_other_elements_of_a_failed_verdict_are_kept_and_its_error_names_the_null_one(generated):
    fk.evaluate_images(generated, vision_models=[failing(told(float("nan")), score=0.7)])
    row = generated.rows("select element_scores as s, error, soft_tifa_gm from image_evaluations limit 1")[0]
    assert row["s"]["object:0"] is None
    assert set(row["s"].values()) - {None} == {0.7}
    assert row["error"] == "no score for object:0 (no number: nan)"
    assert row["soft_tifa_gm"] is None


def test_one_failed_image_of_a_prompt_holds_that_prompt_back_and_no_other(generated):
    answer = lambda verdicts: [ItemError("refuses to look"), *verdicts[1:]]  # noqa: E731
    report = fk.evaluate_images(generated, vision_models=[failing(answer)])
    assert report.done == 2
    assert list(report.failures.values()) == ["refuses to look"]
    assert generated.rows("select status, current_score is null as no_score from prompts order by 1") == [
        {"status": "generated", "no_score": True},
        {"status": "evaluated", "no_score": False},
        {"status": "evaluated", "no_score": False},
    ]
    judge = FakeJudge()
    assert fk.evaluate_images(generated, vision_models=[judge]).done == 1
    assert judge.judged == 1  # the verdicts that did not fail stand


def test_a_scene_without_elements_is_named_with_its_reason(store, fake_generator):
    fk.import_prompts(store, pd.DataFrame({"text": ["a red circle", "a blue star"]}), model=fake_generator.name)
    fk.complete_prompts(store)
    fk.generate_images(store, images_per_prompt=1, image_generator=fake_generator)
    empty = json.dumps({name: [] for name in store.rows("select elements from scenes limit 1")[0]["elements"]})
    with store.transaction() as con:
        con.execute("update scenes set elements = $empty::json where scene_text like '%circle%'", {"empty": empty})
    report = fk.evaluate_images(store, vision_models=[FakeJudge()], prompts_per_batch=1)
    assert report.done == 1
    assert list(report.failures.values()) == ["the scene asks for nothing that a judge could check: no elements"]
    assert [row["status"] for row in store.rows("select status from prompts order by 1")] == ["generated", "evaluated"]


def test_what_fails_comes_up_once_in_a_call_and_again_in_the_next(generated):
    judge = failing(lambda verdicts: [ItemError("no")] * len(verdicts))
    for calls in (1, 2):
        fk.evaluate_images(generated, vision_models=[judge], prompts_per_batch=1)
        assert judge.judged == 6 * calls


def test_a_score_under_an_older_key_does_not_outlive_a_failure_under_the_new_one(generated):
    fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.95)])
    with generated.transaction() as con:
        con.execute("update prompts set status = 'generated'")
    fk.evaluate_images(generated, vision_models=[failing(raising(NO_WEIGHTS), judge_key="key-2")])
    assert generated.rows("select distinct adherence_score, is_adhering, evaluation_details from generated_images") == [
        {"adherence_score": None, "is_adhering": None, "evaluation_details": None}
    ]
    assert generated.rows("select distinct current_score, status from prompts") == [
        {"current_score": None, "status": "generated"}
    ]


def test_a_watching_judge_holds_no_prompt_back_and_is_asked_again_on_every_call_until_it_answers(generated):
    broken = failing(raising(OSError("cable")), "watcher")
    report = fk.evaluate_images(generated, vision_models=[FakeJudge(), broken])
    assert report.done == 3
    assert len(report.failures) == 6
    failed = "select count(*) as n from image_evaluations where error is not null"
    fk.evaluate_images(generated, vision_models=[FakeJudge(), broken])
    assert generated.rows(failed) == [{"n": 6}]
    steering, watcher = FakeJudge(), FakeJudge("watcher", score=0.3)
    fk.evaluate_images(generated, vision_models=[steering, watcher])
    assert (steering.judged, watcher.judged) == (0, 6)
    assert generated.rows(failed) == [{"n": 0}]
    assert generated.rows(
        "select distinct role, soft_tifa_gm from image_evaluations where vision_model = 'watcher'"
    ) == [{"role": "heldout", "soft_tifa_gm": pytest.approx(0.3)}]
    fk.evaluate_images(generated, vision_models=[steering, watcher])
    assert watcher.judged == 6


def test_weights_that_come_late_give_another_key_and_the_verdicts_that_failed_are_asked_with_it(generated):
    fk.evaluate_images(
        generated, vision_models=[FakeJudge(), failing(raising(NO_WEIGHTS), "watcher", judge_key="none")]
    )
    watcher = FakeJudge("watcher", judge_key="weights")
    fk.evaluate_images(generated, vision_models=[FakeJudge(), watcher])
    fk.evaluate_images(generated, vision_models=[FakeJudge(), watcher])
    assert watcher.judged == 6


class Keyless(FakeJudge):
    @property
    def judge_key(self):
        raise RuntimeError("no key")

    @judge_key.setter
    def judge_key(self, _):
        pass


@pytest.mark.parametrize("name", ["fake-judge", "watcher"])
def test_a_judge_whose_key_cannot_be_told_fails_alone_and_is_asked_when_it_can(generated, name):
    others = [judge for judge in (FakeJudge(), FakeJudge("watcher")) if judge.name != name]
    order = [Keyless(name), *others] if name == "fake-judge" else [*others, Keyless(name)]
    report = fk.evaluate_images(generated, vision_models=order)
    assert all("no key" in reason for reason in report.failures.values())
    assert generated.rows("select count(*) as n from image_evaluations where error is null") == [{"n": 6}]
    assert report.done == (0 if name == "fake-judge" else 3)
    fk.evaluate_images(generated, vision_models=[FakeJudge(), FakeJudge("watcher")])
    assert generated.rows(STATUSES) == [{"status": "evaluated"}]
    assert generated.rows("select count(*) as n, count(error) as failed from image_evaluations") == [
        {"n": 12, "failed": 0}
    ]


def test_a_poison_picture_costs_its_own_prompt_only(generated):
    class Poisoned(FakeJudge):
        def judge(self, images, scenes):
            if any("triangles" in scene.text for scene in scenes):
                raise RecursionError("too deep")
            return super().judge(images, scenes)

    report = fk.evaluate_images(generated, vision_models=[Poisoned()])
    assert report.done == 2
    assert list(report.failures.values()) == ["RecursionError: too deep"]


def test_an_unexpected_error_leaves_its_traceback_in_the_log(generated):
    fk.evaluate_images(generated, vision_models=[failing(raising(ZeroDivisionError("by zero")))])
    log = generated.rows("select ok, error_context as c from api_logs where stage = 'evaluate'")
    assert {row["ok"] for row in log} == {False}
    assert all("ZeroDivisionError: by zero" in row["c"]["errors"] for row in log)
    assert all("in raising" in row["c"]["traceback"] or "in answer" in row["c"]["traceback"] for row in log)


def test_the_log_row_of_a_call_is_written_when_the_stage_is_interrupted(generated):
    with pytest.raises(KeyboardInterrupt):
        fk.evaluate_images(generated, vision_models=[failing(raising(KeyboardInterrupt()))])
    assert generated.rows("select count(*) as n from api_logs where stage = 'evaluate' and not ok") == [{"n": 1}]
    assert fk.evaluate_images(generated, vision_models=[FakeJudge()]).done == 3


def test_an_evaluator_scores_and_moves_only_what_it_still_holds(generated):
    ids = [row["id"] for row in generated.rows(PROMPTS)]

    class Late(FakeJudge):
        def judge(self, images, scenes):
            verdicts = super().judge(images, scenes)
            with generated.transaction() as con:  # its lock was lost, and another worker has done all there is to do
                con.execute("delete from claims where prompt_id = $id", {"id": ids[0]})
                con.execute("update prompts set status = 'archived' where id = $id", {"id": ids[0]})
            return verdicts

    report = fk.evaluate_images(generated, vision_models=[Late()])
    assert (report.done, report.failures) == (2, {})
    taken = "select status, current_score from prompts where id = $id"
    assert generated.rows(taken, id=ids[0]) == [{"status": "archived", "current_score": None}]
    assert generated.rows("select count(*) as n from image_evaluations where prompt_id = $id", id=ids[0]) == [{"n": 0}]


def test_a_version_without_images_has_no_score(generated):
    seats = take_seats(generated, [FakeJudge()], {})
    with generated.transaction() as con:
        con.execute("delete from generated_images where prompt_id = (select min(id) from prompts)")
        reasons = score(con, seats[0], [], [row[0] for row in con.execute(PROMPTS).fetchall()][:1])
    assert list(reasons.values()) == ["it has no images"]
