"""Which weights a model has: what is at an address, what tells its weights from others, how to get those that are not there."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path, PurePath
from typing import Any, TypeVar

from cachetools import TTLCache

from forgekit.errors import ForgekitError, UnknownModelError, first_line
from forgekit.models.memory import REFUSALS, is_full, let_others_go, make_room, placement

EMBEDDED = Path(__file__).parents[1] / "mini" / "weights"  # of the models that ship in the package
CACHE_VARIABLE = "XDG_CACHE_HOME"
NOT_READ = frozenset(
    {".md", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".pdf", ".lock", ".metadata", ".incomplete"}
)
# Names of weights that diffusers, transformers and open_clip read: "model.fp16-00001-of-00002.safetensors", its index …
WEIGHTS = re.compile(
    r"(?P<stem>diffusion_pytorch_model|pytorch_model|model|open_clip_model|open_clip_pytorch_model)"
    r"(\.(?P<variant>(?!safetensors|bin)\w+))?(?P<shard>-\d{5}-of-\d{5})?(\.(?P<late>(?!safetensors|bin)\w+))?"
    r"\.(?P<kind>safetensors|bin)(\.(?P<old>(?!index)\w+))?(?P<index>\.index(\.(?P<of>(?!json)\w+))?\.json)?"
)
# What settings of a model that looks at images have: its part for that, or the picture's size.
SIGHT = frozenset({"vision_config", "image_size", "patch_size"})
# How the names of classes end that may only read; Fuyu's ends like the first, and looks.
READING = ("ForCausalLM", "TextModel", "TextModelWithProjection", "EncoderModel", "ForMaskedLM")
EXTRAS = {"num2words": "vlm", "torchao": "quantised"}  # packages that some models need, and the extra of ours with them
SETTLED_S = 2.0  # a file written less long ago may be written again within what its time can tell apart
ABSENT_S = 600  # how long a look-up that failed is not repeated: without a network each takes half a minute

T = TypeVar("T")
Stamp = tuple[tuple[str, int, int], ...]
_absent: TTLCache[tuple[str, str, str | None], bool] = TTLCache(1024, ABSENT_S)


def weights_of(model: Any, address: str, entry: str) -> tuple[str, str | None]:
    """Return the address of a model's weights as it is recorded, and what tells them from others, for draw and judge keys.

    That is a hash of local files, or the commit of hub files. The commit is asked for before anything is drawn or judged
    (`entry`, a file that every repository of the family has, is fetched for it), so that keys are the same before and
    after the weights are. Where it cannot be had, there are no weights either, and it is the revision asked for.
    """
    kept, folder, revision = vars(model), Path(address), getattr(model, "revision", None)
    if "_weights" not in kept and folder.is_dir():
        kept["_weights"] = fingerprint(folder)
    elif "_weights" not in kept and (file := hub_file(address, entry, revision, fetch=True)):
        kept["_weights"] = file.parent.name
    if EMBEDDED in folder.parents:  # its path differs between machines; the first one has no name in its draw keys
        address = "embedded" if folder.name == "generator" else f"embedded/{folder.name}"
    return address, kept.get("_weights", revision)


def hub_file(address: str, entry: str, revision: str | None = None, *, fetch: bool = False) -> Path | None:
    """Return a small file of a hub repository, in the folder of its commit; None where it is not at hand.

    With `fetch` it is downloaded where need be; what could not be had is not asked for again for ten minutes.
    HF_HUB_OFFLINE is honoured.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if address.count("/") != 1:
        return None
    with suppress(HFValidationError):  # a name that no repository can have
        cached = try_to_load_from_cache(address, entry, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
        asked = (address, entry, revision)
        if fetch and asked not in _absent:
            try:
                return Path(hf_hub_download(address, entry, revision=revision))
            except (*REFUSALS, ImportError):  # no network, no such repository, none of its files, no licence accepted
                _absent[asked] = True
    return None


def settings_at(address: str, entry: str, revision: str | None = None, *, fetch: bool = False) -> dict[str, Any] | None:
    """Return the JSON settings in the file `entry` of a folder or hub repository; None where there are none to be read."""
    folder = Path(address)
    file = folder / entry if folder.is_dir() else hub_file(address, entry, revision, fetch=fetch)
    try:
        settings = json.loads(file.read_text("utf-8")) if file and file.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
    return settings if isinstance(settings, dict) else None


def sees(settings: Mapping[str, Any]) -> bool:
    """Say whether the settings of a model are of one of transformers that may look at images: none whose class only reads."""
    reads = any(str(kind).endswith(READING) for kind in settings.get("architectures") or [])
    return "_class_name" not in settings and not (reads and SIGHT.isdisjoint(settings))


def variant_of(name: re.Match[str]) -> str | None:
    """Return the variant in a name of weights, a match of WEIGHTS; None for those in none."""
    return name["variant"] or name["late"] or name["old"] or name["of"]


def only_variant(address: str) -> str | None:
    """Return the variant, such as "fp16", that a part of the pipeline in a folder has and no other weights; None for none."""
    for part in sorted(Path(address).glob("*/")):
        found = {variant_of(name) for file in part.iterdir() if (name := WEIGHTS.fullmatch(file.name))}
        if found and None not in found:
            return min(found, key=str)
    return None


def stamp(folder: Path) -> Stamp:
    """Return name, size and time of each file in a folder that counts as weights or settings; cheap, no file is read."""
    files = (path for path in folder.rglob("*") if path.is_file() and counts(path.relative_to(folder)))
    found = ((path.relative_to(folder).as_posix(), path.stat()) for path in files)
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in found))


