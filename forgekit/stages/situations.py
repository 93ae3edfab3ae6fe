"""What the refiner knows of the prompts it has in hand, read from the store in few queries."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from forgekit.refiner.case import Situation, Version
from forgekit.store import Store

# The decisions about the scene of a prompt `p` in its arm, the first one first.
DECISIONS = """
select list(l.id order by l.created_at, l.id)
from prompt_learnings l
join prompts q on q.id = l.prompt_id
where q.scene_hash = p.scene_hash
  and q.experiment = p.experiment
  and q.model = p.model
"""

# The prompts in hand with the judge that steers them: the one that gave their images' scores, under the key that it gave
# them under. All that is read of verdicts below is of this judge and key, for the other versions of the scene too.
STEERED = """
steered as (
    select
        p.*,
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

# `change`: how a prompt compares with its parent, image by image on the seeds that both were drawn with. A judge whose
# mark is not stored says "there" from 0.5 on.
IN_HAND = f"""
with {STEERED},
seeded as (
    select s.*, i.generation_metadata ->> '$.seed' as seed
    from image_scores s
    join generated_images i on i.id = s.image_id
    where s.prompt_id in (select id from steered union all select parent_prompt_id from steered)
),
changes as (
    select t.id, steady_avg(child.soft_tifa_gm - parent.soft_tifa_gm) as change
    from steered t
    join seeded child using (vision_model, judge_key)
    join seeded parent using (vision_model, judge_key, seed)
    where child.prompt_id = t.id
      and parent.prompt_id = t.parent_prompt_id
    group by all
),
seen as (
    select
        t.id,
        list_sort(list_distinct(flatten(list(cast(e.model_output -> '$.detected_artifacts' as varchar[])))))
            as artifacts,
        list_sort(list_distinct(flatten(list(cast(e.adherence_analysis -> '$.unwanted_elements' as varchar[])))))
            as unwanted,
        steady_avg(cast(e.adherence_analysis ->> '$.style_deviation' as double)) as style_deviation
    from steered t
    join image_evaluations e using (vision_model, judge_key)
    where e.prompt_id = t.id
      and e.error is null
    group by all
)
select
    t.*,
    s.elements,
    s.scene_text,
    coalesce(m.pass_mark, 0.5) as pass_mark,
    changes.change,
    seen.* exclude (id)
from steered t
join scenes s using (scene_hash)
left join pass_marks m using (vision_model, judge_key)
left join changes using (id)
left join seen using (id)
"""

# All versions of the scene in the arm of each prompt in hand, itself among them, with what its judge says of each.
VERSIONS = f"""
with {STEERED},
versions as (
    select t.id as hand_id, t.vision_model, t.judge_key, r.*
    from steered t
    join prompts r using (scene_hash, experiment, model)
),
scores as (
    select
        v.hand_id,
        v.id,
        count(*) as scored,
        steady_avg(s.soft_tifa_gm) as score,
        max(s.soft_tifa_gm) as best_score,
        arg_max(s.image_id, (s.soft_tifa_gm, s.image_id)) as best_image_id
    from versions v
    join image_scores s on s.prompt_id = v.id and s.vision_model = v.vision_model and s.judge_key = v.judge_key
    where s.soft_tifa_gm is not null
    group by all
),
means as (
    select v.hand_id, v.id, e.element, steady_avg(e.score) as mean, min(e.score) as lowest
    from versions v
    join element_scores e on e.prompt_id = v.id and e.vision_model = v.vision_model and e.judge_key = v.judge_key
    where e.score is not null
      and e.prompt_id in (select id from versions)  -- else the documents of all versions of the store are read
    group by all
),
elements as (
    select
        hand_id,
        id,
        map_from_entries(list((element, mean))) as means,
        map_from_entries(list((element, lowest))) as lowest
    from means
    group by all
)
select
    v.*,
    scores.* exclude (hand_id, id),
    elements.* exclude (hand_id, id),
    (select count(*) from generated_images i where i.prompt_id = v.id) as images,
    (
        select list_distinct(flatten(list(json_keys(i.generation_metadata, '$.parameters_not_applied'))))
        from generated_images i
        where i.prompt_id = v.id
    ) as not_applied,
    epoch(now() at time zone 'utc' - v.created_at) / 60 as minutes
from versions v
left join scores using (hand_id, id)
left join elements using (hand_id, id)
order by v.generation_iteration, v.id
"""

LEARNT = """
select h.id as hand_id, l.id, l.actions
from prompts h
join prompts p on (p.scene_hash, p.experiment, p.model) = (h.scene_hash, h.experiment, h.model)
join prompt_learnings l on l.prompt_id = p.id
where h.id in (select unnest($ids::uuid[]))
order by p.generation_iteration, l.created_at, l.id
"""

# What the judge of each prompt in hand said of the pictures of each version. It is in long documents, so only those who
# can read ask for it.
SAID = f"""
with {STEERED}
select
    t.id as hand_id,
    r.id,
    list(e.model_output ->> '$.description' order by e.id) as seen,
    list(e.model_output -> '$.reasons' order by e.id) as reasons
from steered t
join prompts r using (scene_hash, experiment, model)
join image_evaluations e using (vision_model, judge_key)
where e.prompt_id = r.id
  and e.error is null
group by all
"""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class InHand:
    """A prompt to decide about: its row, with what IN_HAND adds, the versions of its scene in its arm, their learnings."""

    prompt: Row
    versions: list[Row] = field(default_factory=list)
    learnings: list[Row] = field(default_factory=list)
    said: dict[str, Row] = field(default_factory=dict)  # of each version's pictures, by its id

    @property
    def led_here(self) -> Row | None:
        """The learning whose rewrite the prompt is, if any."""
        return next(
            (r for r in reversed(self.learnings) if r["actions"].get("child_prompt_id") == self.prompt["id"]), None
        )

    @property
    def last_learning(self) -> str | None:
        """The id of the last one of the scene in this arm."""
        return self.learnings[-1]["id"] if self.learnings else None

    @property
    def judged(self) -> dict[str, Row]:
        """The versions that the prompt's judge gave a score, by id."""
        return {row["id"]: row for row in self.versions if row["scored"]}

    @property
    def best_image(self) -> str:
        """The id of the best image of all versions."""
        return max(self.judged.values(), key=lambda row: (row["best_score"], row["id"]))["best_image_id"]

    @cached_property
    def situation(self) -> Situation:
        """What a decision is made on, apart from any storage."""
        prompt, actions = self.prompt, [row["actions"] for row in self.learnings]
        versions = {row["id"]: _version(row, self.said.get(row["id"])) for row in self.versions}
        return Situation(
            version=versions[prompt["id"]],
            versions=list(versions.values()),
            change=prompt["change"],
            wanted=prompt["elements"],
            pass_mark=prompt["pass_mark"],
            scene_text=prompt["scene_text"],
            unwanted=prompt["unwanted"] or (),
            minutes=max(row["minutes"] for row in self.versions),
            last_decision=self.led_here["actions"]["decision"] if self.led_here else None,
            redraws=Counter(each["base_prompt_id"] for each in actions if each["decision"] == "redraw"),
            rounds=len(actions),
            refused=[(text, reasons) for each in actions for text, reasons in each.get("refused", ())],
        )

    def unready(self) -> str | None:
        """Return why there is no deciding about the prompt: not one judge under one key gave all the scores."""
        prompt, judged = self.prompt, self.judged
        again = "It can be refined when `evaluate` has scored all of them"
        if not prompt["drawn"]:
            return "it has no images. It can be refined when they are drawn and judged"
        if prompt["scored"] < prompt["drawn"] or prompt["current_score"] is None:
            unscored = prompt["drawn"] - prompt["scored"]
            return f"{unscored} of its {prompt['drawn']} images have no score by the judge that steers. {again}"
        if prompt["keys"] > 1 or prompt["id"] not in judged or judged[prompt["id"]]["scored"] < prompt["drawn"]:
            return f"its {prompt['drawn']} images were not scored by one judge under one key. {again} with the same one"
        parent, compared = prompt["parent_prompt_id"], self.situation.last_decision != "confirm"
        if compared and parent is not None and parent not in judged:
            return (
                f"its parent {parent} has no verdict by {prompt['vision_model']} under the key that scored it, so there "
                "is nothing to compare it with. `forgekit evaluate --backfill` with that judge gives it one"
            )
        return None


def gather(store: Store, ids: Sequence[str], *, said: bool = False) -> dict[str, InHand]:
    """Read what decisions about these prompts need, by their ids; with `said`, what the judge said of the pictures."""
    with store.held_still():  # what is known of them at one moment, by one opening of the file
        found = {row["id"]: InHand(row) for row in store.rows(IN_HAND, ids=list(ids))}
        for row in store.rows(VERSIONS, ids=list(ids)):
            found[row["hand_id"]].versions.append(row)
        for row in store.rows(LEARNT, ids=list(ids)):
            found[row["hand_id"]].learnings.append(row)
        for row in store.rows(SAID, ids=list(ids)) if said else ():
            found[row["hand_id"]].said[row["id"]] = row
    return found


def _version(row: Row, said: Row | None) -> Version:
    left_out = row["not_applied"] or ()  # an action on a parameter that was left out would be refused
    return Version(
        row["id"],
        row["parent_prompt_id"],
        row["prompt_text"],
        {name: value for name, value in row["base_parameters"].items() if name not in left_out},
        row["images"],
        row["score"],
        row["means"] or {},
        row["lowest"] or {},
        [seen for seen in dict.fromkeys(said["seen"]) if seen] if said else (),
        _by_element(said["reasons"]) if said else {},
    )


def _by_element(reasons: Sequence[Any]) -> dict[str, list[str]]:
    """Return each element's reasons, each once, from the documents of some verdicts."""
    found: dict[str, list[str]] = {}
    for document in reasons:
        for element, reason in (json.loads(document) if document else {}).items():
            if reason not in found.setdefault(element, []):
                found[element].append(reason)
    return found
