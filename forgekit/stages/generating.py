"""BatchGenerator: draw the images that prompts still lack."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgekit.claims import Worker, working
from forgekit.errors import ForgekitError, ItemError, ParameterError
from forgekit.ids import content_hash, content_id
from forgekit.images import encode_png, stored_file, write_image
from forgekit.models import DrawRequest, ImageGenerator, load_model, load_stored_model
from forgekit.rows import insert_rows
from forgekit.stages.report import StageReport, recorded_call, running
from forgekit.store import Store

# Prompts left in `generating` by a worker that died are due again; their stored images are not drawn twice.
DUE = """
select id
from prompts
where status in ('completed', 'needs_refinement', 'generating')
  and ($experiment is null or experiment = $experiment)
  and ($model is null or model = $model)
  and id not in (select unnest($attempted::uuid[]))
order by created_at, id
"""

IN_HAND = """
select id, scene_hash, model, prompt_text, base_parameters
from prompts
where id in (select unnest($ids::uuid[]))
order by created_at, id
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


@dataclass(frozen=True)
class Wanted:
    """One image that a prompt is to have. `draw_key` hashes everything that determines its pixels."""

    prompt_id: str
    request: DrawRequest
    draw_key: str

    @property
    def image_id(self) -> str:
        """The id that this image gets in whatever process draws it."""
        return content_id("image", prompt=self.prompt_id, seed=self.request.seed, draw_key=self.draw_key)


@dataclass(frozen=True)
class Picture:
    """PNG bytes that exist already or were just drawn; `path` once they are stored."""

    png: bytes
    metadata: dict[str, Any]
    path: str | None = None


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
    not for a second prompt that asks for the same picture. Prompts of which no image could be drawn
    stay `generating` and are tried again on the next call.

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
    prompts_per_batch = max(1, images_per_batch // images_per_prompt)
    attempted: list[str] = []
    due = len(store.df(DUE, attempted=attempted, **filters))
    with working(store) as worker, running("generate", total=due, unit="prompt") as (report, bar):
        while ids := worker.claim(DUE, to="generating", limit=prompts_per_batch, attempted=attempted, **filters):
            attempted += ids
            prompts = store.rows(IN_HAND, ids=ids)
            for name in sorted({prompt["model"] for prompt in prompts}):
                try:
                    model = given or load_stored_model("image_generator", name, within=store.folder)
                    _generate(worker, report, model, [p for p in prompts if p["model"] == name], images_per_prompt)
                except ForgekitError as error:  # this model cannot work at all; the prompts of others go on
                    report.failures.update({p["id"]: str(error) for p in prompts if p["model"] == name})
            bar.update(len(ids))
    return report


def image_seed(scene_hash: str, seed: int, index: int) -> int:
    """Return the seed of image `index` of a scene: in [0, 2**31), the same for every version and batch size."""
    return int(hashlib.sha256(f"{scene_hash}/{seed}/{index}".encode()).hexdigest()[:8], 16) >> 1


def _generate(
    worker: Worker,
    report: StageReport,
    model: ImageGenerator,
    prompts: Sequence[dict[str, Any]],
    images_per_prompt: int,
) -> None:
    """Draw, write and commit what these prompts lack."""
    store = worker.store
    wanted = [image for prompt in prompts for image in _wanted_images(model, prompt, images_per_prompt)]
    stored = {row["id"] for row in store.rows(STORED, ids=[image.image_id for image in wanted])}
    missing = [image for image in wanted if image.image_id not in stored]
    pictures: dict[str, Picture | ItemError] = dict(_drawn_before(store, [image.draw_key for image in missing]))
    to_draw = list({image.draw_key: image for image in missing if image.draw_key not in pictures}.values())
    calls = []
    if to_draw:
        with recorded_call("generate", model.name, _described(to_draw)) as call:
            drawings = model.draw([image.request for image in to_draw])
            call.errors += sorted({drawing.reason for drawing in drawings if isinstance(drawing, ItemError)})
            call.response = {"images": sum(not isinstance(drawing, ItemError) for drawing in drawings)}
        calls.append(call.row())
        for image, drawing in zip(to_draw, drawings, strict=True):
            if isinstance(drawing, ItemError):
                pictures[image.draw_key] = drawing
                continue
            metadata = {**drawing.metadata, "prompt": image.request.prompt, "draw_key": image.draw_key}
            pictures[image.draw_key] = Picture(encode_png(drawing.image, metadata), metadata)

    rows, failures = [], {}
    for image in missing:
        picture = pictures[image.draw_key]
        if isinstance(picture, ItemError):
            failures[image.prompt_id] = picture.reason
            continue
        path = write_image(store.folder, image.image_id, picture.png, same_as=picture.path)
        rows.append(
            {
                "id": image.image_id,
                "prompt_id": image.prompt_id,
                "image_path": path,
                "generation_metadata": picture.metadata,
            }
        )
    have_images = {row["prompt_id"] for row in rows} | {i.prompt_id for i in wanted if i.image_id in stored}
    with store.transaction() as con:
        insert_rows(con, "generated_images", rows)
        insert_rows(con, "api_logs", calls)
        worker.settle(con, sorted(have_images), "generated")
    report.done += len(have_images)
    report.failures.update(failures)
    report.count("images", len(rows))


def _wanted_images(model: ImageGenerator, prompt: dict[str, Any], images_per_prompt: int) -> list[Wanted]:
    parameters = {**model.default_parameters(), **prompt["base_parameters"]}
    seed = parameters.pop("seed", 0)
    wanted = []
    for index in range(images_per_prompt):
        request = DrawRequest(prompt["prompt_text"], image_seed(prompt["scene_hash"], seed, index), parameters)
        key = content_hash([model.name, model.describe(), request.prompt, request.seed, parameters])
        wanted.append(Wanted(prompt["id"], request, key))
    return wanted


def _drawn_before(store: Store, draw_keys: Sequence[str]) -> dict[str, Picture]:
    drawn = {}
    for row in store.rows(DRAWN, keys=list(draw_keys)):
        file = stored_file(store.folder, row["image_path"])
        if isinstance(file, Path) and file.exists():
            drawn[row["draw_key"]] = Picture(file.read_bytes(), row["metadata"], row["image_path"])
    return drawn


def _described(images: Sequence[Wanted]) -> dict[str, Any]:
    return {
        "requests": [
            {"prompt_id": image.prompt_id, "prompt": image.request.prompt, "seed": image.request.seed}
            for image in images
        ],
        "parameters": dict(images[0].request.parameters),
    }
