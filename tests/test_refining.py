"""refine_prompts: accept, stop, redraw, rewrite, confirm; what is kept and what is learnt."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pytest
from conftest import FakeJudge, copied

import forgekit as fk
from forgekit.errors import ItemError, ParameterError
from forgekit.refiner.actions import ACTIONS, propose
from forgekit.refiner.llm import LanguageModelPolicy


def round_of(store, judge, **options):
    """Draw, judge and refine once; every image gets the scores of `judge`."""
    fk.generate_images(store, images_per_prompt=2)
    fk.evaluate_images(store, vision_models=[judge])
    return fk.refine_prompts(store, **options)


@pytest.fixture(scope="module")
def rewritten_once(completed_once, tmp_path_factory):
    store = copied(completed_once, tmp_path_factory.mktemp("rewritten"))
    round_of(store, FakeJudge(score=0.3))
    return store.folder


@pytest.fixture
def rewritten(rewritten_once, tmp_path):
    """A store with three prompts that failed and their rewrites, which are to be drawn."""
    return copied(rewritten_once, tmp_path)


def learnings(store):
    return store.rows("select l.actions, l.status from prompt_learnings l order by created_at, id")


def test_a_prompt_that_reached_the_target_is_accepted_and_left_alone(completed):
    report = round_of(completed, FakeJudge(score=0.95), target=0.9)
    assert report.details == {"accept": 3}
    rows = completed.rows("select status, best_image_id, current_score from prompts")
    assert all(row["status"] == "archived" and row["best_image_id"] for row in rows)
    assert [row["current_score"] for row in rows] == pytest.approx([0.95] * 3)


def test_a_rewrite_is_a_new_version_that_asks_for_the_same_elements(rewritten):
    versions = rewritten.rows(
        "select c.*, p.prompt_text as parent_text, p.base_parameters as parent_parameters, p.status as parent_status, "
        "s.elements from prompts c join prompts p on p.id = c.parent_prompt_id "
        "join scenes s on s.scene_hash = c.scene_hash"
    )
    assert len(versions) == 3
    for row in versions:
        assert (row["generation_iteration"], row["status"], row["parent_status"]) == (1, "completed", "archived")
        assert (row["prompt_text"], row["base_parameters"]) != (row["parent_text"], row["parent_parameters"])
        mini = fk.scene.default_lexicon().in_world("figures")
        assert fk.scene.compare(row["elements"], fk.scene.parse(row["prompt_text"]), lexicon=mini) == []


def test_a_worse_rewrite_is_dropped_and_the_next_starts_from_the_parent(rewritten):
    round_of(rewritten, FakeJudge(score=0.2))
    grandchildren = rewritten.rows(
        "select g.parent_prompt_id = first.id as from_first from prompts g "
        "join prompts first on first.scene_hash = g.scene_hash and first.generation_iteration = 0 "
        "where g.generation_iteration = 2"
    )
    assert grandchildren == [{"from_first": True}] * 3
    assert [row["status"] for row in learnings(rewritten)].count("superseded") == 3


def test_a_better_rewrite_replaces_its_parent(rewritten):
    round_of(rewritten, FakeJudge(score=0.45))
    kept = [row["actions"]["kept"] for row in learnings(rewritten)]
    assert kept.count(True) == 3
    parents = rewritten.rows(
        "select p.generation_iteration as n from prompts g join prompts p on p.id = g.parent_prompt_id "
        "where g.generation_iteration = 2"
    )
    assert parents == [{"n": 1}] * 3


def test_a_rewrite_that_gains_overall_but_loses_a_passing_element_is_dropped(completed):
    lost_color = FakeJudge(score=0.95, scores={"color:0": 0.4})
    round_of(completed, FakeJudge(score=0.35, scores={"color:0": 0.95}))
    round_of(completed, lost_color)
    changes = [row["actions"] for row in learnings(completed) if row["actions"]["kept"] is not None]
    assert len(changes) == 3
    assert all(actions["change"] > 0 and actions["kept"] is False for actions in changes)


def test_the_learnings_of_a_scene_are_a_chain(rewritten):
    for _ in range(2):
        round_of(rewritten, FakeJudge(score=0.3))
    chains = rewritten.rows(
        "with recursive chain as (select id, 1 as length from prompt_learnings where parent_learning_id is null "
        "union all select l.id, c.length + 1 from prompt_learnings l join chain c on c.id = l.parent_learning_id) "
        "select max(length) as length, count(*) as n from chain"
    )
    assert chains == [{"length": 3, "n": 9}]


def test_refinement_stops_at_the_image_budget_and_says_so(completed):
    for _ in range(3):
        round_of(completed, FakeJudge(score=0.3), max_images=4)
    assert completed.rows("select distinct status from prompts") == [{"status": "archived"}]
    images = completed.rows("select count(*) as n from generated_images")
    assert images == [{"n": 12}]
    reasons = {row["actions"]["reason"] for row in learnings(completed) if row["actions"]["decision"] == "stop"}
    assert reasons == {"4 of 4 images are drawn"}


def test_refinement_stops_when_the_time_is_over(completed):
    round_of(completed, FakeJudge(score=0.3), max_minutes=0)
    assert {row["actions"]["reason"] for row in learnings(completed)} == {"0 minutes are over"}


def test_resample_keeps_the_text_and_draws_new_seeds(completed):
    for _ in range(2):
        round_of(completed, FakeJudge(score=0.3), policy="resample", max_images=4)
    assert completed.rows("select count(*) as n from prompts") == [{"n": 3}]
    seeds = completed.rows("select count(distinct generation_metadata ->> '$.seed') as n from generated_images")
    assert seeds == [{"n": 12}]


def test_the_chosen_prompt_is_confirmed_on_seeds_that_had_no_part_in_choosing_it(completed):
    round_of(completed, FakeJudge(score=0.95), confirm=True)
    chosen = {
        row["seed"] for row in completed.rows("select generation_metadata ->> '$.seed' as seed from generated_images")
    }
    report = round_of(completed, FakeJudge(score=0.7), confirm=True)
    assert report.details == {"accept": 3}
    fresh = completed.rows(
        "select i.generation_metadata ->> '$.seed' as seed, p.prompt_text = f.prompt_text as same_text "
        "from generated_images i join prompts p on p.id = i.prompt_id join prompts f on f.id = p.parent_prompt_id"
    )
    assert len(fresh) == 6
    assert all(row["same_text"] and row["seed"] not in chosen for row in fresh)


def test_refining_twice_decides_once(rewritten):
    assert fk.refine_prompts(rewritten).done == 0
    assert rewritten.rows("select count(*) as n from prompt_learnings") == [{"n": 3}]


def test_the_error_patterns_have_the_fields_of_the_seed(rewritten):
    patterns = rewritten.rows("select error_patterns from prompt_learnings limit 1")[0]["error_patterns"][
        "error_patterns"
    ]
    assert set(patterns) == {"failed_terms", "common_artifacts", "style_violations", "score_distribution"}
    assert patterns["failed_terms"]
    assert set(patterns["score_distribution"]) == {"min", "max", "avg"}


def test_what_worked_on_one_scene_is_in_the_evidence_for_the_next(rewritten):
    fk.generate_images(rewritten, images_per_prompt=2)
    fk.evaluate_images(rewritten, vision_models=[FakeJudge(score=0.6), FakeJudge("watcher", score=0.6)])
    evidence = fk.learnings.evidence(rewritten)
    assert evidence["tried"].sum() == 3
    assert evidence["objective_change"].tolist() == pytest.approx([0.3] * len(evidence))
    assert all("+0.30" in lesson for lesson in fk.learnings.lessons(rewritten, min_tried=1))


@dataclass
class StaysAfterTheFirst:
    """Rewrites once, then wants the text drawn again."""

    name: str = "stays"
    uses_memory: bool = False
    from_first: bool = False

    def next_candidate(self, case):
        elements = [e for e in case.elements if e.kind == "color"]
        candidate = propose(case.draft, elements[0], ["bind_attribute"])[0]
        return candidate if case.allows(candidate) else None


def test_after_a_rewrite_that_failed_the_parent_is_drawn_again_on_new_seeds(store, fake_generator):
    fk.import_prompts(store, pd.DataFrame({"text": ["a red circle"]}), model=fake_generator.name)
    fk.complete_prompts(store)
    round_of(store, FakeJudge(score=0.6), policy=StaysAfterTheFirst())
    round_of(store, FakeJudge(score=0.2), policy=StaysAfterTheFirst())
    parent = store.rows("select id, status from prompts where generation_iteration = 0")[0]
    assert parent["status"] == "needs_refinement"
    fk.generate_images(store, images_per_prompt=2)
    seeds = "select count(distinct generation_metadata ->> '$.seed') as n from generated_images where prompt_id = $id"
    assert store.rows(seeds, id=parent["id"]) == [{"n": 4}]


@dataclass
class FailingWriter:
    """A language model that cannot be reached."""

    name: str = "writer"

    def generate(self, requests):
        return [ItemError("no connection")] * len(requests)


def test_where_the_language_model_fails_the_prompt_stays_due_and_the_call_is_on_record(completed):
    report = round_of(completed, FakeJudge(score=0.3), policy=LanguageModelPolicy(FailingWriter()))
    assert (report.done, report.failed) == (0, 3)
    assert set(report.failures.values()) == {"no connection"}
    assert completed.rows("select distinct status from prompts") == [{"status": "evaluated"}]
    calls = completed.rows("select ok, error_context from api_logs where stage = 'refine'")
    assert calls == [{"ok": False, "error_context": {"errors": ["no connection"]}}] * 3
    assert fk.refine_prompts(completed, policy="refine").done == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "refin"}, "Did you mean"),
        ({"target": 1.5}, r"\[0, 1\]"),
        ({"without_actions": ["simplfy"]}, "Did you mean 'simplify'"),
        ({"lexicon": "no-such-file.toml"}, "cannot be read"),
    ],
)
def test_bad_arguments_are_refused(completed, options, message):
    with pytest.raises(ParameterError, match=message):
        fk.refine_prompts(completed, **options)


def test_a_learning_says_what_its_rewrite_loosened(store, fake_generator):
    fk.import_prompts(store, pd.DataFrame({"text": ["a crimson circle"]}), model=fake_generator.name)
    fk.complete_prompts(store)
    only = [name for name in ACTIONS if name != "use_plain_word"]
    round_of(store, FakeJudge(score=0.3), without_actions=only)
    [learning] = learnings(store)
    assert learning["actions"]["detail"] == "crimson -> red"
    assert learning["actions"]["loosened"] == ["color of circle: crimson to red"]
