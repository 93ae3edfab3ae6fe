"""PromptRefiner: accept an evaluated prompt, draw it again, or rewrite it; and record what was tried."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from forgekit.errors import ParameterError
from forgekit.ids import content_id
from forgekit.learnings import Memory, remember
from forgekit.models import load_model
from forgekit.policies import PASS_MARK, Policy, load_policy
from forgekit.refinement import Attempt, Decision, Limits, Situation, Version, decide
from forgekit.scene import list_elements
from forgekit.stages.report import StageReport, running
from forgekit.store import Store, insert_rows, update_rows

DUE = """
select id
from prompts
where status = 'evaluated'
  and current_score is not null
  and ($experiment is null or experiment = $experiment)
  and id not in (select unnest($attempted::uuid[]))
order by created_at, id
"""

# The prompts in hand with the judge that steers them: the one that gave their images' scores.
IN_HAND = """
select
    p.*,
    s.elements,
    any_value(i.evaluation_details ->> '$.vision_model') as objective,
    any_value(i.evaluation_details ->> '$.judge_key') as judge_key,
    min(i.adherence_score) as min_score,
    max(i.adherence_score) as max_score
from prompts p
join scenes s on s.scene_hash = p.scene_hash
join generated_images i on i.prompt_id = p.id and i.adherence_score is not null
where p.id in (select unnest($ids::uuid[]))
group by all
order by p.created_at, p.id
"""

# All versions of the same scenes in the same arms, those in hand among them.
RELATED = """
select r.id, r.parent_prompt_id, r.scene_hash, r.experiment, r.model, r.prompt_text, r.base_parameters,
       r.generation_iteration, r.current_score, count(i.id) as images
from prompts r
left join generated_images i on i.prompt_id = r.id
where exists (
    from prompts p
    where p.id in (select unnest($ids::uuid[]))
      and (p.scene_hash, p.experiment, p.model) = (r.scene_hash, r.experiment, r.model)
)
group by all
order by r.generation_iteration, r.id
"""

LEARNT = """
select l.id, p.scene_hash, p.experiment, p.model, l.prompt_id, l.actions
from prompt_learnings l
join prompts p on p.id = l.prompt_id
where exists (
    from prompts h
    where h.id in (select unnest($ids::uuid[]))
      and (p.scene_hash, p.experiment, p.model) = (h.scene_hash, h.experiment, h.model)
)
order by p.generation_iteration, l.created_at, l.id
"""

ELEMENT_MEANS = """
select prompt_id, vision_model, judge_key, element, avg(score) as score
from element_scores
where prompt_id in (select unnest($ids::uuid[]))
group by all
"""

CHANGES = """
select prompt_id, vision_model, judge_key, change
from version_changes
where prompt_id in (select unnest($ids::uuid[]))
"""

SEEN = """
select prompt_id, vision_model, judge_key,
       list_sort(list_distinct(flatten(list(cast(model_output -> '$.detected_artifacts' as varchar[])))))
           as artifacts,
       list_sort(list_distinct(flatten(list(cast(adherence_analysis -> '$.unwanted_elements' as varchar[])))))
           as unwanted,
       avg(cast(adherence_analysis ->> '$.style_deviation' as double)) as style_deviation
