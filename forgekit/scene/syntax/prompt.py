"""Prompt syntax: a prompt split into what is drawn, what is asked for, and what it directs.

Weights and prompt editing are read in brackets.py, LoRAs and tags in tags.py, flags and pasted settings in settings.py, Markdown and
emoji in markup.py; what was found is noted as directives.py says. Quoted text is nobody's syntax: it is to be shown as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from forgekit.scene.rules.tokens import QUOTED
from forgekit.scene.syntax.brackets import read_brackets
from forgekit.scene.syntax.directives import FROM_DATA, Directives, note, note_mark, syntax_words
from forgekit.scene.syntax.markup import EMOJI, read_emoji, read_markup, unescape
from forgekit.scene.syntax.settings import find_words, without_flags
from forgekit.scene.syntax.tags import drop_qualifiers, is_tag_list, read_networks, read_tags

# What syntax may begin with. All alternatives are literals, which lets `re` skip ordinary text; tags are looked up besides.
MARK = re.compile(
    r"\(|\[|\{|<|\\|\*|_|#|`|~|&|:|\n|--|\+\+|BREAK|AND|ADD|COUPLE|- |> |•|—|–|/imagine|"
    + "|".join(rf"{digit}\{mark} " for digit in range(10) for mark in ".)")
)
CONJUNCTION = re.compile(r'\(\s*("[^"]*"(?:\s*,\s*"[^"]*")*)\s*\)\.(?:and|blend)\([^()]*\)')  # compel's
SWAP = re.compile(r"(?:\([^()]*\)|[^\s().]{1,64})\.swap\(\s*([^(),]*?)\s*(?:,[^()]*)?\)")
PERMANENT = re.compile(r"(?<![\w:])(-?(?:\d+(?:\.\d*)?|\.\d+))::\s*([^:]+?)\s*::")  # NovelAI's "1.3::red::"
PART = re.compile(r"\s*(?<!:)::(?!:)(-?(?:\d+(?:\.\d*)?|\.\d+)(?!\w))?\s*")
SUBPROMPT_WEIGHT = re.compile(r"\s*:\s*(\d+(?:\.\d*)?|\.\d+)(?=\s*(?:\n|$|AND\b))")
CAPITALS = re.compile(r"[^\W\d_]{2,}")
COMMAS, SPACE_BEFORE = re.compile(r"\s*,(?:\s*,)+"), re.compile(r"\s+([,.;!?]+)(?=\s|$)")
LEADING = re.compile(r"^(?:\s*[.,;](?=\s))+")
# As tokens.QUOTED, which text behind a mark without another half would make slow.
QUOTE = re.compile(
    r'"[^"]{1,400}"|“[^”]{1,400}”|‘[^’]{1,400}’|(?<!\w)\'(?:[^\']|(?<=\w)\'(?=\w)){1,400}\'(?!\w)|「[^」]{1,400}」'
)
HIDDEN = re.compile("([\U00100000-\U0010fffd])\\1*")
PRIVATE = 0x100000  # each quotation becomes a run of one character of a plane that no text uses
MOST_PASSES = 20
NEAR = 32  # characters looked at around a separator


class PromptParts(NamedTuple):
    """A prompt, split. `start` and `end` are where the prompt's own words stand in `drawn`: between command and flags."""

    drawn: str  # the text as it stands
    asked: str  # the text without syntax: what is parsed, hashed and judged
    directives: Directives
    start: int = 0
    end: int | None = None

    @property
    def words(self) -> str:
        """What a generator reads: `drawn` without what is no prompt to any (Midjourney's flags, a pasted negative, settings)."""
        own = self.drawn[self.start : self.end]
        return own if own == self.drawn else own.strip()

    def with_words(self, words: str) -> str:
        """Return `drawn` with other words between what stands around them."""
        own = self.drawn[self.start : self.end]
        return self.drawn[: self.start] + own.replace(own.strip(), words, 1) + self.drawn[self.start + len(own) :]

    @property
    def parameters(self) -> dict[str, Any]:
        """The pipeline parameters that the prompt itself names: negative_prompt, seed, width, …"""
        return self.directives.get("parameters", {})

    def all_directives(self, data: Mapping[str, Any] | None) -> Directives | None:
        """Return the directives, with the parameters that came with the prompt as data (`from_data`); None for neither."""
        return {**self.directives, **({FROM_DATA: dict(data)} if data else {})} or None


def split_prompt(text: str) -> PromptParts:
    """Split a prompt into what is drawn, what is asked for and what is directed.

    `drawn` is always `text`. A text without syntax comes back as it is, at the price of one search. `asked` has no syntax:
    splitting it again changes nothing. Where nothing but syntax is left, `asked` keeps the tags, or is `text`.
    """
    if _is_plain(text):
        return PromptParts._make((text, text, {}, 0, None))  # a million rows notice the difference
    drawn, found = text, Directives()
    asked, start, end = _read(text, found)
    for _ in range(MOST_PASSES):  # what an escape or an entity stood for may itself look like syntax
        if asked == text or _is_plain(asked):
            break
        text, (asked, *_) = asked, _read(asked, {})
    return PromptParts(drawn, asked or drawn, found, start, end)


def _is_plain(text: str) -> bool:
    if MARK.search(text) or ("," in text and not _tags().isdisjoint(text.split(","))):
        return False
    return text.isascii() or not EMOJI.search(text)


