-- What follows from the evidence. Views hold no data: a new metric re-scores old images for free.

-- Threads add in any order, so the last bits of a mean differ from call to call; what the MLflow mirror compares and what
-- a stage decides by must not, and equal scores must have equal means: a rank test takes 1e-17 for a change. Twelve
-- digits are more than any judge knows.
create or replace macro steady_avg(x) as round(avg(x), 12);
create or replace macro steady_std(x) as round(stddev_samp(x), 12);

-- One row per (image, vision model, judge key, scene element); the score is null where the judge failed to say.
create or replace view element_scores as
select *, split_part(element, ':', 1) as kind
from (
    select
        id as evaluation_id,
        image_id,
        prompt_id,
        scene_hash,
        vision_model,
        judge_key,
        unnest(json_keys(element_scores)) as element,
        unnest(cast(element_scores -> '$.*' as double[])) as score,
        created_at
    from image_evaluations
    where element_scores is not null
);

-- One row per (image, vision model, judge key) with a verdict: Soft-TIFA (GenEval 2) as arithmetic mean over elements,
-- and as geometric mean, which one missing element sinks. Null unless every element that the judge can see has a score.
-- What this says is kept in two columns of the table as well; documents are read only where those are null.
create or replace view image_scores as
select
    id as evaluation_id,
    image_id,
    prompt_id,
    scene_hash,
    vision_model,
    judge_key,
    len(json_keys(element_scores)) as elements,
    soft_tifa_am,
    soft_tifa_gm,
    created_at
from image_evaluations
where soft_tifa_gm is not null
union all
select
    id as evaluation_id,
    image_id,
    prompt_id,
    scene_hash,
    vision_model,
    judge_key,
    len(json_keys(element_scores)) as elements,
    case when not list_contains(json_type(element_scores, '$.*'), 'NULL')
        then list_avg(cast(element_scores -> '$.*' as double[])) end as soft_tifa_am,
    case when not list_contains(json_type(element_scores, '$.*'), 'NULL')
        then exp(list_avg([ln(greatest(p, 0.02)) for p in cast(element_scores -> '$.*' as double[])])) end as soft_tifa_gm,
    created_at
from image_evaluations
where soft_tifa_gm is null
  and element_scores is not null;

-- One row per (prompt version, vision model, judge key).
create or replace view prompt_scores as
with scored as (
    select
        prompt_id,
        vision_model,
        judge_key,
        count(soft_tifa_gm) as images,
        steady_avg(soft_tifa_gm) as mean_score,
        min(soft_tifa_gm) as min_score,
        max(soft_tifa_gm) as max_score,
        steady_std(soft_tifa_gm) as std_score,
        steady_avg(soft_tifa_am) as mean_am,
        max(created_at) as judged_at
    from image_scores
    group by all
)
select
    p.experiment,
    p.scene_hash,
    p.id as prompt_id,
    p.parent_prompt_id,
    p.model,
    p.generation_iteration,
    p.status,
    s.* exclude (prompt_id)
from scored s
join prompts p on p.id = s.prompt_id;

-- The settings that count of each vision model: those of the last verdict it gave in the experiment. Verdicts under older
-- settings stay in the record, and are no evidence any more; attempts that gave no verdict make nothing current.
create or replace view current_judges as
select experiment, vision_model, arg_max(judge_key, {'last': last, 'key': judge_key}) as judge_key
from (
    select p.experiment, e.vision_model, e.judge_key, max(e.last) as last
    from (
        select prompt_id, vision_model, judge_key, max(created_at) as last
        from image_evaluations
        where error is null
        group by all
    ) e
    join prompts p on p.id = e.prompt_id
    group by all
)
group by all;

-- From which probability on each of them says "there": below, an element is missing from an image.
create or replace view judge_marks as
select j.*, coalesce(m.pass_mark, 0.5) as pass_mark
from current_judges j
left join pass_marks m using (vision_model, judge_key);

create or replace view current_scores as
select s.*
from prompt_scores s
join current_judges using (experiment, vision_model, judge_key);

-- The vision model whose score the prompts of an experiment carry; the others only watch.
create or replace view steering_judges as
with latest as (
    select experiment, arg_max(best_image_id, last_updated) as image_id
    from prompts
    where best_image_id is not null
    group by experiment
)
select l.experiment, i.evaluation_details ->> '$.vision_model' as vision_model
from latest l
join generated_images i on i.id = l.image_id;

-- Versions that draw the chosen text once more, on seeds that had no part in choosing it. They never compete.
create or replace view confirming_versions as
select distinct cast(actions ->> '$.child_prompt_id' as uuid) as prompt_id
from prompt_learnings
where actions ->> '$.decision' = 'confirm'
  and actions ->> '$.child_prompt_id' is not null;

-- The images that versions compete by, in two halves by their place among the images of their drawing. The seed follows
-- from that place, so the halves of all versions of a scene are drawn on the same seeds.
create or replace view competing_images as
select p.experiment, p.model, p.scene_hash, i.prompt_id, p.generation_iteration,
    i.id as image_id, i.round, i.image_index % 2 as half, i.adherence_score
from generated_images i
join prompts p on p.id = i.prompt_id
where i.round is not null
  and i.prompt_id not in (from confirming_versions);

