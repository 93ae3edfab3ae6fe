"""What counts as failing, what a rewrite may cost, when to stop: the refiner's rules, each at its edge."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from conftest import FakeJudge
from test_refining import learnings, round_of

import forgekit as fk
from forgekit.models import Judgement
from forgekit.refiner.actions import Candidate
from forgekit.refiner.case import Situation, Tools, Version
from forgekit.refiner.decision import Limits, decide
from forgekit.refiner.learnings import Memory
from forgekit.scene import list_elements, parse
from forgekit.store.rows import insert_rows

SCENE = "a red circle"


@dataclass
class ByImage:
    """Gives each image its own score for colour, in turn, and every other element 0.9."""

    colors: tuple[float, ...]
    name: str = "fake-judge"
    adhering_at: float = 0.5
    judge_key: str = "key-1"

    def judge(self, images, scenes):
        return [
            Judgement({e.key: color if e.kind == "color" else 0.9 for e in list_elements(scene.elements)}, None)
            for color, scene in zip(self.colors, scenes, strict=True)
        ]


def judged(store, judge, images=4):
    fk.generate_images(store, images_per_prompt=images)
    return fk.evaluate_images(store, vision_models=[judge])


def failed_in_last_decision(store):
    return store.rows(
        "select adherence_analysis, actions from prompt_learnings order by created_at desc, id limit 1",
    )[0]


@pytest.mark.parametrize(
    ("colors", "pass_mark", "fails"),
    [
        ((0.9, 0.9, 0.9, 0.3), None, True),  # a mean of 0.75, with one image that shows it not
        ((0.55, 0.55, 0.55, 0.55), None, False),
        ((0.5, 0.5, 0.5, 0.5), None, False),  # from the mark on it passes
        ((0.6, 0.6, 0.6, 0.6), 0.65, True),
        ((0.3, 0.3, 0.3, 0.3), 0.25, False),
    ],
)
def test_an_element_fails_where_one_image_lies_below_the_mark_of_the_judge(one, colors, pass_mark, fails):
    judged(one, ByImage(colors, adhering_at=0.5 if pass_mark is None else pass_mark))
    fk.refine_prompts(one, target=1.0, policy="resample")
    learning = failed_in_last_decision(one)
    assert learning["adherence_analysis"]["missing_elements"] == (["a red circle"] if fails else [])
    assert learning["actions"]["pass_mark"] == (0.5 if pass_mark is None else pass_mark)
    [call] = one.rows("select request from api_logs where stage = 'refine'")
    assert list(call["request"]["failing"]) == (["color:0"] if fails else [])


def test_the_mark_of_another_key_of_the_judge_does_not_count(one):
    judged(one, ByImage((0.6,) * 4))
    other = {"vision_model": "fake-judge", "judge_key": "key-0", "pass_mark": 0.9, "source": "a test"}
    with one.transaction() as con:
        insert_rows(con, "pass_marks", [other])
    fk.refine_prompts(one, target=1.0)
    assert failed_in_last_decision(one)["actions"]["pass_mark"] == 0.5


def test_policies_see_the_same_failing_elements_worst_mean_first(one):
    looks = Proposes()
    judged(one, ByImage((0.99, 0.99, 0.99, 0.1), adhering_at=0.95))
    fk.refine_prompts(one, target=1.0, policy=looks)
    [case] = looks.cases
    assert case.situation.pass_mark == 0.95
    assert [e.key for e in case.failing] == ["color:0", "object:0"]  # means 0.77 and 0.9


def version(name, means, lowest=None, images=4, score=0.5):
    means = {"color:0": means} if isinstance(means, float) else means
    return Version(name, None, SCENE, {"seed": 0}, images, score, means, lowest or means)


def drawn(name, parent_id, text, images=4, **parameters):
    """A version that was drawn and not judged."""
    return Version(name, parent_id, text, parameters, images)


LIMITS = Limits(target=0.9, max_iterations=8, max_images=None, patience=5, confirm=False)


@dataclass
class Proposes:
    """Proposes the same text whatever it sees, where that is allowed, and keeps what it saw."""

    text: str | None = None
    name: str = "proposes"
    uses_memory: bool = False
    from_first: bool = False
    asks_model: bool = False
    cases: list = field(default_factory=list)

    def next_candidate(self, case):
        self.cases.append(case)
        if self.text is None:
            return None
        candidate = Candidate("propose", "color:0", "color", "red", "said", self.text, case.draft.parameters)
        return candidate if case.allows(candidate) else None


def decided(before, after, change=0.1, *, others=(), limits=LIMITS, policy=None, **options):
    after = replace(after, parent_id=before and before.id)
    versions = [version for version in (before, after, *others) if version]
    situation = Situation(after, versions, change, parse(SCENE), pass_mark=0.5, scene_text=SCENE, **options)
    tools = Tools(fits=lambda text: True)
    return decide(situation, policy or Proposes(), Memory(), limits, tools=tools, rng=random.Random(0))


@pytest.mark.parametrize(("change", "kept"), [(0.001, True), (0.0, False), (-0.01, False), (-0.04, False)])
def test_a_rewrite_is_kept_only_where_it_is_better(change, kept):
    assert decided(version("parent", 0.9), version("child", 0.9), change).kept is kept


@pytest.mark.parametrize("images", [1, 2, 3, 4, 6, 7])
def test_a_better_rewrite_may_lose_an_element_in_one_image_and_no_more(images):
    """Of n images that all showed it at 1.0, one loses it wholly: the mean is round((n - 1) / n, 12)."""
    before = version("parent", 1.0, images=images)
    one_lost = version("child", round((images - 1) / images, 12), {"color:0": 0.0}, images)
    assert decided(before, one_lost).kept is True
    if images > 1:
        more_lost = version("child", round((images - 1.1) / images, 12), {"color:0": 0.0}, images)
        assert decided(before, more_lost).kept is False


def test_an_element_that_still_passes_in_every_image_is_not_lost_however_far_it_falls():
    assert decided(version("parent", 1.0), version("child", 0.55, {"color:0": 0.5})).kept is True


def test_an_element_that_one_image_of_the_parent_lacked_is_not_protected():
    before = version("parent", 0.75, {"color:0": 0.1})
    assert decided(before, version("child", 0.2)).kept is True


@pytest.mark.parametrize(("rounds", "decision"), [(7, "redraw"), (8, "stop")])
def test_the_last_of_max_iterations_is_still_used(rounds, decision):
    assert decided(None, version("first", 0.3), None, rounds=rounds).decision == decision


@pytest.mark.parametrize(("tries", "decision"), [(4, "redraw"), (5, "stop")])
@pytest.mark.parametrize("redrawn", [0, 2])
def test_patience_counts_rewrites_and_redraws_of_the_best_version_up_to_its_number(tries, decision, redrawn):
    first = version("first", 0.3)
    others = [drawn(f"child {n}", "first", f"{SCENE}, {n}") for n in range(tries - redrawn)]
    others += [drawn(f"other {n}", "child 0", f"{SCENE}, other {n}") for n in range(9)]
    found = decided(None, first, None, others=others, redraws={"first": redrawn})
    assert found.decision == decision


@pytest.mark.parametrize(("score", "decision"), [(0.9, "accept"), (0.899, "redraw")])
def test_a_prompt_is_accepted_from_the_target_on(score, decision):
    assert decided(None, version("first", 0.9, score=score), None).decision == decision


def test_max_images_counts_those_of_all_versions():
    limits = replace(LIMITS, max_images=8)
    for images, decision in ((3, "redraw"), (4, "stop")):
        others = [drawn("child", "first", f"{SCENE}, flat", images)]
        assert decided(None, version("first", 0.3), None, limits=limits, others=others).decision == decision


def test_a_rewrite_that_the_generator_would_cut_off_is_not_made(one):
    report = round_of(one, FakeJudge(score=0.3), policy=Proposes(SCENE + ", very" * 40))
    assert report.details == {"redraw": 1}


def test_verdicts_under_another_key_of_the_judge_are_no_part_of_a_decision(one):
    judged(one, FakeJudge(score=0.8), images=2)
    fk.evaluate_images(one, vision_models=[FakeJudge(score=0.1, judge_key="key-2")], backfill=True)
    fk.refine_prompts(one, target=0.9)
    learning = failed_in_last_decision(one)
    assert learning["adherence_analysis"]["element_scores"] == {"object:0": 0.8, "color:0": 0.8}
    assert learning["adherence_analysis"]["missing_elements"] == []


def test_a_change_is_one_of_the_judges_key_that_scored_the_version(one):
    round_of(one, FakeJudge(score=0.3))
    judged(one, FakeJudge(score=0.4, judge_key="key-2"), images=2)
    report = fk.refine_prompts(one)
    assert "nothing to compare it with" in next(iter(report.failures.values()))
    assert report.done == 0
    fk.evaluate_images(one, vision_models=[FakeJudge(score=0.35, judge_key="key-2")], backfill=True)
    assert fk.refine_prompts(one).done == 1
    actions = [row["actions"] for row in learnings(one)][-1]
    assert (actions["kept"], actions["change"]) == (True, pytest.approx(0.05))


@pytest.mark.parametrize("broken", ["min", "max"])  # whichever key the version is then taken to be of
@pytest.mark.parametrize(
    ("break_one", "reason"),
    [
        ("adherence_score = null", "1 of its 2 images have no score"),
        (
            'evaluation_details = json_merge_patch(evaluation_details, \'{"judge_key": "key-0"}\')',
            "not scored by one judge under one key",
        ),
    ],
)
def test_a_prompt_whose_images_are_not_all_scored_under_one_key_is_a_failure_with_a_reason(
    one, break_one, reason, broken
):
    judged(one, FakeJudge(score=0.3), images=2)
    with one.transaction() as con:
        con.execute(f"update generated_images set {break_one} where id = (select {broken}(id) from generated_images)")
    report = fk.refine_prompts(one)
    assert report.done == 0
    assert reason in next(iter(report.failures.values()))
    assert one.rows("select status from prompts") == [{"status": "evaluated"}]


def test_a_prompt_without_a_score_is_not_passed_over_in_silence(one):
    judged(one, FakeJudge(score=0.3), images=2)
    with one.transaction() as con:
        con.execute("update prompts set current_score = null")
        con.execute("update generated_images set adherence_score = null")
    assert "2 of its 2 images have no score" in next(iter(fk.refine_prompts(one).failures.values()))
