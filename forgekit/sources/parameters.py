"""What tables, flags and pictures say of the drawing, under the names that diffusers has for it (`parameters.toml`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from forgekit.sources.rows import Notes, is_missing, plain

TABLE = tomllib.loads(Path(__file__).with_name("parameters.toml").read_text("utf-8"))
INTEGERS, NUMBERS = frozenset(TABLE["integers"]), frozenset(TABLE["numbers"])
SIZE = re.compile(r"\s*(\d{2,5})\s*[x×*]\s*(\d{2,5})\s*", re.IGNORECASE)
THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")


def key(name: str) -> str:
    """Return a name without case, blanks and marks: "CFG scale", "cfg_scale" and "cfgScale" are one."""
    return re.sub(r"[\W_]", "", name.casefold().replace("++", "pp"))


def _by_key(table: Mapping[str, list[str]]) -> dict[str, str]:
    return {key(word): ours for ours, words in table.items() for word in (ours, *words)}


NAMES = _by_key(TABLE["parameters"] | TABLE["settings"])
SAMPLERS = {key(name): {"scheduler": scheduler} for name, scheduler in _by_key(TABLE["samplers"]).items()} | {
    key(name): options for name, options in TABLE["samplers_with_options"].items()
}
SCHEDULES = {key(name): options for name, options in TABLE["schedules"].items()}


@lru_cache(4096)
def known_as(name: str) -> str:
    """Return what we call a column or setting: a call argument of diffusers, "size", "model", "sampler", "schedule"; or ""."""
    return NAMES.get(key(name), "")


def settings(said: Mapping[str, Any], notes: Notes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters that these settings are, under diffusers' names, and the rest of them as it stands.

    What is missing or blank is neither, nor is a negative seed (others' way to say "any"). The checkpoint is in the rest
    as "model". A number that is none, a size that is no "512x768" and an unknown sampler are noted and in the rest.
    """
    parameters: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    sampling: dict[str, Any] = {}
    for name in sorted(said, key=lambda name: known_as(name) != name):  # diffusers' own names go before others
        value = said[name]
        ours = known_as(name)
        if is_missing(value) or (isinstance(value, str) and not value.strip()):
            continue
        if ours in ("sampler", "schedule") and ours not in sampling:
            sampling[ours] = value
        elif ours == "model":
            rest.setdefault("model", value)
        elif ours and (told := _parameter(ours, value)) is not None:
            if told.keys() & parameters.keys():
                rest[name] = value
            elif told.get("seed", 0) >= 0:
                parameters |= told
        else:
            rest[name] = value
            if ours:
                notes.add("settings that cannot be read, kept in scenes.source", f"{name} {value!r}")
    if sampling:
        scheduler = scheduler_of(sampling.get("sampler"), sampling.get("schedule"))
        (parameters if scheduler else rest).update(scheduler or sampling)
        if not scheduler:
            named = " ".join(str(value) for value in sampling.values())
            notes.add("samplers without an equal in diffusers, kept in scenes.source", repr(named))
    return parameters, rest


def scheduler_of(sampler: Any, schedule: Any = None) -> dict[str, Any] | None:
    """Return the scheduler of diffusers that does what a sampler does, and its options; None where there is none.

    Args:
        sampler: its name in another program, with or without the noise schedule: "DPM++ 2M Karras".
        schedule: the noise schedule, where it is named by itself; or the sampler, where nothing else names it.
    """
    names = [key(str(name)) for name in (sampler, schedule) if not is_missing(name)]
    whole = "".join(names)
    for end in ("", *SCHEDULES):
        found = SAMPLERS.get(whole.removesuffix(end)) if whole.endswith(end) else None
        if found:
            options = {name: value for name, value in found.items() if name != "scheduler"} | SCHEDULES.get(end, {})
            scheduler = {"scheduler": found["scheduler"]}
            return scheduler | {"scheduler_options": options} if options else scheduler
    return None


def _parameter(name: str, value: Any) -> dict[str, Any] | None:
    """Return the parameter, or the two of a size; None where the value cannot be one."""
    if name == "size":
        size = SIZE.fullmatch(value) if isinstance(value, str) else None
        return {"width": int(size[1]), "height": int(size[2])} if size else None
    try:
        value = plain(value)
    except ValueError:
        return None
    if name in INTEGERS | NUMBERS:
        value = _number(value, whole=name in INTEGERS)
    elif not isinstance(value, str):
        value = None
    return None if value is None else {name: value}


def _number(value: Any, *, whole: bool) -> int | float | None:
    """Read a number, also one with a decimal comma; None where it is none, or no whole one."""
    if isinstance(value, str):
        text = value.strip()
        text = text.replace(",", "") if whole and THOUSANDS.fullmatch(text) else text.replace(",", ".")
        try:
            value = int(text) if re.fullmatch(r"[+-]?\d{1,30}", text) else plain(float(text))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if whole and isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value
