"""What the refiner knows of the prompts it has in hand, read from the store in a few queries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgekit.refinement import Attempt, Situation, Version
from forgekit.store import Store

# The prompts in hand with the judge that steers them: the one that gave their images' scores.
IN_HAND = """
select
    p.*,
    s.elements,
    s.scene_text,
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
       r.generation_iteration, r.current_score, r.best_image_id, count(i.id) as images,
       max(i.adherence_score) as best_score,
       epoch(now() at time zone 'utc' - r.created_at) / 60 as minutes
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
select prompt_id, vision_model, judge_key, element, steady_avg(score) as score
from element_scores
where prompt_id in (select unnest($ids::uuid[]))
  and score is not null
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
       steady_avg(cast(adherence_analysis ->> '$.style_deviation' as double)) as style_deviation
from image_evaluations
where prompt_id in (select unnest($ids::uuid[])) and error is null
group by all
"""

Arm = tuple[str, str, str]  # scene_hash, experiment, model


@dataclass(frozen=True)
class InHand:
    """A prompt to decide about: its row, the situation it is in, and what hangs on it in the record."""

    prompt: Mapping[str, Any]  # the row of `prompts`, with what IN_HAND adds
    situation: Situation
    artifacts: Sequence[str]  # seen in its pictures by the objective judge
    style_deviation: float | None
    led_here: str | None  # the learning whose rewrite it is
    last_learning: str | None  # the last one of the scene in this arm
    best_image: str  # of all versions of the scene in this arm


def gather(store: Store, ids: Sequence[str]) -> list[InHand]:
    """Read what a decision about each of these prompts needs; prompts without a score are left out."""
    in_hand = store.rows(IN_HAND, ids=list(ids))
    related: dict[Arm, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in store.rows(RELATED, ids=list(ids)):
        related[_arm(row)][row["id"]] = row
    learnt = defaultdict(list)
    for row in store.rows(LEARNT, ids=list(ids)):
        learnt[_arm(row)].append(row)
    families = [key for family in related.values() for key in family]
    means: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for row in store.rows(ELEMENT_MEANS, ids=families):
        means[row["prompt_id"], row["vision_model"], row["judge_key"]][row["element"]] = row["score"]
    changes = {_judged(row): row["change"] for row in store.rows(CHANGES, ids=list(ids))}
    seen = {_judged(row): row for row in store.rows(SEEN, ids=list(ids))}
    return [_in_hand(prompt, related[_arm(prompt)], learnt[_arm(prompt)], means, changes, seen) for prompt in in_hand]


def _in_hand(
    prompt: Mapping[str, Any],
    family: Mapping[str, Mapping[str, Any]],
    learnings: Sequence[Mapping[str, Any]],
    means: Mapping[Any, Mapping[str, float]],
    changes: Mapping[Any, float],
    seen: Mapping[Any, Mapping[str, Any]],
) -> InHand:
    judge = (prompt["objective"], prompt["judge_key"])
    versions = {key: _version(row, means.get((key, *judge), {})) for key, row in family.items()}
    judged = [version for version in versions.values() if version.element_scores]
    led_here = [row for row in learnings if row["actions"].get("child_prompt_id") == prompt["id"]]
    eyes = seen[prompt["id"], *judge]
    situation = Situation(
        version=versions[prompt["id"]],
        parent=versions.get(prompt["parent_prompt_id"]),
        change=changes.get((prompt["id"], *judge)),
        elements=prompt["elements"],
        attempts=[
            Attempt(r["id"], r["parent_prompt_id"], r["prompt_text"], r["base_parameters"], r["images"])
            for r in family.values()
        ],
        scene_text=prompt["scene_text"],
        history=judged,
        unwanted=eyes["unwanted"] or (),
        minutes=max(row["minutes"] for row in family.values()),
        last_decision=led_here[-1]["actions"]["decision"] if led_here else None,
        rounds=len(learnings),
        redraws=Counter(r["actions"]["base_prompt_id"] for r in learnings if r["actions"]["decision"] == "redraw"),
    )
    scored = [row for row in family.values() if row["best_score"] is not None]
    return InHand(
        prompt,
        situation,
        artifacts=eyes["artifacts"] or [],
        style_deviation=eyes["style_deviation"],
        led_here=led_here[-1]["id"] if led_here else None,
        last_learning=learnings[-1]["id"] if learnings else None,
        best_image=max(scored, key=lambda row: (row["best_score"], row["id"]))["best_image_id"],
    )


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


def _judged(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["prompt_id"], row["vision_model"], row["judge_key"]
