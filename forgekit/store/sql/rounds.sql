-- Which version stands for a scene after each round, and what it is worth by each judge.

-- Versions that draw the chosen text once more, on seeds that had no part in choosing it. They never compete.
create or replace view confirming_versions as
select distinct cast(actions ->> '$.child_prompt_id' as uuid) as prompt_id
from prompt_learnings
where actions ->> '$.decision' = 'confirm'
  and actions ->> '$.child_prompt_id' is not null;

-- The images that versions compete by, in two halves by their place among the images of their drawing. The seed follows
-- from that place, so the halves of all versions of a scene are drawn on the same seeds.
create or replace view competing_images as
select
    id as image_id,
    prompt_id, round,
    image_index % 2 as half,
    generation_metadata ->> '$.seed' as seed,
    adherence_score
from generated_images
where round is not null
  and prompt_id not in (from confirming_versions);

-- One row per version and round that drew it: what the steering judge says of each half of the images. They are summed up
-- before their version is looked at: that is what a trend over millions of images can afford.
create or replace view drawings as
with drawn as (
    select
        prompt_id, round,
        count(adherence_score) as n,
        sum(adherence_score) as total,
        count(adherence_score) filter (half = 0) as even_n,
        sum(adherence_score) filter (half = 0) as even_total,
        count(adherence_score) filter (half = 1) as odd_n,
        sum(adherence_score) filter (half = 1) as odd_total
    from competing_images
    group by all
)
select p.experiment, p.model, p.scene_hash, p.generation_iteration, d.*
from drawn d
join prompts p on p.id = d.prompt_id;

-- Every scene at every round of its arm, with the last round that drew it: finished scenes are carried forward.
create or replace view scene_rounds as
with drawn as (
    select distinct experiment, model, scene_hash, round from drawings
),
rounds as (
    select experiment, model, unnest(range(max(round) + 1)) as round from drawn group by experiment, model
)
select s.experiment, s.model, s.scene_hash, r.round, max(s.round) as drawn_round
from rounds r
join drawn s using (experiment, model)
where s.round <= r.round
group by all;

-- The best by a merit, the earlier one of equals.
create or replace macro best_version(merit) as
arg_max(prompt_id, {'merit': merit, 'earlier': -generation_iteration, 'id': prompt_id}) filter (merit is not null);

-- Which version stands for a scene after each round that drew it, by what the steering judge says of the images until
-- then. Where half is null it has the best mean over all its images: a maximum, which takes luck for merit. Else it has
-- the best mean over the other half, and only its images of this half may tell how good it is: none of them had a part in
-- choosing it. A version with images in one half only cannot be chosen so.
create or replace view standing_versions as
with standings as (
    select
        experiment, model, scene_hash, m.round, d.prompt_id, d.generation_iteration,
        round(sum(d.total) / sum(d.n), 12) as mean,
        round(sum(d.even_total) / sum(d.even_n), 12) as even,
        round(sum(d.odd_total) / sum(d.odd_n), 12) as odd
    from (select distinct experiment, model, scene_hash, round from drawings) m
    join drawings d using (experiment, model, scene_hash)
    where d.round <= m.round
    group by all
),
choices as (
    select
        experiment, model, scene_hash, round,
        best_version(mean) as by_all,
        best_version(case when even is not null then odd end) as by_odd,
        best_version(case when odd is not null then even end) as by_even
    from standings
    group by all
),
halves as (
    select * exclude (by_all, by_odd, by_even), unnest([null, 0, 1]) as half, unnest([by_all, by_odd, by_even]) as prompt_id
    from choices
)
from halves
where prompt_id is not null;

-- The versions that the halves chose, carried forward to every round of their arm.
create or replace view shown_versions as
select r.*, v.half, v.prompt_id
from scene_rounds r
join standing_versions v using (experiment, model, scene_hash)
where v.round = r.drawn_round
  and v.half is not null;

-- What a scene is worth after each round that drew it, by each judge. `adherence` is cross-fitted: the version that one
-- half of the images chose, judged by the other half; then the other way round; the mean of both. `selected` is the mean
-- of the version that all its images chose. `images` were drawn in that round and judged.
create or replace macro scene_values_in(arm, judge) as table
with drawn as (
    select
        c.prompt_id, c.half, c.round, e.vision_model, e.judge_key,
        count(*) as n,
        sum(e.soft_tifa_gm) as total,
        max(e.soft_tifa_gm) as best
    from image_scores e
    join competing_images c using (image_id)
    join prompts p on p.id = c.prompt_id
    where e.soft_tifa_gm is not null
      and (arm is null or p.experiment = arm)
    group by all
),
judged as (
    select d.*, j.steers
    from drawn d
    join prompts p on p.id = d.prompt_id
    join judges_in(arm, judge) j using (experiment, vision_model, judge_key)
),
folds as (
    select
        v.prompt_id, v.half, v.round, j.vision_model, j.steers,
        sum(j.total) / sum(j.n) as score,
        max(j.best) as best
    from standing_versions v
    join judged j
        on j.prompt_id = v.prompt_id
        and j.round <= v.round
        and (v.half is null or j.half = v.half)
    group by all
),
told as (
    from folds
    union all by name
    select prompt_id, round, vision_model, steers, n as images from judged
)
select
    p.experiment, p.model, p.scene_hash, t.round, t.vision_model, t.steers,
    steady_avg(case when t.half is not null then t.score end) as adherence,
    steady_avg(case when t.half is null then t.score end) as selected,
    max(t.best) filter (t.half is null) as best_image,
    sum(t.images) as images
from told t
join prompts p on p.id = t.prompt_id
group by all;
