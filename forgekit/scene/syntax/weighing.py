"""Weighing: a prompt as its parts, each with the weight that the marks around it give it."""

from __future__ import annotations

import re
from itertools import groupby
from typing import NamedTuple

from forgekit.scene.syntax.brackets import read_brackets
from forgekit.scene.syntax.prompt import Shield, split_prompt

# Around a weight and after its words: no text may have these characters.
BEGIN, BEHIND, END = "\ufdd0", "\ufdd1", "\ufdd2"
MARK = re.compile(f"{BEGIN}([^{BEHIND}]*){BEHIND}|{END}")


class Weighed(NamedTuple):
    """A prompt without its marks: `parts` of text with their weights, no two neighbours alike, and the `marks` as written."""

    parts: list[tuple[str, float]]
    marks: list[str]

    @property
    def text(self) -> str:
        """The prompt as it reads without marks."""
        return "".join(text for text, _ in self.parts)

    @property
    def is_plain(self) -> bool:
        """Whether all weighs 1."""
        return all(weight == 1 for _, weight in self.parts)


def weigh(text: str) -> Weighed:
    """Read the weights `(red:1.3)`, `((red))`, `[red]`, `red++` of a prompt; brackets in brackets multiply.

    All else stays as it stands, also weights of other kinds: `a cat::2`, which are shares of a picture, and `1.3::red::`.
    """
    known = {mark["written"] for mark in split_prompt(text).directives.get("weights", ())}
    shield, marks = Shield(), list[str]()
    text = shield.cover(re.sub(f"[{BEGIN}-{END}]", "", text))

    def mark(words: str, written: str, weight: float) -> str:
        if (own := shield.uncover(written)) not in known:  # brackets of an edit, of a link
            return written
        marks.append(own)
        return f"{BEGIN}{weight}{BEHIND}{words}{END}"

    read = read_brackets(text, {}, marked=bool(known), weigh=mark) + END  # of the whole, which weighs 1
    pieces, weights, start = list[tuple[str, float]](), [1.0], 0
    for match in MARK.finditer(read):
        pieces.append((shield.uncover(read[start : match.start()]), weights[-1]))
        start = match.end()
        if match[1]:
            weights.append(weights[-1] * float(match[1]))
        else:
            weights.pop()
    alike = groupby((piece for piece in pieces if piece[0]), key=lambda piece: piece[1])
    return Weighed([("".join(piece[0] for piece in group), weight) for weight, group in alike], marks)
