"""ImageEvaluater: have vision models judge images against the elements of their scenes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from forgekit.errors import ForgekitError, ItemError, ParameterError
from forgekit.ids import content_id
from forgekit.images import read_image
from forgekit.models import Judgement, VisionModel, load_model
from forgekit.scene import Element, Scene, list_elements, parse
from forgekit.stages.report import StageReport, recorded_call, running
from forgekit.store import Store, insert_rows

# Prompts left in `evaluating` by a worker that died are due again; their stored verdicts stand.
DUE = """
select id
from prompts
where status in ('generated', 'evaluating')
  and ($experiment is null or experiment = $experiment)
  and id not in (select unnest($attempted::uuid[]))
order by created_at, id
"""

# Verdicts that failed (error is not null) are asked for again.
UNJUDGED = """
select i.id as image_id, i.image_path, p.id as prompt_id, p.scene_hash, s.scene_text, s.elements
from generated_images i
join prompts p on p.id = i.prompt_id
join scenes s on s.scene_hash = p.scene_hash
where p.id in (select unnest($ids::uuid[]))
  and not exists (
      from image_evaluations e
      where e.image_id = i.id
        and e.vision_model = $vision_model
        and e.judge_key = $judge_key
        and e.error is null
  )
order by p.created_at, p.id, i.created_at, i.id
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

# What the steering judge says becomes the image's and the prompt's score. Null where a verdict is missing.
SCORE_IMAGES = """
update generated_images
set adherence_score = s.soft_tifa_gm,
    is_adhering = s.soft_tifa_gm >= $adhering_at,
    evaluation_details = json_object(
        'vision_model', s.vision_model, 'judge_key', s.judge_key, 'evaluation_id', s.evaluation_id,
        'soft_tifa_am', s.soft_tifa_am, 'soft_tifa_gm', s.soft_tifa_gm
    )
from image_scores s
where s.image_id = generated_images.id
  and s.vision_model = $vision_model
  and s.judge_key = $judge_key
  and s.prompt_id in (select unnest($ids::uuid[]))
"""

