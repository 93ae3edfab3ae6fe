"""What a language model's answer says, apart from what surrounds it: its thinking, fences, remarks, quotation marks."""

from __future__ import annotations

import ast
import json
import re
from contextlib import suppress
from typing import Any

# How models set off what they think before they answer: (opening, closing). Where only the closing mark comes, the opening
# one stood in the request.
TAG = "(?:(?:seed:)?think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad)"
THOUGHTS = (
    (rf"<{TAG}>", rf"</{TAG}>"),
    (r"\[THINK\]", r"\[/THINK\]"),
    (r"◁think▷", r"◁/think▷"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    (r"<\|channel\|>\s*(?:analysis|commentary)[^<]*<\|message\|>", r"<\|channel\|>\s*final[^<]*<\|message\|>"),
)
SPECIAL = re.compile(r"<\|[\w ]+\|>|</?s>|<(?:start|end)_of_turn>")  # what some servers leave of the chat's own marks
FENCE = re.compile(r"```[^\n`]*\n(.*?)(?:\n\s*)?```", re.DOTALL)
COMMENT = re.compile(r'("(?:[^"\\\n]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
CONSTANTS = {"null": "None", "true": "True", "false": "False"}
CONSTANT = re.compile(rf"\b(?:{'|'.join(CONSTANTS)})\b")
STRAIGHT = str.maketrans("“”„‟«»‘’‚‛", '""""""' + "''''")


def spoken(answer: str) -> str:
    """Return the answer without what was only thought: all up to the last end of thinking, or from where it never ended."""
    for opening, closing in THOUGHTS:
        *_, answer = re.split(closing, answer, flags=re.IGNORECASE)
        answer = re.split(opening, answer, maxsplit=1, flags=re.IGNORECASE)[0]
    return SPECIAL.sub("", answer).strip()


def fenced(text: str) -> list[str]:
    """Return what stands in code fences, in order."""
    return [block.strip() for block in FENCE.findall(text) if block.strip()]


def json_objects(answer: str) -> list[dict[str, Any]]:
    """Return the complete JSON objects of an answer, in order; comments, a trailing comma or Python's quotes are no hindrance."""
    said = spoken(answer)
    blocks = _blocks(said) or _blocks(said, mind_quotes=False)
    return [found for block in blocks if isinstance(found := _read(block), dict)]


def _blocks(text: str, *, mind_quotes: bool = True) -> list[str]:
    """Return what stands between braces that belong together, each outermost one; braces in quoted texts do not count."""
    opened: list[int] = []
    closed: list[tuple[int, int]] = []
    quoted = escaped = False
    for place, character in enumerate(text):
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            quoted = mind_quotes and bool(opened)
        elif character == "{":
            opened.append(place)
        elif character == "}" and opened:
            start = opened.pop()
            while closed and closed[-1][0] > start:
                closed.pop()
            closed.append((start, place + 1))
    return [text[start:end] for start, end in closed]


def _read(block: str) -> Any:
    bare = TRAILING_COMMA.sub(_kept, COMMENT.sub(_kept, block))
    for text in (block, bare, bare.translate(STRAIGHT)):
        with suppress(ValueError, RecursionError):
            return json.loads(text, strict=False)
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return ast.literal_eval(CONSTANT.sub(lambda found: CONSTANTS[found[0]], bare))
    return None


def _kept(found: re.Match[str]) -> str:
    return found[1] or ""
