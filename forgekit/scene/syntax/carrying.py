"""Carrying: another wording of a scene, written in the syntax of the prompt that it rewords."""

from __future__ import annotations

import re

from forgekit.scene.syntax.directives import Directives, written_of
from forgekit.scene.syntax.prompt import PromptParts, split_prompt
from forgekit.scene.text import normalise

HIDDEN = 0x10F000  # words that have their mark back, while others are looked for


def carry(asked: str, origin: PromptParts) -> tuple[str, list[str]]:
    """Return `asked` with the syntax of `origin`, and what of it had no place in the new words.

    Marks go to their words where these still stand, tags to the front, LoRAs to the end; command and flags stay around.
    BREAK and AND have no place in another sentence. The result asks for `asked`, or goes without marks.
    """
    if asked == origin.asked:
        return origin.drawn, []
    for words in (_marked(asked, origin.directives), _appended(asked, origin.directives), asked):
        drawn = origin.with_words(words)
        parts = split_prompt(drawn)
        if _words(parts.asked) == _words(asked):
            return drawn, _lost(origin.directives, parts.directives)
    return asked, _lost(origin.directives, {})


def _marked(asked: str, directives: Directives) -> str:
    """Return `asked` with marks on its words, tags in front of it, networks behind it."""
    marks = [m for kind in ("weights", "edits", "networks") for m in directives.get(kind, []) if m.get("words")]
    hidden: list[str] = []
    text, done = asked, ""
    for mark in sorted(marks, key=lambda mark: -len(mark["written"])):
        place = re.search(rf"(?<!\w){re.escape(mark['words'])}(?!\w)", text, re.IGNORECASE)
        if place and mark.get("weight", 1) > 0 and mark["written"] not in done:
            text = f"{text[: place.start()]}{chr(HIDDEN + len(hidden))}{text[place.end() :]}"
            hidden.append(mark["written"])
            done += mark["written"] + "\n"
    for index, written in enumerate(hidden):
        text = text.replace(chr(HIDDEN + index), written)
    return _appended(text, directives)


def _appended(text: str, directives: Directives) -> str:
    """Return `text` with the tags in front and what has no words of its own behind: networks, what is not wanted."""
    marks = directives.get("weights", [])
    marked = {mark["words"]: mark["written"] for mark in marks}
    tags = [marked.get(tag, tag) for tag in directives.get("tags", [])]
    networks = [entry["written"] for entry in directives.get("networks", []) if "words" not in entry]
    against = [mark["written"] for mark in marks if mark["weight"] <= 0]
    for written in (each for each in against if "::" in each):
        text = f"{text}{' ' if text.endswith('::') else ':: '}{written}"
    unwanted = [written for written in against if "::" not in written]
    return " ".join([", ".join([*tags, text, *unwanted]), *networks])


def _lost(before: Directives, after: Directives) -> list[str]:
    """Return what was written before and is not any more, in the order of the prompt."""
    return [written for written in _written(before) if written not in _written(after)]


def _written(directives: Directives) -> list[str]:
    kinds = ("weights", "edits", "networks", "separators", "tags")
    found = (written for kind in kinds for written in written_of(directives.get(kind, ())))
    return list(dict.fromkeys([*found, *directives.get("flags", {})]))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", normalise(text))
