"""Numbers in several words: "two hundred and fifty", "twenty-five", "at least three"."""

from __future__ import annotations

from forgekit.scene.lexicon import Entry, Lexicon
from forgekit.scene.rules.tokens import EDGE, Token

COUNT = Entry("Q")
MOST = 1_000_000_000_000
LARGE = (100, 1000, 1_000_000)


def join_numbers(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    """Return the tokens with each number of several words as one count, and the bound before it with it."""
    begins = lexicon.words["begins_number"]
    if begins.isdisjoint([token.word for token in tokens]) and not any("-" in token.word for token in tokens):
        return tokens
    joined: list[Token] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        begins_one = token.word in begins or "Q" in token.entry.tags or "-" in token.word
        if not begins_one and (token.word != "a" or index + 1 == len(tokens) or tokens[index + 1].word not in begins):
            joined.append(token)  # most
            index += 1
            continue
        bound = _bound_length(tokens, index, lexicon)
        number, end = _number(tokens, index + bound, lexicon)
        if number is None or (bound == 0 and end == index + 1 and "-" not in tokens[index].word):
            joined.append(tokens[index])
            index += 1
            continue
        start, last = tokens[index], tokens[end - 1]
        said = " ".join(token.word for token in tokens[index : index + bound])
        word = str(number)
        if bound and said not in lexicon.tables["loosely"]:
            word = f"{said} {last.word if end == index + bound + 1 else number}"
        joined.append(Token(word, start.start, last.end, COUNT, "Q", word if " " in word else ""))
        index = end
    return joined


def in_figures(word: str) -> int:
    """Return what figures say; nobody draws a billion of anything, and a number of thousands of figures is slow to read."""
    return int(word) if len(word) < len(str(MOST)) else MOST


def _bound_length(tokens: list[Token], index: int, lexicon: Lexicon) -> int:
    """Return how many tokens at `index` bound or loosen a number that follows: 2 for "at least three"."""
    for length in (3, 2, 1):
        said = " ".join(token.word for token in tokens[index : index + length])
        if said in ("over", "about", "around") and index and tokens[index - 1].entry.tags[0] not in "XCPB":
            return 0  # "jumping over three buses"
        if said in lexicon.tables["bounds"] or said in lexicon.tables["loosely"]:
            return length if _number(tokens, index + length, lexicon)[0] is not None else 0
    return 0


def _number(tokens: list[Token], index: int, lexicon: Lexicon) -> tuple[int | None, int]:
    """Return the number that begins at `index`, and the index behind it; None where none does."""
    total = current = 0
    known, end, at = False, index, index
    while at < len(tokens):
        token = tokens[at]
        value = _value(token, lexicon)
        following = tokens[at + 1] if at + 1 < len(tokens) else EDGE
        if value is None:
            joins = token.word in ("and", ",") and total + current >= 100 and (_value(following, lexicon) or 100) < 100
            opens = token.word == "a" and at == index and _value(following, lexicon) in (12, *LARGE)
            if not (joins and token.word == "and") and not opens:
                break
        elif value == 12 and current and token.word == "dozen":
            current, known, end = current * 12, True, at + 1
        elif value in LARGE:
            current = min(max(current, 1) * value, MOST)
            total, current = (total + current, 0) if value > 100 else (total, current)
            known, end = True, at + 1
        elif known and not _adds(total + current, current, value):
            break
        else:
            current += value
            known, end = True, at + 1
        at += 1
    return (min(total + current, MOST), end) if known else (None, index)


def _adds(so_far: int, current: int, value: int) -> bool:
    """Say whether a number word goes on with the number: "twenty five", "hundred twelve", not "two three"."""
    tens = current % 100
    return so_far >= 20 and (tens == 0 or (tens >= 20 and tens % 10 == 0 and value < 10))


def _value(token: Token, lexicon: Lexicon) -> int | None:
    """Return what one word counts: 5 for "five", 25 for "twenty-five", 3 for "3"; None for any other word."""
    word, known = token.word, lexicon.tables["count"]
    if word.isdecimal():
        return in_figures(word)
    if "Q" in token.entry.tags and word in known:
        return int(known[word])
    tens, dash, ones = word.partition("-")
    if dash and known.get(tens, "0").isdigit() and 20 <= int(known.get(tens, "0")) <= 90 and ones in known:
        return int(known[tens]) + int(known[ones])
    return None
