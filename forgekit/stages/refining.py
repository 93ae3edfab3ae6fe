"""PromptRefiner: accept an evaluated prompt, draw it again, or rewrite it; and record what was tried."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from forgekit.claims import Worker, working
from forgekit.errors import ForgekitError, ItemError, ParameterError
from forgekit.ids import content_id
from forgekit.learnings import Memory, remember
from forgekit.models import LanguageModel, load_stored_model
from forgekit.policies import PASS_MARK, Policy, load_policy
from forgekit.refinement import Decision, Limits, Tools, decide
from forgekit.rows import insert_rows, update_rows
from forgekit.scene import Lexicon, default_lexicon, list_elements, load_lexicon
from forgekit.stages.report import StageReport, recorded_call, running
from forgekit.stages.situations import InHand, gather
from forgekit.store import Store

DUE = """
select id
from prompts
where status = 'evaluated'
  and current_score is not null
  and ($experiment is null or experiment = $experiment)
  and id not in (select unnest($attempted::uuid[]))
order by created_at, id
"""


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
    parent only if, on the same seeds, it is better and no element that passed falls by more than a
    tolerance; else the next attempt starts from the parent again. Each decision is a row of
    `prompt_learnings`, chained per scene; the effects of rewrites are views over the evidence. Where a
    policy's language model fails, the prompt stays `evaluated` and comes up again on the next call.

    Args:
        target: mean adherence, in [0, 1], from which a prompt is accepted.
        policy: "refine", "refine-without-memory", "paraphrase", "resample", "llm:MODEL", or an object.
        max_iterations: rounds of rewriting or redrawing after the first drawing.
        max_images: images of a scene, all its versions together, that stop further drawing.
        max_minutes: time since a scene was imported that stops further drawing.
        patience: attempts from one version without success.
        confirm: draw the chosen prompt once more, on seeds that had no part in choosing it.
        without_actions: actions that the policy is not to use, such as "more_steps".
        lexicon: a TOML file with concepts of one's own, in the form of scene/lexicon/concepts.toml.

    Raises:
        ParameterError: an unknown policy or action, a target outside [0, 1], or a lexicon that cannot be read.
    """
    if not 0.0 <= target <= 1.0:
        raise ParameterError(f"target is {target}, it must lie in [0, 1]")
    chosen = load_policy(policy, without=without_actions)
    words = _lexicon(lexicon)
    limits = Limits(target, max_iterations, max_images, patience, confirm, max_minutes)
    attempted: list[str] = []
    memories: dict[tuple[str, str], Memory] = {}
    due = len(store.df(DUE, experiment=experiment, attempted=attempted))
    with working(store) as worker, running("refine", total=due, unit="prompt") as (report, bar):
        while ids := worker.claim(DUE, limit=100, experiment=experiment, attempted=attempted):
            attempted += ids
            decided, calls = [], []
            for in_hand in gather(store, ids):
                prompt = in_hand.prompt
                arm = (prompt["model"], prompt["experiment"])
                if arm not in memories:
                    memories[arm] = _memory(store, chosen, *arm)
                try:
                    fits = load_stored_model("image_generator", prompt["model"], within=store.folder).fits
                except ForgekitError as error:  # this prompt's model; those of others go on
                    report.failures[prompt["id"]] = str(error)
                    continue
                tools = Tools(fits, words, partial(_ask, prompt["id"], calls))
                rng = random.Random(prompt["id"])
                decision = decide(in_hand.situation, chosen, memories[arm], limits, tools=tools, rng=rng)
                if isinstance(decision, ItemError):
                    report.failures[prompt["id"]] = decision.reason
                    continue
                decided.append((in_hand, decision))
                report.count(decision.decision)
            _write(worker, decided, chosen.name, calls, ids)
            report.done += len(decided)
            bar.update(len(ids))
    return report


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


def _ask(prompt_id: str, calls: list[dict[str, Any]], model: LanguageModel, request: str) -> str | ItemError:
    """Ask a language model, and note the call."""
    with recorded_call("refine", model.name, request, prompt_id=prompt_id) as call:
        answer = model.generate([request])[0]
        if isinstance(answer, ItemError):
            call.errors.append(answer.reason)
        else:
            call.response = answer
    calls.append(call.row())
    return answer


def _memory(store: Store, policy: Policy, model: str, experiment: str) -> Memory:
    """What the policy may know: the evidence of its own arm, so that arms of a study do not learn from each other."""
    return remember(store, model=model, experiment=experiment) if policy.uses_memory else Memory()


def _write(
    worker: Worker,
    decided: Sequence[tuple[InHand, Decision]],
    policy: str,
    calls: Sequence[dict[str, Any]],
    claimed: Sequence[str],
) -> None:
    """Store new versions, learnings, statuses and model calls of one batch, in one transaction."""
    children, learnings, redraws, archived, superseded = [], [], [], [], []
    for in_hand, decision in decided:
        prompt = in_hand.prompt
        child = _child_row(prompt, decision) if decision.decision in ("rewrite", "confirm") else None
        if child:
            children.append(child)
        if decision.decision == "redraw":
            redraws.append({"id": decision.base.id, "base_parameters": dict(decision.parameters)})
        if decision.decision != "redraw" or decision.base.id != prompt["id"]:
            archived.append(prompt["id"])
        if decision.kept is False and in_hand.led_here:
            superseded.append({"id": in_hand.led_here, "status": "superseded"})
        learnings.append(_learning_row(in_hand, decision, child, policy))
    store = worker.store
    with store.transaction() as con:
        insert_rows(con, "prompts", children)
        insert_rows(con, "prompt_learnings", learnings)
        insert_rows(con, "api_logs", calls)
        update_rows(con, "prompt_learnings", superseded)
        update_rows(con, "prompts", redraws)
        store.move_prompts(con, [row["id"] for row in redraws], "needs_refinement")
        store.move_prompts(con, archived, "archived")
        worker.release(con, claimed)


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
    failing = [e for e in list_elements(prompt["elements"]) if scores.get(e.key, 1.0) < PASS_MARK]
    return {
        "id": content_id("learning", prompt=prompt["id"], parent=in_hand.last_learning, decision=decision.decision),
        "prompt_id": prompt["id"],
        "parent_learning_id": in_hand.last_learning,
        "adherence_analysis": {
            "element_scores": scores,
            "missing_elements": [e.phrase for e in failing],
            "unwanted_elements": in_hand.situation.unwanted,
            "style_deviation": in_hand.style_deviation,
        },
        "error_patterns": {
            "error_patterns": {
                "failed_terms": sorted({e.term for e in failing}),
                "common_artifacts": in_hand.artifacts,
                "style_violations": [e.phrase for e in failing if e.kind == "style"],
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
        "base_prompt_id": decision.base.id,  # the best version so far
        "best_image_id": in_hand.best_image,  # which may be of another version
        "kept": decision.kept,
        "change": in_hand.situation.change,
        "child_prompt_id": child["id"] if child else None,
        **{name: getattr(candidate, name, None) for name in ("action", "element", "kind", "term", "detail")},
    }
