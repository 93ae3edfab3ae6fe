"""Evaluating: have vision models judge images against the elements of their scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

from forgekit.errors import ItemError, ParameterError
from forgekit.models import VisionModel, at_once, load_model
from forgekit.models.judgements import check_judges, checked_judgement
from forgekit.models.roles import as_they_come
from forgekit.progress import StageReport, running
from forgekit.stages.calls import CallError, Calls, recorded_calls
from forgekit.stages.scores import NO_KEY, keep_verdicts, score
from forgekit.stages.situations import DECISIONS
from forgekit.stages.verdicts import HELDOUT, OBJECTIVE, Picture, Seat, read_pictures
from forgekit.store import Store, arguments
from forgekit.store.claims import Worker, working
from forgekit.store.names import check_experiment
from forgekit.store.pass_marks import keep_pass_mark

IMAGES_AT_ONCE = 128  # pictures in memory
NOTHING_ASKED = "the scene asks for nothing that a judge could check: no elements"

# Prompts left in `evaluating` by a worker that died are due again; their stored verdicts stand.
DUE = """
select id
from prompts
where status in ('generated', 'evaluating')
  and ($experiment is null or experiment = $experiment)
  and id not in (select unnest($attempted::uuid[]))
order by created_at, id
"""

# Failed verdicts of these judges (`$names`, `$keys`) on images of which they have given none since. Weights that come
# late give a judge another key: what it failed to say without them it is asked with them.
FAILED = """
select f.image_id, f.prompt_id
from image_evaluations f
join (select unnest($names::varchar[]) as name, unnest($keys::varchar[]) as key) judge on judge.name = f.vision_model
where f.error is not null
  and not exists (
    from image_evaluations e
    where e.image_id = f.image_id
      and e.vision_model = judge.name
      and e.judge_key = judge.key
      and e.error is null
  )
"""

# What is past evaluation: all of it that has images (`$backfill`), or that of which one of the judges failed to say.
PAST = f"""
select id
from prompts
where status in ('evaluated', 'archived', 'needs_refinement')
  and ($experiment is null or experiment = $experiment)
  and id not in (select unnest($attempted::uuid[]))
  and id in (
    select prompt_id from generated_images where $backfill
    union
    select prompt_id from ({FAILED})
  )
order by created_at, id
"""

# With the decision that each image was drawn for: the last one before its round.
IMAGES = f"""
select i.id as image_id, i.image_path, p.id as prompt_id, p.scene_hash, s.scene_text, s.elements,
    list_extract(({DECISIONS}), i.round) as learning_id
from generated_images i
join prompts p on p.id = i.prompt_id
join scenes s on s.scene_hash = p.scene_hash
where p.id in (select unnest($ids::uuid[]))
  and ($only::uuid[] is null or i.id in (select unnest($only::uuid[])))
order by p.created_at, p.id, i.created_at, i.id
"""

# Verdicts by the same judge on the same pictures, asked the same, whichever prompt the image belongs to. Those that
# failed are asked for again, and so are those of stores from before a null or a nan among the scores was a failure.
STORED = """
select image_id, verdict_key, model_output, adherence_analysis, element_scores
from image_evaluations
where vision_model = $vision_model
  and judge_key = $judge_key
  and verdict_key in (select unnest($keys::varchar[]))
  and error is null
  and (
    soft_tifa_gm between 0 and 1
    or (soft_tifa_gm is null and not list_contains(json_type(element_scores, '$.*'), 'NULL'))
  )
