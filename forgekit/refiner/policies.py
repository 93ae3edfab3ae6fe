"""Policies: what to try next on a prompt that falls short of its target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forgekit.errors import ParameterError, did_you_mean
from forgekit.models import load_model
from forgekit.models.naming import asked_model
from forgekit.refiner.actions import ACTIONS, Candidate, Draft, propose
from forgekit.refiner.case import Case, Policy
from forgekit.refiner.llm import LanguageModelParaphrase, LanguageModelPolicy
from forgekit.scene import Element, parse

WORST = 3  # how many failing elements are worked on at a time
LOOKED_AT = 16  # elements in one decision: each candidate is as much work as the whole scene
SURE = 0.7  # how likely a change must be to help before it is made together with others
PARAPHRASED = 3  # how many rewordings one paraphrase has at most
COMBINED = "combine"  # the action of a rewrite that makes several changes at once


@dataclass(frozen=True)
class Refine(Policy):
    """Work on the worst elements with the action that past evidence promises most of.

    What is known to help is done for all failing elements at once; what is not yet known is tried one
    change at a time, so that its effect can be told. Where nothing promises a gain the text stays, and
    the images go into drawing it again.
    """

    name: str = "refine"
    uses_memory: bool = True
    actions: tuple[str, ...] = tuple(ACTIONS)

    def next_candidate(self, case: Case) -> Candidate | None:
        """Return all that is known to help, else the best promise among the candidates for the worst elements."""
        if together := self._known_to_help(case):
            return together
        for start in range(0, min(len(case.failing), LOOKED_AT), WORST):
            # One candidate for each element and action: else the action with most of them would be chosen most.
            worst = case.failing[start : start + WORST]
            best = [_best_of(case, element, action) for element in worst for action in self.actions]
            if chosen := next(_by_promise(list(filter(None, best)), case), None):
                return chosen
        return None

    def _known_to_help(self, case: Case) -> Candidate | None:
        """Make, for each failing element in turn, the change that is surest to help; None where that is but one."""
        made: list[Candidate] = []
        draft = case.draft
        for element in case.failing[:LOOKED_AT] if case.memory.evidence else ():
            candidates = propose(draft, element, self.actions)
            chances = case.memory.chances(candidates)
            sure = [c for c, chance in zip(candidates, chances, strict=True) if chance >= SURE]
            if best := next(filter(case.faithful, _by_promise(sure, case)), None):
                made.append(best)
                draft = _redrafted(draft, best)
        if len(made) < 2:
            return None
        combined = _combined(made)
        return combined if case.is_new(combined) else None


@dataclass(frozen=True)
class Paraphrase(Policy):
    """Control: reword the first version at random, blind to scores and evidence; the best of them is kept."""

    name: str = "paraphrase"
    from_first: bool = True
    actions: tuple[str, ...] = tuple(ACTIONS)

    def next_candidate(self, case: Case) -> Candidate | None:
        """Return the first version with one to three random rewordings."""
        for wanted in (case.rng.randint(1, PARAPHRASED), 1):
            made: list[Candidate] = []
            draft = case.draft
            while len(made) < wanted and (candidate := self._reworded(case, draft)) is not None:
                made.append(candidate)
                draft = _redrafted(draft, candidate)
            combined = _combined(made) if made else None
            if combined is not None and combined.text != case.draft.text and case.is_new(combined):
                return combined
        return None

    def _reworded(self, case: Case, draft: Draft) -> Candidate | None:
        for element in _shuffled(case, case.elements)[:LOOKED_AT]:
            proposed = propose(draft, element, self.actions)
            rewordings = [c for c in proposed if c.text != draft.text and c.parameters == draft.parameters]
            if faithful := next(filter(case.faithful, _shuffled(case, rewordings)), None):
                return faithful
        return None


@dataclass(frozen=True)
class Resample(Policy):
    """Control: the same text, new seeds (best-of-N)."""

    name: str = "resample"

    def next_candidate(self, case: Case) -> Candidate | None:
        """Return no rewrite, ever."""
        return None


KNOWN: tuple[Policy, ...] = (Refine(), Refine("refine-without-memory", uses_memory=False), Paraphrase(), Resample())
POLICIES = {policy.name: policy for policy in KNOWN}
ASKING = {"llm": LanguageModelPolicy, "llm-paraphrase": LanguageModelParaphrase}  # by what stands before ":MODEL"


def load_policy(policy: Policy | str, *, without: Sequence[str] = ()) -> Policy:
    """Return a policy object as it is, or the known one of that name; `without` names actions that it is not to use.

    "llm:MODEL" asks a language model; "llm-paraphrase:MODEL" is its control, blind to scores.

    Raises:
        ParameterError: nobody knows the name, or an action of `without`.
        UnknownModelError: nobody knows the language model.
    """
    for name in without:
        if name not in ACTIONS:
            near, known = did_you_mean(name, ACTIONS), ", ".join(ACTIONS)
            raise ParameterError(f"no action is called {name!r}.{near} Known: {known}")
    if isinstance(policy, str):
        policy = _named(policy)
    if not hasattr(policy, "next_candidate"):
        raise ParameterError(f"policy is a {type(policy).__name__}; give a name ({', '.join(POLICIES)}) or a Policy")
    if without and isinstance(policy, Refine | Paraphrase):
        return replace(policy, actions=tuple(name for name in policy.actions if name not in without))
    return policy


def _named(name: str) -> Policy:
    if name in POLICIES:
        return POLICIES[name]
    if model := asked_model(name):
        return ASKING[name.partition(":")[0]](load_model("language_model", model))
    raise ParameterError(
        f"no policy is called {name!r}.{did_you_mean(name, POLICIES)} Known: {', '.join(POLICIES)}, "
        'or "llm:MODEL" and its control "llm-paraphrase:MODEL" with a language model'
    )


def _best_of(case: Case, element: Element, action: str) -> Candidate | None:
    candidates = propose(case.draft, element, [action])
    return next(filter(case.allows, _by_promise(candidates, case, floor=float("-inf"))), None)


def _by_promise(candidates: Sequence[Candidate], case: Case, *, floor: float = 0.0) -> Iterator[Candidate]:
    """Yield candidates by the change drawn for each from the evidence, best first, as far as it is above `floor`."""
    drawn = case.memory.draw(candidates, case.rng)
    order = sorted(range(len(candidates)), key=lambda i: -drawn[i])
    return (candidates[i] for i in order if drawn[i] > floor)


def _shuffled(case: Case, things: Sequence[Any]) -> list[Any]:
    shuffled = list(things)
    case.rng.shuffle(shuffled)
    return shuffled


def _combined(made: Sequence[Candidate]) -> Candidate:
    """Return several changes, made one after the other, as one candidate: the last text, the first one's element."""
    if len(made) == 1:
        return made[0]
    detail = "; ".join(candidate.detail for candidate in made)
    return replace(made[0], action=COMBINED, detail=detail, text=made[-1].text, parameters=made[-1].parameters)


def _redrafted(draft: Draft, candidate: Candidate) -> Draft:
    """Return the draft as the candidate leaves it."""
    parsed = draft.parsed if candidate.text == draft.text else parse(candidate.text, lexicon=draft.lexicon)
    return replace(draft, text=candidate.text, parameters=candidate.parameters, parsed=parsed)
