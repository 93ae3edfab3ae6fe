"""Generating: draw the images that prompts still lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from forgekit.errors import ItemError
from forgekit.models import ImageGenerator, at_once, load_model, load_stored_model, recorded_name
from forgekit.models.prompt_weights import APPLIED
from forgekit.models.roles import as_they_come
from forgekit.progress import StageReport, running
from forgekit.scene import not_applied
from forgekit.stages.calls import Calls, recorded_calls
from forgekit.stages.keeping import copies_not_asked, send_copies
from forgekit.stages.situations import DECISIONS
from forgekit.stages.wanted import Drawn, Seeds, Wanted, checked_drawing, wanted_images
from forgekit.store import Store
from forgekit.store.arguments import whole
from forgekit.store.claims import Worker, working
from forgekit.store.images import fetched_file, write_image
from forgekit.store.names import check_experiment
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
select
    *,
    coalesce(len(decisions), 0) as round,
    decisions[-1] as learning_id,
    (select l.actions ->> '$.decision' from prompt_learnings l where l.id = decisions[-1]) as decision
from (
    select p.*, ({DECISIONS}) as decisions
    from prompts p
    where p.id in (select unnest($ids::uuid[]))
)
order by created_at, id
"""

# The pictures that exist already, whichever prompt they are of, and all images that each of them is.
DRAWN = """
select
    generation_metadata ->> '$.draw_key' as draw_key,
    list(id::varchar) as ids,
    arg_min(image_path, id) as image_path,
    json_merge_patch(arg_min(generation_metadata, id), '{"directives_not_applied": null}') as metadata
from generated_images
where generation_metadata ->> '$.draw_key' in (select unnest($keys::varchar[]))
group by all
"""
NOT_APPLIED, UNFOLLOWED = "parameters_not_applied", "directives_not_applied"


