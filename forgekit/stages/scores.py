"""From verdicts to scores: what the steering judge says becomes the score of images and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forgekit.stages.calls import Calls
from forgekit.stages.verdicts import Picture, Seat, row_of
from forgekit.store.claims import Worker
from forgekit.store.rows import insert_rows

NO_KEY = ""  # under which a judge whose key cannot be told fails

# A verdict that failed, or one on a picture that was replaced, makes way for the new one.
MAKE_WAY = """
delete from image_evaluations
where id in (select unnest($ids::uuid[]))
   or (vision_model = $vision_model and judge_key = $no_key and image_id in (select unnest($images::uuid[])))
"""

SCORE_VERDICTS = """
update image_evaluations
set soft_tifa_am = s.soft_tifa_am, soft_tifa_gm = s.soft_tifa_gm
from image_scores s
where s.evaluation_id = image_evaluations.id
  and s.evaluation_id in (select unnest($ids::uuid[]))
"""

# Null where the steering judge, as it is now, has no verdict: a score that an earlier one gave does not stay.
SCORE_IMAGES = """
update generated_images
set adherence_score = scored.soft_tifa_gm,
    is_adhering = scored.soft_tifa_gm >= $pass_mark,
    evaluation_details = case when scored.soft_tifa_gm is not null then json_object(
        'vision_model', scored.vision_model, 'judge_key', scored.judge_key, 'evaluation_id', scored.evaluation_id,
        'soft_tifa_am', scored.soft_tifa_am, 'soft_tifa_gm', scored.soft_tifa_gm,
        'adhering_at', $pass_mark::double, 'heldout', $heldout::varchar[]
    ) end
from (
    select i.id, s.*
    from generated_images i
    left join image_scores s
        on s.image_id = i.id
        and s.vision_model = $vision_model
        and s.judge_key = $judge_key
    where i.prompt_id in (select unnest($ids::uuid[]))
) scored
where scored.id = generated_images.id
"""

ROLES = """
update image_evaluations
set role = case when vision_model = $vision_model and judge_key = $judge_key then 'objective' else 'heldout' end
where prompt_id in (select unnest($ids::uuid[]))
"""

# Null unless every image has a score: a mean over those that happen to have one is another figure.
SCORE_PROMPTS = """
update prompts
set current_score = scored.mean_score, best_image_id = scored.best_image_id
from (
    select
        p.id,
        case when count(i.adherence_score) = count(i.id) then steady_avg(i.adherence_score) end as mean_score,
        case when count(i.adherence_score) = count(i.id)
            then arg_max(i.id, (i.adherence_score, i.id)) filter (i.adherence_score is not null) end as best_image_id
    from prompts p
    left join generated_images i on i.prompt_id = p.id
    where p.id in (select unnest($ids::uuid[]))
    group by p.id
) scored
where scored.id = prompts.id
"""

UNSCORED = """
select p.id, count(i.id) as images, arg_min(e.error, i.id) as error
from prompts p
left join generated_images i on i.prompt_id = p.id
left join image_evaluations e
    on e.image_id = i.id
    and e.vision_model = $vision_model
    and e.judge_key = $judge_key
where p.id in (select unnest($ids::uuid[]))
group by p.id
having count(i.adherence_score) < count(i.id)
    or count(i.id) = 0
"""


def keep_verdicts(
    worker: Worker, calls: Calls, seat: Seat, judged: Sequence[tuple[Picture, Any]]
) -> list[dict[str, Any]]:
    """Store verdicts on pictures whose prompts `worker` still holds, and the calls so far; return the rows."""
    rows = [row_of(calls, picture, seat, verdict) for picture, verdict in judged]
    with worker.store.transaction() as con:
        held = worker.held(con, sorted({row["prompt_id"] for row in rows}))
        rows = [row for row in rows if row["prompt_id"] in held]  # the others are another worker's by now
        ids, images = [row["id"] for row in rows], [row["image_id"] for row in rows]
        con.execute(MAKE_WAY, {"ids": ids, "images": images, "vision_model": seat.judge.name, "no_key": NO_KEY})
        insert_rows(con, "image_evaluations", rows)
        con.execute(SCORE_VERDICTS, {"ids": ids})
        insert_rows(con, "api_logs", calls.rows)
    calls.rows.clear()
    return rows


def score(con: Any, steering: Seat, heldout: Sequence[str], prompt_ids: Sequence[str]) -> dict[str, str]:
    """Score the images and versions of `prompt_ids` by the steering judge.

    Returns:
        The prompts that are not scored, because an image has no score, each with the reason.
    """
    ids = list(prompt_ids)
    values = {**steering.identity, "pass_mark": steering.pass_mark, "heldout": list(heldout)}
    con.execute(SCORE_IMAGES, {**values, "ids": ids})
    con.execute(ROLES, {**steering.identity, "ids": ids})
    con.execute(SCORE_PROMPTS, {"ids": ids})
    reasons = {}
    for prompt_id, images, error in con.execute(UNSCORED, {**steering.identity, "ids": ids}).fetchall():
        nothing = f"{steering.judge.name} can judge nothing of what the scene asks for; let another judge steer"
        reasons[str(prompt_id)] = error or (nothing if images else "it has no images")
    return reasons