@cache
def _tags() -> frozenset[str]:
    """Return the tags that make a text one with syntax, as they stand between commas."""
    words = syntax_words()
    written = (str, str.capitalize, str.title, str.upper)
    known = [write(tag) for tag in (*words.quality, *words.people) for write in written]
    return frozenset(before + tag + dot for tag in known for before in ("", " ") for dot in ("", "."))


def _read(text: str, found: Directives) -> tuple[str, int, int]:
    """Return what `text` asks for, noting what it directs, with start and end of its own words."""
    around = Shield()
    start, end = find_words(text, around.cover(text), found)
    _restore(found, around)
    own = text[start:end]
    if own != text:
        own = own.strip()
        quoted = QUOTED.fullmatch(own)  # "a cat" --ar 3:2
        own = quoted[quoted.lastindex or 0] if quoted else own
    own = CONJUNCTION.sub(lambda match: match[1].replace('"', ""), unescape(own))
    inside = Shield()
    before = inside.cover(own)
    after = _without_syntax(before, found)
    _restore(found, inside)
    return own if after == before and own in text else inside.uncover(_tidy(after)), start, end


def _without_syntax(text: str, found: Directives) -> str:
    text = without_flags(text)
    text = drop_qualifiers(text) if "\\(" in text else text
    text = read_markup(text)
    text = read_networks(text, found)
    if ".swap(" in text:
        text = SWAP.sub(lambda match: _swapped(found, match), text)
    marked = bool(found.keys() - {"parameters", "flags", "images"}) or is_tag_list(text)
    text = read_brackets(text, found, marked=marked)
    text = _read_parts(text, found)
    text = _read_separators(text, found)
    text = read_emoji(text)
    without_tags = read_tags(text, found)
    return without_tags if without_tags.strip(" ,.") else text


def _swapped(found: Directives, match: re.Match[str]) -> str:
    note_mark(found, "edits", match[1], match.group())
    return match[1]


def _read_parts(text: str, found: Directives) -> str:
    """Return `text` without the weights of its parts, "a cat::2 a dog::1"; a part that weighs less than nothing is not asked for."""
    if "::" not in text:
        return text

    def permanent(match: re.Match[str]) -> str:
        note_mark(found, "weights", match[2], match.group(), float(match[1]))
        return match[2] if float(match[1]) > 0 else ""

    text = PERMANENT.sub(permanent, text)
    kept, index = [], 0
    for match in PART.finditer(text):
        words, weight = text[index : match.start()].strip(" ,"), float(match[1] or 1)
        if any(char.isalnum() for char in words):
            note_mark(found, "weights", words, text[index : match.end()].strip(), weight)
            kept += [words] if weight > 0 else []
        index = match.end()
    return ", ".join([*kept, text[index:]]) if index else text


def _read_separators(text: str, found: Directives) -> str:
    """Return `text` with commas for BREAK and AND. In a text in capitals, or as a text to be shown, they are words."""
    words = syntax_words()
    pattern = _separators()
    if not pattern.search(text) or text.isupper():
        return text
    if re.search(r"\bAND\b", text):
        text = SUBPROMPT_WEIGHT.sub("", text)
    kept, index = [], 0
    for match in pattern.finditer(text):
        before = text[max(0, match.start() - NEAR) : match.start()].split()
        after = text[match.end() : match.end() + NEAR].split()
        shown = bool(before) and before[-1].lower().strip(":") in words.shown_after
        if shown or _in_capitals(before[-1:]) or _in_capitals(after[:1]):
            continue
        note(found, "separators", match.group())
        kept += [text[index : match.start()], ", "]
        index = match.end()
    return "".join([*kept, text[index:]])


@cache
def _separators() -> re.Pattern[str]:
    return re.compile(rf"(?<![\w'\-])(?:{'|'.join(syntax_words().separators)})(?![\w'\-])")


def _in_capitals(words: list[str]) -> bool:
    capitals = [word for word in words if CAPITALS.fullmatch(word) and word.isupper()]
    return not all(_separators().fullmatch(word) for word in capitals)


def _tidy(text: str) -> str:
    """Return `text` with single blanks and commas, and none at its ends."""
    text = COMMAS.sub(",", " ".join(text.split()))
    return LEADING.sub("", SPACE_BEFORE.sub(r"\1", text)).strip(" ,")


class Shield:
    """Quotations hidden from the passes, each behind a run of a character of its own, as long as it is."""

    def __init__(self) -> None:
        self.quotes: dict[str, str] = {}

    def cover(self, text: str) -> str:
        """Return `text`, as long as it is, with its quotations hidden; one that is the whole text is none."""
        if QUOTED.fullmatch(text.strip()):
            return text
        return QUOTE.sub(self._hide, text)

    def _hide(self, match: re.Match[str]) -> str:
        char = chr(PRIVATE + len(self.quotes) % 0xFFFD)
        self.quotes[char] = match.group()
        return char * len(match.group())

    def uncover(self, text: str) -> str:
        """Return `text` with the quotations in their places."""
        return HIDDEN.sub(lambda match: self.quotes.get(match[1], match.group()), text) if self.quotes else text


def _restore(value: Any, shield: Shield) -> Any:
    """Put the quotations back into what was noted."""
    items: Callable[..., Any] = value.items if isinstance(value, dict) else lambda: enumerate(value)
    for key, item in items() if shield.quotes else ():
        if isinstance(item, dict | list):
            _restore(item, shield)
        elif isinstance(item, str):
            value[key] = shield.uncover(item)
    return value
