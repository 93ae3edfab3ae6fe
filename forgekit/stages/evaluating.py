"""ImageEvaluater: have vision models judge images against the elements of their scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forgekit.claims import Worker, working
from forgekit.errors import ForgekitError, ItemError, ParameterError
from forgekit.models import Judgement, VisionModel, load_model
from forgekit.rows import insert_rows
from forgekit.stages.report import StageReport, recorded_call, running
from forgekit.stages.verdicts import HELDOUT, OBJECTIVE, Picture, evaluation_row, read_pictures
from forgekit.store import Store

IMAGES_AT_ONCE = 128  # pictures in memory

# Prompts left in `evaluating` by a worker that died are due again; their stored verdicts stand.
DUE = """
select id
from prompts
where status in ('generated', 'evaluating')
  and ($experiment is null or experiment = $experiment)
  and id not in (select unnest($attempted::uuid[]))
order by created_at, id
"""

IMAGES = """
select i.id as image_id, i.image_path, p.id as prompt_id, p.scene_hash, s.scene_text, s.elements
from generated_images i
join prompts p on p.id = i.prompt_id
join scenes s on s.scene_hash = p.scene_hash
where p.id in (select unnest($ids::uuid[]))
order by p.created_at, p.id, i.created_at, i.id
"""

# Verdicts by the same judge on the same pictures, asked the same, whichever prompt the image belongs to. Those that
# failed (error is not null) are asked for again.
STORED = """
select image_id, verdict_key, model_output, adherence_analysis, element_scores
from image_evaluations
where vision_model = $vision_model
  and judge_key = $judge_key
  and verdict_key in (select unnest($keys::varchar[]))
  and error is null
order by created_at, id
"""

BACKFILL = """
select id
from prompts
where status in ('evaluated', 'archived', 'needs_refinement')
  and ($experiment is null or experiment = $experiment)
  and exists (from generated_images i where i.prompt_id = prompts.id)
order by created_at, id
"""

SCORE_VERDICTS = """
update image_evaluations
set soft_tifa_am = s.soft_tifa_am, soft_tifa_gm = s.soft_tifa_gm
from image_scores s
where s.evaluation_id = image_evaluations.id
  and s.evaluation_id in (select unnest($ids::uuid[]))
"""

# The threshold found on images of known truth (`forgekit.judging`); people outrank renders.
CALIBRATED_AT = """
select threshold
from judge_calibrations
where vision_model = $vision_model and judge_key = $judge_key and threshold is not null
order by truth = 'human ratings' desc, created_at desc
limit 1
"""

# What the steering judge says becomes the image's and the prompt's score. Null where a verdict is missing.
SCORE_IMAGES = """
update generated_images
set adherence_score = s.soft_tifa_gm,
    is_adhering = s.soft_tifa_gm >= $adhering_at,
    evaluation_details = json_object(
        'vision_model', s.vision_model, 'judge_key', s.judge_key, 'evaluation_id', s.evaluation_id,
        'soft_tifa_am', s.soft_tifa_am, 'soft_tifa_gm', s.soft_tifa_gm,
        'adhering_at', $adhering_at::double, 'heldout', $heldout::varchar[]
    )
from image_scores s
where s.image_id = generated_images.id
  and s.vision_model = $vision_model
  and s.judge_key = $judge_key
  and s.prompt_id in (select unnest($ids::uuid[]))
