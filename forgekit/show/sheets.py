"""Contact sheets: many images with their seeds, scores and failed elements in one picture, or what two judges say."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from forgekit.errors import ParameterError
from forgekit.store.images import here

CELL = 256  # pixels along each side of an image on the sheet: four times what the mini generator draws
MARGIN = 12
TEXT = 19  # font size; a sheet of eight columns is shown at about half its size in a notebook
LINE = 25
LABEL_LINES = 2
OPINION_LINES = 6  # of two judges, below an image they disagree about
STEP = CELL + LINE * LABEL_LINES + MARGIN  # from one line of images to the next
LABELS = ("seed", "score", "failed")
INK, GOOD, BAD, PAPER, EMPTY = "#222222", "#0072B2", "#D55E00", "#FFFFFF", "#E8E8E8"

ENCODED: Mapping[str, Mapping[str, int]] = {"png": {}, "jpeg": {"quality": 85}, "webp": {"method": 0}}  # quickly


def contact_sheet(pictures: pd.DataFrame, *, row: str = "prompt_id", block: str | None = None) -> Image.Image:
    """Lay images out in rows under the prompt they were drawn from, each with its seed, score and failed elements.

    Images keep their proportions, at 256 pixels; tiny ones are enlarged smoothly. A file that cannot be read leaves a
    grey field that says so.

    Args:
        pictures: what `trends.pictures` or `trends.before_after` returns; `file` is needed, labels come from
            `prompt_text`, `seed`, `score` and `failed` where they are there.
        row: the column whose values make the rows.
        block: a column whose values stand side by side in each row: "moment" for before and after; ten columns all told.

    Raises:
        ParameterError: there are no pictures, or no column `row` or `block`.
    """
    wanted = ["file", row, *([block] if block else [])]
    if len(pictures) == 0 or not set(wanted) <= set(pictures.columns):
        raise ParameterError(
            f"a contact sheet needs at least one picture and the columns {wanted}, got {list(pictures.columns)}"
        )
    blocks = list(pictures[block].unique()) if block else [None]
    rows = [
        [group[group[block] == value] if block else group for value in blocks]
        for _, group in pictures.groupby(row, sort=False)
    ]
    most = max(len(group) for groups in rows for group in groups)
    lines = -(-most // max(1, 10 // len(blocks)))
    columns = -(-most // lines)  # six images are two lines of three rather than five and one
    width = columns * (CELL + MARGIN) + MARGIN
    strips = [_Strip(groups, blocks, columns, width) for groups in rows]
    sheet = Image.new("RGB", (width * len(blocks), sum(strip.height for strip in strips)), PAPER)
    files = [file for strip in strips for group in strip.groups for file in group["file"]]
    with ThreadPoolExecutor() as pool:  # decoding happens outside the interpreter's lock
        images, top = pool.map(thumbnail, files), 0
        for strip in strips:
            strip.draw(sheet, top, images)
            top += strip.height
    return sheet


def disagreement_sheet(pairs: pd.DataFrame) -> Image.Image:
    """Lay out images that two judges disagree about, as they come: each with both scores, its scene, and what they differ on.

    Args:
        pairs: what `trends.disagreements` returns; 48 of them, two a scene at most, are a sheet that can be looked over.

    Raises:
        ParameterError: there is none.
    """
    if len(pairs) == 0:
        raise ParameterError("a sheet of disagreements needs at least one image that both judges have scored")
    rows = pairs.to_dict("records")
    columns, step = min(8, len(rows)), CELL + LINE * OPINION_LINES + 2 * MARGIN
    sheet = Image.new("RGB", (columns * (CELL + MARGIN) + MARGIN, -(-len(rows) // columns) * step + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    with ThreadPoolExecutor() as pool:
        for place, image in enumerate(pool.map(thumbnail, [row["file"] for row in rows])):
            x, y = MARGIN + place % columns * (CELL + MARGIN), MARGIN + place // columns * step
            _paste(sheet, image, x, y)
            for number, (text, color) in enumerate(_opinions(rows[place])):
                draw.text((x, y + CELL + number * LINE), text, fill=color, font=_font())
    return sheet


def _opinions(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the lines below an image that two judges disagree about, and their colours."""
    letters = CELL // (TEXT * 6 // 10)
    harsh, mild = sorted((("judge", "x"), ("other", "y")), key=lambda side: row[side[1]])
    for name, score in (mild, harsh):
        color = GOOD if name == mild[0] else BAD
        yield f"{textwrap.shorten(str(row[name]), letters - 5, placeholder='…')} {row[score]:.2f}", color
    differ = "≠ " + ", ".join(row["differ"]) if len(row["differ"]) else ""
    for text, lines, color in ((row["scene_text"], 2, INK), (differ, 2, BAD)):
        wrapped = textwrap.wrap(str(text), letters, max_lines=lines, placeholder="…")
        yield from ((line, color) for line in [*wrapped, *[""] * lines][:lines])


