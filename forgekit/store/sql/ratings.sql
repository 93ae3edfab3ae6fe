-- What people say of images, and how that goes with what judges say. Of one source (an import, "fk.rate"), or of all where it
-- is null.

-- What people say, and have not corrected: 0 is the lowest of their scale, 1 the highest. Of an element, 1 is that it is there
-- as the scene asks for it. Of a pair it is told of the image with the lower id, whichever was on the left: 1 where that is the
-- better one, 0 where the other is, 0.5 where they see no difference.
create or replace view people_say as
with standing as (
    select *, (rating - scale_low) / (scale_high - scale_low) as share
    from human_ratings
    where rating is not null
      and id not in (select replaces from human_ratings where replaces is not null)
)
select
    id,
    case when other_image_id is not null then 'pair' when element is not null then 'element' else 'image' end as kind,
    least(image_id, other_image_id) as image_id,
    case when other_image_id is not null then greatest(image_id, other_image_id) end as other_image_id,
    element, rater, source,
    case when other_image_id < image_id then 1 - share else share end as rating
from standing;

-- What people say of each image as a whole.
create or replace view image_ratings as
select image_id, rater, source, rating
from people_say
where kind = 'image';

-- One rating of each thing by each rater; those who did not give a name are taken for different people.
create or replace macro voices_in(origin) as table
select
    r.kind,
    concat_ws(' ', r.image_id, r.other_image_id, r.element) as thing,
    p.scene_hash as scene,
    coalesce(r.rater, r.id::varchar) as voice,
    avg(r.rating) as rating
from people_say r
join generated_images i on i.id = r.image_id
join prompts p on p.id = i.prompt_id
where origin is null or r.source = origin
group by all;

-- Whether each judge says what people have decided: of an element that it is there, of a pair which image is better (equal
-- scores are half a hit). What people are evenly split on decides nothing.
create or replace macro judge_hits_in(origin) as table
with decided as (
    select kind, image_id, other_image_id, element, avg(rating) as rating
    from people_say
    where origin is null or source = origin
    group by all
    having avg(rating) <> 0.5
)
select
    'element' as kind,
    s.vision_model as judge,
    s.scene_hash as scene,
    e.kind as part,
    cast((e.score >= s.pass_mark) = (d.rating > 0.5) as double) as hit
from decided d
join scores_in(null, null) s using (image_id)
join element_scores e using (evaluation_id, element)
where d.kind = 'element'
  and e.score is not null
union all
select
    'pair', a.vision_model, a.scene_hash, null,
    case when a.score = b.score then 0.5 else cast((a.score > b.score) = (d.rating > 0.5) as double) end
from decided d
join scores_in(null, null) a using (image_id)
join scores_in(null, null) b
    on b.image_id = d.other_image_id
    and (b.vision_model, b.judge_key) = (a.vision_model, a.judge_key)
where d.kind = 'pair';

-- One row per scene and two arms, or two versions of one arm: the share of answers that prefer `arm` to `against`.
create or replace macro arm_preferences_in(origin) as table
with sides as (
    select
        r.image_id, r.other_image_id, r.rating, a.scene_hash,
        a.experiment as one,
        b.experiment as two,
        case when one <> two then one < two else a.generation_iteration > b.generation_iteration end as one_is_arm
    from people_say r
    join generated_images i on i.id = r.image_id
    join prompts a on a.id = i.prompt_id
    join generated_images j on j.id = r.other_image_id
    join prompts b on b.id = j.prompt_id
    where a.id <> b.id
      and (origin is null or r.source = origin)
)
select
    case when one = two then one || ' (later version)' else least(one, two) end as arm,
    case when one = two then one || ' (earlier version)' else greatest(one, two) end as against,
    scene_hash,
    count(distinct (image_id, other_image_id)) as pairs,
    count(*) as answers,
    avg(case when one_is_arm then rating else 1 - rating end) as preferred
from sides
group by all;

-- The images that tell what an arm came to in each scene: those of the version that it came to, which had no part in choosing
-- it; where no version has images in both halves, all of them.
create or replace view outcome_images as
with chosen as (
    select experiment, scene_hash, half, prompt_id
    from standing_versions
    window scene as (partition by experiment, model, scene_hash)
    qualify round = max(round) over scene and (half is not null) = bool_or(half is not null) over scene
)
select c.experiment, c.scene_hash, i.image_id, i.prompt_id, i.seed
from chosen c
join competing_images i on i.prompt_id = c.prompt_id and i.half = coalesce(c.half, i.half);

-- What a person may be asked about, of the images of some arms: images, and pairs of images of one scene. Pairs are of what arms
-- came to, one against another; of a single arm, of what it came to against its first drawing. Equal seeds meet where there are
-- any; equal files are no pair.
create or replace macro rateable_images(arms) as table
select p.scene_hash, [cast(i.id as varchar)] as images
from generated_images i
join prompts p on p.id = i.prompt_id
where list_contains(arms, p.experiment);

create or replace macro rateable_pairs(arms) as table
with sides as (
    select experiment as side, scene_hash, image_id, prompt_id, seed
    from outcome_images
    where list_contains(arms, experiment)
    union all
    select '', p.scene_hash, c.image_id, c.prompt_id, c.seed
    from competing_images c
    join prompts p on p.id = c.prompt_id
    where [p.experiment] = arms
      and c.round = 0
),
numbered as (
    select
        s.*,
        regexp_replace(i.image_path, '-[^-]*$', '') as content,  -- the rest of a file's name is its hash
        row_number() over (partition by side, scene_hash order by s.seed, image_id) as place
    from sides s
    join generated_images i on i.id = s.image_id
),
pairs as (
    select
        scene_hash,
        a.side || ' ' || b.side as sides,
        coalesce(a.seed = b.seed, false) as same_seed,
        [cast(a.image_id as varchar), cast(b.image_id as varchar)] as images
    from numbered a
    join numbered b using (scene_hash)
    where a.side < b.side
      and a.prompt_id <> b.prompt_id
      and a.content <> b.content
      and (a.seed = b.seed or a.place = b.place)
)
select scene_hash, images
from pairs
qualify same_seed = bool_or(same_seed) over (partition by scene_hash, sides);

-- Each judge's scores, under its newest settings, of the images that were rated as a whole, with the mean over raters.
create or replace macro rated_scores_in(origin) as table
select
    s.vision_model as judge,
    s.scene_hash as scene,
    cast(s.image_id as varchar) as image_id,
    s.score,
    avg(r.rating) as rating
from image_ratings r
join scores_in(null, null) s using (image_id)
where origin is null or r.source = origin
group by all;

-- A judge's scores of images with what people say of each: of all of it, or, where nobody did, of the element that fewest see;
-- then of each element that the judge looks at, unless one is missing for everybody.
create or replace macro rated_scores_of(judge, key) as table
with said as (
    select image_id, element, avg(rating) as rating
    from people_say
    where kind <> 'pair'
    group by all
),
rated as (
    select
        image_id,
        count(element) as elements,
        coalesce(any_value(rating) filter (element is null), min(rating)) as rating,
        bool_or(element is null) or min(rating) = 0 as known
    from said
    group by image_id
)
select i.image_id, i.soft_tifa_gm as score, r.rating
from rated r
join image_scores i using (image_id)
where i.vision_model = judge
  and i.judge_key = key
  and i.soft_tifa_gm is not null
  and (r.known or r.elements >= i.elements);
