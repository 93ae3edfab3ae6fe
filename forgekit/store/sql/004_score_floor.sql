-- An element's probability counts as at least 0.02 in the geometric mean (it was 1e-6): no judge tells 0.0001 from 0.003,
-- and what it wrote there outweighed every other element. Scores that were kept beside their documents follow.
update image_evaluations
set soft_tifa_gm = exp(list_avg([ln(greatest(p, 0.02)) for p in cast(element_scores -> '$.*' as double[])]))
where soft_tifa_gm is not null
  and element_scores is not null;

update generated_images
set adherence_score = e.soft_tifa_gm,
    is_adhering = e.soft_tifa_gm >= cast(evaluation_details ->> '$.adhering_at' as double),
    evaluation_details = json_merge_patch(evaluation_details, json_object('soft_tifa_gm', e.soft_tifa_gm))
from image_evaluations e
where cast(e.id as varchar) = evaluation_details ->> '$.evaluation_id'
  and adherence_score is not null;

update prompts
set current_score = scored.mean_score
from (
    select prompt_id, avg(adherence_score) as mean_score
    from generated_images
    group by prompt_id
) scored
where scored.prompt_id = prompts.id
  and current_score is not null;
