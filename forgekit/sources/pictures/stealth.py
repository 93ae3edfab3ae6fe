"""Text in the lowest bit of a picture's alpha channel: what NovelAI and extensions of A1111 add, for it outlives lost chunks."""

from __future__ import annotations

import zlib
from typing import Any

MARKS = {b"stealth_pnginfo": False, b"stealth_pngcomp": True}  # and whether what follows is packed by gzip
HEAD = 15 + 4  # bytes: the mark, and how many bits follow
LONGEST = 1 << 24  # bytes


def hidden_text(image: Any) -> str | None:
    """Return the text in the alpha channel, which is read column by column; None where there is none."""
    import numpy as np

    if image.mode != "RGBA":
        return None
    bits = (np.asarray(image.getchannel("A")).T & 1).reshape(-1)
    head = np.packbits(bits[: HEAD * 8]).tobytes()
    packed = MARKS.get(head[:15])
    if packed is None:
        return None
    length = int.from_bytes(head[15:HEAD], "big")
    body = np.packbits(bits[HEAD * 8 : HEAD * 8 + length]).tobytes()
    try:
        return (zlib.decompressobj(31).decompress(body, LONGEST) if packed else body).decode("utf-8")
    except (zlib.error, UnicodeDecodeError):
        return None
