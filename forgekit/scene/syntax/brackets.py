"""Marks on words: weights `(red:1.3)`, `((red))`, `[red]`, `red++`, prompt editing `[cat:dog:0.5]`, `[cow|horse]`; NovelAI's `{red}`.

The forms are those of A1111 (github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features) and of compel. A single pair of
round brackets is prose as often as emphasis: it counts as emphasis only in a text that has other marks, around a whole
segment between commas, or behind a word such as "a", where prose has no aside.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from forgekit.scene.syntax.directives import NUMBER, Directives, note_mark, syntax_words

PAIRS = {")": "(", "]": "[", "}": "{"}
BRACKET = re.compile(r"\\[()\[\]{}]|[()\[\]{}]")
SUFFIX = re.compile(r"(?:(\d*\.\d+)|(\++|-+))(?=[\s,.;:!?)\]]|$)")  # compel's, behind a bracket
SIGNED = re.compile(r"(?<![\w+'’-])([^\W\d_][\w'’-]*?)(\++|-{2,})(?=[\s,.;:!?)]|$)")
MARKED = re.compile(
    r"\(\(|\[\[|\{\{|\[[^\[\]]*[:|]|[^\d\s(]\s*:\s*-?\d*\.?\d+\s*\)|\d:\d*\.\d+\s*\)|\)(?:\d*\.\d|\+\+)|\w\+\+\+"
)
COMPEL = re.compile(r"[^\W\d_]\w(?:\+\+|--)(?=[\s,.;:!?)]|$)|\)[+-]")  # that other words of a text have its signs
DEEPEST = 50
BY_PAIR = {"(": 1.1, "[": 1 / 1.1, "{": 1.05}
MOST, STRONGER, WEAKER = 5, 1.1, 0.9  # a number beyond the first is no weight: "(Psalm:23)"
NEAR = 24  # characters looked at before a bracket


@dataclass
class _Frame:
    """A bracket that is open: where it stands, and what was read inside it."""

    opening: str
    start: int
    parts: list[str | _Bare] = field(default_factory=list)


@dataclass(frozen=True)
class _Bare:
    """Brackets with nothing but words in them: emphasis, or prose."""

    opening: str
    content: str
    written: str
    start: int
    depth: int = 1


Weigh = Callable[[str, str, float], str]  # words, their mark and all, and its weight: what is left of them


def read_brackets(text: str, found: Directives, *, marked: bool = False, weigh: Weigh | None = None) -> str:
    """Return `text` without weights and prompt editing, which are noted. `marked`: other syntax was found in it already.

    With `weigh`, only weights are read: what it returns stands in their place, and nothing is noted.
    """
    reader = _Reader(text, found, marked or MARKED.search(text) is not None, weigh)
    return SIGNED.sub(reader.signed, reader.read())


class _Reader:
    def __init__(self, text: str, found: Directives, marked: bool, weigh: Weigh | None) -> None:
        self.text, self.found, self.marked, self.weigh = text, found, marked, weigh
        self.frames = [_Frame("", 0)]

    def read(self) -> str:
        """Return the text without its marks. Brackets that have no other half stay."""
        index = 0
        for match in BRACKET.finditer(self.text):
            self._put(self.text[index : match.start()])
            index, mark = match.end(), match.group()
            if mark in "([{" and len(self.frames) <= DEEPEST:
                self.frames.append(_Frame(mark, match.start()))
            elif self.frames[-1].opening == PAIRS.get(mark):
                index = self._close(index)
                if self.marked and self.text[index : index + 1] in ("(", "["):  # "((red))((ball))" is two words
                    self._put(" ")
            else:
                self._put(mark[-1])
        self._put(self.text[index:])
        while len(self.frames) > 1:
            frame = self.frames.pop()
            content = self._content(frame)
            known = self._weighted(content, self.text[frame.start :]) if frame.opening == "(" else None
            self._put(frame.opening + content if known is None else known)
        return self._content(self.frames[0])

    def _put(self, part: str | _Bare) -> None:
        if part != "":
            self.frames[-1].parts.append(part)

    def _close(self, index: int) -> int:
        """Take the bracket that ends at `index`, and return where what belongs to it ends."""
        frame = self.frames.pop()
        suffix = SUFFIX.match(self.text, index) if frame.opening == "(" else None
        index = suffix.end() if suffix else index
        written = self.text[frame.start : index]
        inner = frame.parts[0] if len(frame.parts) == 1 else None
        if not suffix and isinstance(inner, _Bare) and inner.opening == frame.opening:
            self._put(_Bare(frame.opening, inner.content, written, frame.start, inner.depth + 1))
            return index
        content = self._content(frame)
        if suffix:
            sign = suffix[2] or ""
            weight = float(suffix[1]) if suffix[1] else _signed_weight(sign)
            self._put(self._weight(content, written, weight))
        else:
            self._put(self._inside(frame, content, written))
        return index

    def _inside(self, frame: _Frame, content: str, written: str) -> str | _Bare:
        """Return what brackets without a suffix leave of their content."""
        if frame.opening == "(":
            known = self._weighted(content, written)
            return _Bare("(", content, written, frame.start) if known is None else known
        if frame.opening == "{":  # a template that nobody filled in: {red|blue}, {2$$…}, {color:1}
            return f"{{{content}}}" if re.search(r"[|$:]", content) else _Bare("{", content, written, frame.start)
        if (edited := _edited(content)) is not None:
            content = edited
        elif "|" in content:
            content = next((option for option in content.split("|") if option.strip()), "")
        else:
            return _Bare("[", content, written, frame.start)
        if self.weigh:
            return written
        note_mark(self.found, "edits", content, written)
        return content

    def _content(self, frame: _Frame) -> str:
        return "".join(part if isinstance(part, str) else self._settled(part) for part in frame.parts)

    def _settled(self, bare: _Bare) -> str:
        """Return what brackets around mere words leave: the words where they are emphasis, all of it where they are prose."""
        words = syntax_words()
        if not bare.content.strip():
            return bare.written if not bare.content else ""
        if bare.opening == "[":
            if bare.content.lower() in words.bracketed or bare.content.isdigit():
                return bare.written
            return self._weight(bare.content, bare.written, BY_PAIR["["] ** bare.depth)
        if bare.depth > 1 or self.marked or self._stands_as_emphasis(bare, words.before_emphasis):
            self.marked = True
            return self._weight(bare.content, bare.written, BY_PAIR[bare.opening] ** bare.depth)
        return bare.written

    def _stands_as_emphasis(self, bare: _Bare, openers: frozenset[str]) -> bool:
        end = bare.start + len(bare.written)
        before, after = self.text[max(0, bare.start - NEAR) : bare.start].rstrip(), self.text[end : end + NEAR].lstrip()
        opens, closes = not before or before[-1] in ",;", not after or after[0] in ",;"
        goes_on = after[:1].isalnum() or after[:1] == "("
        return (opens and closes) or (goes_on and not openers.isdisjoint(before.lower().split()[-1:]))

    def _weighted(self, content: str, written: str) -> str | None:
        """Return the words of "words:1.3"; None where that is no weight, as in "at 10:30"."""
        words, colon, number = content.rpartition(":")
        words, number = words.rstrip(), number.strip()
        if not colon or not NUMBER.fullmatch(number) or abs(float(number)) > MOST:
            return None
        return None if words[-1:].isdigit() and "." not in number else self._weight(words, written, float(number))

    def _weight(self, words: str, written: str, weight: float) -> str:
        if self.weigh:
            return self.weigh(words, written, weight)
        if words.strip():
            note_mark(self.found, "weights", words, written, weight)
        return words if weight > 0 else ""

    def signed(self, match: re.Match[str]) -> str:
        """Return the word of compel's "word++"; what is called so, such as C++, stays."""
        word, signs = match[1], match[2]
        names = len(word) == 1 or word.lower() in syntax_words().plus_names
        if names or (signs == "+" and not COMPEL.search(self.text)):
            return match.group()
        return self._weight(word, match.group(), _signed_weight(signs))


def _edited(content: str) -> str | None:
    """Return what "from:to:0.5", "to:0.5" or "from::0.5" ends as; None where it is no prompt editing."""
    *before, number = content.split(":")
    if len(before) not in (1, 2) or "|" in content or not NUMBER.fullmatch(number.strip()):
        return None
    words = before[-1].strip()
    return None if len(before) == 1 and (not words or words[-1].isdigit()) else words


def _signed_weight(signs: str) -> float:
    return (STRONGER if signs[0] == "+" else WEAKER) ** min(len(signs), DEEPEST)