order by created_at, id
"""


@dataclass(frozen=True)
class Work:
    """One call of the stage: its worker and report, and the judges that cannot work, each with the reason."""

    worker: Worker
    report: StageReport
    unable: dict[str, str] = field(default_factory=dict)


def evaluate_images(
    store: Store,
    *,
    vision_models: Sequence[VisionModel | str] = ("mini-clip",),
    experiment: str | None = None,
    prompts_per_batch: int = 8,
    backfill: bool = False,
) -> StageReport:
    """Have vision models judge the images they have not judged, and leave their prompts `evaluated`.

    The first model steers (`role` "objective"): `adherence_score` of an image is the geometric mean of its element
    probabilities, `current_score` of a prompt the mean over its images. The others only watch ("heldout"). An image is
    `is_adhering` from the judge's pass mark on: its calibrated threshold (`forgekit.judge_tests.calibrate`), else its
    `adhering_at`.

    A verdict is identified by the picture's content, the judge's key (weights, templates, thresholds) and what the
    scene asks; the same verdict is never computed twice, not even for another prompt, and an image file that was
    replaced is judged anew. A verdict that fails is stored as null with its reason, and asked for again on the next
    call. A prompt of which an image has no score by the steering judge stays `generated` and is named in the report; a
    judge that only watches holds no prompt back.

    Args:
        vision_models: names or objects; the first one steers the loop, the others are held out.
        experiment: only the prompts of this one; all where not given.
        prompts_per_batch: how many are judged before their statuses are set.
        backfill: judge the images of prompts that are past evaluation too; their scores and statuses stay.

    Raises:
        UnknownModelError: a vision model that nobody knows.
        ParameterError: no vision model, two of a name, one whose `adhering_at` is no number in [0, 1], an experiment
            that has no prompts, or `prompts_per_batch` is no number from 1 on.
    """
    check_experiment(store, experiment)
    backfill, limit = arguments.switch("backfill", backfill), arguments.whole("prompts_per_batch", prompts_per_batch)
    judges = [load_model("vision_model", model) for model in arguments.several("vision_models", vision_models)]
    check_judges(judges)
    limit *= max(map(at_once, judges))
    attempted: list[str] = []
    filters: dict[str, Any] = {"experiment": experiment, "attempted": attempted}
    seats = take_seats(store, judges, {})
    due = len(store.df(DUE, **filters)) + len(store.df(PAST, backfill=backfill, **filters, **_names(seats)))
    with working(store) as worker, running("evaluate", total=due, unit="prompt") as (report, bar):
        work = Work(worker, report)
        while ids := worker.claim(DUE, to="evaluating", limit=limit, **filters):
            attempted += ids
            seats = take_seats(store, judges, work.unable)
            _finish(work, seats, ids, empty=_judge_prompts(work, seats, ids))
            bar.update(len(ids))
        while seats := [
            replace(seat, role=HELDOUT) for seat in take_seats(store, judges, work.unable) if not seat.error
        ]:
            ids = worker.claim(PAST, limit=limit, backfill=backfill, **filters, **_names(seats))
            if not ids:
                break
            attempted += ids
            _judge_prompts(work, seats, ids, None if backfill else _failed_images(store, seats, ids))
            with store.transaction() as con:
                worker.release(con, ids)
            bar.update(len(ids))
    return report


def take_seats(store: Store, judges: Sequence[VisionModel], unable: Mapping[str, str]) -> list[Seat]:
    """Return the judges as they are now, the first one steering; those that are `unable` (name → why) with their error.

    The pass mark of each is stored.
    """
    with recorded_calls(store, "evaluate") as calls:
        keys = [calls.attempt(judge.name, {"read": "judge_key"}, _key, judge) for judge in judges]
    seats = []
    with store.transaction() as con:
        for place, (judge, key) in enumerate(zip(judges, keys, strict=True)):
            role = HELDOUT if place else OBJECTIVE
            if isinstance(key, ItemError):
                seats.append(Seat(judge, role, NO_KEY, judge.adhering_at, key.reason))
            else:
                mark = keep_pass_mark(con, judge.name, key, adhering_at=judge.adhering_at)
                seats.append(Seat(judge, role, key, mark, unable.get(judge.name)))
    return seats


def _key(judge: VisionModel) -> str:
    key = judge.judge_key
    if not isinstance(key, str) or not key:
        raise ParameterError(f"judge_key={key!r} of {judge.name}: give a text that hashes its weights and settings")
    return key


def _names(seats: Sequence[Seat]) -> dict[str, Any]:
    return {"names": [seat.judge.name for seat in seats], "keys": [seat.key for seat in seats]}


def _failed_images(store: Store, seats: Sequence[Seat], prompt_ids: Sequence[str]) -> list[str]:
    of_these = FAILED + "and f.prompt_id in (select unnest($ids::uuid[]))"
    return [row["image_id"] for row in store.rows(of_these, ids=list(prompt_ids), **_names(seats))]


def _judge_prompts(
    work: Work, seats: Sequence[Seat], prompt_ids: Sequence[str], only: list[str] | None = None
) -> set[str]:
    """Have each judge judge what it has not judged of these prompts (of their images `only`), and commit the verdicts.

    Returns:
        The prompts whose scenes ask for nothing.
    """
    store, empty = work.worker.store, set()
    images = store.rows(IMAGES, ids=list(prompt_ids), only=only)
    for pictures in read_pictures(store.folder, images, IMAGES_AT_ONCE * max(at_once(seat.judge) for seat in seats)):
        empty |= {picture.prompt_id for picture in pictures if picture.content and not picture.elements}
        for seat in seats:
            with recorded_calls(store, "evaluate") as calls:
                _judge(work, calls, seat, pictures)
    return empty


def _judge(work: Work, calls: Calls, seat: Seat, pictures: Sequence[Picture]) -> None:
    keys = {picture.image_id: picture.verdict_key(seat.key) for picture in pictures}
    stored = work.worker.store.rows(STORED, **seat.identity, keys=[key for key in keys.values() if key])
    judged = {(row["image_id"], row["verdict_key"]) for row in stored}
    due = [picture for picture in pictures if (picture.image_id, keys[picture.image_id]) not in judged]
    if not due:
        return
    verdicts: dict[str | None, Any] = {row["verdict_key"]: row for row in stored}
    unknown = {keys[p.image_id]: p for p in due if p.content and keys[p.image_id] not in verdicts}
    verdicts.update(zip(unknown, _ask(work, calls, seat, list(unknown.values())), strict=True))
    said = [p.image if isinstance(p.image, ItemError) else verdicts[keys[p.image_id]] for p in due]
    rows = keep_verdicts(work.worker, calls, seat, list(zip(due, said, strict=True)))
    _count(work.report, seat, rows, reused=sum(p.content is not None for p in due) - len(unknown))


def _ask(work: Work, calls: Calls, seat: Seat, pictures: Sequence[Picture]) -> list[Any]:
    """Return verdicts on pictures that can be read; a judge found to have no weights is not asked again in this call."""
    if not pictures:
        return []
    if error := seat.error or work.unable.get(seat.judge.name):
        return [ItemError(error)] * len(pictures)
    verdicts = calls.ask(
        seat.judge.name,
        pictures,
        # What could not be read never comes this far.
        lambda asked: as_they_come(seat.judge, "judge")(
            [cast(Any, each.image) for each in asked], [each.scene for each in asked]
        ),
        check=lambda picture, verdict: checked_judgement(verdict, picture.elements),
        request=lambda asked: {"images": [picture.image_id for picture in asked], "role": seat.role},
        counted="judged",
        keep=partial(keep_verdicts, work.worker, calls, seat),
    )
    for verdict in verdicts:
        if isinstance(verdict, CallError) and verdict.lasting:
            work.unable[seat.judge.name] = verdict.reason
    return verdicts


def _count(report: StageReport, seat: Seat, rows: Sequence[Mapping[str, Any]], *, reused: int) -> None:
    judge = seat.judge.name
    report.count(f"verdicts of {judge}", sum(row["error"] is None for row in rows))
    report.count(f"verdicts of {judge} used again", reused)
    cut = sum(bool(row["model_output"] and row["model_output"]["metrics"].get("truncated_words")) for row in rows)
    report.count(f"texts cut short by {judge}", cut)
    if seat.role == HELDOUT:  # where the steering judge fails, the prompt does
        report.failures.update({f"image {row['image_id']} by {judge}": row["error"] for row in rows if row["error"]})


def _finish(work: Work, seats: Sequence[Seat], prompt_ids: Sequence[str], *, empty: set[str]) -> None:
    """Score what is still in hand; what has a score is `evaluated`, the rest is `generated` again."""
    with work.worker.store.transaction() as con:
        held = work.worker.held(con, prompt_ids)
        unscored = score(con, seats[0], [seat.judge.name for seat in seats[1:]], held)
        done = work.worker.settle(con, [key for key in held if key not in unscored], "evaluated")
        work.worker.settle(con, sorted(unscored), "generated")
    work.report.done += len(done)
    work.report.failures.update(unscored | {key: NOTHING_ASKED for key in unscored if key in empty})
