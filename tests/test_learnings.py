"""Evidence: Thompson sampling follows it, lessons tell it."""

from __future__ import annotations

import random
from itertools import pairwise
from statistics import mean

import pytest

from forgekit.actions import Candidate
from forgekit.learnings import CHANGE_STD, LEVELS, PRIOR_CHANGE, Evidence, Memory


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
