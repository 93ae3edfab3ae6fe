"""Markup in a prompt: Markdown, HTML, emoji. None of it is a directive; it is no word of the scene either."""

from __future__ import annotations

import html
import re

from forgekit.scene.syntax.directives import syntax_words

ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
EMOJI = re.compile(
    "(?:[0-9#*]\ufe0f?\u20e3|[\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff\u2600-\u27bf\u2b50\u2b55\u231a\u231b\u23e9-\u23fa\ufe0f\u200d\u20e3])+"
)
MODIFIER = re.compile("[\ufe0f\u200d\U0001f3fb-\U0001f3ff]")
SHORTCODE = re.compile(r"(?<![\w:]):[a-z][a-z0-9_+-]{1,30}:(?![\w:])")
TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9]*)(?:\s[^<>]*)?/?>")
FENCE = re.compile(r"^[ \t]*```[\w-]*[ \t]*$", re.MULTILINE)
RULE = re.compile(r"^[ \t]*(?:-{3,}|\*{3,}|_{3,}|={3,})[ \t]*$", re.MULTILINE)
ITEM = re.compile(
    r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?(?=\S)|^[ \t]{0,3}#{1,6}[ \t]+(?=\D)|^[ \t]*>[ \t]+",
    re.MULTILINE,
)
HEADING = re.compile(r"^([ \t]{0,3}#{1,6}[ \t]+\D[^\n]*?)[ \t#]*\n", re.MULTILINE)
LINK = re.compile(r"!?\[([^\[\]]*)\]\(\s*<?(?:https?://|www\.|mailto:|\.{0,2}/|#)[^()\s]*>?(?:\s+\"[^\"]*\")?\s*\)")
INLINE = (  # what is between two marks has none of them, so that marks without another half cost no time
    re.compile(r"\*\*(?=[^\s*])((?:[^*]|\*(?!\*))+?)(?<=[^\s*])\*\*"),
    re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]*?)(?<=[^\s*])\*(?![\w*])"),
    re.compile(r"(?<![^\W_])__(?=[^\s_])((?:[^_\n]|_(?!_))+?)(?<=[^\s_])__(?![^\W_])"),
    re.compile(r"(?<!\w)_(?=[^\s_])([^_\n]*?)(?<=[^\s_])_(?!\w)"),
    re.compile(r"~~(?=[^\s~])((?:[^~]|~(?!~))+?)(?<=[^\s~])~~"),
    re.compile(r"(?<!`)`+([^`\n]+)`+"),
)
HASHTAG = re.compile(r"#(?![0-9a-fA-F]{6}\b)[^\W\d]\w*")
NEAR = 24  # characters looked at before an emoji
BEFORE_THING = re.compile(r"(?:^|[\s,])([^\W_]+)\s*$")


def unescape(text: str) -> str:
    """Return `text` with HTML's entities as characters."""
    return ENTITY.sub(lambda match: html.unescape(match.group()), text)


def read_markup(text: str) -> str:
    """Return `text` without Markdown and HTML; items of a list are set off by commas."""
    text = FENCE.sub("", text)
    text = TAG.sub(_tag, text)
    text = RULE.sub("", text)
    if "\n" in text:
        text = HEADING.sub(lambda match: match[1] + ("\n" if match[1].endswith(":") else ",\n"), text)
        text = re.sub(rf"(?<=[^\s,.;:!?])[ \t]*\n+(?={ITEM.pattern})", ",\n", text, flags=re.MULTILINE)
    text = ITEM.sub("", text)
    text = LINK.sub(r"\1", text)
    for mark in INLINE:
        text = mark.sub(r"\1", text)
    return _without_hashtags(text) if "#" in text else text


def _without_hashtags(text: str) -> str:
    """Return `text` without the hashtags that it ends with. One that is all of it stays."""
    words = text.split()
    last = len(words)
    while last > 1 and HASHTAG.fullmatch(words[last - 1]):
        last -= 1
    return text if last == len(words) else " ".join(words[:last])


def read_emoji(text: str) -> str:
    """Return `text` without emoji; where one stands for a noun ("a 🐱 on a mat") it is that noun."""
    if text.isascii():
        return SHORTCODE.sub(" ", text)
    read: list[str] = []
    index = 0
    for match in EMOJI.finditer(text):
        read += [text[index : match.start()], _named(match.group(), text[max(0, match.start() - NEAR) : match.start()])]
        index = match.end()
    return SHORTCODE.sub(" ", "".join([*read, text[index:]]))


def _named(emoji: str, before: str) -> str:
    words, opener = syntax_words(), BEFORE_THING.search(before)
    if opener and opener[1].lower() in words.before_emphasis | words.before_emoji:
        return f" {words.emoji.get(MODIFIER.sub('', emoji), '')} "
    return " "


def _tag(match: re.Match[str]) -> str:
    name = match[1].lower()
    if name not in syntax_words().html:
        return match.group()
    return ", " if name in ("br", "p", "li", "div", "hr") else ""
