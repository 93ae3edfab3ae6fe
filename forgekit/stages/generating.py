"""Generating: draw the images that prompts still lack."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from forgekit.errors import ItemError, ParameterError
from forgekit.ids import canonical_json
from forgekit.models import Drawing, ImageGenerator, at_once, load_model, load_stored_model, recorded_name
from forgekit.progress import StageReport, running
from forgekit.scene import not_applied
from forgekit.stages.calls import Calls, recorded_calls
from forgekit.stages.situations import DECISIONS
from forgekit.stages.wanted import Wanted, wanted_images
from forgekit.store import Store
from forgekit.store.claims import Worker, working
from forgekit.store.images import encode_png, stored_file, write_image
from forgekit.store.rows import insert_rows

# Prompts left in `generating`, by a worker that died or because an image failed, are due again; their stored images
# are not drawn twice.
DUE = """
select id
from prompts
where status in ('completed', 'needs_refinement', 'generating')
  and ($experiment is null or experiment = $experiment)
  and ($models::varchar[] is null or list_contains($models::varchar[], model))
  and id not in (select unnest($attempted::uuid[]))
order by created_at, id
"""

# With the number of decisions about the scene, in this arm, that came before, and the last one: it caused the drawing.
IN_HAND = f"""
select *, coalesce(len(decisions), 0) as round, decisions[-1] as learning_id
from (
    select p.*, ({DECISIONS}) as decisions
    from prompts p
    where p.id in (select unnest($ids::uuid[]))
)
order by created_at, id
"""

STORED = "select id from generated_images where id in (select unnest($ids::uuid[]))"

DRAWN = """
select
    generation_metadata ->> '$.draw_key' as draw_key,
    arg_min(image_path, id) as image_path,
    json_merge_patch(arg_min(generation_metadata, id), '{"directives_not_applied": null}') as metadata
