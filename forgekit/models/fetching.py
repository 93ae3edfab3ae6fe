"""Fetching weights: where a model's lie, which files of there its loader reads, and `fetch`, which gets those and no others."""

from __future__ import annotations

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any

from forgekit.errors import ForgekitError, UnknownModelError, first_line, without_secrets
from forgekit.models.loading import find_model
from forgekit.models.naming import note_given
from forgekit.models.roles import PROTOCOLS
from forgekit.models.towers import HUB, LOCAL, TRANSFORMERS
from forgekit.models.weights import WEIGHTS, counts, hub_file, settings_at, variant_of
from forgekit.progress import StageReport, running

PIPELINE, TOWERS, SINGLE = "model_index.json", "open_clip_config.json", "config.json"  # which tell repositories apart
OTHER_WEIGHTS = frozenset(
    {".safetensors", ".bin", ".msgpack", ".h5", ".ot", ".onnx", ".onnx_data", ".pb", ".xml", ".ckpt", ".pt", ".pth"}
    | {".gguf", ".npz", ".tflite", ".mlmodel", ".zip", ".py"}
)
TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Repository:
    """Where a model's weights lie: a folder or a repository of the hub. `entry` is the file that tells its kind."""

    address: str
    entry: str
    revision: str | None = None
    variant: str | None = None

    @property
    def folder(self) -> Path | None:
        """The folder with its files on this machine; None where not even its settings are here."""
        if Path(self.address).is_dir():
            return Path(self.address)
        file = hub_file(self.address, self.entry, self.revision)
        return file.parent if file else None


@dataclass(frozen=True)
class Listing:
    """What the hub says of a repository: its files and those that its model needs, in bytes; its licence, and is it gated."""

    commit: str
    sizes: Mapping[str, int]
    needed: Mapping[str, int]
    licence: str
    gated: bool


def repository_of(model: Any) -> Repository | None:
    """Return where a model's weights lie; None for one that runs elsewhere, or is somebody's own code."""
    if repo := getattr(model, "repo", None):
        entry = PIPELINE if hasattr(model, "offload") else SINGLE
        return Repository(repo, entry, getattr(model, "revision", None), getattr(model, "variant", None))
    if not hasattr(model, "pretrained"):
        return None
    address, tag = model.model, model.pretrained
    if address.startswith(TRANSFORMERS):
        return Repository(address.removeprefix(TRANSFORMERS), SINGLE)
    if address.startswith((LOCAL, HUB)):
        return Repository(address.removeprefix(LOCAL).removeprefix(HUB), TOWERS)
    if not tag:
        return None
    if hub := getattr(model, "hub", ""):  # of known models: open_clip takes seconds to be imported
        return Repository(hub, TOWERS)
    from open_clip.pretrained import get_pretrained_cfg

    return Repository(get_pretrained_cfg(address, tag).get("hf_hub", "").rstrip("/"), TOWERS)


