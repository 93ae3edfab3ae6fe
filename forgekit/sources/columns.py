"""What a column is for: the text, an id, a category, the model, a parameter; told from its name, else from what is in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import median
from typing import Any

from forgekit.errors import SourceError, did_you_mean, listed
from forgekit.scene.syntax.parameters import key, known_as
from forgekit.sources.parameters import TABLE
from forgekit.sources.rows import BadRow, Notes, Row, is_missing

ROLES = ("id", "category", "model", "parameters")
OURS = frozenset({"file", "elements", "source"})  # what our own readers say besides
TEXT_KEYS = tuple(key(name) for name in TABLE["columns"]["text"])
ROLE_KEYS = {role: [key(name) for name in TABLE["columns"][role]] for role in ("id", "category")}
MOST_COLUMNS = 2_000  # prompt sets have a few; a million is a damaged file
SAMPLE = 1000  # rows from which a column is judged
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")  # Japanese, Chinese, Thai
SURE = frozenset({"text", "texts", "scenetext"})  # besides what is called prompt or caption
TEXT_WORDS = re.compile(r"prompt|caption|提示词", re.IGNORECASE)
# a path, an address, a number, a hash
CODE = re.compile(r"\S*[/\\:=_{}<>@]\S*|[\d.,:%+\-x]+|[0-9a-f-]{16,}", re.IGNORECASE)


@lru_cache(4096)
def is_known(name: str) -> bool:
    """Say whether a column's name is one of those that texts, roles or parameters have."""
    return key(name) in TEXT_KEYS or bool(known_as(name)) or any(key(name) in keys for keys in ROLE_KEYS.values())


@lru_cache(4096)
def is_text_name(name: str) -> bool:
    """Say whether texts stand in columns of this name."""
    return key(name) in TEXT_KEYS


def text_column(
    source: Any, names: Sequence[str], rows: Sequence[Row], wanted: str | int | None, notes: Notes
) -> str | None:
    """Return the column of the texts: the one wanted, one of a known name, else the only one that has texts in it.

    A single column under no known name is None: it may be one without a header.

    Raises:
        SourceError: there is none of the wanted name, none with texts, or several.
    """
    if not names:
        bad = next((row for row in rows if isinstance(row, BadRow)), None)
        why = f"readable row: row {bad.row}: {bad.reason}" if bad else "rows"
        raise SourceError(f"{source} has no {'; '.join([why, *notes.lines()])}")
    if wanted is not None:
        column = str(wanted)
        if column not in names:
            hint = did_you_mean(column, names)
            raise SourceError(f"{source} has no column {column!r}.{hint} It has: {listed(names)}")
        return column
    by_key = {key(name): name for name in reversed(names)}
    known = [by_key[name] for name in TEXT_KEYS if name in by_key]
    others = [name for name in known[1:] if _has_texts(name, rows)]
    if others and key(known[0]) not in SURE and not TEXT_WORDS.search(known[0]):
        raise _ambiguous(source, [known[0], *others], notes)
    if others:
        also = ", ".join(map(repr, others))
        notes.add(f"the texts are taken from the column {known[0]!r}, not from {also} (text_column=… says otherwise)")
    if known or len(names) == 1:
        return known[0] if known else None
    return _likely_column(source, names, rows, notes)


def _ambiguous(source: Any, likely: Sequence[str], notes: Notes) -> SourceError:
    which = " or ".join(map(repr, likely[:9]))
    said = _separated(notes)
    return SourceError(f"{source}: the texts could be those of {which}{said}; name one: text_column={likely[0]!r}")


def _separated(notes: Notes) -> str:
    return "".join(f" ({line})" for line in notes.lines() if "separated" in line)


def _likely_column(source: Any, names: Sequence[str], rows: Sequence[Row], notes: Notes) -> str:
    """Return the only column that has texts in it, or the only one of them that is called so."""
    likely = [name for name in names if not is_known(name) and name not in OURS and _has_texts(name, rows)]
    named = [name for name in likely if TEXT_WORDS.search(name)]
    if len(likely) != 1 and len(named) != 1:
        if likely:
            raise _ambiguous(source, likely, notes)
        raise SourceError(
            f"no column of {source} is known to hold the texts; it has: {listed(names)}{_separated(notes)}. Give text_column=…"
            " (a number, from 0, where there is no header)"
        )
    [found] = named if len(named) == 1 else likely
    notes.add(f"the texts are taken from the column {found!r}, which has no known name (text_column=… says otherwise)")
    return found


def _has_texts(name: str, rows: Sequence[Row]) -> bool:
    """Say whether a column holds texts of more than a word, most of them different."""
    cells = [row[1].get(name) for row in rows[:SAMPLE] if not isinstance(row, BadRow)]
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    if not texts or len(texts) < sum(not is_missing(cell) and cell != "" for cell in cells):
        return False
    return (
        sum(bool(CODE.fullmatch(text)) or text[0] in "{[" for text in texts) * 10 < len(texts)
        and median(map(_words, texts)) >= 2
        and len(set(texts)) * 2 > len(texts)
    )


def _words(text: str) -> float:
    """Return how many words a text has; where there are no blanks between them two characters are one."""
    return len(text.split()) + len(UNSPACED.findall(text)) / 2 - bool(UNSPACED.search(text))


def is_header(first: str, rows: Sequence[Row], notes: Notes) -> bool:
    """Say whether the first line of a lone column is its header, and note it: a name texts have, or one short word."""
    words = first.split()
    named = len(words) <= 3 and any(is_text_name(word.strip(":.()")) for word in (first, *words))
    others = [_words(str(row[1][first])) for row in rows[:SAMPLE] if not isinstance(row, BadRow)]
    own = _words(first)
    short = len(words) == 1 and own < 2 and "," not in first
    told = named or (short and bool(others) and min(others) > own and median(others) >= 3 * own)
    if told:
        notes.add(f"the first line, {first!r}, is taken as the header (text_column=0 says otherwise)")
    return told


def is_header_line(rows: Sequence[Row], notes: Notes) -> bool:
    """Say whether the first line of a list is a name that texts have, such as "prompt", and note it."""
    first = "" if len(rows) < 2 or isinstance(rows[0], BadRow) else str(rows[0][1].get("text"))
    if told := is_text_name(first.strip(" :")):
        notes.add(f"the first line, {first!r}, is taken as the header (text_column='text' says otherwise)")
    return told


def is_data(text: str, names: Sequence[str]) -> bool:
    """Say whether a table's first line is a row and no header: none of it is a known name, a number and a sentence are in it."""
    words = not any(map(is_known, names)) and _words(text) >= 3
    return words and any(re.fullmatch(r"\d[\d.,]*", name) for name in names)


def roles(names: Sequence[str], text: str, mapping: Mapping[str, str]) -> dict[str, str]:
    """Return which column has which role: as named by the caller, else by the columns' own names."""
    found = dict(mapping)
    for role in (*ROLES, *sorted(OURS)):
        keys = ROLE_KEYS.get(role)
        usual = [n for k in keys for n in names if key(n) == k] if keys else [role] * (role in names)
        if role == "model" and not usual:
            usual = [n for n in names if known_as(n) == "model"]
        for name in [n for n in usual if n != text][:1]:
            found.setdefault(role, name)
    return found
