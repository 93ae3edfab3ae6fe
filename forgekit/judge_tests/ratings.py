"""Human ratings of images: read from tables, or given by hand, and kept in the store."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from forgekit.errors import ParameterError, SourceError, did_you_mean
from forgekit.ids import content_id
from forgekit.judge_tests.rating_plan import Item
from forgekit.progress import StageReport, running
from forgekit.scene import list_elements
from forgekit.sources import BadRow, read_rows
from forgekit.sources.rows import is_missing
from forgekit.store import Store
from forgekit.store.arguments import text
from forgekit.store.rows import fetch_dicts, insert_rows

# The names of columns, by what they hold; the first one found counts.
NAMES = {
    "image": ("image_id", "image_path", "image", "name", "file", "file_name", "filename"),
    "rating": ("rating", "score", "mos_align", "mos", "alignment"),
    "scale": ("scale",),
    "rater": ("rater", "annotator", "worker"),
    "element": ("element", "element_key"),
    "other": ("other_image_id", "other_image_path", "other_image"),
    "text": ("scene_text", "prompt", "text", "caption"),
}
SCALE = re.compile(r"\s*[\[(]?\s*(-?\d+(?:\.\d+)?)\s*(?:-|–|to|\.\.|,|:)\s*(-?\d+(?:\.\d+)?)\s*[\])]?\s*")

SOURCE = "fk.rate"  # of what is rated by hand, as a file's name is of what it brought
STANDING = """
select cast(id as varchar) as id, cast(image_id as varchar) as image, cast(other_image_id as varchar) as other, element, rating, reason
from human_ratings
where source = $source
  and rater = $rater
  and id not in (select replaces from human_ratings where replaces is not null)
"""
IMAGES = """
select cast(i.id as varchar) as image_id, i.image_path, p.scene_hash
from generated_images i
join prompts p on p.id = i.prompt_id
"""
ELEMENTS = "select scene_hash, elements from scenes where elements is not null and list_contains($scenes, scene_hash)"


def read_ratings(source: str | Path | pd.DataFrame, *, scale: str | None = None) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a table of ratings: a row per rating with the image (id or path), the rating and its scale.

    Args:
        source: a CSV, TSV, Excel, JSON, JSONL or Parquet file, or a DataFrame.
        scale: the scale of rows that do not name theirs, lowest and highest rating: "1-5".

    Returns:
        Good rows (`row`, `image`, `rating`, `low`, `high`, `rater`, `text`, `element`, `other`; the last four null where
        the table does not say), and the reason for each bad row, by "row 17" (the line of a text file, its header being line 1).

    Raises:
        SourceError: the source cannot be read, or has no column of images or ratings.
        ParameterError: `scale` is not of the form "1-5".
    """
    limits = scale and _limits(scale)
    if scale and not limits:
        raise ParameterError(f"scale={scale!r}: write the lowest and the highest rating, such as 1-5")
    told = list(read_rows(source))
    bad = {f"row {row.row}": row.reason for row in told if isinstance(row, BadRow)}
    records = [row for row in told if not isinstance(row, BadRow)]
    names = list(dict.fromkeys(name for _, record in records for name in record))
    found = _columns(names, str(source) if isinstance(source, str | Path) else "the table")
    good = []
    for number, record in records:
        row = {role: record.get(name) if name else None for role, name in found.items()}
        judged = _rating(row, limits or None)
        if isinstance(judged, str):
            bad[f"row {number}"] = judged
        else:
            rating, (low, high) = judged
            said = {name: _said(row[name]) for name in ("image", "rater", "text", "element", "other")}
            good.append({"row": number, **said, "rating": rating, "low": low, "high": high})
    columns = ["row", "image", "rating", "low", "high", "rater", "text", "element", "other"]
    return pd.DataFrame(good, columns=columns, dtype=object).astype({"rating": float, "low": float, "high": float}), bad


def import_ratings(
    store: Store, source: str | Path | pd.DataFrame, *, scale: str | None = None, name: str | None = None
) -> StageReport:
    """Store what people said about images of the store. Rows that cannot be used are listed with their reasons.

    Images are named by their id or by their path, relative to the store's folder or absolute. A row with an `element` (its
    key, such as "color:0") is about that element alone, one with an `other_image` about which of the two shows the text
    better: the highest rating is for `image`. Importing again adds nothing.

    Args:
        source: a table with a row per rating: `image_path` or `image_id`, `rating`, `scale`, and perhaps `rater`,
            `element`, `other_image_id` or `other_image_path`.
        scale: the scale of rows that do not name theirs, such as 1-5.
        name: the name under which the ratings are kept; the file's name where not given.

    Raises:
        SourceError: the source cannot be read, or has no column of images or ratings.
        ParameterError: `scale` is not of the form 1-5, or a DataFrame came without a `name`.
    """
    if name is None and not isinstance(source, str | Path):
        raise ParameterError("ratings in a DataFrame need a name=… under which they are kept")
    name = text("name", name) or Path(str(source)).name
    ratings, bad = read_ratings(source, scale=scale)
    known = {row[key]: row for row in store.rows(IMAGES) for key in ("image_id", "image_path")}
    told = ratings.to_dict("records")
    images = [{role: known.get(_inside(store.folder, row[role] or "")) for role in ("image", "other")} for row in told]
    scenes = {
        found["image"]["scene_hash"]
        for row, found in zip(told, images, strict=True)
        if row["element"] and found["image"]
    }
    elements = {
        row["scene_hash"]: {element.key for element in list_elements(row["elements"])}
        for row in store.rows(ELEMENTS, scenes=sorted(scenes))
    }
    times: Counter[tuple[Any, ...]] = Counter()
    rows = []
    with running("import-ratings", total=0, unit="rating") as (report, _):
        for rating, found in zip(told, images, strict=True):
            if reason := _why_nothing(rating, **found, elements=elements):
                bad[f"row {rating['row']}"] = reason
                continue
            image, other = (each and each["image_id"] for each in found.values())
            about = {"image": image, "rater": rating["rater"]}
            about |= {key: said for key, said in (("element", rating["element"]), ("other", other)) if said}
            times[tuple(about.items())] += 1  # raters without a name are told apart by their order
            rows.append(
                {
                    "id": content_id("rating", source=name, **about, time=times[tuple(about.items())]),
                    "image_id": image,
                    "element": rating["element"],
                    "other_image_id": other,
                    "rating": rating["rating"],
                    "scale_low": rating["low"],
                    "scale_high": rating["high"],
                    "rater": rating["rater"],
                    "source": name,
                }
            )
        with store.transaction() as con:
            report.done = insert_rows(con, "human_ratings", rows)
        report.skipped = len(rows) - report.done
        report.failures = bad
    return report