class _Strip:
    """One row of a sheet: blocks side by side, each `width` pixels wide, a heading over its images."""

    def __init__(self, groups: Sequence[pd.DataFrame], names: Sequence[object], columns: int, width: int) -> None:
        letters = (width - 2 * MARGIN) // (TEXT * 6 // 10)
        self.groups, self.columns, self.width = groups, columns, width
        self.headings = [textwrap.wrap(_heading(*block), letters)[:3] for block in zip(groups, names, strict=True)]
        self.top = 2 * MARGIN + LINE * max(len(heading) for heading in self.headings)  # the pixels above the images
        self.height = self.top + STEP * max(-(-len(group) // columns) for group in groups)

    def draw(self, sheet: Image.Image, top: int, images: Iterator[Image.Image]) -> None:
        """Draw the row from pixel `top` downwards with the next of `images`."""
        draw = ImageDraw.Draw(sheet)
        draw.line((MARGIN, top + 2, sheet.width - MARGIN, top + 2), fill=EMPTY, width=2)
        for number, (group, heading) in enumerate(zip(self.groups, self.headings, strict=True)):
            left = number * self.width + MARGIN
            place = (left, top + MARGIN)
            draw.multiline_text(place, "\n".join(heading), fill=INK, font=_font(), spacing=LINE - TEXT)
            labelled = group[["file", *(name for name in LABELS if name in group)]]
            for index, picture in enumerate(labelled.to_dict("records")):
                x = left + index % self.columns * (CELL + MARGIN)
                y = top + self.top + index // self.columns * STEP
                _paste(sheet, next(images), x, y)
                _write_label(draw, x, y + CELL, picture)


def _heading(group: pd.DataFrame, name: object) -> str:
    text = str(group["prompt_text"].iloc[0]) if len(group) and "prompt_text" in group else ""
    return text if name is None else f"{name}: {text or 'no images'}"


def _paste(sheet: Image.Image, image: Image.Image, x: int, y: int) -> None:
    """Put an image into the middle of the cell whose corner this is."""
    sheet.paste(image, (x + (CELL - image.width) // 2, y + (CELL - image.height) // 2))


def _write_label(draw: ImageDraw.ImageDraw, x: int, y: int, picture: Mapping[str, Any]) -> None:
    score = picture.get("score")
    known = score is not None and score == score
    parts = [told_seed(picture["seed"]) if "seed" in picture else "", f"{score:.2f}" if known else "no score"]
    failed: Any = picture.get("failed")
    failed = list(failed) if hasattr(failed, "__len__") else []  # None, NaN or NA: no verdict
    draw.text((x, y), " · ".join(part for part in parts if part), fill=BAD if failed else GOOD, font=_font())
    if failed:
        missing = textwrap.shorten("✗ " + ", ".join(failed), 24, placeholder="…")
        draw.text((x, y + LINE), missing, fill=BAD, font=_font())


def told_seed(seed: Any) -> str:
    """Return a seed in words; a picture from outside may have none that is known."""
    return "no seed" if str(seed) in ("None", "nan", "<NA>") else f"seed {seed}"


def thumbnail(file: str | Path | None) -> Image.Image:
    """Return the image with its longer side at CELL pixels, or a grey field where it cannot be read; None may not be."""
    try:
        if not isinstance(file, str | Path):
            raise FileNotFoundError
        return shrunk(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        field = Image.new("RGB", (CELL, CELL), EMPTY)
        ImageDraw.Draw(field).text((MARGIN, CELL // 2), "cannot be read", fill=BAD, font=_font())
        return field


def shrunk(file: str | Path) -> Image.Image:
    """Return the image with its longer side at CELL pixels; it is shared, so do not change it.

    Raises:
        OSError: it cannot be read.
    """
    return _shrunk(str(file), here(Path(file)).stat().st_mtime_ns)


@lru_cache(maxsize=512)  # 0.2 MB each; a mirror shows each of them three times
def _shrunk(file: str, written: int) -> Image.Image:
    """Do it once for each time that the file was `written`: a picture that was replaced is another one."""
    with Image.open(file) as stored:
        image = stored.convert("RGB")  # palettes cannot be averaged
    scale = CELL / max(image.size)
    if scale <= 0.5:
        image = image.reduce(int(1 / scale))
        scale = CELL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str) -> bytes:
    """Return the bytes of an image's file; `kind` is "png", "jpeg" or "webp"."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **ENCODED[kind])
    return buffer.getvalue()


@cache
def _font() -> ImageFont.FreeTypeFont:
    import matplotlib  # for its font alone

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", TEXT)
