-- What a change of the prompt did, and what was learnt from it.

-- How each version compares with its parent, or, `against` 'first', with the first version of its scene: image by image on the
-- seeds that both were drawn with, by the settings of each judge that count. A version stands at the round that drew it first.
create or replace macro version_changes_in(arm, judge, against) as table
with versions as (
    select
        id as prompt_id,
        case against when 'parent' then parent_prompt_id else first_value(id) over (
            partition by experiment, model, scene_hash
            order by generation_iteration, created_at, id
        ) end as baseline_id
    from prompts
),
images as (
    select s.*, i.round, i.generation_metadata ->> '$.seed' as seed
    from scores_in(arm, judge) s
    join generated_images i on i.id = s.image_id
),
children as materialized ( -- or the planner may join all images of a seed with each other first
    select i.*, v.baseline_id
    from versions v
    join images i using (prompt_id)
    where v.baseline_id <> v.prompt_id
)
select
    new.experiment, new.model, new.scene_hash, new.prompt_id, new.baseline_id, new.vision_model, new.judge_key, new.steers,
    min(new.round) as round,
    count(*) as pairs,
    avg(new.score - old.score) as change
from children new
join images old
    on old.prompt_id = new.baseline_id
    and old.seed = new.seed
    and old.vision_model = new.vision_model
    and old.judge_key = new.judge_key
group by all;

create or replace view version_changes as
select * replace (round(change, 12) as change) rename (baseline_id as parent_prompt_id)
from version_changes_in(null, null, 'parent');

-- What the refiner decided for each prompt version, and for a rewrite what became of it by each vision model.
create or replace view learning_effects as
select
    p.experiment, p.model, p.scene_hash, p.generation_iteration,
    l.id as learning_id,
    l.prompt_id, l.status,
    l.actions ->> '$.decision' as decision,
    l.actions ->> '$.reason' as reason,
    l.actions ->> '$.action' as action,
    l.actions ->> '$.element' as element,
    l.actions ->> '$.kind' as kind,
    l.actions ->> '$.term' as term,
    l.actions ->> '$.detail' as detail,
    l.actions ->> '$.objective' as objective,
    c.vision_model,
    c.vision_model = l.actions ->> '$.objective' as is_objective,
    c.judge_key, c.pairs, c.change, l.created_at
from prompt_learnings l
join prompts p on p.id = l.prompt_id
left join version_changes c on c.prompt_id = cast(l.actions ->> '$.child_prompt_id' as uuid);

-- Evidence per (generator, element kind, action, what it did), and, where detail is null, summed up over what it did:
-- tried, helped, hurt, the single changes by the judge that steers and their scenes, mean change by both kinds of judge. Of one experiment, or of all of them where `arm` is null.
create or replace macro evidence_in(arm) as table
select
    model, kind, action, detail,
    count(distinct learning_id) filter (is_objective) as tried,
    count(*) filter (is_objective and change > 0.02) as helped,
    count(*) filter (is_objective and change < -0.02) as hurt,
    count(distinct scene_hash) filter (is_objective) as scenes,
    list(change) filter (is_objective) as changes,
    list(scene_hash) filter (is_objective) as their_scenes,
    avg(change) filter (is_objective) as objective_change,
    stddev_samp(change) filter (is_objective) as objective_std,
    avg(change) filter (not is_objective) as heldout_change,
    count(change) filter (not is_objective) as heldout_tried
from learning_effects
where action is not null
  and change is not null
  and (arm is null or experiment = arm)
group by grouping sets ((model, kind, action, detail), (model, kind, action));
