"""Looking at models: are the weights here, do they fit, do they read the prompts to the end, do they work at all?"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from forgekit.checkup.findings import FAULT, OK, WARNING, DoctorReport
from forgekit.errors import ForgekitError, ItemError, ParameterError, first_line
from forgekit.models import DrawRequest, load_model
from forgekit.models.fetching import PIPELINE, Listing, Repository, gib, repository_of, room_for_downloads
from forgekit.models.footprint import footprint, ways
from forgekit.models.loading import find_model, unknown
from forgekit.models.memory import placement, room
from forgekit.models.naming import POOL, pool_of, settings_of, was_given, why_refused
from forgekit.models.roles import PROTOCOLS
from forgekit.models.weights import settings_at
from forgekit.scene import Scene, parse

PART = re.compile(
    "safety_checker|feature_extractor|image_encoder|text_encoder|tokenizer|scheduler|vae|unet|transformer"
)
HALF = "bfloat16"  # what "auto" is on an accelerator


@dataclass
class Looked:
    """A model that is looked at, as far as what is here tells what it is."""

    name: str
    role: str | None
    model: Any = None
    pool: str = ""  # its whole name, where workers on Ray run it
    hub: Listing | Exception | None = None
    answers: bool = True  # the server or cluster that it runs on

    @property
    def is_served(self) -> bool:
        """Whether it runs behind a server."""
        return "://" in self.name

    @cached_property
    def repository(self) -> Repository | None:
        """Where its weights lie."""
        if self.model is None and self.name.count("/") == 1 and ":" not in self.name:
            return Repository(self.name, PIPELINE if self.role == "image_generator" else "config.json")
        return repository_of(self.model)

    @property
    def lacks(self) -> list[str] | None:
        """What is missing in the folder of its weights, parts of a pipeline or shards; None where there is no folder."""
        folder = self.repository and self.repository.folder
        return _lacking(folder, self.repository.variant) if folder and self.repository else None

    @property
    def is_here(self) -> bool:
        """Whether all its weights are on this machine."""
        return self.lacks == []


def resolved(
    report: DoctorReport, role: str | None, name: str, by_data: bool, folders: Sequence[Path]
) -> Looked | None:
    """Return what a name stands for by what is here, or note why it may not be named, or stands for nothing."""
    if by_data and not was_given(name) and (refused := why_refused(name, within=folders)):
        report.add(name, "name", FAULT, f"a plan or a row names it, and may not: {refused}")
        return None
    pool = name if name.startswith(POOL) else ""
    try:
        inner = pool_of(name)[1]
        if "://" in inner:
            return Looked(inner, role, pool=pool)
        for each in [role] if role else PROTOCOLS:
            if (model := find_model(each, inner)) is not None:
                return Looked(inner, each, model, pool)
        if inner.count("/") == 1 and ":" not in inner and not Path(inner).exists():
            return Looked(inner, role, None, pool)  # a Hugging Face id of which nothing is here
        return Looked(inner, *_made(role, inner), pool)
    except ForgekitError as error:
        report.add(name, "name", FAULT, str(error))
        return None


def _made(role: str | None, name: str) -> tuple[str, Any]:
    """Return the model of whatever role a "module:factory", whose code runs, makes."""
    if not role and ":" not in name:
        raise unknown(name)
    *others, last = [role] if role else PROTOCOLS
    for each in others:
        with suppress(ParameterError):  # it is of another role
            return each, load_model(each, name)
    return last, load_model(last, name)


def note_weights(report: DoctorReport, looked: Looked) -> bool:
    """Note whether the weights are here, and what the hub says of those that are not; return whether there is no fault."""
    repository, name = looked.repository, looked.name
    if looked.is_served:
        return looked.answers
    if repository is None:
        report.add(name, "weights", OK, f"code of your own, {looked.role}: only a dry run can tell how it is")
        return looked.answers
    if looked.is_here:
        return report.add(name, "weights", OK, f"all in {repository.folder}")
    lacks = f"it lacks {', '.join(looked.lacks[:5])}" if looked.lacks else "not on this machine"
    told, remedy = f"{repository.address}: {lacks}", f"forgekit fetch {name.partition('?')[0]}"
    if isinstance(looked.hub, Listing):
        size, (home, free) = sum(looked.hub.needed.values()), room_for_downloads()
        told += f"; a download of {gib(size)}, licence {looked.hub.licence}"
        if looked.hub.gated:
            told += ", to be accepted on its page first, then `hf auth login`"
        there, fits = f"{gib(free)} are free for downloads at {home}", size < free
        if not report.add(name, "disk", OK if fits else FAULT, there, "" if fits else f"it takes {gib(size)}"):
            remedy = "make room, or set HF_HOME to another disk"
    if Path(repository.address).is_dir():
        remedy = "copy the folder again, or name another"
    elif not looked.hub:
        remedy += " (its size and licence: --online)"
    return report.add(name, "weights", FAULT, told, remedy)


def _lacking(folder: Path, variant: str | None) -> list[str]:
    """Return which parts of a pipeline, and which weights, a folder is to have and does not."""
    index = settings_at(str(folder), PIPELINE)
    said = {name: part for name, part in (index or {}).items() if not name.startswith("_")}
    parts = [n for n, part in said.items() if isinstance(part, list) and part and part[0]]
    lacking = [f"{part}/" for part in parts if not any((folder / part).glob("*"))]
    lacking += [
        f"{name} (null in {PIPELINE}; write [null, null])"
        for name, part in said.items()
        if part is None and PART.match(name)
    ]
    if index and not _has_class(index.get("_class_name")):
        lacking.append(f"a pipeline of diffusers: {PIPELINE} names {index.get('_class_name')!r}")
    for place in [folder / part for part in parts] if index else [folder]:
        weights = [*place.glob("*.safetensors"), *place.glob("*.bin")]
        shards: set[str] = set()
        for file in place.glob("*.index*.json"):
            shards |= set((settings_at(str(place), file.name) or {}).get("weight_map", {}).values())
        if all("-of-" in file.name for file in weights):
            lacking += sorted(f"{place.name}/{shard}" for shard in shards if not (place / shard).is_file())
        # Tokenizers, schedulers and processors have settings of other names.
        if not (weights or shards) and (index is None or (place / "config.json").is_file()):
            lacking.append(f"the weights of {place.name}{' (in safetensors, not ONNX)' * any(place.glob('*.onnx'))}")
    if variant and not lacking and not any(folder.rglob(f"*.{variant}*")):
        lacking.append(f"weights in the variant {variant!r}")
    return lacking


def _has_class(name: Any) -> bool:
    """Say whether diffusers has a pipeline of this name; nothing is imported, which takes seconds."""
    found = find_spec("diffusers")
    return not (found and found.origin) or (
        isinstance(name, str) and f'"{name}"' in Path(found.origin).read_text("utf-8")
    )


def note_memory(report: DoctorReport, looked: Looked, memory_gib: float | None) -> bool:
    """Note whether the weights and what the model works with fit, and which settings would; return whether they do."""
    if not looked.is_here or looked.repository is None or not hasattr(looked.model, "dtype"):
        return True
    name, model, half = looked.name, looked.model, ""
    if memory_gib and model.device == "auto":
        half, free, place = getattr(model, "half", HALF), memory_gib * 2**30, f"an accelerator of {memory_gib:g} GiB"
    else:
        model = replace(model, device=placement(model)[0])
        free = room(model.device)
        place = f"{model.device}, where {gib(free)} are free"
    try:
        found = footprint(model, looked.repository, looked.repository.folder)  # type: ignore[arg-type]
    except Exception as error:  # a damaged file, by whatever name huggingface_hub calls that
        told = f"they cannot be read: {first_line(error)}"
        return report.add(name, "weights", FAULT, told, "fetch or copy them again")
    if found is None:
        return report.add(name, "memory", WARNING, "weights in pickles do not say their size", "use safetensors")
    weights, working = found.bytes(model, half=half)
    told = f"{gib(weights)} of weights and an estimated {gib(working)} to work with, on {place}"
    if weights + working <= free:
        return report.add(name, "memory", OK, told)
    fitting = [f"{way} (about {gib(need)})" for way, need in ways(name, model, found, free, half=half)][:3]
    if not fitting and model.device != "cpu" and sum(found.bytes(replace(model, device="cpu"))) <= room("cpu"):
        fitting = [f"{settings_of(name)[0]}?device=cpu (slow)"]
    remedy = f"would fit: {', '.join(fitting)}"
    if not fitting:
        remedy = "none of its settings fits: a smaller model, a server, or `ray:`"
    return report.add(name, "memory", FAULT, told, remedy)


def note_cut(report: DoctorReport, looked: Looked, texts: Sequence[str]) -> None:
    """Note how many of the prompts that a generator is to draw its text encoders do not read to the end."""
    model = looked.model
    if not (texts and looked.is_here and hasattr(model, "fits") and looked.repository):
        return
    if hasattr(model, "repo"):
        model = replace(model, repo=str(looked.repository.folder))  # so that no tokenizer is looked for on the hub
    cut = [text for text in texts if not model.fits(text)]
    told = f"of {len(texts)} prompts {len(cut)} are longer than it reads"
    if not cut:
        report.add(looked.name, "prompts", OK, told)
        return
    remedy = "shorten them, or take a model that reads more; the part that is cut is recorded with each picture"
    report.add(looked.name, "prompts", WARNING, f"{told}, such as {cut[0][:60]!r}", remedy)


def try_out(report: DoctorReport, looked: Looked) -> None:
    """Have a model work once: draw one picture in one step, judge one picture, or answer one request."""
    started = time.monotonic()
    for role in [looked.role] if looked.role else ["image_generator", "language_model"]:  # of a server it is not known
        try:
            answer = _once(role, looked.model or load_model(role, looked.name))
        except Exception as error:  # whatever a model raises is what is wrong with it
            answer = ItemError(first_line(error))
        if not isinstance(answer, ItemError):
            break
    if isinstance(answer, ItemError):
        report.add(looked.name, "dry run", FAULT, answer.reason, "see docs/gpu.md; another name with settings may work")
        return
    report.add(looked.name, "dry run", OK, f"it works ({time.monotonic() - started:.1f} s)")
    honoured = getattr(answer, "metadata", {}).get("seed_honoured")
    if honoured is False:
        told = "the server draws another picture for the same seed"
        remedy = "no comparison by seed holds; start it with deterministic settings, or take more images per prompt"
        report.add(looked.name, "seeds", WARNING, told, remedy)
    elif honoured:
        report.add(looked.name, "seeds", OK, "the same seed gives the same picture")


def _once(role: str, model: Any) -> Any:
    if role == "image_generator":
        own = model.default_parameters()
        steps = {"num_inference_steps": 1} if "num_inference_steps" in own else {}
        return model.draw([DrawRequest("a red circle", 0, own | steps)])[0]
    if role == "vision_model":
        from PIL import Image

        text = "a red circle"
        return model.judge([Image.new("RGB", (224, 224), "white")], [Scene(text, parse(text))])[0]
    return model.generate(["Answer with the word yes."])[0]
