"""The files beside a store: its images by their hashes, what nobody wrote or cleared away, and what its mirror shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from forgekit.errors import ItemError, StoreError
from forgekit.store import Store
from forgekit.store.claims import dead_workers
from forgekit.store.images import IMAGES, named_after, stored_file
from forgekit.store.remote import address_of, speaking
from forgekit.store.salvage import is_duckdb
from forgekit.tracking.connection import ARTIFACTS, MIRROR_NOTE

Found = Iterator[tuple[str, str]]
KEPT = "select id, image_path from generated_images where kept_at = coalesce($address, kept_at)"
PATHS = "select id, image_path from generated_images order by id"
IS_STORE = "select 1 from duckdb_tables() where table_name = 'generated_images'"
READERS = 4  # files at once: hashing lets other threads work
OF_MIRROR = re.compile(r"\+([0-9a-f-]{36})\.png")  # the end of a picture's name there


def image_paths(store: Store) -> Found:
    """Find images whose path may not be followed, or is not the one that their id and bytes gave them."""
    for row in store.rows(PATHS):
        file = stored_file(store.folder, row["image_path"])
        if isinstance(file, ItemError):
            yield row["id"], f"image path is refused: {file.reason}"
        elif not re.fullmatch(rf"{IMAGES}/(..)/\1[0-9a-f]{{30}}-{row['id'][:8]}\.\w+", row["image_path"]):
            yield row["id"], f"{row['image_path']} is no name of it"


def missing_images(store: Store) -> Found:
    """Find images whose file is gone, and of which no copy is kept elsewhere; that is looked at where the caller gave the address."""
    kept = {row["id"] for row in store.rows(KEPT, address=address_of(store.folder))}
    kept -= {image for image, _ in lost_copies(store)}
    for image, file in _files(store):
        if not file.exists() and image not in kept:
            yield image, file.relative_to(store.folder).as_posix()


def lost_copies(store: Store) -> Found:
    """Find images whose copy is not where it was sent, at the address that the caller gave."""
    if address := address_of(store.folder):
        try:
            with speaking(address) as (files, root):
                files.invalidate_cache()
                there = {"/".join(path.split("/")[-3:]) for path in files.find(f"{root}/{IMAGES}")}
        except OSError as error:
            yield address, str(error)
            return
        lost = (row for row in store.rows(KEPT, address=address) if row["image_path"] not in there)
        yield from ((row["id"], f"{address}/{row['image_path']}") for row in lost)


def image_bytes(store: Store) -> Found:
    """Find images whose file has other bytes than it was written with."""
    files = [(image, file) for image, file in _files(store) if file.exists()]
    with ThreadPoolExecutor(READERS) as pool:
        for (image, file), whole in zip(files, pool.map(_whole, files), strict=True):
            if not whole:
                yield image, file.relative_to(store.folder).as_posix()


def orphans(store: Store) -> Found:
    """Find what lies in images/ and belongs to no image of this store, or of another one in the same folder.

    While a worker is at work nothing is looked for: it writes files before their rows.
    """
    lying = [path for path in (store.folder / IMAGES).rglob("*") if not path.is_dir() or path.is_symlink()]
    if dead_workers(store)[1] or not lying:
        return
    known: set[str] = set()
    for database in filter(is_duckdb, store.folder.iterdir()):
        other = Store(database, store.timeout_s)
        try:
            known |= {row["image_path"] for row in (other.rows(PATHS) if other.rows(IS_STORE) else ())}
        except StoreError as error:
            if database == store.path:
                raise
            yield database.name, f"whose the files in {IMAGES}/ are cannot be told: {str(error).splitlines()[0]}"
            return
    for path in sorted(lying):
        if (relative := path.relative_to(store.folder).as_posix()) not in known:
            yield relative, ""


def dead_locks(store: Store) -> Found:
    """Find the lock files and claims of workers that died."""
    for worker in dead_workers(store)[0]:
        yield worker, ""


def mirrored(store: Store) -> Found:
    """Find pictures of the mirror beside the store that are links, or not those of the store."""
    known = dict(_files(store))
    for path in sorted((store.folder / ARTIFACTS).rglob("*")):
        relative = path.relative_to(store.folder).as_posix()
        if path.is_symlink():
            yield relative, "it is a link, which may lead anywhere"
        elif (
            (found := OF_MIRROR.search(path.name))
            and (file := known.get(found[1]))
            and file.exists()
            and not path.samefile(file)
            and path.read_bytes() != file.read_bytes()
        ):
            yield relative, f"it is not the picture of image {found[1]}"


def moved_mirror(store: Store) -> Found:
    """Find that the MLflow mirror beside the store was written elsewhere: MLflow keeps absolute paths of its artifacts."""
    note = store.folder / MIRROR_NOTE
    place = note.read_text("utf-8", "replace")[:1000].strip() if note.is_file() else str(store.folder)
    if place != str(store.folder):
        yield place, ""


def copies(store: Store, image: str, image_path: str) -> Iterator[Path]:
    """Yield files that may have the bytes of an image: those of that hash under other names, and what the mirror shows of it."""
    name = image_path.rpartition("/")[2]
    for found in (
        (store.folder / image_path).parent.glob(f"{name.partition('-')[0]}-*"),
        (store.folder / ARTIFACTS).glob(f"*/*/artifacts/images/*+{image}.png"),
    ):
        yield from (path for path in found if path.name != name and path.is_file() and not path.is_symlink())


def _files(store: Store) -> Iterator[tuple[str, Path]]:
    for row in store.rows(PATHS):
        if isinstance(file := stored_file(store.folder, row["image_path"]), Path):
            yield row["id"], file


def _whole(image: tuple[str, Path]) -> bool:
    try:
        return named_after(image[1], image[1].read_bytes())
    except OSError:
        return False
