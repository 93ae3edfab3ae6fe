"""Image files beside the store: content-hashed names, whole or not at all, carrying how they were made.

Where a stored path leads is decided here alone, by `stored_file`: a store may have come by mail.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from forgekit.errors import ItemError, StoreError
from forgekit.ids import canonical_json
from forgekit.store.remote import address_of, speaking

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGES = "images"  # the folder beside the store that every image lies in
METADATA_KEY = "forgekit"  # the PNG text chunk that `sources` reads back
NAMED = re.compile(rf"{IMAGES}/(..)/\1[0-9a-f]{{30}}-[0-9a-f]{{8}}\.\w+")  # what `write_image` calls a file
MISSING = "the image file {} is missing; restore it from a copy, or give the address of its copies (images=)"
MEASURED = ("duration_s", "batch")


def encode_png(image: Image, metadata: Mapping[str, Any]) -> bytes:
    """Return the image as PNG bytes with `metadata` as JSON in its text chunk.

    How long the drawing took, and in how large a batch, stays out: the same picture drawn again must get the same
    bytes, and so the same name.
    """
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt(METADATA_KEY, canonical_json({k: v for k, v in metadata.items() if k not in MEASURED}))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def write_image(folder: Path, image_id: str, png: bytes, *, same_as: str | None = None, ending: str = ".png") -> str:
    """Store PNG bytes under a name made from their hash and return the path relative to `folder`.

    The file appears under its name only when it is complete. Where `same_as` names a stored file with
    these bytes, it is linked instead of written again (copied where the file system has no links). What was drawn
    elsewhere is stored as it is, with the `ending` of its own format.

    Raises:
        StoreError: a link or a file stands where a folder of images should be.
    """
    digest = hashlib.sha256(png).hexdigest()
    relative = f"{IMAGES}/{digest[:2]}/{digest[:32]}-{image_id[:8]}{ending}"
    target = folder / relative
    if reason := _why_outside(folder, PurePosixPath(relative).parent):
        raise StoreError(f"no image can be written to {target.parent}: {reason}")
    if not target.is_file() or target.is_symlink():
        source = stored_file(folder, same_as) if same_as is not None else None
        try:
            write_whole(target, png, same_as=source if isinstance(source, Path) else None)
        except FileNotFoundError:  # another process wrote the same file meanwhile, and cleared ours away as below
            if not target.is_file():
                raise
    for left in target.parent.iterdir():
        if left.name.startswith(f"{target.name}.") and left.suffix == ".partial":  # of a process that was killed here
            left.unlink(missing_ok=True)
    return relative


def write_whole(file: Path, content: bytes, *, same_as: Path | None = None) -> None:
    """Write a file that appears under its name only when it is complete, in place of the one that was there.

    Where `same_as` names a file with this content, and the file system has links, it is linked instead.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}.partial")
    partial.unlink(missing_ok=True)  # of a process that died, or a link that somebody laid there
    if same_as is None or not _linked(same_as, partial):
        with partial.open("xb") as opened:
            opened.write(content)
    partial.replace(file)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, which takes no room; copy it to another disk, or where there are no links."""
    if not _linked(source, target):
        shutil.copyfile(source, target)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        return False
    return True


def stored_file(folder: Path, image_path: str) -> Path | ItemError:
    """Return where the image of a store in `folder` lies, or why its path may not be followed.

    It lies under `images/`, reached through no link and no "..", and is a regular file or is not there at all: what
    is missing can be restored. Everything that opens, links or shows a stored image asks here first.
    """
    path = PurePosixPath(image_path) if isinstance(image_path, str) else None
    if path is None or not image_path.isprintable():
        return ItemError(f"the image path {image_path!r} is no path; `forgekit check` lists such images")
    parts = image_path.split("/")
    if path.is_absolute() or parts[0] != IMAGES or len(parts) < 2 or {"", ".", ".."} & set(parts):
        return ItemError(f"the image path {image_path!r} leads out of {IMAGES}/; only files in there are read")
    if reason := _why_outside(folder, path.parent) or _why_not(folder / path, "it", "regular file", stat.S_ISREG):
        return ItemError(f"the image file {image_path} is not read: {reason}")
    return folder / path


def shown_file(folder: Path, image_path: str) -> str | None:
    """Return where a stored image lies; None where its path may not be followed."""
    file = stored_file(folder, image_path)
    return None if isinstance(file, ItemError) else str(file)


def _why_outside(folder: Path, below: PurePosixPath) -> str | None:
    """Return why the folders of `below` may not be followed from `folder` on: a link may lead anywhere."""
    for depth in range(1, len(below.parts) + 1):
        part = Path(*below.parts[:depth])
        if reason := _why_not(folder / part, f"{part}", "folder", stat.S_ISDIR):
            return reason
    return None


def _why_not(place: Path, name: str, what: str, is_one: Callable[[int], bool]) -> str | None:
    """Return why what stands at a place is no `what`; None, too, where nothing does: whoever opens it says so."""
    try:
        mode = place.lstat().st_mode
    except OSError:  # nothing there yet, or a name that no file system takes
        return None
    if stat.S_ISLNK(mode):
        return f"{name} is a link; put the {what} itself in its place"
    return None if is_one(mode) else f"{name} is no {what}"


def named_after(path: Path, content: bytes) -> bool:
    """Say whether an image file has the bytes that its name was made of."""
    return hashlib.sha256(content).hexdigest().startswith(path.name.partition("-")[0]) and "-" in path.name


def copy_of(file: Path) -> bytes | None:
    """Return the bytes of the copy of a stored image; None where the caller gave no address of copies, or it has no name of ours.

    Raises:
        OSError: it cannot be fetched, or has other bytes than its name was made of.
    """
    folder = file.parents[2] if len(file.parents) > 2 else file
    address, name = address_of(folder), file.relative_to(folder).as_posix()
    if address is None or not NAMED.fullmatch(name):
        return None
    with speaking(address) as (files, root):
        content = bytes(files.cat_file(f"{root}/{name}"))
        if not named_after(file, content):
            raise ValueError(f"{name} has other bytes than were written")
        return content


def here(file: Path) -> Path:
    """Return an image file that `stored_file` has found, its copy put there where it is gone. Raises OSError: as `copy_of`."""
    if not file.exists() and (content := copy_of(file)) is not None:
        write_whole(file, content)
    return file


def fetched_file(folder: Path, image_path: str) -> Path | ItemError:
    """Return the file of a stored image that is there, fetched if need be; or why it cannot be had."""
    file = stored_file(folder, image_path)
    if isinstance(file, ItemError):
        return file
    try:
        return file if here(file).exists() else ItemError(MISSING.format(image_path))
    except OSError as error:
        return ItemError(f"the image file {image_path} cannot be read: {error}")


def read_image(folder: Path, image_path: str) -> Image | ItemError:
    """Open a stored image as RGB, or say why it cannot be read."""
    file = stored_file(folder, image_path)
    return file if isinstance(file, ItemError) else open_image(file, image_path)


def open_image(file: Path, name: str) -> Image | ItemError:
    """Open an image file, which a caller names or `stored_file` has found, as RGB; or say why `name` cannot be read."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(here(file)) as image:
            ImageOps.exif_transpose(image, in_place=True)  # of a picture from outside, as browsers show it
            return image.convert("RGB")
    except FileNotFoundError:
        return ItemError(MISSING.format(name))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        return ItemError(f"the image file {name} cannot be read: {error}")
