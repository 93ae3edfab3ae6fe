"""What an experiment, a study or a batch may be called: names that are folders, MLflow groups and tags later on."""

from __future__ import annotations

from errno import EINVAL
from pathlib import Path
from typing import Any

from forgekit.errors import ParameterError, did_you_mean
from forgekit.store import arguments
from forgekit.store.file import Store

EXPERIMENTS = "select distinct experiment from prompts order by all"
LONGEST_NAME = 200  # bytes, in UTF-8
LONGEST_PART = 100  # bytes between two "/": with a date and an ending it is still a file's name


def check_name(what: str, name: Any) -> str:
    """Return `name` where everything that is named after it later can bear it.

    It may have "/" in it, as in "study/arm": each part is a folder. `what` says in the error what is named.

    Raises:
        ParameterError: it is no text, empty, too long, has unprintable characters, or a part of it is empty, begins
            with a dot, or has a blank at an end.
    """
    if reason := _why_unfit(name):
        raise ParameterError(f'{what}{_shown(name)} {reason}; give it a name such as "main" or "study/arm"')
    return name


def check_experiment(store: Any, experiment: Any) -> None:
    """Refuse the name of an experiment that has no prompts, where the store has others; None stands for all.

    Raises:
        ParameterError: `store` is none that is open, `experiment` no name, or that of no experiment: near ones are told.
    """
    if not isinstance(store, Store):
        raise ParameterError(f"store is a {type(store).__name__}; open it first: forgekit.open_store(path)")
    arguments.text("experiment", experiment)
    if experiment is None:
        return
    known = [row["experiment"] for row in store.rows(EXPERIMENTS)]
    if known and experiment not in known:
        said = did_you_mean(experiment, known)
        raise ParameterError(f"no experiment is called {experiment!r}.{said} The store has: {', '.join(known)[:400]}")


def _why_unfit(name: Any) -> str | None:
    if not isinstance(name, str):
        return f"is a {type(name).__name__}, not a name"
    if not name:
        return "is empty"
    if not name.isprintable():
        return "has characters that cannot be printed"
    if len(name.encode()) > LONGEST_NAME:
        return f"has {len(name.encode())} bytes, more than {LONGEST_NAME}"
    for part in name.replace("://", ":").split("/"):  # an arm such as llm:http://localhost/v1#model
        if not part:
            return 'has an empty part before or after a "/"'
        if part != part.strip():
            return f"has a blank at an end of {part!r}"
        if part.startswith("."):
            return f"has the part {part!r}, which begins with a dot"
        if len(part.encode()) > LONGEST_PART:
            return f"has a part of {len(part.encode())} bytes, more than {LONGEST_PART}"
    return None


def _shown(name: Any) -> str:
    shown = ascii(name) if isinstance(name, str) and not name.isprintable() else repr(name)
    return "" if name == "" else f" {shown}" if len(shown) <= 80 else f" {shown[:80]}…"


def read_text(path: Path) -> str:
    """Return the text of a plan or a notebook.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read, or is no regular file: a pipe that nobody writes into never ends.
    """
    if path.exists() and not path.is_file():
        raise OSError(EINVAL, "it is no regular file")
    return path.read_text("utf-8")


def inside(path: Path, roots: list[Path]) -> bool:
    """Say whether `path`, all links followed, lies in one of the folders."""
    return any(path.resolve().is_relative_to(root.resolve()) for root in roots)
