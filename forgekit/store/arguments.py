"""What a caller may pass: whole numbers, numbers in a range, switches; told before anything is done, by the argument's name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from forgekit.errors import ParameterError

LARGEST = 1_000_000_000  # of any count


def whole(name: str, value: Any, *, least: int = 1, most: int = LARGEST) -> int:
    """Return a whole number, numpy's as Python's.

    Raises:
        ParameterError: it is of another type (a truth value and 2.0 are), or outside `least` to `most`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ParameterError(
            f"{name}={_shown(value)} is a {type(value).__name__}; give a whole number, such as {name}=4"
        )
    if not least <= int(value) <= most:
        raise ParameterError(f"{name}={_shown(value)}: it must be {least} or more, and {most:,} at most")
    return int(value)


def number(name: str, value: Any, *, least: float = 0.0, most: float = math.inf) -> float:
    """Return a number in the closed range from `least` to `most`.

    Raises:
        ParameterError: it is of another type, NaN, or outside.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ParameterError(f"{name}={_shown(value)} is a {type(value).__name__}; give a number")
    if (isinstance(value, int) and abs(value) > LARGEST) or not least <= float(value) <= most:
        raise ParameterError(f"{name} is {_shown(value)}, it must lie in [{least:g}, {most:g}]")
    return float(value)


def switch(name: str, value: Any) -> bool:
    """Return True or False, numpy's as Python's.

    Raises:
        ParameterError: it is of another type; "no" would be a yes.
    """
    if type(value).__name__ not in ("bool", "bool_"):
        raise ParameterError(f"{name}={_shown(value)} is a {type(value).__name__}; give True or False")
    return bool(value)


def text(name: str, value: Any) -> str | None:
    """Return a text that can be stored, or None.

    Raises:
        ParameterError: it is of another type, or has half of a character or a NUL in it.
    """
    if value is not None and not isinstance(value, str):
        raise ParameterError(f"{name}={_shown(value)} is a {type(value).__name__}; give a text")
    if value is not None and any("\ud800" <= char <= "\udfff" or char == "\0" for char in value):
        raise ParameterError(f"{name}={ascii(value)[:80]} has half a character or a NUL in it; write it out")
    return value


def several(name: str, values: Any) -> list[Any]:
    """Return a list of things, such as names.

    Raises:
        ParameterError: it is a text, or nothing that can be listed.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ParameterError(f"{name}={_shown(values)} is a {type(values).__name__}; give a list, such as {name}=[…]")
    return list(values)


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) > 1 << 64:
        return f"(a number of {value.bit_length()} bits)"
    return repr(value)[:80]
