"""The texts that a picture file carries: PNG text chunks, EXIF fields, XMP, comments. No pixel is read for them."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from forgekit.sources.files import wide_encoding

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF")
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif"})
LONGEST = 1 << 24  # characters; a graph of ComfyUI has some 10,000 to a million
MOST_PIXELS = 1 << 26  # of a PNG that is read to its end, for texts that stand behind the pixels
EXIF_PART = 0x8769
EXIF_NAMES = {
    0x010D: "DocumentName", 0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software",
    0x9C9C: "XPComment",
}  # fmt: skip
USER_COMMENT = 0x9286
CHARSETS = (b"UNICODE\0", b"ASCII\0\0\0", b"JIS\0\0\0\0\0", b"\0" * 8)  # what EXIF puts before a user's comment
BYTE_ORDERS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8"))
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, RuntimeError, struct.error)  # what Pillow raises
XMP_FIELDS = {"UserComment", "description", "parameters"}


def texts_of(path: Path, enough: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return what a picture says, by where it says so: the keys of PNG chunks, the names of EXIF fields, "xmp:…".

    A PNG is read to its end, which takes as long as to show it, only where none of the keys in `enough` come first.

    Raises:
        ValueError: it is no picture that can be read, too large a one, or says too much.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its pixels stay packed
            with Image.open(path, formats=list(FORMATS)) as image:
                texts = _said(image, enough)
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise ValueError(f"not a picture that can be read ({', '.join(FORMATS)}): {error}") from error
    if sum(map(len, texts.values())) > LONGEST:
        raise ValueError(f"its metadata has more than {LONGEST:,} characters")
    return texts


def _said(image: Any, enough: frozenset[str]) -> dict[str, str]:
    texts = dict(_chunks(image.info))
    if image.format == "PNG":
        if enough & texts.keys():
            return texts
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width}×{image.height} pixels, and no prompt before them")
        image.load()
        texts |= dict(_chunks({**image.info, **getattr(image, "text", {})}))
    return texts | dict(_exif(image))


def _chunks(info: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    for key, value in info.items():
        name = str(key)
        if name in ("xmp", "XML:com.adobe.xmp"):
            yield from _xmp(value if isinstance(value, str) else decoded(value))
        elif isinstance(value, str):
            yield name, value if hasattr(value, "lang") else _latin_or_utf8(value)
        elif name == "comment" and isinstance(value, bytes):
            yield name, decoded(value)


def _exif(image: Any) -> Iterator[tuple[str, str]]:
    exif = image.getexif()
    said = {name: exif.get(tag) for tag, name in EXIF_NAMES.items()}
    said["UserComment"] = exif.get_ifd(EXIF_PART).get(USER_COMMENT) or exif.get(USER_COMMENT)
    for name, value in said.items():
        text = decoded(value) if isinstance(value, bytes) else _latin_or_utf8(value) if isinstance(value, str) else ""
        if text.strip():
            yield name, text


def decoded(raw: bytes) -> str:
    """Return the text in bytes that may begin with an EXIF charset or a byte order mark, or with neither.

    What the charset says is not relied on: "UNICODE" is written in either byte order, and as UTF-8.
    """
    body = raw[8:] if raw[:8] in CHARSETS else raw
    for mark, encoding in BYTE_ORDERS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace").strip("\0")
    body = body.rstrip(b"\0") if len(body.rstrip(b"\0")) % 2 == 0 else body
    if b"\0" in body.rstrip(b"\0"):
        return _wide(body)
    try:
        return body.strip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        return _wide(body) if raw.startswith(CHARSETS[0]) else body.decode("latin-1").strip("\0")


def _wide(body: bytes) -> str:
    body = body[: len(body) & ~1]
    return body.decode(wide_encoding(body), "replace").strip("\0")


def _latin_or_utf8(text: str) -> str:
    """Return `text`, which was read as Latin-1 as the standard says, as the UTF-8 that many write all the same."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _xmp(packet: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of an XMP packet that prompts stand in; none where it is no XML, or declares entities."""
    packet = packet.strip("\0\ufeff \n")
    if re.search(r"<!(?:DOCTYPE|ENTITY)", packet):
        return
    try:
        root = ElementTree.fromstring(packet.encode("utf-8", "replace"))
    except (ElementTree.ParseError, ValueError):
        return
    for element in root.iter():
        fields = {**element.attrib, element.tag: "".join(element.itertext())}
        for name, value in fields.items():
            field = str(name).rpartition("}")[2]
            if field in XMP_FIELDS and value.strip():
                yield f"xmp:{field}", value.strip()
