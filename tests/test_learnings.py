"""Evidence: Thompson sampling follows it, lessons tell it."""

from __future__ import annotations

import random
from statistics import mean

from forgekit.actions import Candidate
from forgekit.learnings import PRIOR_CHANGE, Memory

RED = Candidate("substitute", "color:0", "color", "scarlet", "scarlet -> red", "a red disc", {})
RUBY = Candidate("substitute", "color:0", "color", "scarlet", "scarlet -> ruby", "a ruby disc", {})
STEPS = Candidate("more_steps", "color:0", "color", "scarlet", "16 -> 24", "a scarlet disc", {})


def draws(memory: Memory, candidate: Candidate, n: int = 2000) -> list[float]:
    rng = random.Random(0)
    return [memory.draw(candidate, rng) for _ in range(n)]


def share_chosen(memory: Memory, candidate: Candidate, others: list[Candidate]) -> float:
    rng = random.Random(0)
    rounds = [max([candidate, *others], key=lambda c: memory.draw(c, rng)) is candidate for _ in range(1000)]
    return mean(rounds)


def test_without_evidence_all_candidates_are_alike():
    assert abs(mean(draws(Memory(), RED)) - PRIOR_CHANGE) < 0.02
    assert 0.25 < share_chosen(Memory(), RED, [RUBY, STEPS]) < 0.42


def test_what_helped_is_chosen_more_and_what_hurt_less():
    memory = Memory(
        {("color", "substitute"): (16, 1.6)},
        {("color", "substitute", "scarlet -> red"): (8, 2.4), ("color", "substitute", "scarlet -> ruby"): (8, -0.8)},
    )
    assert share_chosen(memory, RED, [RUBY, STEPS]) > 0.9
    assert share_chosen(memory, RUBY, [RED, STEPS]) < 0.02


def test_evidence_narrows_the_draws():
    memory = Memory({("color", "substitute"): (20, 2.0)}, {("color", "substitute", "scarlet -> red"): (20, 2.0)})
    spread = max(draws(memory, RED)) - min(draws(memory, RED))
    assert spread < 0.5 * (max(draws(Memory(), RED)) - min(draws(Memory(), RED)))


def test_what_an_action_did_elsewhere_counts_for_a_replacement_that_is_new():
    memory = Memory({("color", "substitute"): (10, 3.0)}, {})
    assert mean(draws(memory, RED)) > mean(draws(memory, STEPS)) + 0.15
