"""What a store holds of a study: confirmed scores, curves, what was spent and what is missing, as SQL."""

from __future__ import annotations

# The versions that confirm: the chosen text on seeds that had no part in choosing it. Their images are not counted.
# A scene counts for an arm, by a judge, when all its confirming images have that judge's score under its current key.
CONFIRMING = """
confirming as (
    select cast(l.actions ->> '$.child_prompt_id' as uuid) as prompt_id
    from prompt_learnings l
    where l.actions ->> '$.decision' = 'confirm'
)
"""

CONFIRMED = f"""
with {CONFIRMING}
select p.experiment[length($prefix) + 1:] as arm, p.scene_hash, s.vision_model, steady_avg(s.soft_tifa_gm) as score
from confirming c
join prompts p on p.id = c.prompt_id
join image_scores s on s.prompt_id = p.id
join current_judges j on j.experiment = p.experiment and j.vision_model = s.vision_model and j.judge_key = s.judge_key
where starts_with(p.experiment, $prefix)
group by all
having count(s.soft_tifa_gm) >= $images
order by all
"""

CONFIRMED_KINDS = f"""
with {CONFIRMING},
scenes_kinds as (
    select p.experiment[length($prefix) + 1:] as arm, p.scene_hash, s.vision_model, s.kind, steady_avg(s.score) as score
    from confirming c
    join prompts p on p.id = c.prompt_id
    join element_scores s on s.prompt_id = p.id
    join current_judges j on j.experiment = p.experiment and j.vision_model = s.vision_model and j.judge_key = s.judge_key
    where starts_with(p.experiment, $prefix) and s.score is not null
    group by all
)
select arm, vision_model, kind, count(*) as scenes, steady_avg(score) as score
from scenes_kinds
group by all
order by all
"""

# The first drawing of the first version in each arm: the same text on other seeds than those confirming `resample`.
FIRST = """
select p.experiment[length($prefix) + 1:] as arm, p.scene_hash, s.vision_model, steady_avg(s.soft_tifa_gm) as score
from prompts p
join image_scores s on s.prompt_id = p.id
join current_judges j on j.experiment = p.experiment and j.vision_model = s.vision_model and j.judge_key = s.judge_key
join generated_images i on i.id = s.image_id
where starts_with(p.experiment, $prefix)
  and p.generation_iteration = 0
  and i.created_at <= (select min(l.created_at) from prompt_learnings l where l.prompt_id = p.id)
group by all
order by all
"""

# After n images of a scene, by each judge: the best image by the steering judge, and the best version by it.
CURVES = f"""
with {CONFIRMING},
images as (
    select
        p.experiment,
        p.experiment[length($prefix) + 1:] as arm,
        p.scene_hash,
        i.id,
        i.adherence_score,
        row_number() over (partition by p.experiment, p.scene_hash order by i.created_at, i.id) as n
    from generated_images i
    join prompts p on p.id = i.prompt_id
    where starts_with(p.experiment, $prefix)
      and i.adherence_score is not null
      and p.id not in (from confirming)
),
steps as (
    select arm, scene_hash, unnest(range(1, $budget + 1)) as n
    from (select distinct arm, scene_hash from images)
),
best as (
    select i.experiment, s.arm, s.scene_hash, s.n, arg_max(i.id, (i.adherence_score, i.id)) as image_id
    from steps s
    join images i on i.arm = s.arm and i.scene_hash = s.scene_hash and i.n <= s.n
    group by all
)
select b.arm, s.vision_model, b.n as images, count(s.soft_tifa_gm) as scenes, steady_avg(s.soft_tifa_gm) as score
from best b
join image_scores s on s.image_id = b.image_id
join current_judges j on j.experiment = b.experiment and j.vision_model = s.vision_model and j.judge_key = s.judge_key
group by all
order by all
"""

SPENT = f"""
with {CONFIRMING}
select
    p.experiment[length($prefix) + 1:] as arm,
    count(distinct p.scene_hash) as scenes,
    count(i.id) filter (p.id not in (from confirming)) as images,
    count(i.id) filter (p.id in (from confirming)) as confirming_images
from prompts p
join generated_images i on i.prompt_id = p.id
where starts_with(p.experiment, $prefix)
group by all
order by all
"""

# What the arm's versions lack: each drawing of one makes so many images. Where a generator fails, some stay undrawn.
MISSING = """
with redraws as (
    select cast(l.actions ->> '$.base_prompt_id' as uuid) as prompt_id, count(*) as n
    from prompt_learnings l
    where l.actions ->> '$.decision' = 'redraw'
    group by all
),
drawn as (
    select prompt_id, count(*) as n from generated_images group by all
)
select
    p.experiment[length($prefix) + 1:] as arm,
    cast(sum(greatest(0, $images * (1 + coalesce(r.n, 0)) - coalesce(d.n, 0))) as bigint) as missing_images
from prompts p
left join redraws r on r.prompt_id = p.id
left join drawn d on d.prompt_id = p.id
where starts_with(p.experiment, $prefix)
group by all
order by all
"""

COST = """
select
    count(*) as images,
    count(distinct i.generation_metadata ->> '$.draw_key') as drawn,
    (select sum(duration_ms) / 1000 from api_logs where stage = 'generate') as drawing_s,
    (select sum(duration_ms) / 1000 from api_logs where stage = 'evaluate') as judging_s
from generated_images i
join prompts p on p.id = i.prompt_id
where starts_with(p.experiment, $prefix)
"""

# The texts of later versions, each of a scene once, and how many versions have it.
PROMPTS = """
select p.prompt_text, any_value(s.elements) as elements, count(*) as versions
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
