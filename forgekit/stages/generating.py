"""BatchGenerator: draw the images that prompts still lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forgekit.errors import ItemError, ParameterError
from forgekit.models import ImageGenerator, load_model, load_stored_model
from forgekit.progress import StageReport, running
from forgekit.stages.calls import Calls, recorded_calls
from forgekit.stages.drawings import Picture, Wanted, checked_drawing, described, image_seed, wanted_images
from forgekit.store import Store
from forgekit.store.claims import Worker, working
from forgekit.store.images import stored_file, write_image
from forgekit.store.rows import insert_rows

__all__ = ["generate_images", "image_seed"]

# Prompts left in `generating`, by a worker that died or because an image failed, are due again; their stored images
# are not drawn twice.
DUE = """
select id
from prompts
where status in ('completed', 'needs_refinement', 'generating')
  and ($experiment is null or experiment = $experiment)
  and ($model is null or model = $model)
  and id not in (select unnest($attempted::uuid[]))
order by created_at, id
"""

# With the number of decisions about the scene, in this arm, that came before, and the last one: it caused the drawing.
IN_HAND = """
with in_hand as (
    select *
    from prompts
    where id in (select unnest($ids::uuid[]))
),
decisions as (
    select q.scene_hash, q.experiment, q.model, count(*) as n, arg_max(l.id, (l.created_at, l.id)) as last_id
    from prompt_learnings l
    join prompts q on q.id = l.prompt_id
    where q.scene_hash in (select scene_hash from in_hand)
    group by all
)
select
    p.id, p.scene_hash, p.model, p.prompt_text, p.base_parameters,
    coalesce(d.n, 0) as round,
    d.last_id as learning_id
from in_hand p
left join decisions d using (scene_hash, experiment, model)
order by p.created_at, p.id
"""

STORED = "select id from generated_images where id in (select unnest($ids::uuid[]))"

DRAWN = """
select
    generation_metadata ->> '$.draw_key' as draw_key,
    arg_min(image_path, id) as image_path,
    arg_min(generation_metadata, id) as metadata
from generated_images
where generation_metadata ->> '$.draw_key' in (select unnest($keys::varchar[]))
group by all
"""


def generate_images(
    store: Store,
    *,
    images_per_prompt: int = 4,
    image_generator: ImageGenerator | str | None = None,
    experiment: str | None = None,
    images_per_batch: int = 32,
) -> StageReport:
    """Draw `images_per_prompt` images for each prompt that is due, and leave it `generated`.

    Image i of a prompt has a seed made from its scene, `base_parameters["seed"]` and i: the versions of
    a scene share their seeds, so they compare pair by pair. What is stored is never drawn again, also
    not for a second prompt that asks for the same picture. A prompt that did not get all its images
    keeps those it got and stays `generating`; the others are tried again on the next call.

    Whatever a generator raises or returns in the place of drawings is the failure of the prompts it was
    asked about, with its traceback in `api_logs`; the others go on.

    Args:
        image_generator: draws only the prompts whose `model` has its name; None draws each with its own model.
        images_per_batch: how many are drawn between two commits; what a killed process loses at most.

    Raises:
        UnknownModelError: `image_generator` names no model.
        ParameterError: `images_per_prompt` or `images_per_batch` is below 1.
    """
    if min(images_per_prompt, images_per_batch) < 1:
        raise ParameterError(
            f"images_per_prompt={images_per_prompt}, images_per_batch={images_per_batch}: both must be 1 or more"
        )
    given = load_model("image_generator", image_generator) if image_generator is not None else None
    filters = {"experiment": experiment, "model": given.name if given else None}
    models = {given.name: given} if given else {}
    prompts_per_batch = max(1, images_per_batch // images_per_prompt)
    attempted: list[str] = []
    due = len(store.df(DUE, attempted=attempted, **filters))
    with working(store) as worker, running("generate", total=due, unit="prompt") as (report, bar):
        while ids := worker.claim(DUE, to="generating", limit=prompts_per_batch, attempted=attempted, **filters):
            attempted += ids
            prompts = store.rows(IN_HAND, ids=ids)
            for name in sorted({prompt["model"] for prompt in prompts}):
                with recorded_calls(store, "generate") as calls:
                    own = [prompt for prompt in prompts if prompt["model"] == name]
                    rows, failures = _drawn(store, calls, models, own, images_per_prompt)
                    _commit(worker, report, calls, [prompt["id"] for prompt in own], rows, failures)
            bar.update(len(ids))
    return report


def _drawn(
    store: Store,
    calls: Calls,
    models: dict[str, ImageGenerator],
    prompts: Sequence[Mapping[str, Any]],
    images_per_prompt: int,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Draw and write what these prompts of one model lack: the rows of the images, and why prompts lack some still."""
    name = prompts[0]["model"]
    if name not in models:
        loaded = calls.make(
            name,
            {"model": name},
            lambda _: load_stored_model("image_generator", name, within=store.folder),
            log_success=False,
        )
        if isinstance(loaded, ItemError):  # this model cannot work at all; the prompts of others go on
            return [], {prompt["id"]: loaded.reason for prompt in prompts}
        models[name] = loaded
    model = models[name]
    rows, failures, wanted = [], {}, []
    for prompt in prompts:
        request = {"prompt_id": prompt["id"]}
        plan = calls.make(
            name, request, lambda _, p=prompt: wanted_images(model, p, images_per_prompt), log_success=False
        )
        if isinstance(plan, ItemError):
            failures[prompt["id"]] = plan.reason
        else:
            wanted += plan
    stored = {row["id"] for row in store.rows(STORED, ids=[image.image_id for image in wanted])}
    missing = [image for image in wanted if image.image_id not in stored]
    pictures = _pictures(store, calls, model, missing)
    for image in missing:
        picture = pictures[image.draw_key]
        path = picture if isinstance(picture, ItemError) else _written(store, calls, image, picture)
        if isinstance(path, ItemError):
            failures.setdefault(image.prompt_id, path.reason)
        else:
            rows.append(_row(image, path, picture.metadata))
    return rows, failures


