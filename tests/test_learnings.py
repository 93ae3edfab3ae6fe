"""Evidence: Thompson sampling follows it, lessons tell it."""

from __future__ import annotations

import random
from itertools import pairwise
from statistics import mean

import pytest

from forgekit.metrics import mean_interval
from forgekit.refiner.actions import Candidate
from forgekit.refiner.learnings import CHANGE_STD, LEVELS, PRIOR_CHANGE, Evidence, Memory, evidence, lessons, remember
from forgekit.store import Store


def replacing(before: str, by: str, action: str = "substitute", kind: str = "color") -> Candidate:
    return Candidate(action, f"{kind}:0", kind, before, f"{before} -> {by}", f"a {by} disc", {})


RED, RUBY = replacing("scarlet", "red"), replacing("scarlet", "ruby")
STEPS = Candidate("more_steps", "color:0", "color", "scarlet", "num_inference_steps 16 -> 24", "a scarlet disc", {})


def seen(candidate: Candidate, tried: int, change: float) -> Evidence:
    return Evidence(candidate.kind, candidate.action, candidate.detail, tried, tried * change)


def share_chosen(memory: Memory, candidate: Candidate, others: list[Candidate]) -> float:
    rng = random.Random(0)
    draws = [memory.draw([candidate, *others], rng) for _ in range(1000)]
    return mean(drawn[0] == max(drawn) for drawn in draws)


def expected(memory: Memory, candidate: Candidate) -> float:
    return float(memory.foresee([candidate])[0][0])


def test_without_evidence_all_candidates_are_alike():
    assert expected(Memory(), RED) == expected(Memory(), STEPS) == PRIOR_CHANGE
    assert 0.25 < share_chosen(Memory(), RED, [RUBY, STEPS]) < 0.42


def test_what_is_expected_after_one_trial_is_the_textbook_posterior():
    prior = sum(std**2 for std in LEVELS.values())
    weight = prior / (prior + CHANGE_STD**2)
    assert expected(Memory((seen(RED, 1, 0.5),)), RED) == pytest.approx(PRIOR_CHANGE + weight * (0.5 - PRIOR_CHANGE))


def test_what_helped_is_chosen_more_and_what_hurt_less():
    memory = Memory((seen(RED, 20, 0.3), seen(RUBY, 20, -0.1)))
    assert share_chosen(memory, RED, [RUBY, STEPS]) > 0.85
    assert share_chosen(memory, RUBY, [RED, STEPS]) < 0.03
    assert memory.chances([RED])[0] > 0.99
    assert memory.chances([RUBY])[0] < 0.5


def test_a_lesson_counts_less_the_farther_the_candidate_is_from_it():
    memory = Memory((seen(RED, 10, 0.3),))
    by_distance = [
        RED,  # the very same
        replacing("crimson", "red"),  # the same word put in
        replacing("navy", "blue"),  # the same action on the same kind
        replacing("orb", "circle", kind="object"),  # the same action
        STEPS,  # only that it is a rewrite
    ]
    gains = [expected(memory, candidate) for candidate in by_distance]
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] > PRIOR_CHANGE
    assert all(nearer > farther + 0.005 for nearer, farther in pairwise(gains))


def test_what_was_not_tried_stays_open_where_much_was_tried_elsewhere():
    memory = Memory((seen(RED, 100, 0.1),))
    _, covariance = memory.foresee([RED, STEPS])
    assert covariance[0, 0] < 0.03**2
    assert covariance[1, 1] > 0.98 * sum(std**2 for std in LEVELS.values())


