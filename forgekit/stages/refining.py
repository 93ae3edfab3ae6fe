"""Refining: accept an evaluated prompt, draw it again, or rewrite it; and record what was tried."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from forgekit.errors import ItemError, ParameterError
from forgekit.ids import content_id
from forgekit.models import load_stored_model
from forgekit.models.roles import world_of
from forgekit.progress import StageReport, running
from forgekit.refiner.case import Policy, Tools, failing
from forgekit.refiner.decision import Decision, Limits, decide
from forgekit.refiner.learnings import Memory, remember
from forgekit.refiner.policies import load_policy
from forgekit.scene import Element, Lexicon, default_lexicon, list_elements, load_lexicon, loosened, parse, split_prompt
from forgekit.scene.syntax.directives import FROM_DATA
from forgekit.stages.calls import Call
from forgekit.stages.conversations import Conversation, Turns
from forgekit.stages.outside import DRAWN_HERE, outside_notes
from forgekit.stages.situations import InHand, gather
from forgekit.store import Store
from forgekit.store.arguments import several
from forgekit.store.claims import Worker, working
from forgekit.store.names import check_experiment
from forgekit.store.rows import insert_rows, update_rows

REFUSALS = 12  # proposals of a language model that a learning keeps
AT_ONCE = 100  # prompts decided between two commits, where no language model is asked

DUE = f"""
select id
from prompts
where status = 'evaluated'
  and ($experiment is null or experiment = $experiment)
  and {DRAWN_HERE}
  and id not in (select unnest($attempted::uuid[]))
