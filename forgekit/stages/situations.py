"""What the refiner knows of the prompts it has in hand, read from the store in a few queries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgekit.errors import ItemError
from forgekit.refiner.decision import Attempt, Situation, Version
from forgekit.store import Store

# The prompts in hand with the judge that steers them: the one that gave their images' scores, under the key that it gave
# them under. All that is read of verdicts below is of this judge and key, for the other versions of the scene too.
STEERED = """
steered as (
    select
        p.id as hand_id,
        p.parent_prompt_id,
        p.scene_hash,
        p.experiment,
        p.model,
        any_value(i.evaluation_details ->> '$.vision_model') filter (i.adherence_score is not null) as vision_model,
        any_value(i.evaluation_details ->> '$.judge_key') filter (i.adherence_score is not null) as judge_key,
        count(distinct [i.evaluation_details ->> '$.vision_model', i.evaluation_details ->> '$.judge_key'])
            filter (i.adherence_score is not null) as keys,
        count(i.id) as drawn,
        count(i.adherence_score) as scored,
        min(i.adherence_score) as min_score,
        max(i.adherence_score) as max_score
    from prompts p
    left join generated_images i on i.prompt_id = p.id
    where p.id in (select unnest($ids::uuid[]))
    group by all
)"""

# A judge whose mark is not stored says "there" from 0.5 on.
IN_HAND = f"""
with {STEERED}
select
    p.*,
    s.elements,
    s.scene_text,
    t.vision_model as objective,
    t.judge_key,
    t.keys,
    t.drawn,
    t.scored,
    t.min_score,
    t.max_score,
    coalesce(m.pass_mark, 0.5) as pass_mark
from steered t
join prompts p on p.id = t.hand_id
join scenes s on s.scene_hash = p.scene_hash
left join pass_marks m on m.vision_model = t.vision_model and m.judge_key = t.judge_key
"""

# All versions of the same scenes in the same arms, those in hand among them.
RELATED = """
select r.id, r.parent_prompt_id, r.scene_hash, r.experiment, r.model, r.prompt_text, r.base_parameters,
       r.generation_iteration, count(i.id) as images,
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

VERSION_SCORES = f"""
with {STEERED}
select
    t.hand_id,
    e.prompt_id,
    count(*) as images,
    steady_avg(e.soft_tifa_gm) as score,
    max(e.soft_tifa_gm) as best_score,
    arg_max(e.image_id, (e.soft_tifa_gm, e.image_id)) as best_image_id
from steered t
join prompts r using (scene_hash, experiment, model)
join image_scores e on e.prompt_id = r.id and e.vision_model = t.vision_model and e.judge_key = t.judge_key
where e.soft_tifa_gm is not null
group by all
"""

ELEMENT_MEANS = f"""
with {STEERED}
select t.hand_id, e.prompt_id, e.element, steady_avg(e.score) as mean, min(e.score) as lowest
from steered t
join prompts r using (scene_hash, experiment, model)
join element_scores e on e.prompt_id = r.id and e.vision_model = t.vision_model and e.judge_key = t.judge_key
where e.score is not null
group by all
"""

# How each prompt in hand compares with its parent, image by image on the seeds that both were drawn with.
CHANGES = f"""
with {STEERED},
seeded as (
    select s.*, i.generation_metadata ->> '$.seed' as seed
    from image_scores s
    join generated_images i on i.id = s.image_id
    where s.prompt_id in (select hand_id from steered union all select parent_prompt_id from steered)
      and s.soft_tifa_gm is not null
)
select t.hand_id, steady_avg(child.soft_tifa_gm - parent.soft_tifa_gm) as change
from steered t
join seeded child
    on child.prompt_id = t.hand_id
    and child.vision_model = t.vision_model
    and child.judge_key = t.judge_key
join seeded parent
    on parent.prompt_id = t.parent_prompt_id
    and parent.vision_model = t.vision_model
    and parent.judge_key = t.judge_key
    and parent.seed = child.seed
group by all
"""

SEEN = f"""
with {STEERED}
select t.hand_id,
       list_sort(list_distinct(flatten(list(cast(e.model_output -> '$.detected_artifacts' as varchar[])))))
           as artifacts,
       list_sort(list_distinct(flatten(list(cast(e.adherence_analysis -> '$.unwanted_elements' as varchar[])))))
           as unwanted,
       steady_avg(cast(e.adherence_analysis ->> '$.style_deviation' as double)) as style_deviation
from steered t
join image_evaluations e
    on e.prompt_id = t.hand_id
    and e.vision_model = t.vision_model
    and e.judge_key = t.judge_key
where e.error is null
group by all
"""

Arm = tuple[str, str, str]  # scene_hash, experiment, model
Rows = Mapping[str, Mapping[str, Any]]  # by the id of a prompt


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


