"""What the refiner may try, what it knows, and what it compares: rules of deciding beyond those of the pass mark."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from conftest import FakeJudge
from test_pass_mark import LIMITS, SCENE, ByImage, Proposes, decided, drawn, judged, version
from test_refining import learnings, round_of

import forgekit as fk
from forgekit.refiner.learnings import Memory

SEEDED = """
select i.generation_metadata ->> '$.seed' as seed, i.adherence_score as score
from generated_images i
join prompts p on p.id = i.prompt_id
where p.generation_iteration = $iteration
"""


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        ("a blue circle", "redraw"),
        ("a circle", "redraw"),
        ("two red circles", "redraw"),
        ("a circle that is red", "rewrite"),
    ],
)
def test_a_rewrite_that_asks_for_something_else_is_not_made(text, decision):
    assert decided(None, version("first", 0.3), None, policy=Proposes(text)).decision == decision


@pytest.mark.parametrize("parameters", [{"seed": 0}, {"seed": 7}, {}])
def test_what_was_drawn_before_counts_as_tried_whatever_its_seed(parameters):
    text = "a circle that is red"
    for other, decision in ((parameters, "redraw"), ({"guidance_scale": 9.0}, "rewrite")):
        others = [drawn("child", "first", text, **other)]
        found = decided(None, version("first", 0.3), None, others=others, policy=Proposes(text))
        assert found.decision == decision


@pytest.mark.parametrize(("seed", "fresh"), [(0, 1000), (1, 1000), (7, 1000), (1000, 2000), (1003, 2000)])
def test_every_arm_confirms_on_the_same_seeds_however_often_it_drew_again(seed, fresh):
    chosen = replace(version("first", 0.95, score=0.95), parameters={"seed": seed})
    found = decided(None, chosen, None, limits=replace(LIMITS, confirm=True))
    assert (found.decision, found.text, found.parameters["seed"]) == ("confirm", SCENE, fresh)


def test_the_change_of_a_version_is_that_on_the_seeds_it_shares_with_its_parent(one):
    judged(one, ByImage((0.2, 0.8)), images=2)
    fk.refine_prompts(one, policy=Proposes("a circle that is red"))
    judged(one, ByImage((0.95, 0.9, 0.05)), images=3)
    fk.refine_prompts(one, policy=Proposes())
    parent, child = (
        {row["seed"]: row["score"] for row in one.rows(SEEDED, iteration=iteration)} for iteration in (0, 1)
    )
    assert len(child) == 3 and set(parent) < set(child)
    change = sum(child[seed] - parent[seed] for seed in parent) / 2
    assert learnings(one)[-1]["actions"]["change"] == pytest.approx(change)


def test_the_minutes_of_a_scene_run_from_its_first_version(one):
    round_of(one, FakeJudge(score=0.3))
    with one.transaction() as con:
        con.execute("update prompts set created_at = created_at - interval 10 minutes where generation_iteration = 0")
    round_of(one, FakeJudge(score=0.4), max_minutes=5)
    assert learnings(one)[-1]["actions"]["reason"] == "5 minutes are over"


def test_a_policy_knows_the_evidence_of_its_own_arm_or_none(one, fake_generator):
    round_of(one, FakeJudge(score=0.3), policy=Proposes("a circle that is red"))
    fk.import_prompts(one, pd.DataFrame({"text": [SCENE]}), model=fake_generator.name, experiment="another arm")
    fk.complete_prompts(one)
    judged(one, FakeJudge(score=0.4), images=2)
    blind = Proposes(name="blind")
    remembers = Proposes(name="remembers", uses_memory=True)
    for arm, policy in {"another arm": remembers, "main": blind}.items():
        assert fk.refine_prompts(one, experiment=arm, policy=policy).done == 1
        assert policy.cases.pop().memory == Memory()
    judged(one, FakeJudge(score=0.4), images=2)
    assert fk.refine_prompts(one, experiment="main", policy=remembers).done == 1
    [known] = remembers.cases.pop().memory.evidence
    assert (known.action, known.tried, known.total_change) == ("propose", 1, pytest.approx(0.1))


@pytest.mark.parametrize(("from_first", "seen"), [(True, SCENE), (False, "a circle that is red")])
def test_a_policy_rewrites_the_first_version_or_the_best_one_as_it_says(from_first, seen):
    first, best = version("first", 0.3), replace(version("child", 0.4), text="a circle that is red")
    policy = Proposes(from_first=from_first)
    decided(first, best, policy=policy)
    assert policy.cases[0].draft.text == seen


@pytest.mark.parametrize(("change", "unwanted"), [(0.1, ("a square",)), (-0.1, ())])
def test_what_is_unwanted_in_pictures_is_told_of_the_version_that_they_are_of(change, unwanted):
    policy = Proposes()
    decided(version("parent", 0.4), version("child", 0.4), change, unwanted=("a square",), policy=policy)
    assert policy.cases[0].draft.unwanted == unwanted


@pytest.mark.parametrize(("lowest", "kept"), [(0.5, False), (0.49, True)])
def test_an_element_that_lay_at_the_mark_had_passed_and_may_not_be_lost(lowest, kept):
    before = version("parent", 0.9, {"color:0": lowest})
    assert decided(before, version("child", 0.1, {"color:0": 0.1})).kept is kept


def test_an_element_that_the_judge_says_nothing_of_any_more_is_not_lost():
    assert decided(version("parent", 0.9), version("child", {"object:0": 0.9})).kept is True


@pytest.mark.parametrize(("words", "decision"), [('red = ["zorg"]', "rewrite"), ('blue = ["zorg"]', "redraw")])
def test_words_of_ones_own_lexicon_are_read_in_rewrites(one, tmp_path, words, decision):
    (tmp_path / "own.toml").write_text(f"[color]\n{words}\n")
    judged(one, FakeJudge(score=0.3), images=2)
    fk.refine_prompts(one, policy=Proposes("a zorg circle"), lexicon=str(tmp_path / "own.toml"))
    assert learnings(one)[-1]["actions"]["decision"] == decision
