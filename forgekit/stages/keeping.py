"""Keeping: a copy of each stored image is sent to the address that the caller gave, after its row is committed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from forgekit.errors import ItemError, without_secrets
from forgekit.progress import StageReport
from forgekit.store import Store
from forgekit.store.images import stored_file
from forgekit.store.remote import VARIABLE, address_of, speaking

AT_ONCE = 8  # copies on their way
UNSENT = """
select id, image_path from generated_images
where kept_at is distinct from $address and not list_contains($failed, id::varchar) order by id limit 64
"""
SENT = "update generated_images set kept_at = $address where id in (select unnest($ids::uuid[]))"
KEPT = "select kept_at, count(*) as n from generated_images where kept_at <> coalesce($address, '') group by all order by all"


def send_copies(store: Store, report: StageReport) -> None:
    """Send the images that have no copy at the caller's address yet, but for failures of this report.

    A copy that could not be sent is the failure of its image, which lies in the store's folder all the same; the next call
    sends it.
    """
    address = address_of(store.folder)
    while address and (rows := store.rows(UNSENT, address=address, failed=list(report.failures))):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            reasons = list(pool.map(lambda row: _why_unsent(store.folder, row["image_path"], address), rows))
        told = {row["id"]: reason for row, reason in zip(rows, reasons, strict=True)}
        with store.transaction() as con:
            con.execute(SENT, {"address": address, "ids": [id for id, reason in told.items() if not reason]})
        report.failures |= {id: reason for id, reason in told.items() if reason}
        report.count("copies sent", reasons.count(""))


def _why_unsent(folder: Path, image_path: str, address: str) -> str:
    """Send a copy of an image; return why that could not be, or ""."""
    file = stored_file(folder, image_path)
    if isinstance(file, ItemError):
        return file.reason
    try:
        with speaking(address) as (files, root):
            with suppress(PermissionError):  # who may write files need not be allowed to make buckets
                files.makedirs(f"{root}/{image_path}".rpartition("/")[0], exist_ok=True)
            files.pipe_file(f"{root}/{image_path}", file.read_bytes())
    except OSError as error:
        return f"no copy of {image_path} was sent to {error}"
    return ""


def copies_not_asked(store: Store) -> Iterator[str]:
    """Say at which addresses there should be copies that the caller did not give."""
    for row in store.rows(KEPT, address=address_of(store.folder)):
        told = f"{row['n']} images should have copies at {without_secrets(row['kept_at'])}, which is not asked"
        yield f"{told}: give it as images= of open_store, or {VARIABLE}"