@dataclass(frozen=True)
class Gathered:
    """What was read for some prompts; `of` puts it together for one of them."""

    prompts: Rows
    families: Mapping[Arm, Rows]
    learnt: Mapping[Arm, Sequence[Mapping[str, Any]]]
    scores: Mapping[str, Rows]  # prompt in hand -> version -> row of VERSION_SCORES
    elements: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
    changes: Rows
    seen: Rows

    def of(self, prompt_id: str) -> InHand | ItemError:
        """Return what a decision about this prompt needs, or why none can be made about it."""
        prompt, scores = self.prompts[prompt_id], self.scores[prompt_id]
        learnings = self.learnt[_arm(prompt)]
        led_here = [row for row in learnings if row["actions"].get("child_prompt_id") == prompt_id]
        last_decision = led_here[-1]["actions"]["decision"] if led_here else None
        unready = _unready(prompt, scores, compared=last_decision != "confirm")
        if unready:
            return ItemError(unready)
        return InHand(
            prompt,
            self._situation(prompt, last_decision),
            artifacts=self.seen[prompt_id]["artifacts"] or [],
            style_deviation=self.seen[prompt_id]["style_deviation"],
            led_here=led_here[-1]["id"] if led_here else None,
            last_learning=learnings[-1]["id"] if learnings else None,
            best_image=max(scores.values(), key=lambda row: (row["best_score"], row["prompt_id"]))["best_image_id"],
        )

    def _situation(self, prompt: Mapping[str, Any], last_decision: str | None) -> Situation:
        prompt_id, family, learnings = prompt["id"], self.families[_arm(prompt)], self.learnt[_arm(prompt)]
        scores, elements = self.scores[prompt_id], self.elements[prompt_id]
        versions = {key: _version(row, scores[key], elements[key]) for key, row in family.items() if key in scores}
        return Situation(
            version=versions[prompt_id],
            parent=versions.get(prompt["parent_prompt_id"]),
            change=self.changes[prompt_id]["change"] if prompt_id in self.changes else None,
            elements=prompt["elements"],
            attempts=[
                Attempt(r["id"], r["parent_prompt_id"], r["prompt_text"], r["base_parameters"], r["images"])
                for r in family.values()
            ],
            pass_mark=prompt["pass_mark"],
            scene_text=prompt["scene_text"],
            history=list(versions.values()),
            unwanted=self.seen[prompt_id]["unwanted"] or (),
            minutes=max(row["minutes"] for row in family.values()),
            last_decision=last_decision,
            rounds=len(learnings),
            redraws=Counter(r["actions"]["base_prompt_id"] for r in learnings if r["actions"]["decision"] == "redraw"),
        )


def gather(store: Store, ids: Sequence[str]) -> Gathered:
    """Read what decisions about these prompts need."""

    def read(sql: str) -> list[dict[str, Any]]:
        return store.rows(sql, ids=list(ids))

    families: dict[Arm, dict[str, Any]] = defaultdict(dict)
    for row in read(RELATED):
        families[_arm(row)][row["id"]] = row
    learnt, scores = defaultdict(list), defaultdict(dict)
    for row in read(LEARNT):
        learnt[_arm(row)].append(row)
    for row in read(VERSION_SCORES):
        scores[row["hand_id"]][row["prompt_id"]] = row
    elements: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in read(ELEMENT_MEANS):
        elements[row["hand_id"]][row["prompt_id"]].append(row)
    changes = {row["hand_id"]: row for row in read(CHANGES)}
    seen = {row["hand_id"]: row for row in read(SEEN)}
    return Gathered({row["id"]: row for row in read(IN_HAND)}, families, learnt, scores, elements, changes, seen)


def _unready(prompt: Mapping[str, Any], scores: Rows, *, compared: bool) -> str | None:
    """Return why there is no deciding about a prompt: not one judge under one key gave all the scores."""
    again = "It can be refined when `evaluate` has scored all of them"
    if not prompt["drawn"]:
        return "it has no images. It can be refined when they are drawn and judged"
    if prompt["scored"] < prompt["drawn"] or prompt["current_score"] is None:
        unscored = prompt["drawn"] - prompt["scored"]
        return f"{unscored} of its {prompt['drawn']} images have no score by the judge that steers. {again}"
    if prompt["keys"] > 1 or prompt["id"] not in scores or scores[prompt["id"]]["images"] < prompt["drawn"]:
        return f"its {prompt['drawn']} images were not scored by one judge under one key. {again} with the same one"
    parent = prompt["parent_prompt_id"]
    if compared and parent is not None and parent not in scores:
        return (
            f"its parent {parent} has no verdict by {prompt['objective']} under the key that scored it, so there is "
            "nothing to compare it with. `forgekit evaluate --backfill` with that judge gives it one"
        )
    return None


def _version(row: Mapping[str, Any], scored: Mapping[str, Any], elements: Sequence[Mapping[str, Any]]) -> Version:
    return Version(
        row["id"],
        row["prompt_text"],
        row["base_parameters"],
        row["generation_iteration"],
        scored["score"],
        {element["element"]: element["mean"] for element in elements},
        {element["element"]: element["lowest"] for element in elements},
        scored["images"],
    )


def _arm(row: Mapping[str, Any]) -> Arm:
    return row["scene_hash"], row["experiment"], row["model"]