from generated_images
where generation_metadata ->> '$.draw_key' in (select unnest($keys::varchar[]))
group by all
"""
NOT_APPLIED = "parameters_not_applied"


@dataclass(frozen=True)
class Drawn:
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
    not for a second prompt that asks for the same picture. A prompt that did not get all its images
    keeps those it got and stays `generating`; the others are tried again on the next call.

    Whatever a generator raises or returns in the place of drawings is the failure of the prompts it was
    asked about, with its traceback in `api_logs`; the others go on.

    Args:
        image_generator: draws only the prompts whose `model` is its name or address; None draws each with its own model.
        images_per_batch: how many are drawn between two commits; what a killed process loses at most. With a pool,
            times its workers.

    Raises:
        UnknownModelError: `image_generator` names no model.
        ParameterError: `images_per_prompt` or `images_per_batch` is below 1.
    """
    if min(images_per_prompt, images_per_batch) < 1:
        raise ParameterError(
            f"images_per_prompt={images_per_prompt}, images_per_batch={images_per_batch}: both must be 1 or more"
        )
    models = _given(image_generator) if image_generator is not None else {}
    filters = {"experiment": experiment, "models": list(models) or None}
    prompts_per_batch = max(1, images_per_batch // images_per_prompt)
    attempted: list[str] = []
    due = len(store.df(DUE, attempted=attempted, **filters))
    with working(store) as worker, running("generate", total=due, unit="prompt") as (report, bar):
        while ids := worker.claim(
            DUE,
            to="generating",
            limit=prompts_per_batch * max(map(at_once, models.values()), default=1),
            attempted=attempted,
            **filters,
        ):
            attempted += ids
            prompts = store.rows(IN_HAND, ids=ids)
            for kind, written in (left for prompt in prompts for left in not_applied(prompt["directives"]).items()):
                report.count(f"{kind} not applied", len(written))
            for name in sorted({prompt["model"] for prompt in prompts}):
                with recorded_calls(store, "generate") as calls:
                    own = [prompt for prompt in prompts if prompt["model"] == name]
                    rows, failures = _drawn(store, calls, models, own, images_per_prompt)
                    _commit(worker, report, calls, [prompt["id"] for prompt in own], rows, failures)
            bar.update(len(ids))
    return report


def _given(image_generator: ImageGenerator | str) -> dict[str, ImageGenerator]:
    """Return the generator under all names that prompts may have for it: a folder's is its path, and what it is called."""
    given = load_model("image_generator", image_generator)
    named = [recorded_name("image_generator", image_generator)] if isinstance(image_generator, str) else []
    return dict.fromkeys([given.name, *named], given)


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
        load = partial(load_stored_model, within=store.folder)
        loaded = calls.attempt(name, {"model": name}, load, "image_generator", name)
        if isinstance(loaded, ItemError):  # this model cannot work at all; the prompts of others go on
            return [], {prompt["id"]: loaded.reason for prompt in prompts}
        models[name] = loaded
    rows, failures, wanted = [], {}, []
    for prompt in prompts:
        plan = calls.attempt(name, {"prompt_id": prompt["id"]}, wanted_images, models[name], prompt, images_per_prompt)
        if isinstance(plan, ItemError):
            failures[prompt["id"]] = plan.reason
        else:
            wanted += plan
    stored = {row["id"] for row in store.rows(STORED, ids=[image.image_id for image in wanted])}
    missing = [image for image in wanted if image.image_id not in stored]
    pictures = _pictures(store, calls, models[name], missing)
    for image in missing:
        made: Any = pictures[image.draw_key]
        if isinstance(made, Drawn):
            request = {"prompt_id": image.prompt_id, "image": image.image_id}
            made = calls.attempt("files", request, _written, store, image, made)
        if isinstance(made, ItemError):
            failures.setdefault(image.prompt_id, made.reason)
        else:
            rows.append(made)
    return rows, failures


def _pictures(
    store: Store, calls: Calls, model: ImageGenerator, missing: Sequence[Wanted]
) -> dict[str, Drawn | ItemError]:
    """Return the pictures by draw key: those that some prompt has already, the others drawn."""
    pictures: dict[str, Drawn | ItemError] = {}
    for row in store.rows(DRAWN, keys=[image.draw_key for image in missing]):
        file = stored_file(store.folder, row["image_path"])
        if isinstance(file, Path) and file.exists():
            pictures[row["draw_key"]] = Drawn(file.read_bytes(), row["metadata"], row["image_path"])
    to_draw = list({image.draw_key: image for image in missing if image.draw_key not in pictures}.values())
    if to_draw:
        drawn = calls.ask(
            model.name,
            to_draw,
            lambda images: model.draw([image.request for image in images]),
            check=checked_drawing,
            request=_described,
            counted="images",
        )
        pictures |= {image.draw_key: picture for image, picture in zip(to_draw, drawn, strict=True)}
    return pictures


def _described(images: Sequence[Wanted]) -> dict[str, Any]:
    """Return the request of a call that draws `images`, as it is logged."""
    return {
        "requests": [
            {"prompt_id": image.prompt_id, "prompt": image.request.prompt, "seed": image.request.seed}
            | ({"learning_id": image.learning_id} if image.learning_id else {})
            for image in images
        ],
        "parameters": dict(images[0].request.parameters),
    }


def checked_drawing(wanted: Wanted, drawing: Any) -> Drawn | ItemError:
    """Return a generator's answer as PNG bytes that can be stored, or what is wrong with it.

    Raises:
        OSError: an image of a mode that PNG does not have, or whose own file is damaged.
    """
    import numpy as np
    from PIL.Image import Image

    if not isinstance(drawing, Drawing):
        return ItemError(f"the generator returned a {type(drawing).__name__}; it must return a Drawing or an ItemError")
    image = drawing.image
    if not isinstance(image, Image):
        return ItemError(f"the generator drew a {type(image).__name__}; a Drawing holds a PIL image")
    if 0 in image.size:
        return ItemError(f"the generator drew an image of {image.width}×{image.height} pixels")
    if image.mode == "F" and not np.isfinite(np.asarray(image)).all():  # the other modes hold whole numbers
        return ItemError("the generator gave pixels that are no numbers (nan or inf)")
    seed, prompt = wanted.request.seed, wanted.request.prompt
    metadata = {"seed": seed, **drawing.metadata, "prompt": prompt, "draw_key": wanted.draw_key}
    try:
        json.dumps(json.loads(canonical_json(metadata)), allow_nan=False)
    except ValueError:
        return ItemError("the metadata of the drawing hold a number that is none (nan or inf)")
    return Drawn(encode_png(image, metadata), metadata)


def _written(store: Store, image: Wanted, picture: Drawn) -> dict[str, Any]:
    """Write the file of an image, and return its row. It says what of the prompt's syntax and parameters was not followed."""
    metadata = dict(picture.metadata)
    told = metadata.pop(NOT_APPLIED, {})  # what a generator left out as it drew, or what another prompt had left out
    left_out = {
        "directives_not_applied": not_applied(image.prompt["directives"]),
        NOT_APPLIED: told if image.request.optional else image.left_out,
    }
    return {
        "id": image.image_id,
        "prompt_id": image.prompt_id,
        "image_path": write_image(store.folder, image.image_id, picture.png, same_as=picture.path),
        "generation_metadata": metadata | {name: found for name, found in left_out.items() if found},
        "round": image.prompt["round"],
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
    for name, reason in (each for row in kept for each in row["generation_metadata"].get(NOT_APPLIED, {}).items()):
        report.count(f"{name} not applied ({reason}): images")