def tried(
    store: Store,
    *changes: float,
    detail: str = "scarlet -> red",
    scenes: int | None = None,
    experiment: str = "main",
) -> None:
    """Write rewrites with these changes of the score into the store, one a scene, or on so many scenes by turns."""
    with store.transaction() as con:
        for number, change in enumerate(changes):
            scene = number % (scenes or len(changes))
            names = {"parent": f"{detail}/{number}/parent", "child": f"{detail}/{number}/child"}
            con.execute(
                "insert into scenes (scene_hash, scene_text) values (sha256($s), $s) on conflict do nothing",
                {"s": f"scene {scene}"},
            )
            for name, score in (("parent", 0.4), ("child", 0.4 + change)):
                con.execute(
                    """
                    insert into prompts (id, scene_hash, parent_prompt_id, model, prompt_text, base_parameters,
                        generation_iteration, status, experiment)
                    select md5($id)::uuid, sha256($scene), if($parent = '', null, md5($parent)::uuid), 'mini', 'x', '{}',
                        if($parent = '', 0, 1), 'archived', $experiment
                    """,
                    {
                        "id": names[name],
                        "scene": f"scene {scene}",
                        "parent": names["parent"] if name == "child" else "",
                        "experiment": experiment,
                    },
                )
                con.execute(
                    """
                    insert into generated_images (id, prompt_id, image_path, generation_metadata)
                    select md5($id || 'i')::uuid, md5($id)::uuid, md5($id) || '.png', '{"seed": 0}'
                    """,
                    {"id": names[name]},
                )
                con.execute(
                    """
                    insert into image_evaluations (id, image_id, prompt_id, scene_hash, vision_model, element_scores,
                        soft_tifa_am, soft_tifa_gm, judge_key)
                    select md5($id || 'e')::uuid, md5($id || 'i')::uuid, md5($id)::uuid, sha256($scene), 'judge',
                        json_object('color:0', $score), $score, $score, 'key'
                    """,
                    {"id": names[name], "scene": f"scene {scene}", "score": score},
                )
            con.execute(
                """
                insert into prompt_learnings (id, prompt_id, actions)
                select md5($id || 'l')::uuid, md5($id)::uuid, json_object('decision', 'rewrite', 'action', 'substitute',
                    'kind', 'color', 'detail', $detail, 'objective', 'judge', 'child_prompt_id', md5($child)::uuid)
                """,
                {"id": names["parent"], "child": names["child"], "detail": detail},
            )


def test_what_was_tried_twice_is_in_the_evidence_and_no_lesson(store):
    tried(store, 0.3, 0.3)
    assert evidence(store)["tried"].tolist() == [2]
    assert lessons(store, min_tried=1) == lessons(store) == []
    tried(store, 0.2, 0.1, 0.3, detail="crimson -> red")
    told = lessons(store, min_tried=1)
    assert len(told) == 2  # the second replacement, and substituting colours as a whole
    assert sum("'crimson' → 'red'" in lesson for lesson in told) == 1
    assert "3 of 3 times, +0.20" in "".join(told)
    assert lessons(store, min_tried=4) == [lesson for lesson in told if "whatever the words" in lesson]


def test_the_interval_of_the_evidence_is_the_bootstrap_over_scenes(store):
    changes = [0.1, 0.2, 0.0, 0.4, 0.15, 0.3]
    tried(store, *changes)
    [row] = evidence(store, min_tried=3).to_dict("records")
    assert (row["low"], row["high"]) == pytest.approx(mean_interval(changes))


def test_many_trials_on_one_scene_have_no_interval_and_their_lesson_says_none(store):
    tried(store, 0.1, 0.2, 0.3, scenes=1)
    assert evidence(store)["low"].isna().all()
    assert "+0.20 on 1 scenes" in lessons(store)[-1]


def test_a_trial_helped_or_hurt_beyond_two_hundredths(store):
    tried(store, 0.03, 0.1, 0.02, 0.0, -0.02, -0.01, -0.03)
    [row] = evidence(store).to_dict("records")
    assert (row["tried"], row["helped"], row["hurt"]) == (7, 2, 1)


def test_a_watching_judge_teaches_nothing(store):
    tried(store, 0.3)
    with store.transaction() as con:  # it sees a gain too, but a smaller one
        con.execute(
            """
            insert into image_evaluations by name
            select * replace (
                md5('watcher' || id)::uuid as id, 'watcher' as vision_model, soft_tifa_gm / 2 as soft_tifa_gm
            )
            from image_evaluations
            """
        )
    [row] = evidence(store).to_dict("records")
    assert (row["tried"], row["helped"], row["hurt"], row["heldout_tried"]) == (1, 1, 0, 1)
    assert (row["objective_change"], row["heldout_change"]) == pytest.approx((0.3, 0.15))
    [known] = remember(store, model="mini").evidence
    assert (known.tried, known.total_change) == (1, pytest.approx(0.3))


def test_an_arm_remembers_its_own_trials_only(store):
    tried(store, 0.3)
    tried(store, 0.1, 0.2, detail="crimson -> red", experiment="another arm")
    for arm, detail in {"main": "scarlet -> red", "another arm": "crimson -> red"}.items():
        assert [known.detail for known in remember(store, model="mini", experiment=arm).evidence] == [detail]
        assert evidence(store, experiment=arm)["detail"].tolist() == [detail]
    assert len(remember(store, model="mini").evidence) == len(evidence(store)) == 2


def test_what_neither_helped_nor_hurt_is_said_to_have_changed_little(store):
    tried(store, -0.01, -0.01, 0.0, -0.015)
    assert all("changed little in 4 tries, -0.01" in lesson for lesson in lessons(store))
    assert lessons(store)
