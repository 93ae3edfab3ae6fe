"""What work will take, from what the same models took before: images, judge calls, time, cost. What was never seen is not guessed."""

from __future__ import annotations

import shutil
from typing import Any

from forgekit.checkup.findings import FAULT, OK, DoctorReport
from forgekit.checkup.work import Work
from forgekit.errors import StoreError
from forgekit.models import recorded_name
from forgekit.models.fetching import gib
from forgekit.store import Store
from forgekit.store.images import stored_file

# What one image, drawn or judged, took on average so far, by model: only calls that say of how many count for time.
TOOK = """
select
    endpoint,
    sum(duration_ms) filter (items > 0) / 1000 / sum(items) as seconds,
    sum(items)::bigint as images,
    sum(cost) / sum(items) as cost
from (
    select
        endpoint,
        duration_ms,
        try_cast(coalesce(response ->> '$.images', response ->> '$.judged') as bigint) as items,
        try_cast(response ->> '$.cost' as double) as cost
    from api_logs
    where stage in ('generate', 'evaluate') and duration_ms is not null
)
group by endpoint
having sum(items) > 0
"""
STORED = "select image_path from generated_images where generation_metadata ->> '$.model' = $model limit 20"


def expected(report: DoctorReport, work: Work, store: Store | None) -> None:
    """Add to the report what the work will take, and whether there is room on the disk for its images."""
    report.plan += work.told
    took, size, seconds, cost = _earlier(store), 0.0, 0.0, 0.0
    unknown = set()
    for what, role, counts in (("images", "image_generator", work.images), ("verdicts", "vision_model", work.verdicts)):
        for name, images in sorted(counts.items()):
            known = took.get(recorded_name(role, name)) or took.get(name)
            if known is None:
                unknown.add(name)
                report.plan.append(f"{images} {what} by {name}: time not known yet (it has made none in this store)")
                continue
            seconds, cost = seconds + images * known["seconds"], cost + images * (known["cost"] or 0)
            price = "" if known["cost"] is None else f", cost {images * known['cost']:.2f}"
            report.plan.append(
                f"{images} {what} by {name}: {duration(images * known['seconds'])}{price} at {known['seconds']:.3g} s each "
                f"(the mean of {known['images']})"
            )
            size += images * _mean_size(store, name) if store and what == "images" else 0
    if seconds:
        price = f", cost {cost:.2f}" if cost else ""
        but = f", and what is not known yet: {', '.join(sorted(unknown))}" if unknown else ""
        report.plan.append(f"in all {duration(seconds)}{price}{but}, one after the other")
    if size and store:
        free = shutil.disk_usage(store.folder).free
        told = f"about {gib(size)} of images, {gib(free)} are free beside the store"
        report.add("store", "disk", *((OK, told) if size < free else (FAULT, told, "make room, or move the store")))


def _earlier(store: Store | None) -> dict[str, dict[str, Any]]:
    try:
        rows = store.rows(TOOK) if store and store.path.exists() else []
    except StoreError:  # it has a finding of its own
        return {}
    return {row["endpoint"]: row for row in rows}


def _mean_size(store: Store, model: str) -> float:
    """Return the mean bytes of some pictures that a model has drawn; 0 where it has drawn none."""
    files = [stored_file(store.folder, row["image_path"]) for row in store.rows(STORED, model=model)]
    sizes = [file.stat().st_size for file in files if not hasattr(file, "reason") and file.is_file()]
    return sum(sizes) / len(sizes) if sizes else 0


def duration(seconds: float) -> str:
    """Return seconds as people read them."""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"
