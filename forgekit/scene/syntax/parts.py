"""The line of settings that A1111 and many others write below a prompt: "Steps: 20, Sampler: Euler a, Size: 512x512"."""

from __future__ import annotations

import json
import re

NAMED = re.compile(r"\s*([A-Za-z][\w \-/+.]{0,60}):(.*)", re.DOTALL)
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
PLAIN = re.compile(r"[^,\"\n{}\[\]]+")
FIRST_NAMES = ("Steps", "Sampler", "Seed", "CFG scale", "Size", "Model", "Batch")
USUAL = frozenset(FIRST_NAMES) | {
    "Guidance Scale", "Distilled CFG Scale", "Schedule type", "Model hash", "VAE", "Clip skip", "Denoising strength",
    "Version", "App",
}  # fmt: skip
UNNAMED = ""
OPENING = frozenset(":,{[")  # what a quotation mark stands after that opens a value


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
