"""What tables, flags and pictures say of the drawing, under the names that diffusers has for it; samplers: `parameters.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgekit.scene.syntax.parameters import by_key, key, known_as, parameter
from forgekit.sources.rows import Notes, is_missing, plain

TABLE = tomllib.loads(Path(__file__).with_name("parameters.toml").read_text("utf-8"))
SAMPLERS = {key(name): {"scheduler": scheduler} for name, scheduler in by_key(TABLE["samplers"]).items()} | {
    key(name): options for name, options in TABLE["samplers_with_options"].items()
}
SCHEDULES = {key(name): options for name, options in TABLE["schedules"].items()}


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
        elif ours and (told := _told(ours, value)) is not None:
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
    whole = names[0] if names[:1] and names[0].endswith(names[-1]) else "".join(names)  # "DPM++ 2M Karras", "karras"
    for end in ("", *SCHEDULES):
        found = SAMPLERS.get(whole.removesuffix(end)) if whole.endswith(end) else None
        if found:
            options = {name: value for name, value in found.items() if name != "scheduler"} | SCHEDULES.get(end, {})
            scheduler = {"scheduler": found["scheduler"]}
            return scheduler | {"scheduler_options": options} if options else scheduler
    return None


def _told(name: str, value: Any) -> dict[str, Any] | None:
    try:
        return parameter(name, plain(value))
    except ValueError:
        return None
