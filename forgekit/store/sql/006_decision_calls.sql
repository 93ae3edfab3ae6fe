-- Every decision of the refiner has its row in api_logs, which carries its learning. Decisions made before that was so
-- get one from the learning itself: what they looked at in short was not kept, so the request is null.
insert into api_logs (id, learning_id, prompt_id, stage, endpoint, response, ok, created_at)
select
    cast(md5('decision call of ' || l.id) as uuid),
    l.id,
    l.prompt_id,
    'refine',
    coalesce(l.actions ->> '$.policy', 'unknown'),
    json_object(
        'decision', l.actions ->> '$.decision',
        'action', l.actions ->> '$.action',
        'detail', l.actions ->> '$.detail',
        'child_prompt_id', l.actions ->> '$.child_prompt_id'
    ),
    true,
    l.created_at
from prompt_learnings l
where not exists (from api_logs a where a.learning_id = l.id and a.stage = 'refine')
on conflict do nothing;
