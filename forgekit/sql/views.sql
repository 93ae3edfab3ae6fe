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

-- The same, only under the settings with which the vision model judged last in the experiment: verdicts under older
-- settings stay in the record, and do not mix with new ones.
create or replace view current_scores as
select *
from prompt_scores
qualify judge_key = arg_max(judge_key, judged_at) over (partition by experiment, vision_model);

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

-- Which version of each scene counts at each iteration: the best one so far by the steering judge (the earlier one of
-- equals). A scene that is finished, or still in work, is carried forward to the last iteration of its experiment.
create or replace view counted_versions as
with scored as (
    select experiment, model, scene_hash, generation_iteration as iteration, id as prompt_id, current_score
    from prompts
    where current_score is not null
),
best as (
    select
        experiment,
        model,
        scene_hash,
        iteration,
        arg_max(prompt_id, {'score': current_score, 'earlier': -iteration, 'id': prompt_id}) over (
            partition by experiment, model, scene_hash
            order by iteration
        ) as prompt_id
    from scored
),
iterations as (
    select experiment, model, unnest(range(last + 1)) as iteration
    from (select experiment, model, max(iteration) as last from scored group by all)
),
grid as (
    select i.experiment, i.model, i.iteration, s.scene_hash
    from iterations i
    join (select distinct experiment, model, scene_hash from scored) s using (experiment, model)
)
select g.experiment, g.model, g.scene_hash, g.iteration, any_value(b.prompt_id) as prompt_id
from grid g
asof join best b
    on g.experiment = b.experiment
    and g.model = b.model
    and g.scene_hash = b.scene_hash
    and g.iteration >= b.iteration
group by all;

-- How a version compares with its parent, image by image on the seeds that both were drawn with.
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

create or replace view action_evidence as
select *
from evidence_in(null)
where detail is not null;

-- Under which settings a vision model judged last in an experiment: only verdicts under this key are evidence.
create or replace view current_judges as
select p.experiment, e.vision_model, arg_max(e.judge_key, {'at': e.created_at, 'key': e.judge_key}) as judge_key
from image_evaluations e
join prompts p on p.id = e.prompt_id
where e.error is null
group by all;
