-- What judges say: scores of elements, images and versions. Views hold no data: a new metric re-scores old images for free.

-- Threads add in any order, so the last bits of a mean differ from call to call; what the MLflow mirror compares and what
-- a stage decides by must not, and equal scores must have equal means: a rank test takes 1e-17 for a change. Twelve
-- digits are more than any judge knows.
create or replace macro steady_avg(x) as round(avg(x), 12);
create or replace macro steady_std(x) as round(stddev_samp(x), 12);

-- One row per (image, vision model, judge key, scene element); the score is null where the judge failed to say, or could
-- not be asked: a part of a thing that is not there.
create or replace view element_scores as
select *, split_part(element, ':', 1) as kind
from (
    select
        id as evaluation_id,
        image_id, prompt_id, scene_hash, vision_model, judge_key,
        unnest(json_keys(element_scores)) as element,
        unnest(try_cast(element_scores -> '$.*' as double[])) as score,
        created_at
    from image_evaluations
    where element_scores is not null
);

-- One row per (image, vision model, judge key) with a verdict: Soft-TIFA (GenEval 2) as arithmetic mean over elements,
-- and as geometric mean, which one missing element sinks. Null unless every element that the judge can see has a score;
-- what it could not be asked counts as absent, as in DSG. Of a scene that nobody understood, which has no elements, both
-- are what the judge says of the whole text.
-- This is by the documents; a document that is none gives null.
create or replace view verdict_scores as
select
    id as evaluation_id,
    image_id, prompt_id, scene_hash, vision_model, judge_key,
    len(json_keys(element_scores)) as elements,
    coalesce(whole_text, case when nulls = unasked
        then list_avg([coalesce(p, 0) for p in scores]) end) as soft_tifa_am,
    coalesce(whole_text, case when nulls = unasked
        then exp(list_avg([ln(greatest(p, 0.02)) for p in scores])) end) as soft_tifa_gm,
    created_at,
    kept_am, kept_gm
from (
    select
        * exclude (soft_tifa_am, soft_tifa_gm),
        soft_tifa_am as kept_am,
        soft_tifa_gm as kept_gm,
        try_cast(element_scores -> '$.*' as double[]) as scores,
        len([p for p in scores if p is null]) as nulls,
        coalesce(len(json_keys(model_output, '$.not_askable')), 0) as unasked,
        case when scene_hash in (select scene_hash from scenes where read_by ->> '$.reader' = 'nobody')
            then try_cast(adherence_analysis ->> '$.text_match_score' as double) end as whole_text
    from image_evaluations
    where element_scores is not null
);

-- The same from the two columns that they are kept in as well; documents are read only where those are null.
create or replace view image_scores as
select
    id as evaluation_id,
    image_id, prompt_id, scene_hash, vision_model, judge_key,
    len(json_keys(element_scores)) as elements,
    soft_tifa_am, soft_tifa_gm, created_at
from image_evaluations
where soft_tifa_gm is not null
union all
select * exclude (kept_am, kept_gm)
from verdict_scores
where kept_gm is null;

-- One row per (prompt version, vision model, judge key).
create or replace view prompt_scores as
with scored as (
    select
        prompt_id, vision_model, judge_key,
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
    p.experiment, p.scene_hash,
    p.id as prompt_id,
    p.parent_prompt_id, p.model, p.generation_iteration, p.status,
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

-- What counts of each judge in an experiment: its settings, from which probability on it says "there" (below, an element is
-- missing from an image), and whether it steers.
create or replace view judge_marks as
select j.*, coalesce(m.pass_mark, 0.5) as pass_mark, coalesce(s.vision_model = j.vision_model, false) as steers
from current_judges j
left join pass_marks m using (vision_model, judge_key)
left join steering_judges s on s.experiment = j.experiment;

create or replace view current_scores as
select s.*
from prompt_scores s
join current_judges using (experiment, vision_model, judge_key);

-- The judges, and what they say of each image, in one experiment and by one judge; of all where `arm` or `judge` is null.
create or replace macro judges_in(arm, judge) as table
select *
from judge_marks
where (arm is null or experiment = arm)
  and (judge is null or vision_model = judge);

create or replace macro scores_in(arm, judge) as table
select
    p.experiment, p.model, s.scene_hash, s.prompt_id, s.image_id, s.evaluation_id, s.vision_model,
    s.judge_key,
    s.soft_tifa_gm as score,
    j.pass_mark, j.steers
from image_scores s
join prompts p on p.id = s.prompt_id
join judges_in(arm, judge) j using (experiment, vision_model, judge_key)
where s.soft_tifa_gm is not null;