def _pictures(
    store: Store, calls: Calls, model: ImageGenerator, missing: Sequence[Wanted]
) -> dict[str, Picture | ItemError]:
    """Return the pictures by draw key: those that some prompt has already, the others drawn."""
    pictures: dict[str, Picture | ItemError] = dict(_drawn_before(store, [image.draw_key for image in missing]))
    to_draw = list({image.draw_key: image for image in missing if image.draw_key not in pictures}.values())
    if to_draw:
        drawn = calls.ask(
            model.name,
            to_draw,
            lambda images: model.draw([image.request for image in images]),
            check=checked_drawing,
            request=described,
            counted="images",
        )
        pictures |= {image.draw_key: picture for image, picture in zip(to_draw, drawn, strict=True)}
    return pictures


def _drawn_before(store: Store, draw_keys: Sequence[str]) -> dict[str, Picture]:
    drawn = {}
    for row in store.rows(DRAWN, keys=list(draw_keys)):
        file = stored_file(store.folder, row["image_path"])
        if isinstance(file, Path) and file.exists():
            drawn[row["draw_key"]] = Picture(file.read_bytes(), row["metadata"], row["image_path"])
    return drawn


def _written(store: Store, calls: Calls, image: Wanted, picture: Picture) -> str | ItemError:
    """Write the file of an image; return its path, or why it cannot be written."""
    request = {"prompt_id": image.prompt_id, "image": image.image_id}
    return calls.make(
        "files",
        request,
        lambda _: write_image(store.folder, image.image_id, picture.png, same_as=picture.path),
        log_success=False,
    )


def _row(image: Wanted, path: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": image.image_id,
        "prompt_id": image.prompt_id,
        "image_path": path,
        "generation_metadata": metadata,
        "round": image.round,
        "image_index": image.index,
    }


def _commit(
    worker: Worker,
    report: StageReport,
    calls: Calls,
    prompt_ids: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    failures: Mapping[str, str],
) -> None:
    """Store what was drawn for prompts that are still in hand; those that have all their images are `generated`."""
    with worker.store.transaction() as con:
        held = set(worker.held(con, prompt_ids))
        kept = [row for row in rows if row["prompt_id"] in held]
        insert_rows(con, "generated_images", kept)
        insert_rows(con, "api_logs", calls.rows)
        done = worker.settle(con, [key for key in prompt_ids if key not in failures], "generated")
        worker.release(con, prompt_ids)
    calls.rows.clear()
    report.done += len(done)
    report.failures.update({key: reason for key, reason in failures.items() if key in held})
    report.count("images", len(kept))
