"""Which models data may name: what a row, a picture, a plan or a store says is looked up here before it is loaded.

A caller's own argument may name anything, also code (`"module:factory"`) and endpoints. Data comes by mail: it may name
known models, Hugging Face ids and local folders of plain weights inside the working folder or the store's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from forgekit.errors import ParameterError, without_secrets
from forgekit.models.weights import settings_at

TRUST_VARIABLE = "FORGEKIT_TRUSTED_MODELS"  # addresses, and folders of models, that data may name; between commas
LONGEST = 400  # bytes
LOCAL = "local-dir:"
PREFERENCE = "preference:"  # of a judge that measures what people like; behind it stands the address of its weights
FAMILIES = ("open_clip:", HUB := "hf-hub:")  # prefixes of models that are data, not code
# What stands behind them: open_clip takes a tag that it does not know for a file of weights, and so would we "../model".
OF_FAMILY = re.compile(r"open_clip:[\w-]+(/[\w-]+)?|hf-hub:\w[\w.-]*/\w[\w.-]*(@[\w.-]+)?")
CODE = frozenset({".py", ".pyc", ".so", ".dll", ".dylib", ".pyd"})
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"})
ASKING = ("llm:", "llm-paraphrase:")  # what stands before a language model in the name of a policy
LIBRARIES = ("diffusers", "transformers")
POOL = "ray:"  # before a model that is to run in many workers
POOL_VARIABLE = "FORGEKIT_RAY"  # has all models of a process run so: "workers=8&address=host:6379"
POOL_SETTINGS = ("workers", "gpus", "cpus", "address", "start_s")  # those of models.ray_pool.Share

_given: set[str] = set()  # addresses that this process was given as an argument: what it stored it may find again


def note_given(name: str) -> None:
    """Remember a name that a caller passed as an argument, so that later stages of this process find it again."""
    _, inside = pool_of(name)
    _given.update({name, inside, settings_of(inside)[0]})


def was_given(name: str) -> bool:
    """Say whether this process was given that very name as an argument, with whatever settings."""
    return name in _given


def asked_model(policy: str) -> str | None:
    """Return the language model that a policy's name names, as in "llm:MODEL"; None where it names none."""
    return next((policy.removeprefix(prefix) for prefix in ASKING if policy.startswith(prefix)), None)


def plain_name(address: str, entry: str) -> str | None:
    """Return what the model in a local folder that holds the file `entry`, or at a Hugging Face id, is called; else None."""
    if (Path(address) / entry).is_file():
        return Path(address).resolve().name
    owner, _, name = address.partition("/")
    return name if owner not in ("", ".", "..", "~") and "/" not in name and ":" not in address and name else None


def settings_of(name: str) -> tuple[str, dict[str, str]]:
    """Return the address in a model's name, and the settings that stand behind it: "flux-2?offload=model&dtype=bfloat16".

    Those of a model behind a server stand behind what it is called there: "http://host:8000/v1#flux?in_flight=4".

    Raises:
        ParameterError: what stands behind the "?" is no list of settings.
    """
    server, hash_mark, model = name.partition("#") if "://" in name else ("", "", name)
    model, mark, settings = model.partition("?")
    if not mark or ("://" in name and not hash_mark):
        return name, {}
    address = server + hash_mark + model
    try:
        return address, dict(parse_qsl(settings, strict_parsing=True))
    except ValueError as error:
        plain, example = without_secrets(name), "?in_flight=4&retries=1" if server else "?offload=model&dtype=bfloat16"
        raise ParameterError(f"model {plain!r}: write settings as in {without_secrets(address)}{example}") from error


def pool_of(name: str) -> tuple[dict[str, str], str]:
    """Return the settings of the pool that a name or the environment asks for, and the name of the model inside.

    There is none for a model behind a server, unless its name asks for one.

    Raises:
        ParameterError: what stands behind the "?", or in the environment, is no list of settings.
    """
    address, settings = settings_of(name)
    asked = os.environ.get(POOL_VARIABLE, "")
    if not address.startswith(POOL) and (not asked or "://" in address):
        return {}, name
    _, share = settings_of(f"{POOL_VARIABLE}?{asked}" if asked else POOL_VARIABLE)
    share |= {each: settings.pop(each) for each in POOL_SETTINGS if each in settings}
    inside = address.removeprefix(POOL)
    return share or {"workers": "1"}, f"{inside}?{urlencode(settings)}" if settings else inside


