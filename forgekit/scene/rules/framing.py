"""Words that say how a picture is made: quality, camera, renderer, medium, shot, artist. They are style, or nothing, and no things.

People write them as tags ("8k, sharp focus"), before the subject ("35mm film still of …") or behind it ("… by A and B",
"… shot on Portra 400"). Lists of such words stand in grammar.toml: `quality` says nothing that one could ask about, `technique`
is kept as style and asked of nobody, `shot` is style, and so is what ends in a `picture` or is a style by the lexicon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from forgekit.scene.lexicon import Entry, Lexicon
from forgekit.scene.rules.tokens import EDGE, ROMAN, Token

STYLE = Entry("Y")
BREAKS = frozenset(",.;:!?|()[]{}")
MANNER = ("in", "the", "style", "of")
Segment = list[Token]


def set_apart(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    """Return the tokens with what is said of the picture as tokens of class Y; what is said of its quality only is left out."""
    if lexicon.words["of_picture"].isdisjoint([token.word for token in tokens]):  # most texts have none
        return tokens
    segments = _segments(tokens)
    about = [_is_about_picture(segment, lexicon) for segment in segments]
    if all(one or not segment for one, segment in zip(about, segments, strict=True)):
        return tokens  # "a camera lens": that is all it asks for
    kept: list[Token] = []
    makers = False  # "by A, B and C": the names go on behind the commas
    for segment, only_style in zip(segments, about, strict=True):
        if makers and _are_makers(segment, lexicon) and not any(token.entry.tags in "PG" for token in segment):
            kept += _makers(segment)
            continue
        kept += _style(segment, lexicon) if only_style else _within(segment, lexicon)
        if segment and segment[0].word != ",":
            named = any(_ends_with(segment[max(0, at - 3) : at + 1], ("by",), MANNER) for at in range(len(segment)))
            makers = named and bool(kept) and kept[-1].tag == "Y"
    return kept


def _segments(tokens: Sequence[Token]) -> list[Segment]:
    """Cut at marks; a mark is a segment of its own."""
    segments: list[Segment] = [[]]
    for token in tokens:
        if token.word in BREAKS and token.tag == "X":
            segments += [[token], []]
        else:
            segments[-1].append(token)
    return segments


def _says(token: Token, lexicon: Lexicon, *lists: str) -> bool:
    return all(lexicon.hints(word, *lists) for word in token.word.split())


def _is_about_picture(segment: Segment, lexicon: Lexicon) -> bool:
    """Say whether the whole segment is about the picture: "highly detailed digital painting", "by A and B", "8 k"."""
    if not segment or segment[0].tag in ("X", "T"):
        return False
    known: Segment = []
    rest: Segment = []
    for t in segment:
        said = t.tag == "Y" or _says(t, lexicon, "quality", "technique", "shot", "picture")
        (known if said else rest).append(t)
    rest = rest[lexicon.hints(segment[0].word, "taken") :]
    if known and all(_says(token, lexicon, "glue") or token.tag == "X" or _is_model(token) for token in rest):
        thing = segment[0].entry.tags in ("D", "S") and segment[-1].tag != "Y"  # "a lens", but "a close-up"
        only_picture = all(_says(token, lexicon, "picture") for token in known)  # "oil painting, a cat": see asides
        return not only_picture and not (thing and not _says(segment[-1], lexicon, "picture", "shot"))
    start = next((at for at, token in enumerate(segment[:3]) if token.word == "by"), None)
    if start is None or not all(_says(token, lexicon, "picture", "making_by") for token in segment[:start]):
        return False
    return _are_makers(segment[start + 1 :], lexicon)


def _ends_with(words: Segment, *endings: tuple[str, ...]) -> bool:
    return any(tuple(token.word for token in words[-len(ending) :]) == ending for ending in endings)


def _is_model(token: Token) -> bool:
    """Say whether a word is the number of a camera or a film: "500cm", "hp5", "iv"."""
    return any(letter.isdigit() for letter in token.word) or bool(ROMAN.fullmatch(token.word))


def _are_makers(names: Segment, lexicon: Lexicon) -> bool:
    """Say whether the words behind "by" are names: in capitals, or such as no dictionary has."""
    if not names or any(token.entry.tags in ("D", "S", "Q", "DO", "Y") for token in names):
        return False
    if lexicon.is_thing(names[0].noun) or lexicon.is_thing(names[-1].noun):  # "by Lake Tahoe"
        return False
    return any(token.entry.tags == "U" for token in names) or (names[0].proper and names[-1].proper)


def _style(segment: Segment, lexicon: Lexicon) -> list[Token]:
    """Return the segment as one token of class Y, or nothing where it is all quality, or empty."""
    by = next((at for at, token in enumerate(segment[:3]) if token.word == "by"), None)
    if by is not None:
        return _makers(segment[by + 1 :])
    words = [word for token in segment for word in (token.value or token.word).split() if token.tag != "X"]
    told = [word for word in words if not lexicon.hints(word, "quality") or lexicon.hints(word, "shot")]
    while told and lexicon.hints(told[0], "glue"):
        told.pop(0)
    while told and lexicon.hints(told[-1], "glue") and not lexicon.hints(told[-1], "technique"):
        told.pop()
    if all(lexicon.hints(word, "quality", "untitled") or word.isdigit() for word in told):
        return []
    value = " ".join(told).replace("close up", "close-up")
    return [_token(segment, value + " shot" if lexicon.hints(told[-1], "needs_shot") else value)]


def _makers(names: Segment) -> list[Token]:
    """Return a token of class Y for each name of a list: "by A, B and C"."""
    found, name = [], []
    for token in [*names, EDGE._replace(word="and")]:
        if token.word not in ("and", "&"):
            name.append(token)
        elif name:
            found.append(_token(name, " ".join(t.word for t in name)))
            name = []
    return found


def _token(words: Segment, value: str) -> Token:
    return Token(value, words[0].start, words[-1].end, STYLE, "Y", value)


def _within(segment: Segment, lexicon: Lexicon) -> list[Token]:
    """Return a segment that names things, with the frame before them and the makers and cameras behind them set apart."""
    opening = _frame_length(segment, lexicon)
    frame, things = segment[:opening], segment[opening:]
    ends = _Ends.of(things, lexicon)
    end = next((at for at in range(1, len(things)) if _closes(things, at, ends, lexicon)), len(things))
    behind = things[end:]
    named = next((at for at, token in enumerate(behind[:4], 1) if _ends_with(behind[:at], ("by",), MANNER)), 0)
    closing = _makers(behind[named:]) if named else _style(behind, lexicon)
    return [*_style(frame, lexicon), *things[:end], *closing]


def _frame_length(segment: Segment, lexicon: Lexicon) -> int:
    """Return how many tokens open the segment as "35mm film still of", "full body shot of"; 0 where none do."""
    says = False
    for at, token in enumerate(segment):
        before = segment[at - 1] if at else EDGE
        if token.word in ("of", "showing", "depicting", "featuring") or (token.entry.tags == "D" and at):
            framed = _says(before, lexicon, "picture", "frames") or before.tag == "Y"
            return (at + (token.entry.tags != "D")) if says and framed else 0
        if not (token.tag == "Y" or token.entry.tags == "D" or token.word == "-"):
            if not _says(token, lexicon, "quality", "technique", "shot", "picture"):
                return 0
            says = says or _says(token, lexicon, "quality", "technique", "shot")
    return 0


class _Ends(NamedTuple):
    """Places in a segment, looked for once, for it may have thousands of words."""

    about: int  # from here on to the end every word may be about the picture
    sure: int  # the last word that is about a picture and names no thing: "4k", "artstation", but no "camera"
    picture: int  # the last one that is about a picture at all

    @classmethod
    def of(cls, things: Segment, lexicon: Lexicon) -> _Ends:
        about, sure, picture = len(things), -1, -1
        for at, t in enumerate(things):
            if not (t.tag == "Y" or _says(t, lexicon, "quality", "technique", "shot", "glue")):
                about = len(things)
            elif about == len(things):
                about = at
            no_thing = t.entry.tags == "U" or t.word[0].isdigit()
            if (no_thing and lexicon.hints(t.word, "technique")) or lexicon.hints(t.word, "sure"):
                sure = at
            if _says(t, lexicon, "technique", "shot", "picture"):
                picture = at
        return cls(about, sure, picture)


def _closes(things: Segment, at: int, ends: _Ends, lexicon: Lexicon) -> bool:
    """Say whether from `at` on the segment is about who or what made the picture."""
    token, following = things[at], things[at + 1].word if at + 1 < len(things) else ""
    if token.word == "by":
        made = "E" in things[at - 1].entry.tags and not lexicon.hints(things[at - 1].entry.verb, "making")
        rest = things[at + 1 :]
        return not made and len(rest) > 2 and any(t.word in ("and", "&") for t in rest) and _are_makers(rest, lexicon)
    if token.word == "in" and _ends_with(things[at : at + len(MANNER)], MANNER):
        return _are_makers(things[at + len(MANNER) :], lexicon)
    if token.word == "using" and following:
        return all(_says(t, lexicon, "technique") or _is_model(t) for t in things[at + 1 :])
    if following in ("on", "with", "by", "in", "using", "from", "at") and lexicon.hints(token.word, "taken"):
        return ends.picture > at
    if things[at - 1].entry.tags in ("D", "S", "P", "J") or not _says(token, lexicon, "quality", "technique"):
        return False
    return ends.about <= at <= ends.sure
