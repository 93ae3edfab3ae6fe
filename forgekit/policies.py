"""Policies: what to try next on a prompt that falls short of its target."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from forgekit.actions import Candidate, Draft, propose
from forgekit.errors import ParameterError, did_you_mean
from forgekit.learnings import Memory
from forgekit.scene import Element

PASS_MARK = 0.75  # an element whose mean probability is below this is failing
WORST = 2  # how many failing elements are worked on at a time


@dataclass(frozen=True)
class Case:
    """All that a policy may look at: the best version so far, how its elements fared, and what was learnt."""

    draft: Draft
    elements: Sequence[Element]
    element_scores: Mapping[str, float]  # mean over the version's images, by the objective judge
    memory: Memory
    faithful: Callable[[Candidate], bool]  # the fidelity gate, the token limit, and "not tried before"
    rng: random.Random


class Policy(Protocol):
    """Decides the next step for one prompt."""

    name: str
    uses_memory: bool
    redraws_only: bool  # never rewrites: draws the same text with new seeds until a limit is reached

    def next_candidate(self, case: Case) -> Candidate | None:
        """Return a rewrite to try, or None to draw the same text again with new seeds."""


@dataclass(frozen=True)
class Refine:
    """Work on the worst elements with the action that past evidence promises most of."""

    name: str = "refine"
    uses_memory: bool = True
    redraws_only: bool = False

    def next_candidate(self, case: Case) -> Candidate | None:
        """Return the best promise among the candidates for the failing elements."""
        failing = sorted(
            (e for e in case.elements if case.element_scores.get(e.key, 1.0) < PASS_MARK),
            key=lambda e: (case.element_scores[e.key], e.key),
        )
        for start in range(0, len(failing), WORST):
            candidates = [c for e in failing[start : start + WORST] for c in propose(case.draft, e) if case.faithful(c)]
            if candidates:
                return max(candidates, key=lambda candidate: case.memory.draw(candidate, case.rng))
        return None


@dataclass(frozen=True)
class Paraphrase:
    """Control: rewrite at random, blind to scores and evidence (only actions that change the words)."""

    name: str = "paraphrase"
    uses_memory: bool = False
    redraws_only: bool = False

    def next_candidate(self, case: Case) -> Candidate | None:
        """Return a random rewording of a random element."""
        candidates = [
            c
            for element in case.elements
            for c in propose(case.draft, element)
            if c.text != case.draft.text and case.faithful(c)
        ]
        return case.rng.choice(candidates) if candidates else None


@dataclass(frozen=True)
class Resample:
    """Control: the same text, new seeds (best-of-N)."""

    name: str = "resample"
    uses_memory: bool = False
    redraws_only: bool = True

    def next_candidate(self, case: Case) -> Candidate | None:
        """Return no rewrite, ever."""
        return None


POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (Refine(), Refine("refine-without-memory", uses_memory=False), Paraphrase(), Resample())
}


def load_policy(policy: Policy | str) -> Policy:
    """Return a policy object as it is, or the known one of that name.

    Raises:
        ParameterError: nobody knows the name.
    """
    if not isinstance(policy, str):
        return policy
    if policy in POLICIES:
        return POLICIES[policy]
    raise ParameterError(
        f"no policy is called {policy!r}.{did_you_mean(policy, POLICIES)} Known: {', '.join(POLICIES)}"
    )
