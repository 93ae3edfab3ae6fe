"""Parameters of diffusers' pipelines by the names that others have for them (lexicon/parameters.toml), and their values."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

TABLE = tomllib.loads((Path(__file__).parents[1] / "lexicon" / "parameters.toml").read_text("utf-8"))
INTEGERS, NUMBERS = frozenset(TABLE["integers"]), frozenset(TABLE["numbers"])
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