def _why_nothing(said: Mapping[str, Any], *, image: Any, other: Any, elements: Mapping[str, set[str]]) -> str | None:
    """Return why a rating is about nothing in the store, or None where it is about something."""
    for role, found in (("image", image), ("other", other)):
        if said[role] and found is None:
            return f"no image of this store has the id or path {said[role]!r}"
    if said["element"] and other:
        return "it names an element and another image; a rating is about one of them"
    if other and other["image_id"] == image["image_id"]:
        return "it compares an image with itself"
    if other and other["scene_hash"] != image["scene_hash"]:
        return "its two images are of different scenes"
    known = elements.get(image["scene_hash"], set())
    if said["element"] and said["element"] not in known:
        near = did_you_mean(said["element"], known)
        return f"the scene has no element {said['element']!r}.{near} It has: {', '.join(sorted(known)) or 'none'}"
    return None


def _said(cell: Any) -> str | None:
    return None if is_missing(cell) or not str(cell).strip() else str(cell).strip()


def keep_rating(store: Store, item: Item, *, rater: str, rating: float | None, reason: str | None = None) -> None:
    """Store what `rater` says of an item, or, with a null rating, the reason why nothing.

    What the same rater said of it before is corrected: it stays in the store, named by `replaces`, and counts no more.
    Saying the same again adds nothing.
    """
    said = {"element": item.key[1], "rating": rating, "reason": reason}
    said |= dict(zip(("image_id", "other_image_id"), item.images, strict=False))
    with store.transaction() as con:
        rows = fetch_dicts(con.execute(STANDING, {"source": SOURCE, "rater": rater}))
        before = _by_item(rows).get(item.key)
        if before and (before["rating"], before["reason"]) == (rating, reason):
            return
        row = {**said, "rater": rater, "source": SOURCE, "replaces": before and before["id"]}
        scale = dict(zip(("scale_low", "scale_high"), item.scale, strict=True))
        insert_rows(con, "human_ratings", [{"id": content_id("rating", **row), **row, **scale}])


def ratings_by(store: Store, rater: str) -> dict[Any, dict[str, Any]]:
    """Return what counts of what `rater` has said by hand, by the keys of the items: `rating`, or null and the `reason`."""
    return _by_item(store.rows(STANDING, source=SOURCE, rater=rater))


def _by_item(rows: Iterable[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {(tuple(filter(None, (row["image"], row["other"]))), row["element"]): row for row in rows}


def _columns(names: Sequence[str], source: str) -> dict[str, str | None]:
    """Return the column of each role; None where a role that is not needed has none."""
    found = {role: next((name for name in usual if name in names), None) for role, usual in NAMES.items()}
    for role in ("image", "rating"):
        if found[role] is None:
            raise SourceError(
                f"{source} has no column {' or '.join(NAMES[role][:3])!r} for the {role}. It has: {', '.join(names)}"
            )
    return found


def _rating(row: Mapping[str, Any], limits: tuple[float, float] | None) -> tuple[float, tuple[float, float]] | str:
    """Return the rating and its scale, or why they cannot be used."""
    said = _said(row["scale"])
    limits = _limits(said) if said else limits
    if limits is None:
        return f"the scale is {said!r}, not of the form 1-5" if said else "no scale is told: give one, such as 1-5"
    if _said(row["image"]) is None:
        return "no image is named"
    try:
        rating = float(row["rating"])
    except (TypeError, ValueError):
        rating = math.nan
    if not math.isfinite(rating):
        return f"the rating is {row['rating']!r}, not a number"
    low, high = limits
    if not low <= rating <= high:
        return f"the rating {rating:g} lies outside its scale, {low:g} to {high:g}"
    return rating, limits


def _limits(scale: str) -> tuple[float, float] | None:
    found = SCALE.fullmatch(scale)
    limits = (float(found[1]), float(found[2])) if found else None
    return limits if limits and limits[0] < limits[1] else None


def _inside(folder: Path, image: str) -> str:
    path = Path(image)
    return path.relative_to(folder).as_posix() if path.is_absolute() and path.is_relative_to(folder) else image