def generate_images(
    store: Store,
    *,
    images_per_prompt: int | None = None,
    seeds: Sequence[int] | None = None,
    image_generator: ImageGenerator | str | None = None,
    experiment: str | None = None,
    images_per_batch: int = 32,
) -> StageReport:
    """Draw images for each prompt that is due, and leave it `generated`.

    Image i of a prompt has a seed made from its scene, `base_parameters["seed"]` and i: the versions of
    a scene share their seeds, so they compare pair by pair. Or all prompts are drawn with the `seeds` given, but for
    those that the refiner wants on fresh ones, which are named in the report. What is stored is never drawn again, also
    not for a second prompt that asks for the same picture. A prompt that did not get all its images
    keeps those it got and stays `generating`; the others are tried again on the next call.

    Whatever a generator raises or returns in the place of drawings is the failure of the prompts it was
    asked about, with its traceback in `api_logs`; the others go on.

    Args:
        images_per_prompt: how many there are to be of each version, those that are stored among them; 4 where not given,
            or one for each of `seeds`.
        seeds: the exact seeds to draw with, such as 1,2,3.
        image_generator: draws only the prompts whose `model` is its name or address; where not given, all, each with its own.
        experiment: only the prompts of this one; all where not given.
        images_per_batch: how many are drawn between two commits; what a killed process loses at most. With a pool,
            times its workers.

    Raises:
        UnknownModelError: `image_generator` names no model.
        ParameterError: an experiment that has no prompts, `images_per_prompt` or `images_per_batch` is no number from 1 on, or
            `seeds` are none, twice the same, or not as many as `images_per_prompt`.
    """
    check_experiment(store, experiment)
    chosen = Seeds.of(images_per_prompt, seeds)
    images_per_batch = whole("images_per_batch", images_per_batch)
    models = _given(image_generator) if image_generator is not None else {}
    filters = {"experiment": experiment, "models": list(models) or None}
    prompts_per_batch = max(1, images_per_batch // chosen.number)
    attempted: list[str] = []
    due = len(store.df(DUE, attempted=attempted, **filters))
    with working(store) as worker, running("generate", total=due, unit="prompt") as (report, bar):
        while prompts := worker.claim_rows(
            DUE,
            IN_HAND,
            to="generating",
            limit=prompts_per_batch * max(map(at_once, models.values()), default=1),
            attempted=attempted,
            **filters,
        ):
            attempted += [prompt["id"] for prompt in prompts]
            for name in sorted({prompt["model"] for prompt in prompts}):
                with recorded_calls(store, "generate") as calls:
                    own = [prompt for prompt in prompts if prompt["model"] == name]
                    rows, failures = _drawn(worker, calls, models, own, chosen)
                    _commit(worker, report, calls, [prompt["id"] for prompt in own], rows, failures)
            send_copies(store, report)
            bar.update(len(prompts))
        send_copies(store, report)  # of earlier calls
    report.notes += copies_not_asked(store)
    return report


def _given(image_generator: ImageGenerator | str) -> dict[str, ImageGenerator]:
    """Return the generator under all names that prompts may have for it: a folder's is its path, and what it is called."""
    given = load_model("image_generator", image_generator)
    named = [recorded_name("image_generator", image_generator)] if isinstance(image_generator, str) else []
    return dict.fromkeys([given.name, *named], given)


def _drawn(
    worker: Worker,
    calls: Calls,
    models: dict[str, ImageGenerator],
    prompts: Sequence[Mapping[str, Any]],
    seeds: Seeds,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Draw and write what these prompts of one model lack: the rows of the images, and why prompts lack some still."""
    name, store = prompts[0]["model"], worker.store
    if name not in models:
        load = partial(load_stored_model, within=store.folder)
        loaded = calls.attempt(name, {"model": name}, load, "image_generator", name)
        if isinstance(loaded, ItemError):  # this model cannot work at all; the prompts of others go on
            return [], {prompt["id"]: loaded.reason for prompt in prompts}
        models[name] = loaded
    rows, failures, wanted = [], {}, []
    for prompt in prompts:
        asked = {"prompt_id": prompt["id"]}
        plan = calls.attempt(name, asked, wanted_images, models[name], prompt, seeds, [store.folder])
        if isinstance(plan, ItemError):
            failures[prompt["id"]] = plan.reason
        else:
            wanted += plan
    there = {row["draw_key"]: row for row in store.rows(DRAWN, keys=[image.draw_key for image in wanted])}
    missing = [image for image in wanted if image.image_id not in there.get(image.draw_key, {}).get("ids", ())]
    pictures = _pictures(worker, calls, models[name], missing, there)
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
    worker: Worker,
    calls: Calls,
    model: ImageGenerator,
    missing: Sequence[Wanted],
    there: Mapping[str, Mapping[str, Any]],
) -> dict[str, Drawn | ItemError]:
    """Return the pictures by draw key: those that are `there` (rows of DRAWN), the others drawn."""
    pictures: dict[str, Drawn | ItemError] = {}
    for key in there.keys() & {image.draw_key for image in missing}:
        file = fetched_file(worker.store.folder, there[key]["image_path"])
        if isinstance(file, Path):
            pictures[key] = Drawn(file.read_bytes(), there[key]["metadata"], there[key]["image_path"])
    to_draw = list({image.draw_key: image for image in missing if image.draw_key not in pictures}.values())
    if to_draw:
        drawn = calls.ask(
            model.name,
            to_draw,
            lambda images: as_they_come(model, "draw")([image.request for image in images]),
            check=checked_drawing,
            request=_described,
            counted="images",
            keep=partial(_keep, worker),
        )
        pictures |= {image.draw_key: picture for image, picture in zip(to_draw, drawn, strict=True)}
    return pictures


def _keep(worker: Worker, drawn: Sequence[tuple[Wanted, Drawn]]) -> None:
    """Store pictures as they come, of prompts still in hand: a process that is killed loses those in flight only."""
    rows = [_written(worker.store, image, picture) for image, picture in drawn]
    with worker.store.transaction() as con:
        held = set(worker.held(con, [row["prompt_id"] for row in rows]))
        insert_rows(con, "generated_images", [row for row in rows if row["prompt_id"] in held])


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


def _written(store: Store, image: Wanted, picture: Drawn) -> dict[str, Any]:
    """Write the file of an image, and return its row. It says what of the prompt's syntax and parameters was not followed."""
    metadata = dict(picture.metadata)
    told = metadata.pop(NOT_APPLIED, {})  # what a generator left out as it drew, or what another prompt had left out
    left_out = {
        UNFOLLOWED: not_applied(image.prompt["directives"], metadata.get(APPLIED, ())),
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
        done = [key for key in prompt_ids if key in held and key not in failures]
        worker.store.move_prompts(con, done, "generated")
        worker.release(con, prompt_ids)
    calls.rows.clear()
    report.done += len(done)
    report.failures.update({key: reason for key, reason in failures.items() if key in held})
    report.count("images", len(kept))
    unfollowed = {row["prompt_id"]: row["generation_metadata"].get(UNFOLLOWED, {}) for row in kept}
    for kind, written in (each for found in unfollowed.values() for each in found.items()):
        report.count(f"{kind} not applied", len(written))
    for name, reason in (each for row in kept for each in row["generation_metadata"].get(NOT_APPLIED, {}).items()):
        report.count(f"{name} not applied ({reason}): images")
