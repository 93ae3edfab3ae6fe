-- Whose verdict is what: reuse by content, the part each judge plays, and how far a judge can be trusted.

alter table image_evaluations add column verdict_key varchar;  -- hash of picture, judge's settings and what was asked
alter table image_evaluations add column role varchar;         -- 'objective': steers the loop; 'heldout': only watches

-- From which score on an image counts as adhering, found on images of known truth. One row per judge and truth.
create table judge_calibrations (
    id uuid primary key,
    vision_model varchar(32) not null,
    judge_key varchar(64) not null,
    truth varchar not null,                      -- 'error graphs' or 'human ratings'
    wanted_precision double not null,
    threshold double,                            -- null: no threshold reaches it
    precision_low double,                        -- lower end of the interval of the precision at the threshold
    precision double,
    recall double,
    images integer not null,
    curve json not null,                         -- reliability: what was said against what is so
    created_at timestamp not null default (now() at time zone 'utc'),
    unique (vision_model, judge_key, truth)
);

-- What people say about the images, on their own scale.
create table human_ratings (
    id uuid primary key,
    image_id uuid not null references generated_images (id),
    rating double not null,
    scale_low double not null,
    scale_high double not null,
    rater varchar,                               -- null: not told
    source varchar not null,                     -- the file or study it came from
    created_at timestamp not null default (now() at time zone 'utc'),
    check (rating between scale_low and scale_high)
);
