-- When an image was drawn, in the study's own time: how many decisions about its scene, in its arm, came before it. Trends
-- run over this, not over versions: a version that is drawn again has images of several rounds.
alter table generated_images add column if not exists round integer;
-- Which of its version's images it is, from 0: its seed follows from it, so it parts the images of all versions of a
-- scene into the same halves.
alter table generated_images add column if not exists image_index integer;

update generated_images
set round = coalesce(before.n, 0)
from (
    select i.id, count(l.id) as n
    from generated_images i
    join prompts p on p.id = i.prompt_id
    left join (
        select l.id, l.created_at, q.scene_hash, q.experiment, q.model
        from prompt_learnings l
        join prompts q on q.id = l.prompt_id
    ) l
        on l.scene_hash = p.scene_hash
        and l.experiment = p.experiment
        and l.model = p.model
        and l.created_at <= i.created_at
    group by i.id
) before
where before.id = generated_images.id;

update generated_images
set image_index = numbered.n
from (
    select id, row_number() over (
        partition by prompt_id, round
        order by try_cast(generation_metadata ->> '$.seed' as bigint), id
    ) - 1 as n
    from generated_images
) numbered
where numbered.id = generated_images.id;

-- From which probability on a judge says "there": one number for the refiner, for what is marked as missing, for rates.
create table if not exists pass_marks (
    vision_model varchar(32) not null,
    judge_key varchar(64) not null,
    pass_mark double not null check (pass_mark between 0 and 1),
    source varchar not null,                     -- 'default', or the truth it was calibrated on
    created_at timestamp not null default (now() at time zone 'utc'),
    primary key (vision_model, judge_key)
);

-- A version that was left `evaluated` without a score, because the steering judge had no verdict, comes up again.
update prompts
set status = 'generated'
where status = 'evaluated'
  and current_score is null;
