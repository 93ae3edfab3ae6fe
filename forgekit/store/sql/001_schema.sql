-- Schema 2.0.0: the research record (six tables), how far each judge can be trusted, and the claims of running workers.

create type prompt_status as enum (
    'draft', 'imported', 'incomplete', 'completed', 'generating', 'generated',
    'evaluating', 'evaluated', 'needs_refinement', 'archived'
);

create type learning_status as enum ('active', 'superseded', 'archived');

-- The one table of allowed status changes; `Store.move_prompts` refuses every other one.
create table status_transitions (
    from_status prompt_status,
    to_status prompt_status,
    primary key (from_status, to_status)
);

insert into status_transitions values
    ('imported', 'completed'), ('imported', 'incomplete'),
    ('incomplete', 'incomplete'), ('incomplete', 'completed'),
    ('completed', 'generating'), ('needs_refinement', 'generating'), ('generating', 'generated'),
    ('generated', 'evaluating'), ('evaluating', 'evaluated'), ('evaluating', 'generated'),
    ('evaluated', 'archived'), ('evaluated', 'needs_refinement'),
    ('archived', 'needs_refinement'),            -- a rewrite failed: its parent is the best version, and drawn again
    -- By hand: a draft is released, a prompt that waits is given up.
    ('draft', 'imported'), ('draft', 'archived'), ('imported', 'archived'), ('incomplete', 'archived'),
    ('completed', 'archived'), ('needs_refinement', 'archived');

create table scenes (
    scene_hash varchar(64) primary key,          -- SHA-256 of the normalised scene text
    scene_text varchar not null,
    first_prompt_id uuid,                        -- DuckDB cannot declare the circle; `forgekit check` looks
    elements json,                               -- what the scene asks for; null until it is parsed
    source json,
    created_at timestamp not null default (now() at time zone 'utc')
);

create table prompts (
    id uuid primary key,
    scene_hash varchar(64) not null references scenes (scene_hash),
    parent_prompt_id uuid references prompts (id),
    model varchar(32) not null,
    prompt_text varchar not null,
    base_parameters json not null,
    generation_iteration integer not null check (generation_iteration >= 0),
    status prompt_status not null,
    best_image_id uuid,                          -- as first_prompt_id
    current_score double check (current_score between 0 and 1),
    experiment varchar not null default 'main',
    created_at timestamp not null default (now() at time zone 'utc'),
    last_updated timestamp not null default (now() at time zone 'utc')
);

create table generated_images (
    id uuid primary key,
    prompt_id uuid not null references prompts (id),
    image_path varchar not null unique,          -- relative to the store's folder
    generation_metadata json not null,
    is_adhering boolean,
    adherence_score double check (adherence_score between 0 and 1),
    evaluation_details json,
    -- In the study's own time: how many decisions about the scene, in its arm, came before the drawing. Trends run over
    -- this, not over versions: a version that is drawn again has images of several rounds.
    round integer,
    -- Which of its version's images it is, from 0: its seed follows from it, so it parts the images of all versions of a
    -- scene into the same halves.
    image_index integer,
    created_at timestamp not null default (now() at time zone 'utc')
);

create table image_evaluations (
    id uuid primary key,
    image_id uuid not null references generated_images (id),
    prompt_id uuid not null references prompts (id),
    scene_hash varchar(64) not null references scenes (scene_hash),
    vision_model varchar(32) not null,
    model_output json,
    adherence_analysis json,
    element_scores json,                         -- element key -> probability; null: failed, see error
    soft_tifa_am double,                         -- of element_scores (scores.sql); kept beside them because a
    soft_tifa_gm double,                         -- trend over ten million rows cannot read as many documents
    judge_key varchar(64) not null,              -- hash of the judge's settings
    verdict_key varchar,                         -- hash of picture, judge's settings and what was asked
    role varchar,                                -- 'objective': steers the loop; 'heldout': only watches
    error varchar,                               -- why there is no verdict
    created_at timestamp not null default (now() at time zone 'utc'),
    unique (image_id, vision_model, judge_key)
);

create table prompt_learnings (
    id uuid primary key,
    prompt_id uuid not null references prompts (id),
    parent_learning_id uuid references prompt_learnings (id),
    adherence_analysis json,
    error_patterns json,
    actions json,
    status learning_status not null default 'active',
    created_at timestamp not null default (now() at time zone 'utc')
);

create table api_logs (
    id uuid primary key,
    learning_id uuid references prompt_learnings (id),  -- the decision that the call made, or served alone
    prompt_id uuid references prompts (id),
    stage varchar not null,
    endpoint varchar not null,
    request json,
    response json,
    duration_ms double,
    ok boolean not null,
    error_context json,
    created_at timestamp not null default (now() at time zone 'utc')
);

-- From which probability on a judge says "there": one number for the refiner, for what is marked as missing, for rates.
create table pass_marks (
    vision_model varchar(32) not null,
    judge_key varchar(64) not null,
    pass_mark double not null check (pass_mark between 0 and 1),
    source varchar not null,                     -- 'default', or the truth it was calibrated on
    created_at timestamp not null default (now() at time zone 'utc'),
    primary key (vision_model, judge_key)
);

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

-- Which worker has which prompt in hand, so that several processes share the work. Not part of the record.
create table claims (
    prompt_id uuid primary key,
    worker varchar not null,                     -- holds the lock file of this name while it lives (claims.py)
    claimed_at timestamp not null default (now() at time zone 'utc')
);
