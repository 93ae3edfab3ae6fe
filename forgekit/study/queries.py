"""What a store holds of a study: confirmed scores, curves, what was spent and what is missing, as SQL.

Every query takes `$prefix`, what the experiments of the study's arms begin with. The scores of a judge are those under
its current key.
"""

from __future__ import annotations

ARM = "experiment[length($prefix) + 1:] as arm"

# The chosen text on seeds that had no part in choosing it. A scene counts for an arm, by a judge, when all its
# confirming images have that judge's score.
CONFIRMED = f"""
select {ARM}, scene_hash, vision_model, steady_avg(mean_score) as score
from current_scores
where starts_with(experiment, $prefix)
  and prompt_id in (from confirming_versions)
group by all
having sum(images) >= $images
order by all
"""

CONFIRMED_KINDS = f"""
with scenes_kinds as (
    select p.{ARM}, p.scene_hash, s.vision_model, s.kind, steady_avg(s.score) as score
    from element_scores s
    join prompts p on p.id = s.prompt_id
    join current_judges using (experiment, vision_model, judge_key)
    where starts_with(p.experiment, $prefix)
      and s.prompt_id in (from confirming_versions)
      and s.score is not null
    group by all
)
select arm, vision_model, kind, count(*) as scenes, steady_avg(score) as score
from scenes_kinds
group by all
order by all
"""

# The first drawing of the first version of the arm that rewrites nothing: the same texts on other seeds than those that
# confirm it.
FIRST = """
select s.scene_hash, s.vision_model, steady_avg(s.score) as score
from scores_in($prefix || 'resample', null) s
join prompts p on p.id = s.prompt_id
join generated_images i on i.id = s.image_id
where p.generation_iteration = 0
  and i.round = 0
group by all
order by all
"""

# After n images of a scene, confirming ones left out: the best of them by the steering judge, as each judge sees it.
CURVES = f"""
with images as (
    select
        p.experiment, p.scene_hash, c.image_id, c.adherence_score,
        row_number() over (partition by p.experiment, p.scene_hash order by i.created_at, i.id) as n
    from competing_images c
    join generated_images i on i.id = c.image_id
    join prompts p on p.id = c.prompt_id
    where starts_with(p.experiment, $prefix)
      and c.adherence_score is not null
),
best as (
    select i.experiment, s.n, arg_max(i.image_id, (i.adherence_score, i.image_id)) as image_id
    from (select unnest(range(1, $budget + 1)) as n) s
    join images i on i.n <= s.n
    group by i.experiment, i.scene_hash, s.n
)
select b.{ARM}, s.vision_model, b.n as images, count(s.soft_tifa_gm) as scenes, steady_avg(s.soft_tifa_gm) as score
from best b
join image_scores s on s.image_id = b.image_id
join current_judges j on j.experiment = b.experiment and j.vision_model = s.vision_model and j.judge_key = s.judge_key
group by all
order by all
"""

# Each drawing of a version makes $images of them. Where a generator fails, some are missing.
ARMS = f"""
with versions as (
    select
        p.experiment, p.scene_hash,
        p.id in (from confirming_versions) as confirms,
        (select count(*) from generated_images where prompt_id = p.id) as images,
        (
            select count(*)
            from prompt_learnings
            where actions ->> '$.decision' = 'redraw'
              and cast(actions ->> '$.base_prompt_id' as uuid) = p.id
        ) as redraws
    from prompts p
    where starts_with(p.experiment, $prefix)
)
select
    {ARM},
    count(distinct scene_hash) filter (images > 0) as scenes,
    coalesce(sum(images) filter (not confirms), 0) as images,
    coalesce(sum(images) filter (confirms), 0) as confirming_images,
    sum(greatest(0, $images * (1 + redraws) - images)) as missing_images
from versions
group by all
"""

COST = """
select
    count(*) as images,
    count(distinct i.generation_metadata ->> '$.draw_key') as drawn,
    (select sum(duration_ms) / 1000 from api_logs where stage = 'generate' and request ->> '$.call' is null) as drawing_s,
    (select sum(duration_ms) / 1000 from api_logs where stage = 'evaluate' and request ->> '$.call' is null) as judging_s
from generated_images i
join prompts p on p.id = i.prompt_id
where starts_with(p.experiment, $prefix)
"""

# The texts of later versions, each of a scene once, and how many versions have it.
PROMPTS = """
select p.prompt_text, any_value(s.scene_text) as scene_text, count(*) as versions
from prompts p
join scenes s on s.scene_hash = p.scene_hash
where starts_with(p.experiment, $prefix) and p.generation_iteration > 0
group by p.scene_hash, p.prompt_text
"""

SCENES = """
select p.scene_hash, s.source ->> '$.category' as category, min(p.created_at) as taken_up
from prompts p
join scenes s on s.scene_hash = p.scene_hash
where starts_with(p.experiment, $prefix)
group by all
order by taken_up, cast(min(coalesce(cast(s.source ->> '$.row' as integer), 0)) as integer), scene_hash
"""
