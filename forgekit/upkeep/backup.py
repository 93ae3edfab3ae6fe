"""Backing up a store into a folder, and restoring it: the database as of one moment, each image once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from forgekit.errors import ItemError, StoreError
from forgekit.progress import StageReport, running
from forgekit.store import Store, open_store
from forgekit.store.claims import alone
from forgekit.store.images import here, named_after, stored_file, write_whole

DATABASE = "store.duckdb"  # in the folder of a backup; its images lie beside it, in images/
FORGOTTEN = ("prompts", "generated_images", "prompt_learnings")  # tables that only ever grow


def backup(store: Store, folder: str | Path) -> StageReport:
    """Copy the store into `folder`: the database as it is now, and those of its images that are not there yet.

    Stages may go on meanwhile: they wait only while the database is copied. An image goes in when its bytes are those that
    its name says; one that is damaged or gone is reported, and what an earlier backup has of it stays. The database
    of an earlier backup is replaced last, so a backup that is cut off leaves the earlier one whole. The MLflow mirror is not
    needed: `forgekit track` makes it again.

    Args:
        folder: where the backup goes, or the folder of an earlier one; best on another disk.

    Raises:
        StoreError: `folder` is no folder, holds another store's backup, or one with rows that this store has lost, or
            another process is backing up into it.
    """
    if not str(folder).strip():
        raise StoreError("the folder is an empty text; name the one that the backup goes to")
    target = Path(folder).resolve()
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"no backup can be made in {folder}: {error}. Name a folder of yours") from error
    if target == store.folder:
        raise StoreError(f"{folder} is the store's own folder. Name another one, best on another disk")
    busy = StoreError(f"another process is backing up into {target}. Wait for it, or name another folder")
    with alone(target / f"{DATABASE}.lock", busy):
        for left in [*target.glob(f"{DATABASE}.new*"), *target.glob("images/*/*.partial")]:
            left.unlink()  # of a backup that was cut off
        new = target / f"{DATABASE}.new"
        _copy_database(store, new)
        copied = Store(new)
        _refuse_forgetting(copied, target)
        report = _copy_images("backup", copied, store.folder, target)
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.replace(target / DATABASE)
    return report


def restore(folder: str | Path, new_store: str | Path) -> StageReport:
    """Make a new store at `new_store` of the backup in `folder`. Nothing that is there is overwritten.

    Args:
        folder: the backup.
        new_store: the new store's file.

    Raises:
        StoreError: `folder` holds no backup, there is a file at `new_store` already, or it cannot be made.
    """
    source, target = Path(folder).resolve(), Path(new_store).resolve()
    if not (source / DATABASE).is_file():
        raise StoreError(
            f"{folder} holds no backup: there is no {DATABASE} in it. `forgekit backup {folder}` makes one"
        )
    if target.exists():
        raise StoreError(f"{new_store} exists already and is not overwritten. Name a file that is not there yet")
    saved = Store(source / DATABASE)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        report = _copy_images("restore", saved, source, target.parent)
        new = target.with_name(f"{target.name}.new")
        new.unlink(missing_ok=True)
        _copy_database(saved, new)
        new.replace(target)
    except OSError as error:
        raise StoreError(f"no store can be made at {new_store}: {error}. Name a file in a folder of yours") from error
    open_store(target)  # one that an older forgekit backed up gets what this one needs
    return report


def _copy_database(store: Store, target: Path) -> None:
    """Copy a store's file, and its log where a process died before it was merged; the copy is nobody's work in hand."""
    with store.held_still():
        for ending in (".wal", ""):  # this process's lock on the file ends when it closes a copy's source
            file = store.path.with_name(store.path.name + ending)
            if file.exists():
                shutil.copyfile(file, target.with_name(target.name + ending))
    with Store(target).transaction() as con:
        con.execute("delete from claims")


def _refuse_forgetting(new: Store, target: Path) -> None:
    if not (target / DATABASE).exists():
        return
    for table in FORGOTTEN:
        before, now = (
            {row["id"] for row in each.rows(f"select id from {table}")} for each in (Store(target / DATABASE), new)
        )
        if before - now:
            raise StoreError(
                f"the backup in {target} has {len(before - now)} rows of {table} that this store lacks: it is another "
                "store's, or this one has lost them. It was left as it is; back up into another folder"
            )


def _copy_images(stage: str, rows_of: Store, source: Path, target: Path) -> StageReport:
    rows = rows_of.rows("select id, image_path from generated_images order by id")
    with running(stage, total=len(rows), unit="image") as (report, bar):
        for row in rows:
            path = stored_file(source, row["image_path"])
            there = stored_file(target, row["image_path"])
            if isinstance(path, ItemError) or isinstance(there, ItemError):
                report.failures[row["id"]] = next(each.reason for each in (path, there) if isinstance(each, ItemError))
            elif there.exists():
                report.skipped += 1
            elif reason := _copied(path, there):
                report.failures[row["id"]] = reason
            else:
                report.done += 1
            bar.update()
    return report


def _copied(path: Path, there: Path) -> str | None:
    """Copy an image whole, or say why it is no image of the store any more."""
    try:
        content = here(path).read_bytes()
    except OSError as error:
        return f"the image file cannot be read: {error}; `forgekit check --repair` draws it again"
    if not named_after(path, content):
        return (
            f"the bytes of {path.name} are not those that it was written with; `forgekit check --repair` draws it again"
        )
    write_whole(there, content)
    return None
