"""Image files beside the store: content-hashed names, whole or not at all, carrying how they were made."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import ItemError
from forgekit.ids import canonical_json

if TYPE_CHECKING:
    from PIL.Image import Image

METADATA_KEY = "forgekit"  # the PNG text chunk that `sources` reads back


def encode_png(image: Image, metadata: Mapping[str, Any]) -> bytes:
    """Return the image as PNG bytes with `metadata` as JSON in its text chunk.

    How long the drawing took stays out: the same picture drawn again must get the same bytes, and so the same name.
    """
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt(METADATA_KEY, canonical_json({k: v for k, v in metadata.items() if k != "duration_s"}))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def write_image(folder: Path, image_id: str, png: bytes, *, same_as: str | None = None) -> str:
    """Store PNG bytes under a name made from their hash and return the path relative to `folder`.

    The file appears under its name only when it is complete. Where `same_as` names a stored file with
    these bytes, it is linked instead of written again (copied where the file system has no links).
    """
    digest = hashlib.sha256(png).hexdigest()
    relative = f"images/{digest[:2]}/{digest[:32]}-{image_id[:8]}.png"
    target = folder / relative
    if target.exists():
        return relative
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    try:
        if same_as is None:
            raise FileNotFoundError
        os.link(folder / same_as, partial)
    except OSError:
        partial.write_bytes(png)
    partial.replace(target)
    return relative


def read_image(folder: Path, image_path: str) -> Image | ItemError:
    """Open a stored image as RGB, or say why it cannot be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(folder / image_path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        return ItemError(f"the image file {image_path} is missing; restore it from a copy")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        return ItemError(f"the image file {image_path} cannot be read: {error}")