def counts(path: PurePath) -> bool:
    """Say whether a file has a part in what a model does: a README and what tools hide away have none."""
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.suffix.lower() not in NOT_READ and path.name.upper() not in ("LICENSE", "NOTICE")


def fingerprint(folder: Path) -> str:
    """Return a hash of all weights and settings in `folder`: 16 hex digits.

    Each file is read once: its hash is kept, in this user's cache folder, until its size or time changes.
    """
    found = stamp(folder)
    hashes = zip((name for name, _, _ in found), _hashes(folder, found), strict=True)
    return sha256("".join(f"{name} {digest} " for name, digest in hashes).encode()).hexdigest()[:16]


def hash_of_file(file: Path) -> str:
    """Return the SHA-256 of a whole file, read once as long as it stays the same."""
    stat = file.stat()
    return _hashes(file.parent, [(file.name, stat.st_size, stat.st_mtime_ns)])[0]


def _hashes(folder: Path, files: Iterable[tuple[str, int, int]]) -> list[str]:
    """Return the hash of each file; what was read is written down, so that five stages do not each read 24 GB."""
    home = Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache") / "forgekit" / "weights"
    kept = home / f"{sha256(str(folder.resolve()).encode()).hexdigest()[:32]}.json"
    try:
        known: dict[str, Any] = dict(json.loads(kept.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        known = {}
    hashes, fresh = [], dict[str, Any]()
    for name, size, time_ns in files:
        if known.get(name, [])[:2] == [size, time_ns]:
            hashes.append(str(known[name][2]))
            continue
        with (folder / name).open("rb") as file:
            hashes.append(file_digest(file, "sha256").hexdigest())
        if time.time() - time_ns / 1e9 > SETTLED_S:
            fresh[name] = [size, time_ns, hashes[-1]]
    if fresh:
        with suppress(OSError):  # a home that cannot be written to costs time only
            home.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(known | fresh), "utf-8")
            part.replace(kept)
    return hashes


def load_weights(model: Any, address: str, load: Callable[[], T], advice: str = "") -> T:
    """Return what `load` makes of a model's weights. Where there is no room for them, other models are let go first.

    Raises:
        UnknownModelError: the weights are not there, cannot be read, or do not fit into memory; it ends with what would
            work: `advice`, or what helps for a hub id.
    """
    try:
        make_room(model, size_of(address), placement(model)[0])
        try:
            return load()
        except (*REFUSALS, MemoryError) as error:
            if not (is_full(error) and let_others_go(model)):
                raise
        return load()
    except ForgekitError:
        raise
    except Exception as error:  # libraries have many ways to say so
        reason, what = first_line(error), f"no weights could be loaded from {address!r}"
        remedy = (
            f"Fetch them once with `forgekit fetch {address}` (some need a licence accepted and `hf auth login`), "
            "or give the path of a local folder."
        )
        if Path(address).is_dir():
            remedy = f"`forgekit doctor {address}` says what the folder lacks; copy it again, or name another."
        remedy = advice or remedy
        if isinstance(error, ImportError):
            extras = [extra for package, extra in EXTRAS.items() if package in reason]
            remedy = f"Run pip install 'forgekit[{extras[0]}]'." if extras else "Install what it names, then try again."
        if is_full(error):
            what, remedy = f"out of memory while loading {address!r}", _smaller(model)
        raise UnknownModelError(f"{model.name}: {what}: {reason.rstrip('.')}. {remedy}") from error


def size_of(address: str) -> int:
    """Return the bytes of the weights in a folder or, as far as they are cached, of a hub id; 0 where that is not known."""
    folder = Path(address)
    if not folder.is_dir():
        entry = next(filter(None, (hub_file(address, name) for name in ("model_index.json", "config.json"))), None)
        if entry is None:
            return 0
        folder = entry.parent
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors") if path.is_file())


def _smaller(model: Any) -> str:
    """Return what takes less memory, as names with settings."""
    ways = ["offload=model", "offload=sequential"] * hasattr(model, "offload") + ["dtype=bfloat16", "device=cpu"]
    held = (*placement(model), getattr(model, "offload", ""))
    names = ", ".join(f"{model.name}?{way}" for way in ways if way.split("=")[1] not in held)
    return f"Close what else holds memory, take a smaller model, or try one of: {names}"
