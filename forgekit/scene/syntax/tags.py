"""Tags: networks `<lora:name:0.8>`, tokens `<cat-toy>`, quality and scores between commas, the names of tag boards."""

from __future__ import annotations

import re

from forgekit.scene.syntax.directives import NUMBER, Directives, note, syntax_words

ANGLED = re.compile(r"<\|[\w ]+\|>|<([^<>\s][^<>\n]*)>")
DREAMBOOTH = re.compile(r"\[([A-Z]\d{0,2}|v)\*?\]")  # "a [V] dog"
EMBEDDING = re.compile(r"(\()?(?<![\w<])embedding:([^\s,()\[\]:<>]+)(?::(-?\d+(?:\.\d*)?|-?\.\d+))?(?(1)\))")
TOKEN = re.compile(r"[\w-]+")
FOLLOWING = re.compile(r"\s*([^\W\d_]{1,40})")
SCORE = re.compile(r"(?<![\w])(?:score_\d+(?:_up)?|rating[:_]\s?\w+|source_\w+)(?![\w])(?:\s*,)?", re.IGNORECASE)
UNDERSCORE = re.compile(r"(?<![\w.])[^\W_A-Z][^\WA-Z]*(?:'\w+)?(?!\w|\.\w)")
QUALIFIER = re.compile(
    r"((?:^|,)\s*(?!(?:an?|the|one|two|three)\b)[^\W_]+(?:[ _][^\W_]+){0,3})[ _]*\\\([^()\\,]*\\\)(?=\s*(?:,|$))",
    re.IGNORECASE,
)
SEGMENT = re.compile(r"([,;\n]|\.(?=\s))")


def read_networks(text: str, found: Directives) -> str:
    """Return `text` without what loads or names a network: LoRAs, embeddings, tokens that were learnt."""
    text = EMBEDDING.sub(lambda match: _network(found, match.group(), "embedding", match[2], match[3]), text)
    text = DREAMBOOTH.sub(lambda match: _token(match, match[1], found), text)
    return ANGLED.sub(lambda match: _angled(match, found), text)


def _angled(match: re.Match[str], found: Directives) -> str:
    written, inside = match.group(), match[1] or ""
    if not inside:
        return " "
    if inside.startswith(("http://", "https://")):
        note(found, "images", inside)
        return " "
    kind, colon, rest = inside.partition(":")
    if colon and TOKEN.fullmatch(kind):
        name, _, weight = rest.partition(":")
        return _network(found, written, kind, name, weight.split(":")[0])
    if not TOKEN.fullmatch(inside) or inside.isdigit():
        return written
    return _token(match, inside, found)


def _token(match: re.Match[str], name: str, found: Directives) -> str:
    """Return what a learnt token asks for: nothing in front of its noun ("a <cat-toy> backpack"), else its own name."""
    following = FOLLOWING.match(match.string, match.end())
    before_noun = following is not None and following[1].lower() not in syntax_words().function
    own = " ".join(word for word in re.split(r"[-_\d]+", name) if len(word) > 2)
    words = following[1] if following and before_noun else own
    written = f"{match.group()} {words}" if before_noun else match.group()
    note(found, "networks", {"kind": "token", "name": name, "words": words, "written": written})
    return " " if before_noun else f" {own} "


def _network(found: Directives, written: str, kind: str, name: str, weight: str | None) -> str:
    entry = {"kind": kind.lower(), "name": name, "written": written}
    note(found, "networks", {**entry, "weight": float(weight)} if weight and NUMBER.fullmatch(weight) else entry)
    return " "


def is_tag_list(text: str) -> bool:
    """Say whether `text` is a list of tags as boards have them: "1girl, long_hair"."""
    words = syntax_words()
    tags = [tag.strip().lower() for tag in text.split(",")]
    known = (tag in words.people or _is_quality(tag) or re.fullmatch(r"\w+_\w+", tag) for tag in tags)
    return len(tags) > 1 and any(known)


def drop_qualifiers(text: str) -> str:
    """Return `text` without the series behind a character's name: "saber \\(fate\\)"."""
    return QUALIFIER.sub(r"\1", text)


def read_tags(text: str, found: Directives) -> str:
    r"""Return `text` without tags of quality, with tags of boards in words: "1girl, long_hair" is "a girl, long hair"."""
    words, listed = syntax_words(), is_tag_list(text)
    for match in SCORE.finditer(text):
        note(found, "tags", match.group().rstrip(" ,"))
    kept = []
    for segment in SEGMENT.split(SCORE.sub(" ", text)):
        tag = " ".join(segment.replace("_", " ").split()).strip(" .").lower()
        if tag in words.quality or (listed and tag in words.listed):
            note(found, "tags", segment.strip(" ."))
        elif tag in words.people:
            kept.append(f" {words.people[tag]}")
        else:
            kept.append(UNDERSCORE.sub(lambda match: match.group().replace("_", " "), segment))
    return "".join(kept)


def _is_quality(tag: str) -> bool:
    return tag.strip(" .") in syntax_words().quality or SCORE.fullmatch(tag) is not None
