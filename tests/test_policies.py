"""Policies on cases made by hand: what they propose, what they leave alone, what a language model is shown."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from forgekit.errors import ItemError, ParameterError
from forgekit.refiner.actions import ACTIONS, Candidate, Draft
from forgekit.refiner.case import Case, Situation, Tools, Version
from forgekit.refiner.learnings import Evidence, Memory
from forgekit.refiner.llm import LanguageModelParaphrase, LanguageModelPolicy, changes
from forgekit.refiner.policies import COMBINED, Paraphrase, Refine, Resample, load_policy
from forgekit.scene import compare, parse
from forgekit.study.plan import Study, check_plan

SCENE = "a scarlet disc above a cobalt tile"
PARAMETERS = {"true_cfg_scale": 3.0, "num_inference_steps": 8, "negative_prompt": ""}


def version(text: str, scores: dict[str, float] | None = None, score: float | None = 0.5) -> Version:
    return Version(text, None, text, PARAMETERS, 4, score, scores or {}, scores or {})


def case(
    scores: dict[str, float],
    *,
    memory: Memory | None = None,
    seed: int = 0,
    tried=(),
    history=(),
    ask=None,
    said=None,
    refused=(),
) -> Case:
    """A case whose best version is the scene's own text; `tried` are texts that were drawn, `history` what was judged.

    `said` is what the judge said of the best version, `refused` what the gate refused in earlier decisions.
    """
    base, parsed = replace(version(SCENE, scores, score=0.05), **(said or {})), parse(SCENE)
    versions = [base, *history, *(version(text, score=None) for text in tried)]
    situation = Situation(base, versions, None, parsed, pass_mark=0.5, scene_text=SCENE, refused=refused)
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
    request = LanguageModelPolicy(None).request(case({"color:0": 0.6}, history=HISTORY))
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


SAID = {
    "seen": ["an orange disc on a white background"],
    "reasons": {"color:0": ["expected a scarlet disc, found a disc rather orange"], "color:1": ["never mind"]},
}


def test_a_language_model_is_told_what_the_judge_says_of_what_failed_and_what_is_seen_instead():
    request = LanguageModelPolicy(None).request(case({"color:0": 0.2, "color:1": 0.9}, said=SAID))
    assert "a scarlet disc: expected a scarlet disc, found a disc rather orange" in request
    assert "seen: an orange disc on a white background" in request
    assert "never mind" not in request  # its element passes


def test_a_language_model_is_told_what_changes_gained_with_their_counts_where_they_were_tried_often():
    memory = Memory(
        (
            Evidence("color", "llm", "scarlet -> red; + flat design", 3, 0.6),
            Evidence("color", "llm", "scarlet -> red", 2, 0.4),
            Evidence("color", "llm", "disc -> dot", 4, -0.4),
            Evidence("color", "llm", "tile -> square", 2, 1.0),
        )
    )
    request = LanguageModelPolicy(None).request(case({"color:0": 0.2}, memory=memory))
    assert "- scarlet -> red (for a failing color): +20 on average, in 5 rewrites" in request
    assert "- disc -> dot (for a failing color): -10 on average, in 4 rewrites" in request
    assert "tile -> square" not in request


def test_what_the_gate_refused_is_told_in_the_same_decision_and_in_later_ones():
    writer = Writer("<PROMPT>a cat</PROMPT>")
    now = case({"color:0": 0.2}, ask=ask, refused=[("a dog", ["object lost: disc"])])
    assert LanguageModelPolicy(writer).next_candidate(now) is None
    first, second = writer.requests
    assert "- a dog: object lost: disc" in first and "- a cat: object lost: disc" in second
    assert {text for text, _ in now.refused} == {"a cat"}


def test_the_control_is_asked_as_often_for_as_many_and_sees_no_score_reason_or_lesson():
    memory = Memory((Evidence("color", "llm", "scarlet -> red", 12, 2.4),))
    told = {"history": HISTORY, "ask": ask, "said": SAID, "memory": memory}
    blind, seeing = Writer("<PROMPT>a cat</PROMPT>"), Writer("<PROMPT>a cat</PROMPT>")
    LanguageModelParaphrase(blind).next_candidate(case({"color:0": 0.2}, **told))
    LanguageModelPolicy(seeing).next_candidate(case({"color:0": 0.2}, **told))
    assert len(blind.requests) == len(seeing.requests) == 2
    for request in blind.requests:
        assert "Generate 4 paraphrases" in request and f"Scene: {SCENE}\n" in request
        assert not any(word in request for word in ("score", "judge", "orange", "on average", "failing"))
    same = Writer("<PROMPT>a cat</PROMPT>")
    LanguageModelParaphrase(same).next_candidate(case({"color:1": 0.9}, ask=ask, history=HISTORY))
    assert same.requests == blind.requests


def test_a_model_that_thinks_aloud_is_read_past_its_thinking():
    writer = Writer(
        "<think>Not <PROMPT>a cat</PROMPT>, that loses the disc.</think>\n1. <PROMPT>“a red disc over a blue tile”</PROMPT>"
    )
    found = LanguageModelPolicy(writer).next_candidate(case({"color:0": 0.2}, ask=ask))
    assert (found.text, found.detail) == ("a red disc over a blue tile", changes(SCENE, found.text))
    assert len(writer.requests) == 1


def test_changes_are_told_in_words():
    assert changes("a scarlet disc above a tile", "a red disc above a tile, flat design") == (
        "scarlet -> red; tile -> tile, flat design"
    )
    assert changes("a red disc", "a bright red disc") == "+ bright"
    assert changes("a very red disc", "a red disc") == "- very"
    assert changes("a red disc", "a red disc") == "reworded"


def test_policies_that_ask_a_model_are_found_by_name():
    policy = load_policy("llm-paraphrase:http://localhost:8000/v1#tiny")
    assert (policy.name, policy.from_first, policy.asks_model) == ("llm-paraphrase:tiny", True, True)
    assert load_policy("llm:http://localhost:8000/v1#tiny").uses_memory
    with pytest.raises(ParameterError, match="llm-paraphrase:MODEL"):
        load_policy("llm-paraphrase")


def test_the_control_of_a_language_model_is_one_of_the_claims_of_a_plan_that_names_none():
    model = "http://localhost:8000/v1#tiny"
    plan = Study(
        "s", arms=("resample", f"llm-paraphrase:{model}", f"llm:{model}"), vision_models=("mini-owl", "mini-clip")
    )
    assert [(one.arm, one.against) for one in plan.comparisons] == [
        (f"llm:{model}", "resample"),
        (f"llm:{model}", f"llm-paraphrase:{model}"),
    ]
    check_plan(plan)
