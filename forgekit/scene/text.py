"""The normalised form of a scene text and the hash that identifies a scene."""

from __future__ import annotations

import hashlib
import unicodedata

MOST_CHARACTERS = 10_000  # of a prompt: some 2,000 words, several times what any text encoder reads
FINAL_PUNCTUATION = ".,;:!?…。！？；，、 "


def normalise(text: str) -> str:
    """Return `text` as it is compared: NFKC, case folded, white space collapsed, final punctuation stripped.

    Two texts with the same normalised form are the same scene. The stored text stays as the researcher wrote it.
    A text that is punctuation only keeps it, so that no text but white space normalises to nothing.
    """
    if text.isascii():  # NFKC changes no ASCII text; a million rows notice the difference
        collapsed = " ".join(text.lower().split())
    else:
        collapsed = " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())
    return collapsed.rstrip(FINAL_PUNCTUATION) or collapsed


def scene_hash(text: str) -> str:
    """Return the SHA-256 of the normalised text: 64 hex digits."""
    return hashlib.sha256(normalise(text).encode("utf-8", "surrogatepass")).hexdigest()
