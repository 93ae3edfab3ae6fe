"""Is a text English, and are enough of its words known that the rules may read it? What is not is judged as a whole text only."""

from __future__ import annotations

import re
from collections.abc import Sequence

from forgekit.scene.lexicon import Lexicon
from forgekit.scene.rules.tokens import Token

LATIN = re.compile(r"[a-zA-Z\u00c0-\u024f]")
NOT_ENGLISH, TOO_LITTLE = "not English", "too few of its words are known"
TOO_LONG, TOO_MANY = "too long to be one scene", "it names more things than a picture can show"
NOT_UNDERSTOOD = (NOT_ENGLISH, TOO_LITTLE, TOO_LONG, TOO_MANY)
OTHER_SCRIPT = 0.3  # of the letters; measured on the public sets, see docs/prompts.md
STRANGE, UNKNOWN = 0.4, 0.8  # shares of the words: not in the dictionary, or of another language
FEW = 4  # fewer unknown words may all be names
CLOSED = frozenset("DSOBCRPKQ")
WEIGHTS = {"word": 1.0, "particle": 0.5}  # particles stand in names, too: "rio de janeiro"


def not_understood(tokens: Sequence[Token], lexicon: Lexicon) -> str:
    """Return why the rules do not understand a text, "" where they do. Quoted text may be in any language."""
    table = lexicon.tables["foreign"]
    if table.keys().isdisjoint([t.word for t in tokens]) and "U" not in [t.entry.tags for t in tokens]:  # most texts
        return ""
    words = [token for token in tokens if token.tag != "T" and token.word[0].isalpha()]
    others = [token.word for token in words if not token.word.isascii()]
    in_other_script = sum(letter.isalpha() and not LATIN.match(letter) for word in others for letter in word)
    letters = sum(letter.isalpha() for token in words for letter in token.word) if in_other_script else 0
    if in_other_script > OTHER_SCRIPT * letters:
        return NOT_ENGLISH
    foreign = sum(WEIGHTS[table[token.word]] for token in words if token.word in table)
    unknown = [token for token in words if token.entry.tags == "U"]
    if not foreign and len(unknown) < FEW:
        return ""
    foreign += 0.5 * sum(not token.word.isascii() for token in unknown)
    closed = [token.word for token in words if token.entry.tags[0] in CLOSED and token.word not in table]
    english = sum(0.5 if word in lexicon.words["also_foreign"] else 1 for word in closed)
    strange = sum(token.entry.tags == "U" or token.word in table for token in words) / len(words)
    if strange >= STRANGE and (foreign > max(1, english) or (foreign >= 1 and not english)):
        return NOT_ENGLISH
    lower = [token for token in unknown if not (token.proper or token.capital)]
    return TOO_LITTLE if strange >= UNKNOWN and len(lower) >= FEW and not english else ""
