"""Redrawing: a picture drawn once more from what is recorded of it, into a file beside; the same bytes, or why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgekit.errors import ItemError, ParameterError, UnknownModelError
from forgekit.models import DrawRequest, ImageGenerator, load_model, load_stored_model
from forgekit.models.loras import refuse_strangers
from forgekit.models.roles import describe_request
from forgekit.scene import split_prompt
from forgekit.sources.pictures import own_record, prompt_of
from forgekit.stages.wanted import Wanted, checked_drawing, draw_key, is_seed
from forgekit.store import Store
from forgekit.store.images import IMAGES, fetched_file, open_image, write_whole
from forgekit.store.names import inside

RECORDED = """
select i.generation_metadata as made, i.image_path, p.model
from generated_images i
join prompts p on p.id = i.prompt_id
where cast(i.id as varchar) = $name or i.image_path in ($name, $path)
"""
NEEDED = ("prompt", "seed", "parameters")
OTHER_PROGRAM = "another program drew it, whose noise and samplers are its own"
ROUNDING = "sums are rounded otherwise in a batch of another size, or by another number of threads"


@dataclass(frozen=True)
class Redrawn:
    """A picture that was drawn again into `out`: the `same` to the last byte, or for what `reasons` not."""

    out: Path
    same: bool
    reasons: list[str]

    @property
    def failed(self) -> int:
        """1 where it is not the same."""
        return int(not self.same)

    def __str__(self) -> str:
        told = "the same bytes" if self.same else "not the same bytes"
        return "\n".join([f"redraw: {self.out}: {told}", *(f"  {reason}" for reason in self.reasons)])

    __repr__ = __str__


def redraw(
    picture: str | Path,
    *,
    out: str | Path | None = None,
    store: Store | None = None,
    image_generator: ImageGenerator | str | None = None,
) -> Redrawn:
    """Draw a picture again from what is recorded of it. Nothing in the store changes.

    On the same machine, with the same libraries and weights, it has the same bytes. Else the report says what of the record
    is another now (model, weights, device, precision, library versions), and how far the pixels are apart.

    Args:
        picture: a picture file that says how it was drawn; or an image of the store, by its id or path there.
        out: the file to write, which must not be there yet; NAME-again.png in the working folder where not given.
        image_generator: who draws, where the record names nobody who is here.

    Raises:
        ParameterError: there is no such picture, its record lacks what drawing takes, or `out` is there already.
        UnknownModelError: the model that drew it is not here.
    """
    file, record = _recorded(str(picture), store)
    if lacks := [name for name in NEEDED if record.get(name) is None]:
        raise ParameterError(f"{picture} cannot be drawn again: it does not say its {', its '.join(lacks)}")
    target = Path(out if out is not None else f"{file.stem}-again.png")
    if target.exists() or (store and inside(target, [store.folder / IMAGES])):
        raise ParameterError(f"out={str(target)!r} is there already, or lies among the store's images; give a new file")
    model = _model(picture, record, store, image_generator)
    refuse_strangers(record["parameters"], [store.folder] if store else [])
    request = DrawRequest(record["prompt"], record["seed"], record["parameters"])
    reasons = list(_differences(record, model, request))
    wanted = Wanted({}, 0, request, draw_key(model, request) if reasons else record["draw_key"])
    before = open_image(file, str(picture))
    content, apart, same = file.read_bytes(), "", False
    sizes = [record.get("batch") or 1, *([] if reasons else [1, getattr(model, "batch_size", 1)])]
    for together in dict.fromkeys(sizes):
        [drawing, *_] = model.draw([request] * together)
        drawn = drawing if isinstance(drawing, ItemError) else checked_drawing(wanted, drawing)
        if isinstance(drawn, ItemError):
            raise ParameterError(f"{picture} cannot be drawn again: {drawn.reason}")
        write_whole(target, drawn.png)
        apart, same = _apart(before, open_image(target, str(target))), drawn.png == content
        if same or not apart:
            break
    if not same and not reasons:
        reasons = [ROUNDING if apart else "what it says of itself is another, its pixels are the same"]
    return Redrawn(target, same, reasons + ([apart] if apart else []))


def _recorded(name: str, store: Store | None) -> tuple[Path, dict[str, Any]]:
    """Return the file of a picture, and what is known of its drawing: by the store, by itself."""
    path = Path(name)
    place = path.resolve().relative_to(store.folder) if store and inside(path, [store.folder]) else path
    rows = store.rows(RECORDED, name=name, path=place.as_posix()) if store else []
    file = fetched_file(store.folder, rows[0]["image_path"]) if store and rows else path
    if isinstance(file, ItemError):
        raise ParameterError(file.reason)
    if not file.is_file():
        where = "no file, and no image of the store" if store else "no file; give the store of an image's id or path"
        raise ParameterError(f"{name!r} is {where}")
    if rows and "draw_key" in rows[0]["made"]:
        return file, {"model": rows[0]["model"], **rows[0]["made"]}
    try:
        if "draw_key" in (own := own_record(file)):
            return file, own
    except ValueError as error:
        raise ParameterError(f"{name} cannot be drawn again: {error}") from error
    found = prompt_of(file)
    if isinstance(found, str):
        raise ParameterError(f"{name} cannot be drawn again: {found}")
    parameters = dict(found["parameters"])
    seed, words = parameters.pop("seed", None), split_prompt(found["text"]).words
    told = {"prompt": words, "seed": seed if is_seed(seed) else None, "parameters": parameters}
    return file, {"model": found["source"].get("model"), **told}


def _model(
    picture: str | Path, record: Mapping[str, Any], store: Store | None, given: ImageGenerator | str | None
) -> ImageGenerator:
    if given is not None:
        return load_model("image_generator", given)
    name = record.get("model")
    if not isinstance(name, str):
        raise ParameterError(f"{picture} does not say which model drew it; give image_generator=")
    try:
        return load_stored_model("image_generator", name, within=store.folder if store else None)
    except UnknownModelError as error:
        raise UnknownModelError(f"{picture} was drawn by {name!r}: {error}; or give image_generator=") from error


def _differences(record: Mapping[str, Any], model: ImageGenerator, request: DrawRequest) -> Iterator[str]:
    """Yield what tells the drawing recorded from one that is made now."""
    if "draw_key" not in record:
        yield OTHER_PROGRAM
        return
    described = {"model": model.name, **model.describe(), **describe_request(model, request.parameters)}
    for name, now in described.items():
        then = record.get(name, now if name == "model" else None)
        parts = {name: (then, now)}
        if isinstance(then, dict) and isinstance(now, dict):
            parts = {f"{name} of {part}": (then.get(part), now.get(part)) for part in {**then, **now}}
        yield from (f"{what}: {old} then, {new} now" for what, (old, new) in parts.items() if old != new)


def _apart(before: Any, after: Any) -> str:
    """Return how far the pixels of two pictures are apart; "" where they are the same."""
    import numpy as np

    if isinstance(before, ItemError) or before.size != after.size:
        return f"a picture of {after.width}×{after.height} pixels"
    distance = np.abs(np.asarray(before).astype(int) - np.asarray(after))
    told = f"{(distance > 0).sum():,} of {distance.size:,} values differ, by {distance.max()} of 255 at most"
    return told if distance.any() else ""
