"""What stands around a prompt's words: Midjourney's command, pictures and flags, A1111's negative and settings.

The latter are one line, as many others write it, too: "Steps: 20, Sampler: Euler a, Size: 512x512".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from forgekit.scene.syntax.directives import NUMBER, Directives, note, syntax_words
from forgekit.scene.syntax.parameters import known_as, parameter

# "**a cat --ar 3:2** - @somebody (fast)", as Discord shows it
POSTED = re.compile(r"\s*\*\*(?P<words>.+?)\*\*\s+-\s[^\n]*@[^\n]*", re.DOTALL)
HEAD = re.compile(
    r"(?:\s*(?:/imagine\b\s*(?:prompt\b\s*:?)?|imagine\s+prompt\s*:))?(?:\s*(?:positive\s+)?prompt\s*:(?=\s))?(?P<images>(?:\s*<?https?://[^\s<>]+>?(?=\s))*)\s*",
    re.IGNORECASE,
)
NEGATIVE = re.compile(r"(?:^|\n)[ \t]*negative(?:[ _]prompt)?\s*:|(?<=\s)negative[ _]prompt\s*:", re.IGNORECASE)
SETTINGS = re.compile(r"(?:^|(?<=\s))Steps:\s*\d+\s*(?:,\s*[A-Z]|$)")
FLAG = re.compile(r"(?:^|(?<=\s))(--|—|–)([A-Za-z][\w-]*?)(?=[\s=:,]|$)[\s=:]*")
VALUE = re.compile(r"https?://\S+(?:\s+https?://\S+)*|(?!--|[—–])\S+")
NAMED = re.compile(r"\s*([A-Za-z][\w \-/+.]{0,60}):(.*)", re.DOTALL)
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
PLAIN = re.compile(r"[^,\"\n{}\[\]]+")
FIRST_NAMES = ("Steps", "Sampler", "Seed", "CFG scale", "Size", "Model", "Batch")
USUAL = frozenset(FIRST_NAMES) | {
    "Guidance Scale", "Distilled CFG Scale", "Schedule type", "Model hash", "VAE", "Clip skip", "Denoising strength",
    "Version", "App",
}  # fmt: skip
UNNAMED = ""
# Flags of kohya's sample prompts, two of which are Midjourney's, too; Midjourney has none of the others.
KOHYA = {"n": "no", "w": "width", "h": "height", "d": "seed", "l": "cfg", "s": "steps"}
KOHYA_ONLY = frozenset("nhdl")
OPENING = frozenset(":,{[")  # what a quotation mark stands after that opens a value
OF_ALL = {"seed", "num_inference_steps", "guidance_scale", "width", "height"}  # pipelines


def find_words(text: str, covered: str, found: Directives) -> tuple[int, int]:
    """Return start and end of the prompt's own words in `text`, and note what is around them.

    `covered` is the text with its quotations hidden: flags inside these are none.
    """
    posted = POSTED.fullmatch(text) if text.lstrip().startswith("**") and "@" in text else None
    start, end = posted.span("words") if posted else (0, len(text))
    end = _pasted(text, start, end, found)
    text = covered
    head = HEAD.match(text, start, end)
    if head and head.group().strip() and head.end() < end:
        start = head.end()
        for address in head["images"].split():
            note(found, "images", address.strip("<>"))
    flags = list(_flags(text, start, end))
    if flags:
        kohya = not KOHYA_ONLY.isdisjoint(name for _, _, name, _ in flags)
        for _, _, name, value in flags:
            name = KOHYA.get(name, name) if kohya else name
            if syntax_words().flags.get(name) == "rest":
                _note_negative(found, value)
            elif not _note_parameters(found, name, value):
                found.setdefault("flags", {})[f"--{name}"] = value.strip(",")
        end = _tail(text, end, [span[:2] for span in flags])
    return start, end


def without_flags(text: str) -> str:
    """Return `text` without the flags in the midst of it."""
    kept, index = [], 0
    for start, end, _, _ in _flags(text, 0, len(text)) if "-" in text or "—" in text or "–" in text else ():
        kept += [text[index:start], " "]
        index = end
    return "".join([*kept, text[index:]])


def _pasted(text: str, start: int, end: int, found: Directives) -> int:
    """Read what A1111 writes below a prompt, and return where the prompt ends."""
    settings = SETTINGS.search(text, start, end)
    if settings:
        said, _ = Parts(text[:end].replace("\n", " ")).read(settings.start())
        for name, value in said.items():
            if not _note_parameters(found, name, value) and name and value:
                found.setdefault("settings", {})[name] = value
        end = settings.start()
    negative = NEGATIVE.search(text, start, end)
    if negative and negative.start() > start:
        _note_negative(found, text[negative.end() : end])
        end = negative.start()
    return end


def _flags(text: str, start: int, end: int) -> Iterator[tuple[int, int, str, str]]:
    """Yield start, end, name and value of each flag. An unknown one counts behind one that is known."""
    words = syntax_words()
    marks = list(FLAG.finditer(text, start, end))
    known = any(mark[1] == "--" and mark[2].lower() in words.flags for mark in marks)
    # A flag whose hyphens became a dash has a number, "—ar 16:9"; a word after a dash may be prose.
    numbered = any(mark[2].lower() in words.flags and NUMBER.match(text, mark.end()) for mark in marks)
    ends = [*(mark.start() for mark in marks[1:]), end]
    for mark, following in zip(marks, ends, strict=False):
        name = mark[2].lower()
        takes = words.flags.get(name)
        if takes is None and not (known and mark[1] == "--"):
            continue
        if mark[1] != "--" and not (known or numbered):
            continue
        until = following if takes == "rest" else mark.end()
        if takes not in ("none", "rest") and (value := VALUE.match(text, mark.end(), following)):
            until = value.end()
        yield mark.start(), until, name, text[mark.end() : until].strip()


def _tail(text: str, end: int, spans: list[tuple[int, int]]) -> int:
    """Return where the run of flags begins that the text ends with."""
    for start, until in reversed(spans):
        if text[until:end].strip():
            break
        end = start
    return end


def _note_parameters(found: Directives, name: str, value: str) -> bool:
    """Note what the pipeline is to be called with; say whether a flag or setting is one that all pipelines take."""
    told = parameter(known_as(name), value) or {}
    if not told or not told.keys() <= OF_ALL:
        return False
    found.setdefault("parameters", {}).update(told)
    return True


def _note_negative(found: Directives, words: str) -> None:
    if words := " ".join(words.split()).strip(","):
        before = found.get("parameters", {}).get("negative_prompt")
        found.setdefault("parameters", {})["negative_prompt"] = f"{before}, {words}" if before else words


class Parts:
    """Reads "name: value, name: value" up to the end of its line; a quoted value may have commas and line breaks.

    A quotation mark that never closes is looked for once, so that the time is linear.
    """

    def __init__(self, text: str):
        self.text = text
        self.open_from = len(text)  # quotation marks from here on are never closed

    def read(self, start: int) -> tuple[dict[str, str], int]:
        """Return the parts by name, those without one together under UNNAMED, and where they end."""
        pieces, closed = self._pieces(start)
        if not closed:
            pieces, _ = self._pieces(start, brackets="")
        said: dict[str, str] = {}
        last = UNNAMED
        for begin, end in pieces:
            piece = self.text[begin:end]
            if named := NAMED.fullmatch(piece):
                last = named[1].strip()
                said.setdefault(last, _unquoted(named[2].strip()))
            elif piece.strip():  # a value with a comma in it that nobody quoted, or a mere switch
                place = UNNAMED if last in USUAL else last
                said[place] = f"{said[place]},{piece}" if place in said else piece
        return said, pieces[-1][1]

    def _pieces(self, start: int, brackets: str = "{}[]") -> tuple[list[tuple[int, int]], bool]:
        """Return begin and end of what stands between commas, those in quotation marks or brackets left aside.

        And whether all the brackets were closed.
        """
        text, at, begin, depth, before = self.text, start, start, 0, ""
        pieces = []
        while at < len(text) and text[at] != "\n":
            sign = text[at]
            if sign == '"' and before in OPENING and at < self.open_from:
                if quoted := QUOTED.match(text, at):
                    at, before = quoted.end(), sign
                    continue
                self.open_from = at
            if plain := PLAIN.match(text, at):
                at, before = plain.end(), plain[0].rstrip()[-1:] or before
                continue
            if sign in brackets:
                depth = max(0, depth + (1 if sign in "{[" else -1))
            elif sign == "," and not depth:
                pieces.append((begin, at))
                begin = at + 1
            at, before = at + 1, sign
        return [*pieces, (begin, at)], not depth


def _unquoted(value: str) -> str:
    """Return a value without its quotation marks: JSON, as the tools write it, or with line breaks as they are."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    try:
        return json.loads(value, strict=False)
    except ValueError:
        return value[1:-1]
