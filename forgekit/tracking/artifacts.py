"""What lies in a run's folder: its images by seed, the tables over them, and the prompt's text."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL.Image import DecompressionBombError

from forgekit.errors import ItemError
from forgekit.show.sheets import shrunk
from forgekit.store.images import link_or_copy, stored_file
from forgekit.tracking.run_contents import TABLES, Run

IMAGE_COLUMNS = ("seed", "image", "score", "failed", "error")  # the image second: MLflow shows that column at first
VERDICT_COLUMNS = ("seed", "score", "arithmetic_mean", "text_match", "description", "error")


def write_files(run: Run, store_folder: Path, folder: Path) -> None:
    """Write the run's artifacts into `folder`, where MLflow's image grid and table view look for them."""
    (folder / "images").mkdir(exist_ok=True)
    images = run.shown
    cells = [(image, _place_image(run, store_folder, folder, image)) for image in images]
    # An empty cell in the image column would make MLflow show all of them as text.
    shown = [{**image, "image": cell, "failed": ", ".join(image["failed"] or [])} for image, cell in cells if cell]
    elements = sorted({element for image in images for element in image["element_scores"] or {}})
    verdicts = [{**image, **(image["element_scores"] or {})} for image in images]
    for name, columns, rows in zip(
        TABLES, (IMAGE_COLUMNS, (*VERDICT_COLUMNS, *elements)), (shown, verdicts), strict=True
    ):
        _write_table(folder / name, columns, rows)
    (folder / "prompt.txt").write_text(run.shown[0]["prompt_text"])


def _write_table(file: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    file.write_text(json.dumps({"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]}))


def _place_image(run: Run, store_folder: Path, folder: Path, image: dict[str, Any]) -> dict[str, str] | None:
    """Put one image and its preview where MLflow's image grid looks for them; None where the file is gone or lies elsewhere.

    `log_image` and `log_table` would each encode every picture again. These are the names that `log_image` gives. The
    store's image gets a second name, which takes no room; it is copied where the file system knows no links.
    """
    source = stored_file(store_folder, image["path"])
    if isinstance(source, ItemError):  # `evaluate` and `check` say so
        return None
    stem = f"images/image+step+{image['step']}+timestamp+{run.start_ms}+{image['id']}"
    try:
        (folder / f"{stem}+compressed.webp").write_bytes(_preview(source))
    except (OSError, SyntaxError, ValueError, DecompressionBombError):  # gone, or no picture
        return None
    link_or_copy(source, folder / f"{stem}.png")
    return {"type": "image", "filepath": f"{stem}.png", "compressed_filepath": f"{stem}+compressed.webp"}


@lru_cache(maxsize=256)
def _preview(file: Path) -> bytes:
    """Return the image for MLflow's grid, its longer side 256 pixels. The judges of a version share it.

    Tiny images are enlarged: MLflow shows them in the middle of a large field as they are.
    """
    buffer = io.BytesIO()
    shrunk(file).save(buffer, format="WEBP", method=0)
    return buffer.getvalue()
