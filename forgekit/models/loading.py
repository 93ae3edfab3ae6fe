"""From a name to a model: `load_model` finds what a caller names, `load_stored_model` what data names."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache, lru_cache, partial
from importlib import import_module
from inspect import getattr_static
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from pydantic import TypeAdapter, ValidationError

from forgekit.errors import ParameterError, UnknownModelError, did_you_mean, without_secrets
from forgekit.models.misnamed import what_lies_at
from forgekit.models.naming import (
    FAMILIES,
    LOCAL,
    POOL,
    POOL_SETTINGS,
    PREFERENCE,
    note_given,
    plain_name,
    pool_of,
    settings_of,
    was_given,
    why_refused,
)
from forgekit.models.roles import PROTOCOLS
from forgekit.models.weights import EMBEDDED, Stamp, hub_file, sees, settings_at, stamp

KNOWN = Path(__file__).with_name("known.toml")
FIXED = frozenset({"name", "repo", "model", "pretrained", "hub", "base_url"})  # what a model is, not how it runs
CLASSES = {  # the families of a role, in the order in which they are asked; the last judge takes any of transformers
    "image_generator": ("served_generator:ServedGenerator", "generator:DiffusionGenerator"),
    "language_model": ("language:EndpointLanguageModel", "language:TransformersLanguageModel"),
    "vision_model": (
        *("served_judge:ServedJudge", "preference:PreferenceJudge", "clip:ContrastiveJudge"),
        *("detector:DetectorJudge", "vlm:VQAJudge"),
    ),
}
CHOICES = {  # the values of settings that are words
    "dtype": ("auto", "float32", "float16", "bfloat16"),
    "offload": ("", "model", "sequential"),
    "quantisation": ("", "int8", "float8"),
    "ask_by": ("auto", "logprobs", "samples", "systemone"),
}

_objects: dict[Any, tuple[Stamp | None, Any]] = {}  # by role, name and pool, with the files it was made of


def load_model(role: str, model: Any) -> Any:
    """Return the model of `role` that `model` stands for.

    `model` is an object that fulfils the role's Protocol (returned as it is), a known name, what a family
    takes as an address (a Hugging Face id, a local folder), or `"module:factory"`. Behind a name or an address may stand
    settings: "flux-2?offload=model&dtype=bfloat16". Weights load on first use; the same name gives the same object as
    long as its folder does not change. It is for what a caller passes, and can run code; `load_stored_model` is for what
    data says.

    Raises:
        UnknownModelError: no family of the role knows the name; the message lists the known ones.
        ParameterError: the object lacks a method of the role's Protocol, or the model has no such setting.
    """
    if not isinstance(model, str):
        return _checked(role, model)
    found = _found(role, model)
    note_given(model)
    return found


def load_stored_model(role: str, name: str, *, within: Path | None = None) -> Any:
    """Return the model of `role` that a row, a plan or a store names: never code or a network address out of data.

    A known name, a Hugging Face id, or a folder of plain weights inside the working folder or `within`. Anything else
    must have been given to this process as an argument, or be listed in the environment variable
    FORGEKIT_TRUSTED_MODELS (addresses and folders, between commas).

    Raises:
        UnknownModelError: data may not name it, or no family of the role knows the name.
    """
    if not was_given(name) and (reason := why_refused(name, within=[within] if within else [])):
        raise UnknownModelError(f"no {role} is loaded: {reason}")
    return _found(role, name)


def find_model(role: str, name: str) -> Any:
    """Return the model of `role` that `name` stands for by the files that are here; None where they do not tell.

    Nothing is fetched and no code runs. What a Hugging Face id that is not here holds, and for what role, is not known.
    """
    address, settings = settings_of(name)
    model = _known(role, address)
    if model is None and role_here(address) == role:
        model = _at_address(role, address)
    return None if model is None else with_settings(model, settings)


def role_here(address: str) -> str | None:
    """Return the role of what lies at a folder or Hugging Face id, by the settings that are here; None where none tell."""
    if address.startswith((*FAMILIES, LOCAL)):
        return "vision_model"
    for entry, role in (("model_index.json", "image_generator"), ("open_clip_config.json", "vision_model")):
        if settings_at(address, entry) is not None:
            return role
    settings = settings_at(address, "config.json")
    if settings is None or "_class_name" in settings:  # a part of a pipeline
        return None
    if sees(settings):
        return "vision_model"
    return "language_model" if any(str(kind).endswith("ForCausalLM") for kind in settings["architectures"]) else None


def known_models(role: str) -> dict[str, Any]:
    """Return the models of `role` in known.toml by name; one with several names is the same object under each."""
    return {name: model for names, _, model in _entries(role) for name in names}


@lru_cache(maxsize=1024)
def recorded_name(role: str, name: str) -> str:
    """Return the name that a record has for what `name` names: a known model's one own name, else `name`, without settings."""
    address, _ = settings_of(pool_of(name)[1])
    known = _known(role, address)
    return known.name if known else address


def _known(role: str, name: str) -> Any:
    return next((model for names, address, model in _entries(role) if name in names or name == address), None)


