"""Which encoding a text file is in: told by its byte order mark, by its bytes, or assumed and said so."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

MARKS = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE = 1 << 16  # bytes
LATIN = ("cp1252", "cp1250", "mac_roman")  # in the order tried; charset-normalizer cannot tell them on a few lines
OTHERS = ["gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874"]
LETTERS = r"A-Za-zÀ-ÖØ-öø-ſ"
SIGNS = "“”‘’„‚‹›«»–—…•·°²³¹½¼¾±€£$§©®™¿¡ªº´\u00a0\u00ad"
# What no text of Latin letters has: other signs, a sign within a word (but a dash or an apostrophe), a capital after a small letter.
ODD = re.compile(
    rf"[^\x00-\x7f{LETTERS}{SIGNS}]"
    rf"|(?<=[{LETTERS}])[„‚‹›«•·°²³¹½¼¾±€£§©®™¿¡ªº´](?=[{LETTERS}])"
    rf"|(?<=[{LETTERS}'])[„‚‹«§¿¡]|(?<=[a-zß-öø-ÿ])[À-ÖØ-ÞŠŒŽŸ]"
)


def marked_encoding(head: bytes) -> str | None:
    """Return the encoding that a byte order mark tells."""
    return next((encoding for mark, encoding in MARKS if head.startswith(mark)), None)


def is_utf8(path: Path) -> bool:
    """Say whether a whole file is valid UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(1 << 20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def wide_encoding(head: bytes) -> str | None:
    """Return which UTF-16 without a mark the beginning of a file is in; None where it is binary."""
    head = head[: len(head) // 2 * 2]
    found = {}
    for high, encoding in enumerate(("utf-16-be", "utf-16-le")):
        if 2 * head[high::2].count(0) < head.count(0):
            continue  # of letters, blanks and line ends the zero is the high byte
        text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
        strange = sum(not char.isprintable() and char not in "\n\r\t\u3000" for char in text) + text.count("\ufffd")
        if strange <= len(text) // 100:
            found[encoding] = sum(char in "\n \r,;\"'" or char.isascii() for char in text)
    return max(found, key=found.__getitem__) if found else None


def assumed_encoding(path: Path) -> str | None:
    """Return the encoding that a text which is no UTF-8 is most likely in; None where that cannot be told."""
    sample = bytearray()
    with path.open("rb") as file:
        for line in file:
            if not line.isascii():
                sample += line
            if len(sample) > SAMPLE:
                break
    text = sample.decode("utf-8", "replace")
    if sum(not char.isascii() for char in text) > 2 * text.count("\ufffd"):
        return None  # UTF-8 with some damage
    runs = re.findall(rb"[\x80-\xff]+", sample)
    high = sum(map(len, runs))
    if high < 1.5 * len(runs) or high < len(sample) / 4:
        latin = next((encoding for encoding in LATIN if _is_latin(bytes(sample), encoding)), None)
        if latin or high < 1.5 * len(runs):
            return latin
    from charset_normalizer import from_bytes

    best = from_bytes(bytes(sample), cp_isolation=OTHERS, enable_fallback=False).best()
    return best.encoding if best and best.language != "Unknown" else None


def _is_latin(sample: bytes, encoding: str) -> bool:
    try:
        return not ODD.search(sample.decode(encoding))
    except UnicodeDecodeError:
        return False
