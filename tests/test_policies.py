"""Policies on cases made by hand: what they propose, what they leave alone, what a language model is shown."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from forgekit.errors import ItemError, ParameterError
from forgekit.refiner.actions import ACTIONS, Candidate, Draft
from forgekit.refiner.case import Case, Situation, Tools, Version
from forgekit.refiner.learnings import Evidence, Memory
from forgekit.refiner.llm import LanguageModelPolicy, rewriting_request
from forgekit.refiner.policies import COMBINED, Paraphrase, Refine, Resample, load_policy
from forgekit.scene import compare, parse

SCENE = "a scarlet disc above a cobalt tile"
PARAMETERS = {"true_cfg_scale": 3.0, "num_inference_steps": 8, "negative_prompt": ""}


def version(text: str, scores: dict[str, float] | None = None, score: float | None = 0.5) -> Version:
    return Version(text, None, text, PARAMETERS, 4, score, scores or {}, scores or {})


def case(
    scores: dict[str, float], *, memory: Memory | None = None, seed: int = 0, tried=(), history=(), ask=None
) -> Case:
    """A case whose best version is the scene's own text; `tried` are texts that were drawn, `history` what was judged."""
    base, parsed = version(SCENE, scores, score=0.05), parse(SCENE)
    versions = [base, *history, *(version(text, score=None) for text in tried)]
    situation = Situation(base, versions, None, parsed, pass_mark=0.5, scene_text=SCENE)
    draft, tools = Draft(SCENE, PARAMETERS, parsed, parsed), Tools(fits=lambda text: True, ask=ask)
    return Case(situation, base, draft, memory or Memory(), tools, random.Random(seed))


def learnt(*known: tuple[str, str, str, float]) -> Memory:
    return Memory(tuple(Evidence(kind, action, detail, 12, 12 * change) for kind, action, detail, change in known))


PLAIN_COLORS = (
    ("color", "use_plain_word", "crimson -> red", 0.3),
    ("color", "use_plain_word", "navy -> blue", 0.3),
    ("color", "substitute", "scarlet -> ruby", -0.2),
)


def test_only_failing_elements_are_touched():
    scores = {"object:0": 0.9, "color:0": 0.1, "color:1": 0.95}
    chosen = [Refine().next_candidate(case(scores, seed=seed)) for seed in range(20)]
    assert {candidate.element for candidate in chosen if candidate} == {"color:0"}
    assert sum(candidate is not None for candidate in chosen) > 10


def test_where_all_elements_pass_nothing_is_rewritten():
    assert Refine().next_candidate(case({"color:0": 0.9, "color:1": 0.8})) is None


def test_what_helped_with_other_words_is_done_for_all_failing_elements_at_once():
    candidate = Refine().next_candidate(case({"color:0": 0.1, "color:1": 0.2}, memory=learnt(*PLAIN_COLORS)))
    assert candidate.text == "a red disc above a blue tile"
    assert (candidate.action, candidate.detail) == (COMBINED, "scarlet -> red; cobalt -> blue")


def test_without_evidence_one_change_is_made_at_a_time():
    chosen = [Refine().next_candidate(case({"color:0": 0.1, "color:1": 0.2}, seed=seed)) for seed in range(20)]
    assert {candidate.action for candidate in chosen if candidate} <= set(ACTIONS)
    assert len({candidate.action for candidate in chosen if candidate}) > 4


def test_what_was_tried_is_not_tried_again():
    tried = {"a red disc above a blue tile"}
    again = Refine().next_candidate(case({"color:0": 0.1, "color:1": 0.2}, memory=learnt(*PLAIN_COLORS), tried=tried))
    assert again is None or again.text not in tried


def test_where_all_evidence_is_bad_the_text_stays():
    bad = Memory(
        tuple(
            Evidence(kind, action, "anything", 500, 500 * -0.3)
            for action in ACTIONS
            for kind in ("color", "object", "relation")
        )
    )
    redrawn = [Refine().next_candidate(case({"color:0": 0.1}, memory=bad, seed=seed)) is None for seed in range(10)]
    assert sum(redrawn) >= 9


def test_a_paraphrase_rewords_without_looking_at_scores_or_evidence():
    for seed in range(10):
        one = Paraphrase().next_candidate(case({"color:0": 0.1}, seed=seed))
        other = Paraphrase().next_candidate(
            case({"color:0": 0.9, "color:1": 0.1}, memory=learnt(*PLAIN_COLORS), seed=seed)
        )
        assert one == other
        assert one.text != SCENE
        assert one.parameters == PARAMETERS
        assert not compare(parse(SCENE), parse(one.text))


def test_resampling_never_rewrites():
    assert Resample().next_candidate(case({"color:0": 0.0})) is None


def test_actions_can_be_left_out():
    policy = load_policy("refine", without=["more_steps", "substitute"])
    assert set(ACTIONS) - set(policy.actions) == {"more_steps", "substitute"}
    assert load_policy("resample", without=["more_steps"]) == Resample()


@pytest.mark.parametrize(
    ("policy", "without", "message"),
    [("refin", (), "Did you mean 'refine'"), ("refine", ["more_step"], "Did you mean 'more_steps'")],
)
def test_unknown_names_are_refused(policy, without, message):
    with pytest.raises(ParameterError, match=message):
        load_policy(policy, without=without)


@dataclass
class Writer:
    """Answers what it is told to, and keeps the requests."""

    answer: str | ItemError
    name: str = "writer"
    requests: list[str] = field(default_factory=list)

    def generate(self, requests):
        self.requests += requests
        return [self.answer for _ in requests]


def ask(model, request):
    return model.generate([request])[0]


HISTORY = [
    version(f"a scarlet disc above a cobalt tile, version {n}", {"color:0": n / 10, "color:1": 0.5}, n / 10)
    for n in (6, 1, 5, 2, 4, 3)
]


def test_a_language_model_sees_the_five_best_in_ascending_order_with_whole_scores_per_element():
    request = rewriting_request(case({"color:0": 0.6}, history=HISTORY), 4)
    shown = [int(line.rsplit(" ", 1)[1]) for line in request.splitlines() if "version" in line]
    assert shown == [2, 3, 4, 5, 6]
    assert "score: 20" in request
    assert "a scarlet disc: 60" in request
    assert f"Scene: {SCENE}\n" in request


def test_the_first_tagged_proposal_that_keeps_the_scene_and_is_new_is_taken():
    writer = Writer(
        f"<PROMPT>{SCENE}</PROMPT> <PROMPT>a red disc</PROMPT>"
        "<PROMPT>a red disc over a blue tile</PROMPT><PROMPT>a ruby disc over a blue tile</PROMPT>"
    )
    found = LanguageModelPolicy(writer).next_candidate(
        case({"color:0": 0.6, "color:1": 0.2}, history=HISTORY, ask=ask, tried={SCENE})
    )
    assert isinstance(found, Candidate)
    assert found.text == "a red disc over a blue tile"
    assert found.element == "color:1"  # the worst one


def test_no_faithful_proposal_is_no_rewrite_and_a_failure_is_told():
    scores = {"color:0": 0.6}
    assert LanguageModelPolicy(Writer("<PROMPT>a cat</PROMPT>")).next_candidate(case(scores, ask=ask)) is None
    failed = LanguageModelPolicy(Writer(ItemError("no connection"))).next_candidate(case(scores, ask=ask))
    assert failed == ItemError("no connection")