-- Which version stands for a scene after each round that drew it, by what the steering judge says of the images until
-- then (the earlier one of equals). Where half is null it has the best mean over all its images: a maximum, which takes
-- luck for merit. Else it has the best mean over the other half, and only its images of this half may tell how good it
-- is: none of them had a part in choosing it. A version with images in one half only cannot be chosen so.
create or replace view standing_versions as
with drawn as (
    select
        * exclude (image_id, adherence_score),
        count(adherence_score) as n,
        sum(adherence_score) as total
    from competing_images
    group by all
),
standings as (
    select
        experiment,
        model,
        scene_hash,
        m.round,
        d.prompt_id,
        d.generation_iteration,
        round(sum(d.total) / sum(d.n), 12) as mean,
        round(sum(d.total) filter (d.half = 0) / sum(d.n) filter (d.half = 0), 12) as even,
        round(sum(d.total) filter (d.half = 1) / sum(d.n) filter (d.half = 1), 12) as odd
    from (select distinct experiment, model, scene_hash, round from drawn) m
    join drawn d using (experiment, model, scene_hash)
    where d.round <= m.round
      and d.n > 0
    group by all
),
choices as (
    select *, null as half, mean as merit from standings
    union all
    select *, 0 as half, odd as merit from standings where even is not null
    union all
    select *, 1 as half, even as merit from standings where odd is not null
)
select
    experiment,
    model,
    scene_hash,
    round,
    half,
    arg_max(prompt_id, {'merit': merit, 'earlier': -generation_iteration, 'id': prompt_id}) as prompt_id
from choices
where merit is not null
group by all;

-- Every scene at every round of its arm, with the last round that drew it: finished scenes are carried forward.
create or replace view scene_rounds as
with drawn as (
    select distinct experiment, model, scene_hash, round from competing_images
),
rounds as (
    select experiment, model, unnest(range(max(round) + 1)) as round from drawn group by experiment, model
)
select s.experiment, s.model, s.scene_hash, r.round, max(s.round) as drawn_round
from rounds r
join drawn s using (experiment, model)
where s.round <= r.round
group by all;

-- How a version compares with its parent, image by image on the seeds that both were drawn with, by the settings of each
-- judge that count.
create or replace view version_changes as
with seeded_scores as (
    select s.*, i.generation_metadata ->> '$.seed' as seed
    from image_scores s
    join generated_images i on i.id = s.image_id
)
select
    p.experiment,
    p.model,
    p.scene_hash,
    p.id as prompt_id,
    p.parent_prompt_id,
    child.vision_model,
    child.judge_key,
    count(*) as pairs,
    steady_avg(parent.soft_tifa_gm) as score_before,
    steady_avg(child.soft_tifa_gm) as score_after,
    steady_avg(child.soft_tifa_gm - parent.soft_tifa_gm) as change
from prompts p
join seeded_scores child on child.prompt_id = p.id
join seeded_scores parent
    on parent.prompt_id = p.parent_prompt_id
    and parent.seed = child.seed
    and parent.vision_model = child.vision_model
    and parent.judge_key = child.judge_key
join current_judges j
    on j.experiment = p.experiment
    and j.vision_model = child.vision_model
    and j.judge_key = child.judge_key
where child.soft_tifa_gm is not null
  and parent.soft_tifa_gm is not null
group by all;

-- What the refiner decided for each prompt version, and for a rewrite what became of it by each vision model.
create or replace view learning_effects as
select
    p.experiment,
    p.model,
    p.scene_hash,
    p.generation_iteration,
    l.id as learning_id,
    l.prompt_id,
    l.status,
    l.actions ->> '$.decision' as decision,
    l.actions ->> '$.action' as action,
    l.actions ->> '$.element' as element,
    l.actions ->> '$.kind' as kind,
    l.actions ->> '$.term' as term,
    l.actions ->> '$.detail' as detail,
    l.actions ->> '$.objective' as objective,
    c.vision_model,
    c.vision_model = l.actions ->> '$.objective' as is_objective,
    c.judge_key,
    c.pairs,
    c.change,
    l.created_at
from prompt_learnings l
join prompts p on p.id = l.prompt_id
left join version_changes c on c.prompt_id = cast(l.actions ->> '$.child_prompt_id' as uuid);

-- Evidence per (generator, element kind, action, what it did), and, where detail is null, summed up over what it did:
-- tried, helped, hurt, mean change by both kinds of judge. Of one experiment, or of all of them where `arm` is null.
create or replace macro evidence_in(arm) as table
select
    model,
    kind,
    action,
    detail,
    count(distinct learning_id) filter (is_objective) as tried,
    count(*) filter (is_objective and change > 0.02) as helped,
    count(*) filter (is_objective and change < -0.02) as hurt,
    count(distinct scene_hash) filter (is_objective) as scenes,
    avg(change) filter (is_objective) as objective_change,
    stddev_samp(change) filter (is_objective) as objective_std,
    avg(change) filter (not is_objective) as heldout_change,
    count(change) filter (not is_objective) as heldout_tried
from learning_effects
where action is not null
  and change is not null
  and (arm is null or experiment = arm)
group by grouping sets ((model, kind, action, detail), (model, kind, action));

drop view if exists action_evidence;
drop view if exists counted_versions;