def why_refused(name: Any, *, within: Sequence[Path] = ()) -> str | None:
    """Return why data may not name this model, or None where it may; it need not be one that is known.

    `within` are folders besides the working folder that local models may lie in.
    """
    if not isinstance(name, str):
        return f"its model is a {type(name).__name__}, not a name"
    if not name.strip() or not name.isprintable() or len(name.encode()) > LONGEST:
        return f"its model is blank, has unprintable characters or more than {LONGEST} bytes"
    if name.startswith(POOL):  # trusted with its settings only: they say on whose machines it runs
        told = f"its model {name!r} starts workers on a cluster, which only you may do: {_remedy(name)}"
        return None if _is_trusted(name) else told
    try:
        address, _ = settings_of(name)
    except ParameterError as error:
        return str(error)
    if without_secrets(name) != name:
        return f"its model is an address that holds a password or a query ({without_secrets(name)}); keys stand in the environment"
    if _is_trusted(name if "://" in name else address):  # settings can name a variable whose value goes to the server
        return None
    name = address
    if "://" in name:
        host = re.split(r"[/#?]", name.partition("://")[2])[0]
        return f"its model is an address on a network ({host}), which only you may give: {_remedy('ADDRESS')}"
    if name.startswith(FAMILIES) and not OF_FAMILY.fullmatch(name):
        return f"its model {name!r} is no name of open_clip or of the hub, but a file, which only you may give: {_remedy(name)}"
    path = name.removeprefix(PREFERENCE).removeprefix(LOCAL).removeprefix(HUB)
    if path.startswith(("/", "~", ".")) or ".." in Path(path).parts or Path(path).is_dir():
        return _why_no_folder(Path(path), name, within)
    if ":" in path and not name.startswith(FAMILIES):
        return f"its model {name!r} names code, which only you may give: {_remedy(name)}"
    return None


def strings_in(value: Any) -> Iterator[str]:
    """Yield the strings in a value of a TOML or JSON document, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings_in(item)


def _is_trusted(name: str) -> bool:
    """Say whether the environment names the address, or a folder that it lies in."""
    trusted = [entry.strip() for entry in os.environ.get(TRUST_VARIABLE, "").split(",") if entry.strip()]
    path, folders = Path(name.removeprefix(LOCAL)), [Path(entry) for entry in trusted if Path(entry).is_absolute()]
    lies_within = path.is_absolute() and any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)
    return name in trusted or lies_within


def _remedy(name: str) -> str:
    return f"pass it as an argument (model=, image_generator=, …), or set {TRUST_VARIABLE}={name}"


def _why_no_folder(path: Path, name: str, within: Sequence[Path]) -> str | None:
    roots = [Path.cwd(), *within]
    folder = path.expanduser().resolve() if name.startswith("~") else path.resolve()
    if not any(folder.is_relative_to(root.resolve()) for root in roots):
        return f"its model {name!r} lies outside {roots[0]}; move it there, or {_remedy(name)}"
    return why_not_plain(folder) if folder.is_dir() else None


def why_not_plain(folder: Path) -> str | None:
    """Return why a folder is more than weights and settings, or None: its libraries would run what is in it."""
    for file in sorted(folder.rglob("*")):
        kind = file.suffix.lower()
        if kind in CODE:
            return f"the model folder {folder} has code in it ({file.name}); remove it, or {_remedy(str(folder))}"
        if kind in PICKLES:
            told = f"the model folder {folder} has pickled weights ({file.name}), which can run code"
            return f"{told}; convert them to safetensors, or {_remedy(str(folder))}"
        if kind == ".json" and (named := _foreign_code(file)):
            return f"{file} names the code {named!r}; remove it, or {_remedy(str(folder))}"
    return None


def _foreign_code(file: Path) -> str | None:
    """Return what code, outside the libraries themselves, a settings file makes them import."""
    if not file.is_file() or file.stat().st_size > 1 << 20:  # tokenizers' vocabularies are long; settings are not
        return None
    settings = settings_at(str(file.parent), file.name) or {}
    if settings.get("auto_map"):
        return str(settings["auto_map"])
    if file.name != "model_index.json":
        return None
    if not isinstance(settings.get("_class_name", ""), str):  # [module, class]: a pipeline in a file of the folder
        return str(settings["_class_name"])
    named = (value[0] for value in settings.values() if isinstance(value, list) and value)
    return next((str(library) for library in named if not _is_library(library)), None)


def _is_library(name: Any) -> bool:
    """Say whether a component's library is one of ours, or a pipeline of diffusers."""
    if name is None or name in LIBRARIES:
        return True
    found = find_spec("diffusers")
    pipelines = Path(found.origin).parent / "pipelines" if found and found.origin else None
    return isinstance(name, str) and name.isidentifier() and pipelines is not None and (pipelines / name).is_dir()
