-- What a change of the prompt did, and what was learnt from it.

-- How a version compares with its parent, image by image on the seeds that both were drawn with, by the settings of each
-- judge that count.
create or replace view version_changes as
with seeded_scores as (
    select s.*, i.generation_metadata ->> '$.seed' as seed
    from scores_in(null, null) s
    join generated_images i on i.id = s.image_id
)
select
    child.experiment, child.model, child.scene_hash, child.prompt_id, p.parent_prompt_id, child.vision_model,
    child.judge_key,
    count(*) as pairs,
    steady_avg(child.score - parent.score) as change
from prompts p
join seeded_scores child on child.prompt_id = p.id
join seeded_scores parent
    on parent.prompt_id = p.parent_prompt_id
    and parent.seed = child.seed
    and parent.vision_model = child.vision_model
    and parent.judge_key = child.judge_key
group by all;

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
-- tried, helped, hurt, mean change by both kinds of judge. Of one experiment, or of all of them where `arm` is null.
create or replace macro evidence_in(arm) as table
select
    model, kind, action, detail,
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
