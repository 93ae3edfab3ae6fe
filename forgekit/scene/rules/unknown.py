"""Words that no dictionary has: names, rare nouns, misspellings, noise."""

from __future__ import annotations

import re

from forgekit.scene.rules.tokens import EDGE, Token

WORDLIKE = re.compile(r"(?!(.)\1)(?=.*[aeiouy]).{3}")


def place_unknown(tokens: list[Token]) -> list[Token]:
    """Settle the words that no dictionary has: a describing word before a noun, else a noun ("a diamond cufflink").

    What is no word at all ("zzunknown") is dropped, save where only a noun can stand: "a small red zzunknown".
    """
    if not any(token.entry.tags == "U" for token in tokens):
        return tokens
    only = not any("N" in token.entry.tags for token in tokens)
    kept: list[Token] = []
    for index, token in enumerate(tokens):
        if token.entry.tags != "U":
            kept.append(token)
            continue
        following = next((t for t in tokens[index + 1 :] if t.entry.tags != "U"), EDGE)
        described = any(tag in following.entry.tags for tag in "NJQY")
        acts = "G" in following.entry.tags and _acts(tokens, index, following)
        lonely = not described and following.entry.tags[0] not in "DS"
        if token.proper or only or acts or (lonely and _phrase_is_open(kept)):
            kept.append(token._replace(tag="N"))
        elif WORDLIKE.match(token.word):
            kept.append(token._replace(tag="J" if described else "N"))
    return kept


def _acts(tokens: list[Token], index: int, following: Token) -> bool:
    """Say whether the -ing form behind an unknown word is what it does: "Gandalf saying …", "a zyx running through …"."""
    after = tokens[index + 2] if tokens[index + 1] is following and index + 2 < len(tokens) else EDGE
    return index == 0 or after.entry.tags[0] in "PRXCDS"


def _phrase_is_open(tokens: list[Token]) -> bool:
    """Say whether `tokens` end inside a noun phrase that has no noun yet: "a small red", not "that is red"."""
    last = len(tokens) - 1
    while last >= 0 and _only_describes(tokens[last]):
        last -= 1
    if last < 0:
        return bool(tokens)
    if tokens[last].word in ("that", "which"):
        return False
    return tokens[last].entry.tags[0] in ("DSQ" if last == len(tokens) - 1 else "DSQPCX")


def _only_describes(token: Token) -> bool:
    entry = token.entry
    return token.tag in ("", "J") and "J" in entry.tags and ("N" not in entry.tags or entry.hint == "thing")
