"""Directives: what a prompt says beside its words, as `prompts.directives` keeps it, and the words of syntax."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")  # a weight, or the value of a flag
WORDS = Path(__file__).parents[1] / "lexicon" / "syntax.toml"
# Kinds that a generator must know to follow. The others are words that it reads as they stand, or its own parameters.
TO_BE_KNOWN = ("weights", "edits", "networks", "separators", "images", "flags", "settings")
FROM_DATA = "from_data"  # the kind of the parameters of a row or a picture

Directives = dict[str, Any]


@dataclass(frozen=True)
class SyntaxWords:
    """The tables of lexicon/syntax.toml."""

    quality: frozenset[str]
    listed: frozenset[str]  # tags in lists of tags only
    people: Mapping[str, str]
    separators: tuple[str, ...]
    shown_after: frozenset[str]
    flags: Mapping[str, str]  # name: what follows it, "none", "one" or "rest"
    before_emphasis: frozenset[str]
    before_emoji: frozenset[str]
    bracketed: frozenset[str]
    plus_names: frozenset[str]
    function: frozenset[str]
    html: frozenset[str]
    emoji: Mapping[str, str]


@cache
def syntax_words() -> SyntaxWords:
    """Return the shipped tables, loaded once."""
    tables = tomllib.loads(WORDS.read_text("utf-8"))
    sets = {name: frozenset(words.split()) for name, words in tables["words"].items()}
    return SyntaxWords(
        quality=_between_semicolons(tables["tags"]["quality"]),
        listed=_between_semicolons(tables["tags"]["listed"]),
        people=tables["people"],
        separators=tuple(tables["separators"]["words"].split()),
        shown_after=frozenset(tables["separators"]["shown_after"].split()),
        flags={name: takes for takes, names in tables["flags"].items() for name in names.split()},
        emoji=tables["emoji"],
        **sets,
    )


def note(found: Directives, kind: str, entry: Any) -> None:
    """Add an entry to the list of a kind."""
    found.setdefault(kind, []).append(entry)


def note_mark(found: Directives, kind: str, words: str, written: str, weight: float | None = None) -> None:
    """Add words that stand marked in the prompt: `written` is the mark and all."""
    entry = {"words": " ".join(words.split()), "written": written}
    note(found, kind, entry if weight is None else {**entry, "weight": round(weight, 4)})


def not_applied(directives: Mapping[str, Any] | None, followed: Collection[str] = ()) -> dict[str, list[str]]:
    """Return, by kind and as they are written, the directives that are not `followed`: no generator here follows LoRAs, say."""
    found = {kind: written_of((directives or {}).get(kind, ())) for kind in TO_BE_KNOWN}
    left = {kind: [each for each in written if each not in followed] for kind, written in found.items()}
    return {kind: written for kind, written in left.items() if written}


def from_data(directives: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the parameters that came with a prompt, not from who imported it: those its text names, then its row's own."""
    found = directives or {}
    return {**found.get("parameters", {}), **found.get(FROM_DATA, {})}


def written_of(entries: Any) -> list[str]:
    """Return the entries of one kind as they stand in the prompt, each once."""
    if isinstance(entries, Mapping):
        return [f"{name} {value}".strip() for name, value in entries.items()]
    return list(dict.fromkeys(entry["written"] if isinstance(entry, Mapping) else entry for entry in entries))


def _between_semicolons(text: str) -> frozenset[str]:
    return frozenset(" ".join(words.split()) for words in text.split(";") if words.strip())