from image_evaluations
where prompt_id in (select unnest($ids::uuid[])) and error is null
group by all
"""

Arm = tuple[str, str, str]  # scene_hash, experiment, model


def refine_prompts(
    store: Store,
    *,
    target: float = 0.9,
    policy: Policy | str = "refine",
    experiment: str | None = None,
    max_iterations: int = 8,
    max_images: int | None = None,
    patience: int = 5,
    confirm: bool = False,
) -> StageReport:
    """Decide for every evaluated prompt: accept it, draw it again, or rewrite it.

    A rewrite becomes a new version (next `generation_iteration`, status `completed`). It replaces its
    parent only if, on the same seeds, it is better and no element that passed falls by more than a
    tolerance; else the next attempt starts from the parent again. Each decision is a row of
    `prompt_learnings`, chained per scene; the effects of rewrites are views over the evidence.

    Args:
        target: mean adherence, in [0, 1], from which a prompt is accepted.
        policy: "refine", "refine-without-memory", "paraphrase", "resample", or an object.
        max_iterations: rounds of rewriting or redrawing after the first drawing.
        max_images: images of a scene, all its versions together, that stop further drawing.
        patience: attempts from one version without success.
        confirm: draw the chosen prompt once more, on seeds that had no part in choosing it.

    Raises:
        ParameterError: an unknown policy, or a target outside [0, 1].
    """
    if not 0.0 <= target <= 1.0:
        raise ParameterError(f"target is {target}, it must lie in [0, 1]")
    chosen = load_policy(policy)
    limits = Limits(target, max_iterations, max_images, patience, confirm)
    attempted: list[str] = []
    memories: dict[tuple[str, str], Memory] = {}
    due = len(store.df(DUE, experiment=experiment, attempted=attempted))
    with running("refine", total=due, unit="prompt") as (report, bar):
        while ids := store.claim(DUE, to="evaluated", limit=100, experiment=experiment, attempted=attempted):
            attempted += ids
            decided = []
            for prompt, situation, seen in _gather(store, ids):
                arm = (prompt["model"], prompt["experiment"])
                if arm not in memories:
                    memories[arm] = _memory(store, chosen, *arm)
                generator = load_model("image_generator", prompt["model"])
                rng = random.Random(prompt["id"])
                decision = decide(situation, chosen, memories[arm], limits, fits=generator.fits, rng=rng)
                decided.append((prompt, situation, seen, decision))
                report.count(decision.decision)
            _write(store, decided, chosen.name)
            report.done += len(decided)
            bar.update(len(ids))
    return report


def _memory(store: Store, policy: Policy, model: str, experiment: str) -> Memory:
    """What the policy may know: the evidence of its own arm, so that arms of a study do not learn from each other."""
    return remember(store, model=model, experiment=experiment) if policy.uses_memory else Memory()


def _gather(store: Store, ids: Sequence[str]) -> list[tuple[dict[str, Any], Situation, dict[str, Any]]]:
    """Read the prompts in hand, the situation each is in, and what the objective judge saw, in a few queries."""
    in_hand = store.rows(IN_HAND, ids=list(ids))
    related: dict[Arm, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in store.rows(RELATED, ids=list(ids)):
        related[_arm(row)][row["id"]] = row
    learnt = defaultdict(list)
    for row in store.rows(LEARNT, ids=list(ids)):
        learnt[_arm(row)].append(row)
    families = [*ids, *(row["parent_prompt_id"] for row in in_hand if row["parent_prompt_id"])]
    means: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for row in store.rows(ELEMENT_MEANS, ids=families):
        means[row["prompt_id"], row["vision_model"], row["judge_key"]][row["element"]] = row["score"]
    changes = {
        (r["prompt_id"], r["vision_model"], r["judge_key"]): r["change"] for r in store.rows(CHANGES, ids=list(ids))
    }
    seen = {(r["prompt_id"], r["vision_model"], r["judge_key"]): r for r in store.rows(SEEN, ids=list(ids))}

    gathered = []
    for prompt in in_hand:
        judge = (prompt["objective"], prompt["judge_key"])
        family, learnings = related[_arm(prompt)], learnt[_arm(prompt)]
        versions = {
            key: _version(family[key], means[key, *judge]) for key in (prompt["id"], prompt["parent_prompt_id"]) if key
        }
        led_here = [row for row in learnings if row["actions"].get("child_prompt_id") == prompt["id"]]
        situation = Situation(
            version=versions[prompt["id"]],
            parent=versions.get(prompt["parent_prompt_id"]),
            change=changes.get((prompt["id"], *judge)),
            elements=prompt["elements"],
            attempts=[
                Attempt(r["id"], r["parent_prompt_id"], r["prompt_text"], r["base_parameters"], r["images"])
                for r in family.values()
            ],
            last_decision=led_here[-1]["actions"]["decision"] if led_here else None,
            rounds=len(learnings),
            redraws=sum(r["prompt_id"] == prompt["id"] and r["actions"]["decision"] == "redraw" for r in learnings),
        )
        prompt["led_here"] = led_here[-1]["id"] if led_here else None
        prompt["last_learning"] = learnings[-1]["id"] if learnings else None
        gathered.append((prompt, situation, seen[prompt["id"], *judge]))
    return gathered


def _write(
    store: Store, decided: Sequence[tuple[dict[str, Any], Situation, dict[str, Any], Decision]], policy: str
) -> None:
    """Store new versions, learnings and statuses of one batch, in one transaction."""
    children, learnings, redraws, archived, superseded = [], [], [], [], []
    for prompt, situation, seen, decision in decided:
        child = _child_row(prompt, decision) if decision.decision in ("rewrite", "confirm") else None
        if child:
            children.append(child)
        if decision.decision == "redraw":
            redraws.append({"id": prompt["id"], "base_parameters": dict(decision.parameters)})
        else:
            archived.append(prompt["id"])
        if decision.kept is False and prompt["led_here"]:
            superseded.append({"id": prompt["led_here"], "status": "superseded"})
        learnings.append(_learning_row(prompt, situation, seen, decision, child, policy))
    with store.transaction() as con:
        insert_rows(con, "prompts", children)
        insert_rows(con, "prompt_learnings", learnings)
        update_rows(con, "prompt_learnings", superseded)
        update_rows(con, "prompts", redraws)
        store.move_prompts(con, [row["id"] for row in redraws], "needs_refinement")
        store.move_prompts(con, archived, "archived")


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


def _learning_row(
    prompt: Mapping[str, Any],
    situation: Situation,
    seen: Mapping[str, Any],
    decision: Decision,
    child: Mapping[str, Any] | None,
    policy: str,
) -> dict[str, Any]:
    scores = situation.version.element_scores
    failing = [e for e in list_elements(prompt["elements"]) if scores.get(e.key, 1.0) < PASS_MARK]
    candidate = decision.candidate
    return {
        "id": content_id("learning", prompt=prompt["id"], parent=prompt["last_learning"], decision=decision.decision),
        "prompt_id": prompt["id"],
        "parent_learning_id": prompt["last_learning"],
        "adherence_analysis": {
            "element_scores": scores,
            "missing_elements": [e.phrase for e in failing],
            "unwanted_elements": seen["unwanted"] or [],
            "style_deviation": seen["style_deviation"],
        },
        "error_patterns": {
            "error_patterns": {
                "failed_terms": sorted({e.term for e in failing}),
                "common_artifacts": seen["artifacts"] or [],
                "style_violations": [e.phrase for e in failing if e.kind == "style"],
                "score_distribution": {
                    "min": prompt["min_score"],
                    "max": prompt["max_score"],
                    "avg": situation.version.score,
                },
            }
        },
        "actions": {
            "policy": policy,
            "decision": decision.decision,
            "reason": decision.reason,
            "objective": prompt["objective"],
            "base_prompt_id": decision.base.id,
            "kept": decision.kept,
            "change": situation.change,
            "child_prompt_id": child["id"] if child else None,
            "action": candidate.action if candidate else None,
            "element": candidate.element if candidate else None,
            "kind": candidate.kind if candidate else None,
            "term": candidate.term if candidate else None,
            "detail": candidate.detail if candidate else None,
        },
        "status": "active",
    }


def _version(row: Mapping[str, Any], element_scores: Mapping[str, float]) -> Version:
    return Version(
        row["id"],
        row["prompt_text"],
        row["base_parameters"],
        row["generation_iteration"],
        row["current_score"] or 0.0,
        element_scores,
    )


def _arm(row: Mapping[str, Any]) -> Arm:
    return row["scene_hash"], row["experiment"], row["model"]