@cache
def _entries(role: str) -> list[tuple[list[str], str, Any]]:
    """Return the names, the full address and the model of each entry of known.toml whose weights can be looked for."""
    entries = []
    for name, settings in tomllib.loads(KNOWN.read_text("utf-8"))[role].items():
        names = [name, *settings.pop("aliases", ())]
        address = settings.pop("address").replace("{weights}", str(EMBEDDED))
        if model := _at_address(role, address):  # embedded weights may not be trained yet
            entries.append((names, address, replace(model, name=name, **settings)))
    return entries


def _at_address(role: str, address: str) -> Any:
    """Return what the first family that knows an address makes of it; a family is imported when it is asked."""
    families = (resolve_name(f"forgekit.models.{name}") for name in CLASSES[role])
    return next((model for family in families if (model := family.from_address(address))), None)


def _found(role: str, name: str) -> Any:
    """Return the one object for a name; a folder whose files change holds another model."""
    share, name = pool_of(name)
    address, settings = settings_of(name)
    folder = Path(address.removeprefix(PREFERENCE).removeprefix(LOCAL))
    files = stamp(folder) if folder.is_dir() else None
    key = (role, name, *sorted(share.items()))
    kept = _objects.get(key)
    if kept and kept[0] == files:
        return kept[1]
    model = _known(role, address)
    if model is None:
        if role == "vision_model" and files is None and plain_name(address.removeprefix("hf-hub:"), "config.json"):
            for entry in ("open_clip_config.json", "config.json"):  # which say of what family of judges it is
                hub_file(address, entry, fetch=True)
        model = _at_address(role, address)
    made = None if model else _made(role, address)
    model = with_settings(model or made, settings, also=POOL_SETTINGS if share else ())
    if share:
        model = _pooled(role, name, model, share)
    if share or not made:
        _objects[key] = files, model
    return model


def _pooled(role: str, name: str, model: Any, share: Mapping[str, str]) -> Any:
    if "://" in name:
        told = f"{name} is behind a server, which takes many requests at a time by itself"
        raise ParameterError(f"{told}; leave out {POOL}")
    try:
        from forgekit.models.ray_pool import pooled
    except ImportError as error:
        raise UnknownModelError(f"{model.name} in a pool needs Ray ({error}): pip install 'forgekit[ray]'") from error
    return pooled(model, share, partial(load_model, role, name))


def with_settings(model: Any, settings: Mapping[str, str], *, also: Sequence[str] = ()) -> Any:
    """Return the model with settings given as text; `also` are those that stand beside them, of its pool.

    Raises:
        ParameterError: it has no such setting, or the value is none that it can have.
    """
    if not settings:
        return model
    own = {f.name: getattr(model, f.name) for f in fields(model)} if is_dataclass(model) else {}
    plain = {n: v for n, v in own.items() if n not in FIXED and (v is None or isinstance(v, bool | int | float | str))}
    given = {}
    for name, text in settings.items():
        if name not in plain:
            settable = sorted([*plain, *also])
            near, known = did_you_mean(name, settable), ", ".join(settable)
            raise ParameterError(f"{model.name} has no setting {name!r}.{near} Known: {known}")
        try:
            given[name] = TypeAdapter(type(plain[name]) if plain[name] is not None else str).validate_python(text)
        except ValidationError as error:
            raise ParameterError(f"{name}={text!r} of {model.name}: {error.errors()[0]['msg']}") from error
        if given[name] not in CHOICES.get(name, (given[name],)):
            known = ", ".join(repr(choice) for choice in CHOICES[name])
            raise ParameterError(f"{name}={text!r} of {model.name}: it is one of {known}")
    return replace(model, **given)


def _made(role: str, name: str) -> Any:
    """Return what a factory makes of "module:factory"."""
    module_name, colon, factory = name.partition(":")
    if not colon:
        raise unknown(name, role)
    try:
        return _checked(role, getattr(import_module(module_name), factory)())
    except (ImportError, AttributeError) as error:
        raise UnknownModelError(f'no {role} at {name!r}: {error}. Write "module:factory", both importable') from error


def unknown(name: str, role: str | None = None) -> UnknownModelError:
    """Return the error that no model of a role, or of any, has this name; it lists the known ones."""
    if told := what_lies_at(name):
        return UnknownModelError(f"no {role or 'model'} is at {name!r}: it is {told}")
    known = sorted({each for one in ([role] if role else PROTOCOLS) for each in known_models(one)})
    return UnknownModelError(
        f"no {role or 'model'} is called {without_secrets(name)!r}.{did_you_mean(name, known)} Known: {', '.join(known)}; "
        'or a Hugging Face id ("owner/name"), a local folder, a server ("http://host:8000/v1#model"), or "module:factory"'
    )


def _checked(role: str, model: Any) -> Any:
    protocol = PROTOCOLS[role]
    members = {*protocol.__annotations__, *(name for name in vars(protocol) if not name.startswith("_"))}
    # A property is not asked for its value, which it may not have yet; but an object that stands for another one is.
    lacks = sorted(n for n in members if getattr_static(model, n, None) is None and not hasattr(model, n))
    if lacks:
        raise ParameterError(f"{model!r} is no {role}: it lacks {', '.join(lacks)}")
    return model
