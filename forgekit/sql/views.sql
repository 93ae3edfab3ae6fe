-- What follows from the evidence. Views hold no data: a new metric re-scores old images for free.

-- One row per (image, vision model, judge key, scene element) that has a score.
create or replace view element_scores as
select
    e.id as evaluation_id,
    e.image_id,
    e.prompt_id,
    e.scene_hash,
    e.vision_model,
    e.judge_key,
    entry.key as element,
    split_part(entry.key, ':', 1) as kind,
    cast(entry.value as double) as score,
    e.created_at
from image_evaluations e, json_each(e.element_scores) entry
where e.element_scores is not null;

-- Soft-TIFA (GenEval 2): arithmetic mean over elements, and geometric mean, which one missing element sinks.
-- A score is null unless every element of the scene has one.
create or replace view image_scores as
select
    s.evaluation_id,
    s.image_id,
    s.prompt_id,
    s.scene_hash,
    s.vision_model,
    s.judge_key,
    count(*) as elements,
    case when count(s.score) = count(*) then avg(s.score) end as soft_tifa_am,
    case when count(s.score) = count(*) then exp(avg(ln(greatest(s.score, 1e-6)))) end as soft_tifa_gm
from element_scores s
group by all;

-- One row per (prompt version, vision model, judge key).
create or replace view prompt_scores as
select
    p.experiment,
    p.scene_hash,
    p.id as prompt_id,
    p.parent_prompt_id,
    p.model,
    p.generation_iteration,
    p.status,
    s.vision_model,
    s.judge_key,
    count(s.soft_tifa_gm) as images,
    avg(s.soft_tifa_gm) as mean_score,
    min(s.soft_tifa_gm) as min_score,
    max(s.soft_tifa_gm) as max_score,
    stddev_samp(s.soft_tifa_gm) as std_score,
    avg(s.soft_tifa_am) as mean_am
from prompts p
join image_scores s on s.prompt_id = p.id
group by all;

-- One row per refinement that changed something and whose effect is known or pending.
create or replace view learning_chain as
select
    p.experiment,
    p.scene_hash,
    p.model,
    p.generation_iteration,
    l.id as learning_id,
    l.parent_learning_id,
    l.prompt_id,
    l.status,
    l.actions ->> '$.decision' as decision,
    l.actions ->> '$.action' as action,
    l.actions ->> '$.element' as element,
    l.actions ->> '$.term' as term,
    l.created_at
from prompt_learnings l
join prompts p on p.id = l.prompt_id;
