"""What lies in a version's run: its images by seed, the tables over them, a figure of its scores, and the prompt's text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.Image import DecompressionBombError

from forgekit.errors import ItemError
from forgekit.show.score_figures import scores_figure
from forgekit.show.sheets import encoded, shrunk
from forgekit.store.images import link_or_copy, stored_file
from forgekit.tracking.run import DIGITS, Run
from forgekit.tracking.run_contents import SCORES_FILE, STRIP_FILE, TABLES

IMAGE_COLUMNS = ("seed", "image", "score", "failed", "error")  # the image second: MLflow shows that column at first
VERDICT_COLUMNS = ("seed", "image", "score", "arithmetic_mean", "text_match", "description", "error")
PREVIEW = 256  # pixels: a square, which is what MLflow's image grid has room for
CELL, CELL_SHOWN = 344, 172  # a table's cell is a square too, but the UI that compares runs shows its upper half alone
STRIP, STRIP_GAP, STRIP_MOST = 72, 4, 8  # pixels of an image in a description, of which the UI shows some 100 at first


def write_files(run: Run, store_folder: Path, folder: Path) -> list[str]:
    """Write the run's artifacts into `folder`, where MLflow's image grid and tables look for them.

    Returns those that the run's description shows.
    """
    for name in ("images", "cells"):
        (folder / name).mkdir(exist_ok=True)
    images = run.shown
    cells = [(image, _place_image(run, store_folder, folder, image)) for image in images]
    elements = sorted({element for image in images for element in image["element_scores"] or {}})
    # An empty cell in the image column would make MLflow show all of them as text.
    found = [({**image, **(image["element_scores"] or {})}, *cell) for image, cell in cells if cell]
    compared = [{**row, "image": cell, "failed": ", ".join(row["failed"] or [])} for row, cell, _ in found]
    verdicts = [{**row, "image": preview} for row, _, preview in found]
    _write_table(folder / TABLES[0], IMAGE_COLUMNS, compared)
    _write_table(folder / TABLES[1], (*VERDICT_COLUMNS, *elements), verdicts)
    (folder / "prompt.txt").write_text(images[0]["prompt_text"], "utf-8")
    scores = [image["score"] for image in images if image["score"] is not None]
    scores_figure(scores, run.about["pass_mark"], folder / SCORES_FILE)
    previews = [folder / preview["compressed_filepath"] for _, _, preview in found[:STRIP_MOST]]
    if previews:
        _write_strip(previews, folder / STRIP_FILE)
    return [*[STRIP_FILE][: len(previews)], SCORES_FILE]


def _write_strip(previews: Sequence[Path], file: Path) -> None:
    """Put the first images side by side, for the run's description."""
    step = STRIP + STRIP_GAP
    strip = Image.new("RGBA", (step * len(previews) - STRIP_GAP, STRIP))
    for place, preview in enumerate(previews):
        with Image.open(preview) as image:
            strip.paste(image.resize((STRIP, STRIP), Image.Resampling.BICUBIC), (step * place, 0))
    strip.save(file, method=0)


def _write_table(file: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    data = [[_short(row.get(name)) for name in columns] for row in rows]
    file.write_text(json.dumps({"columns": columns, "data": data}), "utf-8")


def _short(value: Any) -> Any:
    return round(value, DIGITS) if isinstance(value, float) else value


def _place_image(
    run: Run, store_folder: Path, folder: Path, image: dict[str, Any]
) -> tuple[dict[str, str], dict[str, str]] | None:
    """Put one image and its previews where MLflow looks for them; return its cell in a table that compares runs, and in
    one that is looked at by itself. None where the file is gone or lies elsewhere.

    `log_image` and `log_table` would each encode every picture again. These are the names that `log_image` gives. The
    store's image gets a second name, which takes no room; it is copied where the file system knows no links.
    """
    source = stored_file(store_folder, image["path"])
    if isinstance(source, ItemError):  # `evaluate` and `check` say so
        return None
    stem = f"images/image+step+{image['step']}+timestamp+{run.start_ms}+{image['id']}"
    cell, preview = f"cells/{image['id']}.jpg", f"{stem}+compressed.webp"
    try:
        (folder / preview).write_bytes(_padded(source, PREVIEW, PREVIEW))
        (folder / cell).write_bytes(_padded(source, CELL, CELL_SHOWN))
    except (OSError, SyntaxError, ValueError, DecompressionBombError):  # gone, or no picture
        return None
    link_or_copy(source, folder / f"{stem}.png")
    known = {"type": "image", "filepath": f"{stem}.png"}
    return {**known, "compressed_filepath": cell}, {**known, "compressed_filepath": preview}


@lru_cache(maxsize=512)
def _padded(file: Path, side: int, shown: int) -> bytes:
    """Return the image on a square of `side` pixels, whole within the upper `shown` ones.

    Cells are JPEGs: encoding one takes a quarter of the time. The judges of a version share it. Tiny images are enlarged:
    MLflow shows them in the middle of a large field as they are.
    """
    image = shrunk(file)
    scale = shown / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC) if size != image.size else image
    cell = shown < side
    if size != (side, side):
        square = Image.new("RGB", (side, side), "white") if cell else Image.new("RGBA", (side, side))
        square.paste(image, ((side - size[0]) // 2, (shown - size[1]) // 2))
        image = square
    return encoded(image, "jpeg" if cell else "webp")
