"""What lies in a run's folder: its images by seed, the tables over them, the histogram and the prompt's text."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import DecompressionBombError

from forgekit.errors import ItemError
from forgekit.show.sheets import shrunk
from forgekit.store.images import stored_file
from forgekit.tracking.runs import BINS, TABLES, Run, scores_of

IMAGES_TABLE, EVALUATIONS_TABLE = TABLES
THREADS = 2  # that write files at a time: pictures are read, shrunk and encoded outside the interpreter's lock


def write_files(run: Run, store_folder: Path, folder: Path) -> None:
    """Write the run's artifacts into `folder`, where MLflow's image grid and table view look for them."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images = run.row["images"]
    cells = {image["id"]: _place_image(run, store_folder, folder, image) for image in images}
    _write_table(
        folder / IMAGES_TABLE,
        ["seed", "image", "score", "failed", "error"],
        [
            [image["seed"], cells[image["id"]], image["score"], ", ".join(image["failed"] or []), image["error"]]
            for image in images
            if cells[image["id"]]  # an empty cell in the image column would make MLflow show all of them as text
        ],
    )
    _write_evaluations(folder / EVALUATIONS_TABLE, images)
    (folder / "prompt.txt").write_text(run.row["prompt_text"])
    (folder / "histogram.svg").write_text(histogram_svg(scores_of(run.row), run.name))


def histogram_svg(scores: Sequence[float], title: str) -> str:
    """Return the distribution of scores in [0, 1] as a small SVG: 20 bars, median marked."""
    counts, _ = np.histogram(scores, bins=BINS, range=(0, 1))
    unit = 150 / max(1, counts.max())
    bars = "".join(
        f'<rect x="{40 + 20 * i}" y="{190 - unit * n:.1f}" width="18" height="{unit * n:.1f}" fill="#0072B2"/>'
        for i, n in enumerate(counts)
    )
    ticks = "".join(f'<text x="{40 + 40 * i}" y="210" text-anchor="middle">{i / 10:g}</text>' for i in range(0, 11, 2))
    median = 40 + 400 * float(np.median(scores)) if len(scores) else -10
    safe = title.replace("&", "&amp;").replace("<", "&lt;")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="460" height="240" font-family="sans-serif" font-size="12">'
        f'<rect width="460" height="240" fill="white"/><text x="40" y="24">{safe}</text>{bars}'
        f'<line x1="{median:.1f}" x2="{median:.1f}" y1="36" y2="190" stroke="#D55E00" stroke-width="2"/>'
        f'<line x1="40" x2="440" y1="190" y2="190" stroke="black"/>{ticks}'
        f'<text x="240" y="230" text-anchor="middle">score of an image; most in one bar: {counts.max()}</text></svg>'
    )


def _write_evaluations(file: Path, images: Sequence[dict[str, Any]]) -> None:
    """Write one row per image with everything the judge said about it, a column for each element of the scene."""
    elements = sorted({element for image in images for element in image["element_scores"] or {}})
    columns = ["seed", "score", "arithmetic_mean", "text_match", "description", "error", *elements]
    _write_table(
        file,
        columns,
        [
            [
                *(image[name] for name in ("seed", "score", "arithmetic_mean", "text_match", "description", "error")),
                *((image["element_scores"] or {}).get(element) for element in elements),
            ]
            for image in images
        ],
    )


def _write_table(file: Path, columns: list[str], rows: list[list[Any]]) -> None:
    file.write_text(json.dumps({"columns": columns, "data": rows}))


def _place_image(run: Run, store_folder: Path, folder: Path, image: dict[str, Any]) -> dict[str, str] | None:
    """Put one image and its preview where MLflow's image grid looks for them; None where the file is gone or lies elsewhere.

    `log_image` and `log_table` would each encode every picture again. These are the names that `log_image` gives.
    """
    source = stored_file(store_folder, image["path"])
    if isinstance(source, ItemError):  # `evaluate` and `check` say so
        return None
    stem = f"images/image+step+{image['step']}+timestamp+{run.start_ms}+{image['id']}"
    try:
        (folder / f"{stem}+compressed.webp").write_bytes(_preview(source))
    except (OSError, SyntaxError, ValueError, DecompressionBombError):  # gone, or no picture
        return None
    _link_or_copy(source, folder / f"{stem}.png")
    return {"type": "image", "filepath": f"{stem}.png", "compressed_filepath": f"{stem}+compressed.webp"}


def _link_or_copy(source: Path, target: Path) -> None:
    """Give the store's image a second name, which takes no room; copy it where the file system knows no links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target)


@lru_cache(maxsize=256)
def _preview(file: Path) -> bytes:
    """Return the image for MLflow's grid, its longer side 256 pixels. The judges of a version share it.

    Tiny images are enlarged: MLflow shows them in the middle of a large field as they are.
    """
    buffer = io.BytesIO()
    shrunk(file).save(buffer, format="WEBP", method=0)
    return buffer.getvalue()