order by created_at, id
"""


@dataclass(frozen=True)
class How:
    """How one call of the stage decides; `memory` is what the policy may know, by generator and experiment."""

    policy: Policy
    limits: Limits
    lexicon: Lexicon
    memory: Callable[[str, str], Memory]


@dataclass(frozen=True)
class Decided:
    """A decision about a prompt in hand, the rows that it becomes, and the calls that it came of."""

    in_hand: InHand
    decision: Decision
    child: Mapping[str, Any] | None  # the new version
    learning: Mapping[str, Any]
    conversation: Conversation

    @property
    def leaves(self) -> str:
        """The status that the decision leaves its prompt in."""
        stays = self.decision.decision == "redraw" and self.decision.base.id == self.in_hand.prompt["id"]
        return "needs_refinement" if stays else "archived"


def refine_prompts(
    store: Store,
    *,
    target: float = 0.9,
    policy: Policy | str = "refine",
    experiment: str | None = None,
    max_iterations: int = 8,
    max_images: int | None = None,
    max_minutes: float | None = None,
    patience: int = 5,
    confirm: bool = False,
    without_actions: Sequence[str] = (),
    lexicon: str | None = None,
) -> StageReport:
    """Decide for every evaluated prompt: accept it, draw it again, or rewrite it.

    A rewrite becomes a new version (next `generation_iteration`, status `completed`). It replaces its
    parent only if, on the same seeds, it is better and no element that passed is lost in more than one
    image; else the next attempt starts from the parent again. Each decision is a row of
    `prompt_learnings`, chained per scene, and of `api_logs`; the effects of rewrites are views over the
    evidence. A prompt that fails (no score by one judge under one key, a language model that cannot be reached, an unknown
    generator) stays `evaluated` and comes up again on the next call. Answers of language models are committed as they come.

    Args:
        target: mean adherence, in [0, 1], from which a prompt is accepted.
        policy: "refine", "refine-without-memory", "paraphrase", "resample", "llm:MODEL", its control
            "llm-paraphrase:MODEL", or an object.
        experiment: only the prompts of this one; all where not given.
        max_iterations: rounds of rewriting or redrawing after the first drawing.
        max_images: images of a scene, all its versions together, that stop further drawing.
        max_minutes: time since a scene was imported that stops further drawing.
        patience: attempts from one version without success.
        confirm: draw the chosen prompt once more, on seeds that had no part in choosing it.
        without_actions: actions that the policy is not to use, such as "more_steps".
        lexicon: a TOML file with concepts of one's own, in the form of scene/lexicon/concepts.toml.

    Raises:
        ParameterError: an unknown policy, action or experiment, a number out of its range, a lexicon that cannot be read.
    """
    check_experiment(store, experiment)
    limits = Limits(target, max_iterations, max_images, patience, confirm, max_minutes)
    chosen = load_policy(policy, without=several("without_actions", without_actions))

    @cache
    def memory(model: str, experiment: str) -> Memory:  # of its own arm: a study's arms do not teach each other
        return remember(store, model=model, experiment=experiment) if chosen.uses_memory else Memory()

    how = How(chosen, limits, _lexicon(lexicon), memory)
    turns = Turns.of(store, getattr(chosen, "language_model", None))
    due, attempted = len(store.df(DUE, experiment=experiment, attempted=[])), list[str]()
    limit = turns.in_hand() if _asks_model(chosen) else AT_ONCE
    with working(store) as worker, running("refine", total=due, unit="prompt") as (report, bar):
        while ids := worker.claim(DUE, limit=limit, experiment=experiment, attempted=attempted):
            attempted += ids
            _refine_batch(worker, report, ids, how, turns)
            bar.update(len(ids))
    report.notes += outside_notes(store, experiment)
    return report


def _refine_batch(worker: Worker, report: StageReport, ids: Sequence[str], how: How, turns: Turns) -> None:
    in_hand, decided, calls = gather(worker.store, ids, said=_asks_model(how.policy)), {}, []

    def refine(prompt_id: str) -> tuple[Decided | ItemError, list[dict[str, Any]]]:
        conversation = Conversation(turns, Call("refine", how.policy.name, None, prompt_id))
        return conversation.attempt(_decide, in_hand[prompt_id], how, conversation), conversation.rows

    for prompt_id, (outcome, rows) in zip(ids, turns.each(refine, ids, ids), strict=True):
        if isinstance(outcome, ItemError):
            report.failures[prompt_id] = outcome.reason
            calls += rows
        else:
            decided[prompt_id] = outcome
    held = _write(worker, decided, failed=[each for each in ids if each not in decided], calls=calls)
    for each in (decided[prompt_id] for prompt_id in held):
        report.count(each.decision.decision)
        report.count("rewrites that lose prompt syntax", bool(each.decision.lost_syntax))
    report.done += len(held)


def _asks_model(policy: Policy) -> bool:
    return getattr(policy, "asks_model", False)  # else it is taken for one by rule


def _decide(in_hand: InHand, how: How, conversation: Conversation) -> Decided | ItemError:
    if reason := in_hand.unready():
        return ItemError(reason)
    prompt, call = in_hand.prompt, conversation.call
    call.request = _looked_at(in_hand)
    generator = load_stored_model("image_generator", prompt["model"], within=conversation.store.folder)
    tools = Tools(generator.fits, how.lexicon.in_world(world_of(generator)), conversation.ask)
    memory = how.memory(prompt["model"], prompt["experiment"])
    rng = random.Random(prompt["id"])
    decision = decide(in_hand.situation, how.policy, memory, how.limits, tools=tools, rng=rng)
    if isinstance(decision, ItemError):
        return decision
    child = _child_row(prompt, decision) if decision.decision in ("rewrite", "confirm") else None
    learning = _learning_row(in_hand, decision, child, how.policy.name)
    if decision.candidate:
        scene, text = (parse(each, lexicon=tools.lexicon) for each in (in_hand.situation.scene_text, decision.text))
        learning["actions"]["loosened"] = loosened(scene, text, lexicon=tools.lexicon)
    told = ("decision", "action", "detail", "child_prompt_id")
    call.learning_id, call.response = learning["id"], {name: learning["actions"][name] for name in told}
    return Decided(in_hand, decision, child, learning, conversation)


def _write(
    worker: Worker, decided: Mapping[str, Decided], *, failed: Sequence[str], calls: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Store decisions in one transaction, and return the prompts they are about; what was taken from `worker` is not.

    `failed` are prompts that nothing was decided about; they keep their status. `calls` are `api_logs` rows.
    """
    store = worker.store
    with store.transaction() as con:
        held: list[str] = []
        for status in ("archived", "needs_refinement"):
            held += worker.settle(con, [key for key, each in decided.items() if each.leaves == status], status)
        worker.settle(con, failed, "evaluated")
        kept = [each for key, each in decided.items() if key in held]
        asked = [{"id": call, "learning_id": each.learning["id"]} for each in kept for call in each.conversation.asked]
        led_here = [each.in_hand.led_here for each in kept if each.decision.kept is False]
        redrawn = [each.decision for each in kept if each.decision.decision == "redraw"]
        redraws = [{"id": each.base.id, "base_parameters": dict(each.parameters)} for each in redrawn]
        insert_rows(con, "prompts", [each.child for each in kept if each.child])
        insert_rows(con, "prompt_learnings", [each.learning for each in kept])
        insert_rows(con, "api_logs", [*calls, *(row for each in kept for row in each.conversation.rows)])
        update_rows(con, "api_logs", asked)
        update_rows(con, "prompt_learnings", [{"id": row["id"], "status": "superseded"} for row in led_here if row])
        update_rows(con, "prompts", redraws)
        store.move_prompts(con, [each.base.id for each in redrawn], "needs_refinement")
    return held