def look_up(repository: Repository) -> Listing:
    """Ask the hub about a repository; of a pipeline its index is fetched.

    Raises:
        Exception: whatever huggingface_hub says: no network, HF_HUB_OFFLINE, no such repository.
    """
    from huggingface_hub import HfApi

    asked = {"revision": repository.revision, "files_metadata": True, "timeout": TIMEOUT_S}
    info = HfApi().model_info(repository.address, **asked)
    licences = [tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")]
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    index = settings_at(repository.address, PIPELINE, fetch=True) if PIPELINE in sizes else None
    files = {file: sizes[file] for file in needed(sizes, index, repository.variant)}
    return Listing(info.sha or "", sizes, files, [*licences, "not stated"][0], bool(info.gated))


def needed(files: Iterable[str], index: Mapping[str, Any] | None = None, variant: str | None = None) -> list[str]:
    """Return those of a repository's files that the loader of its kind reads, sorted.

    `index` is the content of a pipeline's model_index.json: what lies outside its components' folders is left out; where it
    cannot be read, every folder with settings counts. Weights are taken as diffusers takes them: safetensors where all
    parts have them, in the `variant` where a part has it, and in one form each; checkpoints of other programs never.
    """
    by_folder: dict[str, list[PurePosixPath]] = defaultdict(list)
    for path in map(PurePosixPath, sorted(files)):
        by_folder[path.parent.as_posix().removeprefix(".")].append(path)
    top = {path.name for path in by_folder[""]}
    folders = {""} | (_components(by_folder, index) if PIPELINE in top else set())
    weights = {folder: [(p, m) for p in by_folder[folder] if (m := WEIGHTS.fullmatch(p.name))] for folder in folders}
    if PIPELINE in top and len(folders) > 1:
        weights.pop("")  # a pipeline's parts have folders of their own; beside them lie checkpoints of other programs
    if TOWERS in top:
        weights[""] = [(p, m) for p, m in weights[""] if m["stem"].startswith("open_clip")] or weights[""]
    safe = all(any(m["kind"] == "safetensors" for _, m in _variant(own, variant)) for own in weights.values() if own)
    taken: set[PurePosixPath] = set()
    for own in weights.values():
        read = _variant([each for each in own if (each[1]["kind"] == "safetensors") is safe], variant)
        # transformers prefers weights in one file to the same in shards
        whole = any(m["stem"] == "model" and not (m["shard"] or m["index"]) for _, m in read)
        taken |= {path for path, m in read if not (whole and (m["shard"] or m["index"]))}
    for path in (path for folder in folders for path in by_folder[folder]):
        if counts(path) and path.suffix.lower() not in OTHER_WEIGHTS and not WEIGHTS.fullmatch(path.name):
            taken.add(path)  # settings
    return sorted(path.as_posix() for path in taken)


def _components(by_folder: Mapping[str, Any], index: Mapping[str, Any] | None) -> set[str]:
    if index is None:
        return {folder for folder, own in by_folder.items() if any(p.name.endswith("config.json") for p in own)} - {""}
    return {name for name, part in index.items() if isinstance(part, list) and part[:1] != [None]} & set(by_folder)


def _variant(own: list[tuple[PurePosixPath, re.Match[str]]], variant: str | None) -> list[Any]:
    """Return the files of a folder in the variant, or where it has none, those in no variant."""
    named = [(variant_of(each[1]), each) for each in own]
    return [each for of, each in named if variant and of == variant] or [each for of, each in named if of is None]


def fetch(*names: str) -> StageReport:
    """Fetch the weights of models, and of each only the files that its loader reads.

    A name is a known model's, of any role, or a Hugging Face id. What is here already is not fetched again.
    One that cannot be had stops no other; the report says why.
    """
    with running("fetch", total=len(names), unit="model") as (report, bar):
        for name in names:
            try:
                report.notes.append(f"{without_secrets(name)}: {_fetched(name)}")
                report.done += 1
            except ForgekitError as error:
                report.failures[without_secrets(name)] = without_secrets(str(error))
            except Exception as error:  # whatever the hub and its client say is why this one cannot be had
                report.failures[name] = f"{first_line(error).rstrip('.')}. {_remedy(name, error)}"
            bar.update()
    return report


def _fetched(name: str) -> str:
    from huggingface_hub import snapshot_download

    repository = _repository(name)
    if Path(repository.address).is_dir():
        return f"its weights are in {repository.address}"
    listing = look_up(repository)
    size, whole = sum(listing.needed.values()), sum(listing.sizes.values())
    home, free = room_for_downloads()
    if size > free:
        told = f"{gib(size)} of files, and {gib(free)} are free at {home}"
        raise UnknownModelError(f"{told}; make room, or set HF_HOME to another disk")
    revision, patterns = listing.commit or repository.revision, [*map(escape, listing.needed)]
    folder = snapshot_download(repository.address, revision=revision, allow_patterns=patterns)
    return f"{gib(size)} of {gib(whole)} in {len(listing.needed)} files, licence {listing.licence}: {folder}"


def _repository(name: str) -> Repository:
    """Return where the weights of what is called so lie; of an id that is not here the hub says what kind it is.

    Raises:
        UnknownModelError: nothing of that name has weights to be fetched.
    """
    model = next((found for role in PROTOCOLS if (found := find_model(role, name)) is not None), None)
    repository = repository_of(model)
    if repository is None and re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        found = look_up(Repository(name, SINGLE)).sizes
        repository = Repository(name, next((entry for entry in (PIPELINE, TOWERS) if entry in found), SINGLE))
    if repository is None or not repository.address:
        raise UnknownModelError(f"{name!r} has no weights to fetch; give a known model's name or a Hugging Face id")
    note_given(name)
    return repository


def _remedy(name: str, error: Exception) -> str:
    from huggingface_hub.constants import HF_HUB_OFFLINE

    kind = type(error).__name__
    if HF_HUB_OFFLINE:
        return "Unset HF_HUB_OFFLINE, or copy the folder of the model here and give its path."
    if "Gated" in kind:
        return f"Accept its licence on the hub's page of the model, then `hf auth login`, then `forgekit fetch {name}`."
    if "NotFound" in kind:
        return "Look at the spelling; a private one needs `hf auth login`."
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    return f"Is the hub reachable from here ({hub})? Then try again."


def room_for_downloads() -> tuple[Path, int]:
    """Return where what is fetched goes, and how many bytes are free there."""
    from huggingface_hub.constants import HF_HUB_CACHE

    home = next(folder for folder in (Path(HF_HUB_CACHE), *Path(HF_HUB_CACHE).parents) if folder.exists())
    return home, shutil.disk_usage(home).free


def gib(size: float) -> str:
    """Return bytes as people read them."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
