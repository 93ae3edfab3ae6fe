-- Schema 2.2.0: what people say of one element of an image, or of two images side by side; what they skip, what they correct.

create temp table told as from human_ratings;
drop table human_ratings;

create table human_ratings (
    id uuid primary key,
    image_id uuid not null references generated_images (id),
    element varchar,                             -- of the image that is rated; null: all of it
    other_image_id uuid references generated_images (id),  -- rated against: the highest is for image_id, which was on the left
    rating double,                               -- null: no answer, see reason
    scale_low double not null,
    scale_high double not null,
    reason varchar,
    rater varchar,                               -- null: not told
    source varchar not null,                     -- the file or study it came from
    replaces uuid,                               -- the rating that this one corrects, which stays and counts no more
    created_at timestamp not null default (now() at time zone 'utc'),
    check (rating between scale_low and scale_high),
    check ((rating is null) = (reason is not null))
);

insert into human_ratings by name from told;
drop table told;
