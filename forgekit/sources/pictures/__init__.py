"""Pictures that carry the prompt they were drawn from: A1111, ComfyUI, SwarmUI, Fooocus, InvokeAI, NovelAI, Draw Things, ours, …

What a picture says is data. Its text, negative prompt and numbers become a prompt; its checkpoint, LoRAs and sampler are
kept in `scenes.source`, for what draws is the caller's to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forgekit.scene.syntax.parameters import BOUNDS, INTEGERS, key, known_as
from forgekit.sources.parameters import settings
from forgekit.sources.pictures.dialects import read_texts
from forgekit.sources.pictures.found import Found
from forgekit.sources.pictures.infotext import looks_so, read_infotext
from forgekit.sources.pictures.texts import ENDINGS, FORMATS, texts_of
from forgekit.sources.rows import BadRow, Notes, Row

__all__ = ["ENDINGS", "FORMATS", "own_record", "prompt_in", "prompt_of", "read_pictures"]

# What only programs that draw write; "Comment" any editor does.
ENOUGH = frozenset(
    {"parameters", "prompt", "workflow", "forgekit", "invokeai_metadata", "Generation time", "xmp:UserComment"}
)
DRAWN_BY = {"num_inference_steps", "guidance_scale", "true_cfg_scale", "seed", "width", "height"}
MOST = {name: most for name, (_, most) in BOUNDS.items() if name in INTEGERS}
DISTILLED = (
    "distilledcfgscale",
    "distilledguidance",
    "distilledguidancescale",
    "fluxguidance",
    "fluxguidancescale",
    "guidance",
)


def read_pictures(folder: Path, paths: list[Path], notes: Notes) -> Iterator[Row]:
    """Read the prompts of pictures, one row a file, in the order given. A file without a prompt is a bad row."""
    for number, path in enumerate(paths, 1):
        name = str(path.relative_to(folder)) if path != folder else path.name
        found = prompt_of(path, notes)
        if isinstance(found, str):
            yield BadRow(number, found, file=name)
        else:
            yield number, {"id": path.stem, "file": name, **found}


def prompt_of(path: Path, notes: Notes | None = None) -> dict[str, Any] | str:
    """Return what a picture carries, or the reason why there is nothing.

    That is "text", the "parameters" that draw it under diffusers' names, and the "source": model, LoRAs, sampler with
    its scheduler, and what could not be followed or used.
    """
    notes = Notes() if notes is None else notes
    try:
        found = read_texts(texts_of(path, ENOUGH))
    except ValueError as error:
        return str(error)
    for note in found.notes:
        notes.add("pictures that could not be followed in part", f"{path.name}: {note}")
    return _record(found, notes)


def own_record(path: Path) -> dict[str, Any]:
    """Return what forgekit itself wrote into a picture that it drew: its seed, parameters, model; {} where it did not.

    Raises:
        ValueError: it is no picture that can be read, too large a one, or says too much.
    """
    try:
        said = json.loads(texts_of(path, ENOUGH).get("forgekit", "{}"))
    except RecursionError as error:
        raise ValueError("its metadata nest too deeply") from error
    return said if isinstance(said, dict) else {}


def prompt_in(text: str, notes: Notes) -> dict[str, Any] | None:
    """Return what a text says that A1111 writes beside a picture, as `prompt_of`; None where it is none."""
    return _record(read_infotext(text), notes) if looks_so(text) else None


def _record(found: Found, notes: Notes) -> dict[str, Any]:
    parameters, source = (found.settings, {}) if found.own else _named(found, notes)
    source["model"] = found.model if isinstance(found.model, str) else None
    source |= {"loras": found.loras, "notes": found.notes}
    return {"text": found.text, "parameters": parameters, "source": {name: v for name, v in source.items() if v}}


def _named(found: Found, notes: Notes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters that any pipeline takes, under diffusers' names, and what else is known of the drawing."""
    said, rest = settings(_guided(found.settings), notes)
    parameters = {n: value for n, value in said.items() if n in DRAWN_BY and 0 <= value <= MOST.get(n, value)}
    if found.negative:
        parameters["negative_prompt"] = found.negative
    source = {name: value for name, value in rest.items() if known_as(name)}
    source |= {name: value for name, value in said.items() if name not in parameters}
    sampling = [str(v) for name, v in found.settings.items() if v and known_as(name) in ("sampler", "schedule")]
    source.pop("schedule", None)
    return parameters, {**source, "sampler": " ".join(sampling)}


def _guided(said: dict[str, Any]) -> dict[str, Any]:
    """Return settings with one guidance scale: a distilled model's own, where there is one, beside true CFG above 1."""
    named = {key(name): name for name, value in said.items() if value is not None}
    distilled = next((named[name] for name in DISTILLED if name in named), None)
    usual = next((name for name in said if known_as(name) == "guidance_scale" and key(name) not in DISTILLED), None)
    if distilled is None or usual is None:
        return said
    others = {name: value for name, value in said.items() if name not in (distilled, usual)}
    try:
        cfg = {"true_cfg_scale": said[usual]} if float(said[usual]) > 1 else {}
    except (TypeError, ValueError):
        cfg = {}
    return {**others, "guidance_scale": said[distilled], **cfg}
