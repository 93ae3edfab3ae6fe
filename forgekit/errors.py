"""The errors forgekit raises: each names the input it refuses and ends with what would work."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

LONGEST_SHOWN = 60  # characters of a name
SECRETS = re.compile(
    r"""(?P<scheme>\b[a-zA-Z][\w+.-]*://)(?:[^\s#"'<>]*@|[^\s/"'<>]*@)?(?P<rest>[^\s?#"'<>]*)(?:\?[^\s#"'<>]*)?"""
)  # what stands before an "@" may be a password, however it is written


class ForgekitError(Exception):
    """Base class of all errors that forgekit raises on purpose. What is no text (half a character) is escaped in it."""

    def __str__(self) -> str:
        return super().__str__().encode("utf-8", "backslashreplace").decode()


class UnknownModelError(ForgekitError):
    """A model name that no role knows."""


class SourceError(ForgekitError):
    """A prompt source that cannot be read."""


class StoreError(ForgekitError):
    """A store file that cannot be opened, is busy, damaged, or too new."""


class StatusError(ForgekitError):
    """A prompt status change that the table of transitions does not allow."""


class ParameterError(ForgekitError):
    """An argument or parameter outside what is allowed."""


@dataclass(frozen=True)
class ItemError:
    """Why one item of a batch failed; the others of the batch are not affected.

    Models return it in the place of a result. It is stored as null plus this reason, never as 0.
    """

    reason: str


def listed(names: Iterable[str], most: int = 30) -> str:
    """Return names that data gave, for a message: the first ones, cut short, and how many more there are."""
    names = list(names)
    shown = ", ".join(name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…" for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def without_secrets(text: str) -> str:
    """Return a text whose addresses have lost user, password and query: "https://me:key@host/v1?key=…" is "https://host/v1"."""
    return SECRETS.sub(lambda found: found["scheme"] + found["rest"], text)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest of `known`, or "" where none is near."""
    return "".join(f" Did you mean {match!r}?" for match in get_close_matches(name, list(known), n=1))


def reworded(error: ValidationError, where: str, known: Iterable[str], *, what: str = "key") -> ParameterError:
    """Return what pydantic found in a file as an error of ours; `known` are the keys it takes, `what` it calls them."""
    known = list(known)
    told = []
    for found in error.errors(include_url=False):
        path = [part for part in found["loc"] if isinstance(part, str)]
        name = ".".join(path)
        if found["type"] in ("extra_forbidden", "unexpected_keyword_argument"):  # of a model, of a dataclass
            told.append(f"unknown {what} {name!r}.{did_you_mean(path[-1], known)}")
        elif found["type"] == "missing":
            told.append(f"it lacks {name!r}")
        else:
            given = f"{name} = {found['input']!r}" if name else repr(found["input"])
            told.append(f"{given}: {found['msg']}".replace(": Input should", " should"))
    return ParameterError(f"{where}: {'; '.join(dict.fromkeys(told))} (known: {', '.join(known)})")
