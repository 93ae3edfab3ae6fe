"""Parameters of diffusers' pipelines by the names that others have for them (lexicon/parameters.toml), and their values."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from forgekit.errors import ParameterError
from forgekit.scene.text import MOST_CHARACTERS

TABLE = tomllib.loads((Path(__file__).parents[1] / "lexicon" / "parameters.toml").read_text("utf-8"))
INTEGERS, NUMBERS = frozenset(TABLE["integers"]), frozenset(TABLE["numbers"])
BOUNDS: dict[str, tuple[float, float]] = {name: (least, most) for name, (least, most) in TABLE["bounds"].items()}
LARGEST_SEED = (1 << 64) - 1
MOST_PIXELS = 1 << 24  # 4096×4096; the largest models draw a quarter of it
MOST_VALUES, MOST_DEEP = 1_000, 20  # of a parameter: "sigmas" are as many as steps
SURROGATE = re.compile("[\ud800-\udfff]")
SIZE = re.compile(r"\s*(\d{2,5})\s*[x×*]\s*(\d{2,5})\s*", re.IGNORECASE)
THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")


def key(name: str) -> str:
    """Return a name without case, blanks and marks: "CFG scale", "cfg_scale" and "cfgScale" are one."""
    return re.sub(r"[\W_]", "", name.casefold().replace("++", "pp"))


def by_key(table: Mapping[str, list[str]]) -> dict[str, str]:
    """Return our word for each of others' words, by its `key`."""
    return {key(word): ours for ours, words in table.items() for word in (ours, *words)}


NAMES = by_key(TABLE["parameters"] | TABLE["settings"])


@lru_cache(4096)
def known_as(name: str) -> str:
    """Return what we call a column or setting: a call argument of diffusers, "size", "model", "sampler", "schedule"; or ""."""
    return NAMES.get(key(name), "")


def parameter(name: str, value: Any) -> dict[str, Any] | None:
    """Return the parameter that is known as `name`, or the two of a size; None where the value, plain JSON, cannot be one."""
    if name == "size":
        size = SIZE.fullmatch(value) if isinstance(value, str) else None
        return {"width": int(size[1]), "height": int(size[2])} if size else None
    if name in INTEGERS | NUMBERS:
        value = _number(value, whole=name in INTEGERS)
    elif not isinstance(value, str):
        value = None
    return None if value is None else {name: value}


def checked_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of a pipeline, plain JSON, with numbers for those that are numbers.

    Raises:
        ParameterError: a number is none, is true or false, or lies outside [bounds] of lexicon/parameters.toml; a picture
            has too many pixels; a negative prompt is no text; a value is longer than any that draws something.
    """
    found = dict(parameters)
    for name, value in parameters.items():
        if name in INTEGERS | NUMBERS:
            found[name] = _in_bounds(name, value)
        elif name == "negative_prompt" and not isinstance(value, str):
            raise ParameterError(f"negative_prompt is a {type(value).__name__}; give one text")
        elif _size({name: value}) > MOST_VALUES:
            raise ParameterError(
                f"{name[:80]} has more than {MOST_VALUES:,} values or {MOST_CHARACTERS:,} characters, or half a character"
            )
    if found.get("width", 1) * found.get("height", 1) > MOST_PIXELS:
        raise ParameterError(f"{found['width']}×{found['height']} are more than {MOST_PIXELS:,} pixels")
    return found


def _in_bounds(name: str, value: Any) -> int | float:
    number = (parameter(name, value) or {}).get(name)
    if number is None:
        kind = "whole number" if name in INTEGERS else "number"
        raise ParameterError(f"{name} is {str(value)[:80]!r}, a {type(value).__name__}; give a {kind}")
    least, most = BOUNDS.get(name, (0, LARGEST_SEED))
    if not least <= number <= most:
        shown = number if number == 0 or abs(number) < 1e30 else f"about 10^{int(math.log10(abs(number)))}"
        raise ParameterError(f"{name} is {shown}; give {least} to {most}")
    return number


def _size(value: Any, depth: int = 0) -> int:
    """Return how many values a parameter has in it; more than MOST_VALUES where it is too deep, or a text too long."""
    if isinstance(value, str):
        return 1 if len(value) <= MOST_CHARACTERS and not SURROGATE.search(value) else MOST_VALUES + 1
    if not isinstance(value, Mapping | list | tuple):
        return 1
    if depth > MOST_DEEP or len(value) > MOST_VALUES:
        return MOST_VALUES + 1
    inner = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
    return sum(_size(part, depth + 1) for part in inner)


def _number(value: Any, *, whole: bool) -> int | float | None:
    """Read a number, also one with a decimal comma; None where it is none, or no whole one."""
    if isinstance(value, str):
        text = value.strip()
        text = text.replace(",", "") if whole and THOUSANDS.fullmatch(text) else text.replace(",", ".")
        try:
            value = int(text) if re.fullmatch(r"[+-]?\d{1,30}", text) else float(text)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        return None
    if whole and isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value
