"""From calls to learnings: each decision is on record with what made it, and can be followed to its effect."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from conftest import FakeJudge
from test_completing import ScriptedModel
from test_refining import round_of

import forgekit as fk
from forgekit.errors import ItemError, ParameterError
from forgekit.refiner.llm import LanguageModelParaphrase, LanguageModelPolicy
from forgekit.trends import follow

CALLS = "select * from api_logs where stage = 'refine' order by created_at, id"
LEARNINGS = "select * from prompt_learnings order by created_at, id"


@dataclass(frozen=True)
class AsksTwice(LanguageModelPolicy):
    """Asks for a rewrite, and throws the first answer away."""

    def next_candidate(self, case):
        first = super().next_candidate(case)
        return first if isinstance(first, ItemError) else super().next_candidate(case)


def test_every_decision_by_rule_has_its_row_with_what_it_looked_at_and_what_it_led_to(completed):
    for score in (0.3, 0.4, 0.95):
        round_of(completed, FakeJudge(score=score))
    calls = {call["learning_id"]: call for call in completed.rows(CALLS)}
    learnings = completed.rows(LEARNINGS)
    assert len(learnings) == 9 and {row["id"] for row in learnings} == set(calls)
    for row in learnings:
        call = calls[row["id"]]
        assert (call["endpoint"], call["prompt_id"], call["ok"]) == ("refine", row["prompt_id"], True)
        told = ("decision", "action", "detail", "child_prompt_id")
        assert call["response"] == {name: row["actions"][name] for name in told}
        assert call["request"]["score"] == pytest.approx(
            row["error_patterns"]["error_patterns"]["score_distribution"]["avg"]
        )
        assert set(call["request"]) == {"prompt_id", "objective", "score", "pass_mark", "failing", "round"}
    assert {call["request"]["round"] for call in calls.values()} == {0, 1, 2}
    assert fk.check(completed).findings == []


def test_all_that_a_language_model_was_asked_for_a_decision_carries_its_learning(one):
    writer = ScriptedModel(["<PROMPT>a red circle, line art</PROMPT>", "<PROMPT>a circle that is red</PROMPT>"])
    round_of(one, FakeJudge(score=0.3), policy=AsksTwice(writer))
    [learning] = one.rows(LEARNINGS)
    calls = one.rows(CALLS)
    assert [call["learning_id"] for call in calls] == [learning["id"]] * 2
    assert [call["endpoint"] for call in calls] == ["scripted"] * 2
    assert [call["response"]["text"] for call in calls] == [
        "<PROMPT>a red circle, line art</PROMPT>",
        "<PROMPT>a circle that is red</PROMPT>",
    ]
    assert calls[0]["request"]["text"] == writer.requests[0]
    assert one.rows("select prompt_text from prompts where generation_iteration = 1") == [
        {"prompt_text": "a circle that is red"}
    ]
    assert fk.check(one).findings == []


def test_where_a_language_model_policy_need_not_ask_the_decision_has_the_policys_row(one):
    round_of(one, FakeJudge(score=0.95), policy=LanguageModelPolicy(ScriptedModel([])))
    [call] = one.rows(CALLS)
    assert (call["endpoint"], call["response"]["decision"]) == ("llm:scripted", "accept")


@pytest.mark.parametrize("failure", [ItemError("no connection"), RuntimeError("out of paper")])
def test_a_failed_ask_is_on_record_without_a_learning_and_the_next_call_asks_anew(one, failure):
    good = "<PROMPT>a circle that is red</PROMPT>"
    writer = ScriptedModel(["<PROMPT>a red circle, line art</PROMPT>", failure, good, good])
    report = round_of(one, FakeJudge(score=0.3), policy=AsksTwice(writer))
    assert (report.done, report.failed, len(writer.requests)) == (0, 1, 2)
    assert [(call["ok"], call["learning_id"]) for call in one.rows(CALLS)] == [(True, None), (False, None)]
    assert fk.refine_prompts(one, policy=AsksTwice(writer)).done == 1
    assert [call["learning_id"] is None for call in one.rows(CALLS)] == [True, True, False, False]


@dataclass
class Breaks:
    """A policy with a fault that shows on one scene."""

    name: str = "breaks"
    uses_memory: bool = False
    from_first: bool = False
    asks_model: bool = False

    def next_candidate(self, case):
        if "triangle" in case.situation.scene_text:
            raise ZeroDivisionError("no triangles")


def test_one_prompts_unexpected_error_is_its_failure_with_its_traceback_and_the_others_go_on(completed):
    report = round_of(completed, FakeJudge(score=0.3), policy=Breaks())
    assert (report.done, list(report.failures.values())) == (2, ["ZeroDivisionError: no triangles"])
    [failed] = [call for call in completed.rows(CALLS) if not call["ok"]]
    assert failed["learning_id"] is None and failed["prompt_id"] in report.failures
    assert "in next_candidate" in failed["error_context"]["traceback"]
    assert completed.rows("select status from prompts where id = $id::uuid", id=failed["prompt_id"]) == [
        {"status": "evaluated"}
    ]
    assert fk.refine_prompts(completed).done == 1


@dataclass
class Stumbles:
    """Answers with the scene as line art, and raises when it is first asked about triangles."""

    name: str = "stumbles"
    stumbled: bool = False

    def generate(self, requests):
        scene = requests[0].split("Scene: ")[1].splitlines()[0]
        if "triangle" in scene and not self.stumbled:
            self.stumbled = True
            raise RuntimeError("out of paper")
        return [f"<PROMPT>{scene}, line art</PROMPT>"]


def test_a_language_model_that_raises_fails_its_prompt_and_not_the_stage(imported):
    model = Stumbles()
    report = fk.complete_prompts(imported, language_model=model)
    assert (report.done, list(report.failures.values())) == (2, ["RuntimeError: out of paper"])
    [failed] = imported.rows("select * from api_logs where stage = 'complete' and not ok")
    assert "in generate" in failed["error_context"]["traceback"]
    statuses = imported.rows("select status, count(*) as n from prompts group by status order by status")
    assert statuses == [{"status": "incomplete", "n": 1}, {"status": "completed", "n": 2}]
    assert fk.complete_prompts(imported, language_model=model).done == 1


def test_an_error_that_utf_8_cannot_hold_is_told_all_the_same(imported):
    class Halves(Stumbles):
        def generate(self, requests):
            if "triangle" in requests[0]:
                raise RuntimeError("half a character: \ud83d")
            return super().generate(requests)

    report = fk.complete_prompts(imported, language_model=Halves())
    assert (report.done, list(report.failures.values())) == (2, ["RuntimeError: half a character: ?"])
    [failed] = imported.rows("select error_context from api_logs where stage = 'complete' and not ok")
    assert "half a character: ?" in failed["error_context"]["traceback"]


@pytest.mark.parametrize(
    ("answer", "done"), [("<PROMPT>{scene}, line art \ud83d</PROMPT>", 3), (ItemError("cut off: \ud83d"), 0)]
)
def test_an_answer_that_utf_8_cannot_hold_is_kept_as_far_as_it_can(imported, answer, done):
    class Halves(Stumbles):
        def generate(self, requests):
            scene = requests[0].split("Scene: ")[1].splitlines()[0]
            return [answer.format(scene=scene) if isinstance(answer, str) else answer]

    report = fk.complete_prompts(imported, language_model=Halves())
    assert (report.done, report.failed) == (done, 3 - done)


@pytest.mark.parametrize("answers", [[None], [[]], [3]], ids=["none", "list", "number"])
def test_an_answer_that_is_no_text_is_a_failed_one(one, answers):
    report = round_of(one, FakeJudge(score=0.3), policy=LanguageModelPolicy(ScriptedModel(answers)))
    assert "it must be one text" in next(iter(report.failures.values()))


@pytest.mark.parametrize("stage", ["complete", "refine"])
def test_a_prompt_whose_generator_nobody_knows_fails_alone(imported, stage):
    work = {"complete": fk.complete_prompts, "refine": fk.refine_prompts}[stage]
    if stage == "refine":
        fk.complete_prompts(imported)
        fk.generate_images(imported, images_per_prompt=1)
        fk.evaluate_images(imported, vision_models=[FakeJudge(score=0.3)])
    with imported.transaction() as con:
        con.execute("update prompts set model = 'no such model' where prompt_text like 'two green%'")
    report = work(imported)
    assert (report.done, report.failed) == (2, 1)
    assert "no image_generator is called" in next(iter(report.failures.values()))


def test_an_answer_that_the_generator_would_cut_off_is_refused_and_the_next_try_is_told_why(imported):
    scenes = [row["prompt_text"] for row in imported.rows("select prompt_text from prompts order by created_at, id")]
    long = [f"<PROMPT>{scene}, {'very ' * 40}sharp</PROMPT>" for scene in scenes]
    good = [f"<PROMPT>{scene}, line art</PROMPT>" for scene in scenes]
    writer = ScriptedModel([answer for pair in zip(long, good, strict=True) for answer in pair])
    fk.complete_prompts(imported, language_model=writer)
    texts = {row["prompt_text"] for row in imported.rows("select prompt_text from prompts")}
    assert texts == {f"{scene}, line art" for scene in scenes}
    assert all("would cut the end of it off" in request for request in writer.requests[1::2])


def test_a_learning_without_its_row_is_found(one):
    round_of(one, FakeJudge(score=0.3))
    with one.transaction() as con:
        con.execute("delete from api_logs where stage = 'refine'")
    [learning] = one.rows(LEARNINGS)
    assert fk.check(one).findings == [f"no call is on record for the decision of a learning: {learning['id']}"]


def steps(store, learning):
    found = follow(store, learning["id"])
    assert found["at"].is_monotonic_increasing
    return found


def test_a_rewrite_is_followed_to_its_effect_by_each_judge_the_steering_one_first(completed):
    round_of(completed, FakeJudge(score=0.3))
    fk.generate_images(completed, images_per_prompt=2)  # one call for all three
    judges = [FakeJudge(score=0.45), FakeJudge("a-watcher", score=0.9)]
    fk.evaluate_images(completed, vision_models=judges)
    fk.evaluate_images(completed, vision_models=[FakeJudge(), FakeJudge("a-watcher", score=0.8)], backfill=True)
    for learning in completed.rows(LEARNINGS):
        found = steps(completed, learning)
        assert found["step"].tolist() == ["decision", "version", "drawing", "judging", "judging", "effect", "effect"]
        assert found["endpoint"].tolist()[0] == "refine"
        assert found["what"][2:5].tolist() == ["2 of 6 images"] * 3
        child = completed.rows(
            "select prompt_text from prompts where id = $id::uuid", id=learning["actions"]["child_prompt_id"]
        )
        assert found["what"][1] == child[0]["prompt_text"]
        assert found["endpoint"][5:].tolist() == ["fake-judge", "a-watcher"]
        assert found["value"][5:].tolist() == pytest.approx([0.15, 0.1])
        assert found["duration_s"][:1].notna().all() and found["duration_s"][2:5].notna().all()


def test_a_redraw_is_followed_to_its_new_images_alone(one):
    for score in (0.3, 0.5, 0.6):
        fk.generate_images(one, images_per_prompt=2)
        fk.evaluate_images(one, vision_models=[FakeJudge(score=score), FakeJudge("a-watcher", score=score / 2)])
        fk.refine_prompts(one, policy="resample")
    first, second, last = one.rows(LEARNINGS)
    for learning, changes, seen in ((first, [0.2, 0.1], "2 before"), (second, [0.2, 0.1], "4 before")):
        found = steps(one, learning)
        assert found["step"].tolist() == ["decision", "redraw", "drawing", *["judging"] * 2, *["effect"] * 2]
        effects = found[found["step"] == "effect"]
        assert effects["endpoint"].tolist() == ["fake-judge", "a-watcher"]
        assert effects["what"].tolist() == [f"2 new images against {seen}"] * 2
        assert effects["value"].tolist() == pytest.approx(changes)
    assert steps(one, last)["step"].tolist() == ["decision", "redraw"]


def test_rounds_on_record_say_which_images_are_a_learnings_and_clocks_only_where_there_are_none(one):
    for number, score in enumerate((0.3, 0.5, 0.9)):
        fk.generate_images(one, images_per_prompt=2)
        with one.transaction() as con:
            con.execute("update generated_images set round = $n where adherence_score is null", {"n": number})
        fk.evaluate_images(one, vision_models=[FakeJudge(score=score)])
        fk.refine_prompts(one, policy="resample")
    with one.transaction() as con:  # a store that was copied together: all images of one moment
        con.execute("update generated_images set created_at = '2020-01-01'")
    found = steps(one, one.rows(LEARNINGS)[0])
    assert found["what"].tolist()[-1] == "2 new images against 2 before"
    assert found["value"].tolist()[-1] == pytest.approx(0.2)


def test_an_accepted_prompt_has_its_decision_alone(one):
    round_of(one, FakeJudge(score=0.95))
    [learning] = one.rows(LEARNINGS)
    found = steps(one, learning)
    assert found["step"].tolist() == ["decision"]
    assert found["what"][0].startswith("accept: adherence 0.95 reached the target")


@pytest.mark.parametrize("learning_id", ["nonsense", "6f0a4b52-5e1d-5c0e-9b1a-0b6f3f1c2d00"])
def test_an_unknown_learning_is_refused(one, learning_id):
    with pytest.raises(ParameterError, match="no learning is called"):
        follow(one, learning_id)


def test_what_the_gate_refused_is_kept_with_the_decision_and_told_to_the_next_one(one):
    good = [
        "<PROMPT>a cat</PROMPT><PROMPT>a red circle, line art</PROMPT>",
        "<PROMPT>a red circle, flat design</PROMPT>",
    ]
    writer = ScriptedModel(good)
    for _ in range(2):
        round_of(one, FakeJudge(score=0.3), policy=LanguageModelPolicy(writer))
    first, second = one.rows("select actions from prompt_learnings order by created_at, id")
    assert first["actions"]["refused"] == [["a cat", ["object lost: circle", "object added: cat"]]]
    assert "refused" not in second["actions"]
    assert "a cat" not in writer.requests[0] and "- a cat: object lost: circle" in writer.requests[1]


def test_a_language_model_policy_reads_what_the_steering_judge_wrote(one):
    @dataclass
    class Telling(FakeJudge):
        def judge(self, images, scenes):
            told = {"description": "a blue square", "reasons": {"color:0": "rather blue"}}
            return [replace(verdict, **told) for verdict in super().judge(images, scenes)]

    writer = ScriptedModel(["<PROMPT>a red circle, line art</PROMPT>"])
    round_of(one, Telling(score=0.3), policy=LanguageModelPolicy(writer))
    assert "- a red circle: rather blue" in writer.requests[0] and "- seen: a blue square" in writer.requests[0]
    blind = ScriptedModel(["<PROMPT>a red circle, flat design</PROMPT>"])
    round_of(one, Telling(score=0.3), policy=LanguageModelParaphrase(blind))
    assert "rather blue" not in blind.requests[0]
    assert one.rows("select prompt_text from prompts where status = 'completed'") == [
        {"prompt_text": "a red circle, flat design"}
    ]
