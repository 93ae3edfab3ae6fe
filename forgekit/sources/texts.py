"""Text files: a prompt on each line, comments and flags among them; and captions, a file each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forgekit.scene.syntax.parameters import key, known_as
from forgekit.sources.files import open_text
from forgekit.sources.pictures import prompt_in
from forgekit.sources.rows import BadRow, Reading, Row, excerpt

COMMENTS = ("#", "//")
SETTINGS = re.compile(r"^Steps: ?\d+, \w", re.MULTILINE)
SNIFFED = 1 << 16  # characters
FLAG = re.compile(
    r"""(?<!\S)--?([A-Za-z][\w-]*)(?:\s*=\s*|\s+|$)"""
    r"""("(?:\\.|[^"\\])*"(?!\S)|'(?:\\.|[^'\\])*'(?!\S)|“[^”]*”(?!\S)|(?:(?!(?<!\S)--[A-Za-z]).)*)"""
)
QUOTED_LINE = re.compile(r"""\s*["'“‘]([^"“”\n]+)["'”’]\s*,?\s*""")
PROMPT_FLAGS = {"prompt", "p", "positive", "positiveprompt", "text"}


def read_lines(path: Path, reading: Reading) -> Iterator[Row]:
    """Read a text file: every line that is not blank is a text. Lines end in LF, CR LF or CR, mixed as they come.

    Where each line stands in quotation marks, these are none of the text. One that begins with # or // is a comment,
    skipped and noted; \\# at its beginning is the character itself. One of flags (--prompt "a cat" --steps 20) is a
    record of them.
    """
    with open_text(path, reading) as file:
        quoted = _is_quoted(file.read(SNIFFED))
        file.seek(0)
        for number, line in enumerate(file, 1):
            begin = line.lstrip()
            if not begin:
                continue
            if quoted and (inside := QUOTED_LINE.fullmatch(line)):
                yield number, {"text": inside[1]}
                continue
            line = line.removesuffix("\n")
            if begin.startswith(COMMENTS):
                example = f"{path.name} line {number} {excerpt(begin.strip())[:60]!r}"
                reading.notes.add("comment lines skipped (# or //)", example)
            elif begin.startswith("-") and (flags := _flags(begin)):
                yield _record(number, line, flags)
            else:
                yield number, {"text": line.replace("\\#", "#", 1) if begin.startswith("\\#") else line}


def _is_quoted(text: str) -> bool:
    """Say whether a text is a list of several texts, each on its line in quotation marks, as in a program."""
    lines = [line for line in text.splitlines(keepends=True) if line.strip()]
    return len(lines) > 1 and all(map(QUOTED_LINE.fullmatch, lines[: -1 if len(text) == SNIFFED else None]))


def _flags(line: str) -> dict[str, str]:
    """Return the flags of a line that has nothing else in it, by name; {} where none is one that we know."""
    found = {name: _unquoted(value.strip()) for name, value in FLAG.findall(line)}
    known = (key(name) in PROMPT_FLAGS or (known_as(name) and line.startswith("--")) for name in found)
    return found if any(known) else {}


def _record(number: int, line: str, flags: dict[str, str]) -> Row:
    named = next((name for name in flags if key(name) in PROMPT_FLAGS), "prompt")
    text = flags.pop(named, "")
    said = {name: value or True for name, value in flags.items()}  # one without a value is a switch
    return (number, {"text": text, **said}) if text else BadRow(number, f"it has no --{named} …", excerpt(line))


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] + value[-1] in ('""', "''", "“”"):
        return re.sub(r"\\([\"'\\])", r"\1", value[1:-1])
    return value


def read_caption(path: Path, reading: Reading) -> dict[str, Any]:
    """Read a file that is one text, over one line or several, or what A1111 writes beside a picture."""
    with open_text(path, reading) as file:
        text = file.read().strip("\n")
    return prompt_in(text, reading.notes) or {"text": text}


def is_infotext(path: Path, reading: Reading) -> bool:
    """Say whether a text has the settings in it that A1111 writes below each prompt."""
    with open_text(path, reading) as file:
        return bool(SETTINGS.search(file.read(SNIFFED)))


def read_infotexts(path: Path, reading: Reading) -> Iterator[Row]:
    """Read prompts over several lines, each with its negative prompt and, as its last line, its settings."""
    lines: list[str] = []
    start = 1
    with open_text(path, reading) as file:
        for number, line in enumerate(file, 1):
            start = start if lines else number
            if lines or not line.isspace():
                lines.append(line)
            if SETTINGS.match(line):
                yield _infotext(start, "".join(lines), reading)
                lines = []
    if lines:
        yield _infotext(start, "".join(lines), reading)


def _infotext(number: int, text: str, reading: Reading) -> Row:
    said = prompt_in(text, reading.notes)
    return (number, said) if said else BadRow(number, "no settings (Steps: …) follow this text", excerpt(text))