def _looked_at(in_hand: InHand) -> dict[str, Any]:
    """Return in short what a decision is made on."""
    situation = in_hand.situation
    return {
        "prompt_id": in_hand.prompt["id"],
        "objective": in_hand.prompt["vision_model"],
        "score": situation.version.score,
        "pass_mark": situation.pass_mark,
        "failing": {e.key: situation.version.element_scores[e.key] for e in _failing(in_hand)},
        "round": situation.rounds,
    }


def _failing(in_hand: InHand) -> list[Element]:
    return failing(list_elements(in_hand.prompt["elements"]), in_hand.situation.version, in_hand.situation.pass_mark)


def _child_row(prompt: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
    row = {
        "scene_hash": prompt["scene_hash"],
        "parent_prompt_id": decision.base.id,
        "model": prompt["model"],
        "prompt_text": decision.text,
        "base_parameters": dict(decision.parameters),
        "generation_iteration": prompt["generation_iteration"] + 1,
        "experiment": prompt["experiment"],
    }
    directives = split_prompt(decision.text).all_directives((prompt["directives"] or {}).get(FROM_DATA))
    return {"id": content_id("prompt", **row), **row, "directives": directives, "status": "completed"}


def _learning_row(in_hand: InHand, decision: Decision, child: Mapping[str, Any] | None, policy: str) -> dict[str, Any]:
    prompt, version = in_hand.prompt, in_hand.situation.version
    missing = _failing(in_hand)
    return {
        "id": content_id("learning", prompt=prompt["id"], parent=in_hand.last_learning, decision=decision.decision),
        "prompt_id": prompt["id"],
        "parent_learning_id": in_hand.last_learning,
        "adherence_analysis": {
            "element_scores": version.element_scores,
            "missing_elements": [e.phrase for e in missing],
            "unwanted_elements": in_hand.situation.unwanted,
            "style_deviation": prompt["style_deviation"],
        },
        "error_patterns": {
            "error_patterns": {
                "failed_terms": sorted({e.term for e in missing}),
                "common_artifacts": prompt["artifacts"] or [],
                "style_violations": [e.phrase for e in missing if e.kind == "style"],
                "score_distribution": {"min": prompt["min_score"], "max": prompt["max_score"], "avg": version.score},
            }
        },
        "actions": _actions(in_hand, decision, child, policy),
        "status": "active",
    }


def _actions(in_hand: InHand, decision: Decision, child: Mapping[str, Any] | None, policy: str) -> dict[str, Any]:
    """What was decided and why; its effect follows from the child's pictures (view `learning_effects`)."""
    candidate = decision.candidate
    return {
        "policy": policy,
        "decision": decision.decision,
        "reason": decision.reason,
        "objective": in_hand.prompt["vision_model"],
        "pass_mark": in_hand.situation.pass_mark,
        "base_prompt_id": decision.base.id,  # the best version so far
        "best_image_id": in_hand.best_image,  # which may be of another version
        "kept": decision.kept,
        "change": in_hand.situation.change,
        "child_prompt_id": child["id"] if child else None,
        "loosened": None,  # what a rewrite says less exactly than its scene: a kind that became its plain word
        **({"refused": list(decision.refused)[:REFUSALS]} if decision.refused else {}),
        **({"lost_syntax": decision.lost_syntax} if decision.lost_syntax else {}),
        **{name: getattr(candidate, name, None) for name in ("action", "element", "kind", "term", "detail")},
    }


def _lexicon(path: str | None) -> Lexicon:
    if path is None:
        return default_lexicon()
    try:
        return load_lexicon(path)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ParameterError(
            f"lexicon {path!r} cannot be read: {error}. It is a TOML file of tables such as [color] "
            'with lines such as red = ["scarlet"]'
        ) from error
