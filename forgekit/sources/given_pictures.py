"""Pictures that are there already: each row's file, found inside the folder that it may name and checked, with what it says."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forgekit.scene.syntax.parameters import key
from forgekit.sources.pictures import FORMATS, own_record, prompt_of
from forgekit.sources.pictures.texts import MOST_PIXELS, UNREADABLE

COLUMNS = (
    "picture", "image", "image_path", "file_name", "file", "path", "picture_path", "picture_file", "image_file", "img",
)  # fmt: skip
OTHER_COLUMNS = (
    "img_path", "image_file_name", "image_url", "url", "Bild", "Bilddatei", "Datei", "fichier", "imagen", "archivo", "imagem",
    "immagine", "图片", "图像", "画像", "изображение",
)  # fmt: skip
KEYS = tuple(map(key, (*COLUMNS, *OTHER_COLUMNS)))
MOST_BYTES = 1 << 26  # of a file
DEEP = ("I", "F")  # how modes of more than 8 bits a channel begin: reading them as RGB cuts off whatever is above 255


class UnusableError(ValueError):
    """Why a row's picture cannot be taken."""


@dataclass(frozen=True)
class GivenPicture:
    """A picture that was read to its end, as the bytes of its file. `said` is what it carries about its drawing."""

    name: str  # as its row has it
    content: bytes = field(repr=False)
    ending: str  # ".png", ".jpeg", …
    size: tuple[int, int]  # width, height
    said: Mapping[str, Any]


def given_picture(row: Mapping[str, Any], folder: Path, column: str | None) -> GivenPicture:
    """Return the picture that a row of `read_chunks` names, by `column` or one of a usual name; relative to `folder`.

    Raises:
        UnusableError: the row names none, one that lies outside `folder`, or no picture that can be read.
    """
    name = _named(row, column)
    if "://" in name:
        raise UnusableError("its picture is an address on a network; fetch it first, and name the file")
    home, file = folder.resolve(), folder / name
    if "\\" in name and not file.exists():  # written on Windows
        file = folder / name.replace("\\", "/")
    try:
        if not file.resolve().is_relative_to(home):
            raise UnusableError(
                f"its picture lies outside {home}; name that folder (folder=…), or move the picture there"
            )
        if not file.is_file():
            raise UnusableError(f"there is no picture {name!r} in {home}")
        if (size := file.stat().st_size) > MOST_BYTES:
            raise UnusableError(f"its picture has {size:,} bytes, more than {MOST_BYTES:,}")
        content = file.read_bytes()
        ending, pixels = _checked(content)
        said = _said(file)
    except UnusableError:
        raise
    except UNREADABLE as error:  # also a name that no file system takes, and a damaged file
        raise UnusableError(f"its picture cannot be read ({', '.join(FORMATS)}): {error}") from error
    return GivenPicture(name, content, ending, pixels, said)


def _named(row: Mapping[str, Any], column: str | None) -> str:
    """Return the path of a row's picture: what its own columns say, else the file that it was read beside or from."""
    source = row.get("source")
    said = source if isinstance(source, dict) else {}
    by_key = {key(name): value for name, value in reversed(said.items())}
    wanted = [said.get(column)] if column else [by_key.get(each) for each in KEYS]
    found = next((each for each in [*wanted, row.get("file")] if isinstance(each, str) and each.strip()), None)
    if found is None:
        usual = f"there is no column of a usual name ({', '.join(COLUMNS)}), or it"
        where = f"the column {column!r}" if column else usual
        raise UnusableError(f"it names no picture: {where} is empty; columns picture=NAME says which one it is")
    return found.strip()


def _checked(content: bytes) -> tuple[str, tuple[int, int]]:
    """Read a picture to its end, and return the ending of its format and its size."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a lower limit is our own
            with Image.open(io.BytesIO(content), formats=list(FORMATS)) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise UnusableError(
                        f"its picture has {image.width}×{image.height} pixels, more than {MOST_PIXELS:,}"
                    )
                if image.mode.startswith(DEEP):
                    raise UnusableError(f"its picture has more than 8 bits a channel ({image.mode}); save it with 8")
                image.load()
                return f".{(image.format or '').lower()}", image.size
    except UnidentifiedImageError as error:  # it names our buffer by its place in memory
        raise UnusableError(f"its picture is none of {', '.join(FORMATS)}; save it as PNG") from error
    except Image.DecompressionBombError as error:
        raise UnusableError(f"its picture is too large: {error}") from error


def _said(file: Path) -> dict[str, Any]:
    """Return what a picture carries about its drawing: model, parameters with the seed, settings; {} where it is silent."""
    if own := own_record(file):
        parameters = own.get("parameters")
        told = dict(parameters) if isinstance(parameters, dict) else {}
        return {"model": own.get("model"), "parameters": told | ({"seed": own["seed"]} if "seed" in own else {})}
    found = prompt_of(file)
    if isinstance(found, str):
        return {}
    return {"model": found["source"].get("model"), **found}