"""

ROLES = """
update image_evaluations
set role = case when vision_model = $vision_model and judge_key = $judge_key then 'objective' else 'heldout' end
where prompt_id in (select unnest($ids::uuid[]))
"""

SCORE_PROMPTS = """
update prompts
set current_score = scored.mean_score, best_image_id = scored.best_image_id
from (
    select
        prompt_id,
        steady_avg(adherence_score) as mean_score,
        arg_max(id, (adherence_score, id)) filter (adherence_score is not null) as best_image_id
    from generated_images
    where prompt_id in (select unnest($ids::uuid[]))
    group by prompt_id
) scored
where scored.prompt_id = prompts.id
"""


def evaluate_images(
    store: Store,
    *,
    vision_models: Sequence[VisionModel | str] = ("mini-clip",),
    experiment: str | None = None,
    prompts_per_batch: int = 8,
    backfill: bool = False,
) -> StageReport:
    """Have every vision model judge the images it has not judged, and leave their prompts `evaluated`.

    The first model steers (`role` "objective"): `adherence_score` of an image is the geometric mean of its element
    probabilities, `current_score` of a prompt the mean over its images. The others only watch ("heldout"). An image is
    `is_adhering` from the judge's calibrated threshold on (`forgekit.judging.calibrate`), else from its `adhering_at`.

    A verdict is identified by the picture's content, the judge's key (weights, templates, thresholds) and what the
    scene asks; the same verdict is never computed twice, not even for another prompt, and an image file that was
    replaced is judged anew. An image or a verdict that fails is stored as null with its reason, and asked for again
    when the prompt comes up again.

    Args:
        vision_models: names or objects; the first one steers the loop, the others are held out.
        backfill: judge the images of prompts that are past evaluation too; their scores and statuses stay.

    Raises:
        UnknownModelError: a vision model that nobody knows.
        ParameterError: no vision model, or two of the same name.
    """
    judges = [load_model("vision_model", model) for model in vision_models]
    names = [judge.name for judge in judges]
    if not judges or len(set(names)) < len(names):
        raise ParameterError(f"vision_models={names}: give at least one, each name once")
    attempted: list[str] = []
    past = [row["id"] for row in store.rows(BACKFILL, experiment=experiment)] if backfill else []
    due = len(store.df(DUE, experiment=experiment, attempted=attempted))
    with working(store) as worker, running("evaluate", total=due + len(past), unit="prompt") as (report, bar):
        while ids := worker.claim(
            DUE, to="evaluating", limit=prompts_per_batch, experiment=experiment, attempted=attempted
        ):
            attempted += ids
            _judge_prompts(store, report, list(zip(judges, _roles(judges), strict=True)), ids)
            _finish(worker, judges, ids)
            report.done += len(ids)
            bar.update(len(ids))
            if len(ids) < prompts_per_batch:
                break  # nothing else was due
        for start in range(0, len(past), prompts_per_batch):
            ids = past[start : start + prompts_per_batch]
            _judge_prompts(store, report, [(judge, HELDOUT) for judge in judges], ids)
            bar.update(len(ids))
    return report


def _roles(judges: Sequence[VisionModel]) -> list[str]:
    return [OBJECTIVE] + [HELDOUT] * (len(judges) - 1)


def _judge_prompts(
    store: Store, report: StageReport, judges: Sequence[tuple[VisionModel, str]], prompt_ids: Sequence[str]
) -> None:
    """Have each judge, with its role, judge what it has not judged of these prompts, and commit the verdicts."""
    images = store.rows(IMAGES, ids=list(prompt_ids))
    for pictures in read_pictures(store.folder, images, IMAGES_AT_ONCE):
        for judge, role in judges:
            try:
                _judge(store, report, judge, role, pictures)
            except ForgekitError as error:  # no weights, bad settings: the other judges go on
                report.failures[judge.name] = str(error)


def _judge(store: Store, report: StageReport, judge: VisionModel, role: str, pictures: Sequence[Picture]) -> None:
    key = judge.judge_key
    keys = {picture.image_id: picture.verdict_key(key) for picture in pictures}
    stored = store.rows(STORED, vision_model=judge.name, judge_key=key, keys=[k for k in keys.values() if k])
    judged = {(row["image_id"], row["verdict_key"]) for row in stored}
    due = [picture for picture in pictures if (picture.image_id, keys[picture.image_id]) not in judged]
    if not due:
        return
    verdicts: dict[str, Any] = {row["verdict_key"]: row for row in stored}
    unknown = {keys[p.image_id]: p for p in due if p.content and keys[p.image_id] not in verdicts}
    asked, call = _ask(judge, role, list(unknown.values()))
    verdicts.update(zip(unknown, asked, strict=True))
    rows = [
        evaluation_row(p, (judge.name, key), role, verdicts[keys[p.image_id]] if p.content else p.image) for p in due
    ]
    ids = [row["id"] for row in rows]
    with store.transaction() as con:
        # A failed verdict, or one on a picture that was replaced, makes way for the new one.
        con.execute("delete from image_evaluations where id in (select unnest($ids::uuid[]))", {"ids": ids})
        insert_rows(con, "image_evaluations", rows)
        con.execute(SCORE_VERDICTS, {"ids": ids})
        insert_rows(con, "api_logs", call)
    _count(report, judge.name, rows, reused=sum(p.content is not None for p in due) - len(unknown))


def _ask(
    judge: VisionModel, role: str, pictures: Sequence[Picture]
) -> tuple[list[Judgement | ItemError], list[dict[str, Any]]]:
    """Return the verdicts on the pictures and the log row of the call; neither where there is nothing to ask."""
    if not pictures:
        return [], []
    request = {"images": [picture.image_id for picture in pictures], "role": role}
    with recorded_call("evaluate", judge.name, request) as call:
        try:
            verdicts = judge.judge([picture.image for picture in pictures], [picture.scene for picture in pictures])
        except ForgekitError as error:
            verdicts = [ItemError(str(error))] * len(pictures)
        call.errors += sorted({verdict.reason for verdict in verdicts if isinstance(verdict, ItemError)})
        call.response = {"judged": sum(isinstance(verdict, Judgement) for verdict in verdicts)}
    return verdicts, [call.row()]


def _count(report: StageReport, judge: str, rows: Sequence[dict[str, Any]], *, reused: int) -> None:
    report.count(f"verdicts of {judge}", sum(row["error"] is None for row in rows))
    report.count(f"verdicts of {judge} used again", reused)
    cut = sum(bool(row["model_output"] and row["model_output"]["metrics"].get("truncated_words")) for row in rows)
    report.count(f"texts cut short by {judge}", cut)
    report.failures.update({f"image {row['image_id']} by {judge}": row["error"] for row in rows if row["error"]})


def _finish(worker: Worker, judges: Sequence[VisionModel], prompt_ids: Sequence[str]) -> None:
    objective, ids = judges[0], list(prompt_ids)
    with worker.store.transaction() as con:
        try:
            steering = {"vision_model": objective.name, "judge_key": objective.judge_key}
        except ForgekitError:  # reported by _judge_prompts: without a verdict the scores stay null
            steering = None
        if steering:
            found = con.execute(CALIBRATED_AT, steering).fetchone()
            adhering_at = found[0] if found else objective.adhering_at
            heldout = [judge.name for judge in judges[1:]]
            con.execute(SCORE_IMAGES, {**steering, "adhering_at": adhering_at, "heldout": heldout, "ids": ids})
            con.execute(ROLES, {**steering, "ids": ids})
        con.execute(SCORE_PROMPTS, {"ids": ids})
        worker.settle(con, prompt_ids, "evaluated")