SCORE_PROMPTS = """
update prompts
set current_score = scored.mean_score, best_image_id = scored.best_image_id
from (
    select prompt_id, avg(adherence_score) as mean_score, arg_max(id, adherence_score) as best_image_id
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

    The first model steers: `adherence_score` of an image is the geometric mean of its element
    probabilities, `current_score` of a prompt the mean over its images. The others only watch. A
    verdict is stored once per (image, vision model, judge key). An image or a verdict that fails is
    stored as null with its reason, and asked for again when the prompt comes up again.

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
    with running("evaluate", total=due + len(past), unit="prompt") as (report, bar):
        while ids := store.claim(
            DUE, to="evaluating", limit=prompts_per_batch, experiment=experiment, attempted=attempted
        ):
            attempted += ids
            for judge in judges:
                _judge(store, report, judge, ids)
            _finish(store, judges[0], ids)
            report.done += len(ids)
            bar.update(len(ids))
        for start in range(0, len(past), prompts_per_batch):
            ids = past[start : start + prompts_per_batch]
            for judge in judges:
                _judge(store, report, judge, ids)
            bar.update(len(ids))
    return report


def _judge(store: Store, report: StageReport, judge: VisionModel, prompt_ids: Sequence[str]) -> None:
    """Judge what this judge has not judged of these prompts, and commit the verdicts."""
    try:
        key = judge.judge_key
    except ForgekitError as error:  # no weights, bad settings: the other judges go on
        report.failures[judge.name] = str(error)
        return
    images = store.rows(UNJUDGED, ids=list(prompt_ids), vision_model=judge.name, judge_key=key)
    if not images:
        return
    verdicts: dict[str, Judgement | ItemError] = {}
    readable = []
    for row in images:
        picture = read_image(store.folder, row["image_path"])
        if isinstance(picture, ItemError):
            verdicts[row["image_id"]] = picture
        else:
            readable.append((row, picture))
    scenes = {
        row["scene_hash"]: Scene(row["scene_text"], row["elements"] or parse(row["scene_text"])) for row in images
    }
    with recorded_call("evaluate", judge.name, {"images": [row["image_id"] for row, _ in readable]}) as call:
        try:
            judged = judge.judge(
                [picture for _, picture in readable], [scenes[row["scene_hash"]] for row, _ in readable]
            )
        except ForgekitError as error:
            judged = [ItemError(str(error))] * len(readable)
        call.errors += sorted({verdict.reason for verdict in judged if isinstance(verdict, ItemError)})
        call.response = {"judged": sum(isinstance(verdict, Judgement) for verdict in judged)}
    verdicts.update(zip((row["image_id"] for row, _ in readable), judged, strict=True))
    rows = [
        _evaluation_row(row, scenes[row["scene_hash"]], judge.name, key, verdicts[row["image_id"]]) for row in images
    ]
    with store.transaction() as con:
        # A failed verdict makes way for the new one.
        con.execute(
            "delete from image_evaluations where id in (select unnest($ids::uuid[]))", {"ids": [r["id"] for r in rows]}
        )
        insert_rows(con, "image_evaluations", rows)
        con.execute(SCORE_VERDICTS, {"ids": [r["id"] for r in rows]})
        insert_rows(con, "api_logs", [call.row()])
    report.count(f"verdicts of {judge.name}", sum(row["error"] is None for row in rows))
    report.failures.update({f"image {row['image_id']} by {judge.name}": row["error"] for row in rows if row["error"]})


def _finish(store: Store, objective: VisionModel, prompt_ids: Sequence[str]) -> None:
    with store.transaction() as con:
        try:
            steering = {"vision_model": objective.name, "judge_key": objective.judge_key}
            con.execute(SCORE_IMAGES, {**steering, "adhering_at": objective.adhering_at, "ids": list(prompt_ids)})
        except ForgekitError:  # reported by _judge: without a verdict the scores stay null
            pass
        con.execute(SCORE_PROMPTS, {"ids": list(prompt_ids)})
        store.move_prompts(con, prompt_ids, "evaluated")


def _evaluation_row(
    image: Mapping[str, Any], scene: Scene, vision_model: str, judge_key: str, verdict: Judgement | ItemError
) -> dict[str, Any]:
    row = {
        "id": content_id("evaluation", image=image["image_id"], vision_model=vision_model, judge_key=judge_key),
        **{key: image[key] for key in ("image_id", "prompt_id", "scene_hash")},
        "vision_model": vision_model,
        "judge_key": judge_key,
        "model_output": None,
        "adherence_analysis": None,
        "element_scores": None,
        "error": None,
    }
    if isinstance(verdict, ItemError):
        return {**row, "error": verdict.reason}
    elements = list_elements(scene.elements)
    return {
        **row,
        "element_scores": dict(verdict.element_scores),
        "model_output": {
            "description": verdict.description,
            "confidence_scores": _confidence(elements, verdict.element_scores),
            "detected_artifacts": list(verdict.detected_artifacts),
            "metrics": dict(verdict.metrics),
            "reasons": dict(verdict.reasons),
        },
        "adherence_analysis": {
            "text_match_score": verdict.text_match_score,
            "missing_elements": [e.phrase for e in elements if (verdict.element_scores.get(e.key) or 1.0) < 0.5],
            "unwanted_elements": list(verdict.unwanted_elements),
            "style_deviation": verdict.style_deviation,
        },
    }


def _confidence(elements: Sequence[Element], scores: Mapping[str, float | None]) -> dict[str, float | None]:
    """Mean probability of the seed's three groups; null where the scene asks for nothing of the group."""
    groups = {"object": "objects", "count": "objects", "color": "colors", "relation": "spatial"}
    members = defaultdict(list)
    for element in elements:
        score = scores.get(element.key)
        if element.kind in groups and score is not None:
            members[groups[element.kind]].append(score)
    return {name: sum(m) / len(m) if (m := members[name]) else None for name in ("objects", "colors", "spatial")}
