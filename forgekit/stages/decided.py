"""A decision as rows: the new version, the learning, the statuses, and the call that made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgekit.ids import content_id
from forgekit.refiner.case import failing
from forgekit.refiner.decision import Decision
from forgekit.scene import Element, list_elements
from forgekit.stages.recording import Call
from forgekit.stages.situations import InHand
from forgekit.store.claims import Worker
from forgekit.store.rows import insert_rows, update_rows


@dataclass(frozen=True)
class Decided:
    """A decision about a prompt in hand, and how it was come to."""

    in_hand: InHand
    decision: Decision
    policy: str
    call: Call  # of the policy; it goes into `api_logs` where no language model was asked
    asked: Sequence[str]  # `api_logs` ids of what a language model was asked on the way

    @property
    def prompt_id(self) -> str:
        """The prompt that was decided about."""
        return self.in_hand.prompt["id"]

    @property
    def leaves(self) -> str:
        """The status that the decision leaves its prompt in."""
        stays = self.decision.decision == "redraw" and self.decision.base.id == self.prompt_id
        return "needs_refinement" if stays else "archived"


def looked_at(in_hand: InHand) -> dict[str, Any]:
    """Return in short what a decision is made on."""
    situation = in_hand.situation
    return {
        "prompt_id": in_hand.prompt["id"],
        "objective": in_hand.prompt["objective"],
        "score": situation.version.score,
        "pass_mark": situation.pass_mark,
        "failing": {e.key: situation.version.element_scores[e.key] for e in _failing(in_hand)},
        "round": situation.rounds,
    }


def write(
    worker: Worker, decided: Sequence[Decided], *, failed: Sequence[str], calls: Sequence[dict[str, Any]]
) -> list[str]:
    """Store decisions in one transaction, and return the prompts they are about; what was taken from `worker` is not.

    `failed` are prompts that nothing was decided about; they keep their status. `calls` are `api_logs` rows.
    """
    store = worker.store
    with store.transaction() as con:
        held: list[str] = []
        for status in ("archived", "needs_refinement"):
            held += worker.settle(con, [d.prompt_id for d in decided if d.leaves == status], status)
        worker.settle(con, failed, "evaluated")
        children, learnings, redraws, superseded, asked = [], [], [], [], []
        calls = list(calls)
        for each in (d for d in decided if d.prompt_id in held):
            decision, in_hand = each.decision, each.in_hand
            child = _child_row(in_hand.prompt, decision) if decision.decision in ("rewrite", "confirm") else None
            learning = _learning_row(in_hand, decision, child, each.policy)
            children += [child] if child else []
            learnings.append(learning)
            if decision.decision == "redraw":
                redraws.append({"id": decision.base.id, "base_parameters": dict(decision.parameters)})
            if decision.kept is False and in_hand.led_here:
                superseded.append({"id": in_hand.led_here, "status": "superseded"})
            asked += [{"id": call, "learning_id": learning["id"]} for call in each.asked]
            calls += [] if each.asked else [_call_row(each.call, learning)]
        insert_rows(con, "prompts", children)
        insert_rows(con, "prompt_learnings", learnings)
        insert_rows(con, "api_logs", calls)
        update_rows(con, "api_logs", asked)
        update_rows(con, "prompt_learnings", superseded)
        update_rows(con, "prompts", redraws)
        store.move_prompts(con, [row["id"] for row in redraws], "needs_refinement")
    return held


def _call_row(call: Call, learning: Mapping[str, Any]) -> dict[str, Any]:
    told = ("decision", "action", "detail", "child_prompt_id")
    response = {name: learning["actions"][name] for name in told}
    return {**call.row(), "learning_id": learning["id"], "response": response}


def _failing(in_hand: InHand) -> list[Element]:
    version, pass_mark = in_hand.situation.version, in_hand.situation.pass_mark
    return failing(list_elements(in_hand.prompt["elements"]), version.element_scores, version.lowest, pass_mark)


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
    return {"id": content_id("prompt", **row), **row, "status": "completed"}


def _learning_row(in_hand: InHand, decision: Decision, child: Mapping[str, Any] | None, policy: str) -> dict[str, Any]:
    prompt, version = in_hand.prompt, in_hand.situation.version
    scores = version.element_scores
    missing = _failing(in_hand)
    return {
        "id": content_id("learning", prompt=prompt["id"], parent=in_hand.last_learning, decision=decision.decision),
        "prompt_id": prompt["id"],
        "parent_learning_id": in_hand.last_learning,
        "adherence_analysis": {
            "element_scores": scores,
            "missing_elements": [e.phrase for e in missing],
            "unwanted_elements": in_hand.situation.unwanted,
            "style_deviation": in_hand.style_deviation,
        },
        "error_patterns": {
            "error_patterns": {
                "failed_terms": sorted({e.term for e in missing}),
                "common_artifacts": in_hand.artifacts,
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
        "objective": in_hand.prompt["objective"],
        "pass_mark": in_hand.situation.pass_mark,
        "base_prompt_id": decision.base.id,  # the best version so far
        "best_image_id": in_hand.best_image,  # which may be of another version
        "kept": decision.kept,
        "change": in_hand.situation.change,
        "child_prompt_id": child["id"] if child else None,
        **{name: getattr(candidate, name, None) for name in ("action", "element", "kind", "term", "detail")},
    }
