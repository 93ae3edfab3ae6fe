"""Copies of images at an address: sent, fetched on another machine, never asked for at the word of a store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

import fsspec
import pandas as pd
import pytest
from conftest import FakeGenerator, FakeJudge
from fsspec.implementations.memory import MemoryFileSystem
from test_checking import in_files

import forgekit as fk
from forgekit.cli import main
from forgekit.errors import ItemError, ParameterError
from forgekit.progress import StageReport
from forgekit.show.gallery import write_gallery
from forgekit.store import Store, remote
from forgekit.store.images import fetched_file

SCENES = pd.DataFrame({"text": ["a red circle", "two green stars"]})
KEPT = "select distinct kept_at from generated_images"


class Trap(MemoryFileSystem):
    """Memory that notes each name it is asked about, and takes none whose name has a word of `refused` in it."""

    protocol = "trap"
    store: ClassVar[dict] = {}
    asked: ClassVar[list[str]] = []
    refused: ClassVar[list[str]] = []

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("trap://"))

    def pipe_file(self, path, value, mode="overwrite", **options):
        Trap.asked.append(path)
        if any(word in path for word in Trap.refused):
            raise ConnectionResetError("no way to trap://me:secret@host/?key=secret")
        super().pipe_file(path, value, mode=mode, **options)

    def cat_file(self, path, start=None, end=None, **options):
        Trap.asked.append(path)
        return super().cat_file(path, start=start, end=end, **options)


@pytest.fixture(autouse=True)
def trap():
    fsspec.register_implementation("trap", Trap, clobber=True)
    for kept in (Trap.store, Trap.asked, Trap.refused, MemoryFileSystem.store):
        kept.clear()
    return Trap


@pytest.fixture(scope="module")
def judged_once(tmp_path_factory) -> Path:
    store = fk.open_store(tmp_path_factory.mktemp("judged") / "forge.duckdb")
    drawn(store, "main")
    fk.evaluate_images(store, vision_models=[FakeJudge()])
    return store.folder


def drawn(store: Store, experiment: str) -> StageReport:
    fk.import_prompts(store, SCENES, model=FakeGenerator().name, experiment=experiment)
    fk.complete_prompts(store)
    return fk.generate_images(store, images_per_prompt=2, image_generator=FakeGenerator())


def kept(judged_once: Path, place: Path, address: str) -> Store:
    """Return the store with a copy of each image at the address."""
    store = fk.open_store(Path(shutil.copytree(judged_once, place)) / "forge.duckdb", images=address)
    report = fk.generate_images(store)
    assert (report.failures, report.details) == ({}, {"copies sent": 4})
    return store


def elsewhere(store: Store, place: Path, address: str | None = None) -> Store:
    """Return the store on another machine, where nothing but its file has come."""
    place.mkdir()
    shutil.copy(store.path, place / "forge.duckdb")
    return fk.open_store(place / "forge.duckdb", images=address)


@pytest.mark.parametrize("address", ["memory://bucket/lab/", "file://{}/share"])
def test_another_machine_with_the_stores_file_alone_goes_on(judged_once, tmp_path, address):
    address = address.format(tmp_path)
    store = kept(judged_once, tmp_path / "here", address)
    new = elsewhere(store, tmp_path / "there", address)
    assert store.rows(KEPT) == [{"kept_at": address.rstrip("/")}] and fk.check(new).findings == []
    assert not (new.folder / "images").exists()
    assert fk.evaluate_images(new, vision_models=[FakeJudge("other")], backfill=True).failures == {}
    assert in_files(new.folder / "images") == in_files(store.folder / "images")


@pytest.mark.parametrize("way", ["export", "gallery", "sheet", "backup", "the same again"])
def test_whatever_shows_or_copies_a_picture_fetches_it(judged_once, tmp_path, way):
    store = kept(judged_once, tmp_path / "here", "memory://bucket")
    new = elsewhere(store, tmp_path / "there", "memory://bucket")
    if way == "export":
        assert fk.export_store(new, tmp_path / "out", format="imagefolder").failures == {}
    elif way == "gallery":
        assert write_gallery(new, output=str(tmp_path / "out")).failures == {}
    elif way == "sheet":
        fk.sheets.contact_sheet(fk.trends.before_after(new))
    elif way == "backup":
        assert fk.backup(new, tmp_path / "out").failures == {}
    else:
        report = drawn(new, "again")
        assert report.done == 2 and report.failures == {} and report.details["copies sent"] == 4
    assert in_files(store.folder / "images").items() <= in_files(new.folder / "images").items()


def test_a_copy_that_cannot_be_sent_is_the_failure_of_its_image_and_is_sent_by_the_next_call(store, trap):
    trap.refused.append("/images/")
    remote.keep_at(store.folder, "trap://bucket")
    report = drawn(store, "main")
    ids = [row["id"] for row in store.rows("select id from generated_images")]
    assert report.done == 2 and sorted(report.failures) == sorted(ids) and store.rows(KEPT) == [{"kept_at": None}]
    assert all("ConnectionResetError" in why and "secret" not in why for why in report.failures.values())
    assert fk.check(store).findings == [] and len(trap.asked) == 4
    trap.refused.clear()
    generator = FakeGenerator()
    report = fk.generate_images(store, images_per_prompt=2, image_generator=generator)
    assert (report.failures, report.details, generator.drawn) == ({}, {"copies sent": 4}, [])
    assert fk.generate_images(store, images_per_prompt=2, image_generator=generator).details == {}


def test_what_a_store_says_of_copies_is_shown_and_nobody_is_sent_there(judged_once, tmp_path, trap, monkeypatch):
    store = kept(judged_once, tmp_path / "here", "trap://bucket")
    with store.transaction() as con:
        con.execute("update generated_images set kept_at = 'trap://me:secret@bucket/?key=secret'")
    monkeypatch.setattr(remote, "_given", {})
    trap.asked.clear()
    new = elsewhere(store, tmp_path / "there")
    report = fk.evaluate_images(new, vision_models=[FakeJudge("other")], backfill=True)
    assert len(report.failures) == 4 and "images=" in str(report)
    [note] = fk.check(new).notes
    assert "4 images should have copies at trap://bucket/" in note and "secret" not in note
    fk.export_store(new, tmp_path / "out", format="imagefolder")
    [note] = drawn(new, "again").notes
    assert "4 images should have copies at trap://bucket/" in note and "secret" not in note
    assert trap.asked == []
    monkeypatch.setenv(remote.VARIABLE, "trap://bucket")
    new = elsewhere(store, tmp_path / "third")
    assert fk.evaluate_images(new, vision_models=[FakeJudge("other")], backfill=True).failures == {} and trap.asked


@pytest.mark.parametrize("wrong", ["other bytes", "another picture's name", "no copy"])
def test_a_copy_that_is_not_the_picture_is_not_taken(judged_once, tmp_path, trap, wrong):
    store = kept(judged_once, tmp_path / "here", "trap://bucket")
    row, *_ = store.rows("select id, image_path from generated_images order by id")
    path, name = row["image_path"], f"/bucket/{row['image_path']}"
    new = elsewhere(store, tmp_path / "there", "trap://bucket")
    if wrong == "other bytes":
        trap.store[name].write(b"x")
    elif wrong == "no copy":
        del trap.store[name]
    else:
        path = "images/00/-a.png"
        trap.store[f"/bucket/{path}"] = trap.store[name]
    trap.asked.clear()
    found = fetched_file(new.folder, path)
    assert isinstance(found, ItemError) and not (new.folder / path).exists()
    assert {"other bytes": "other bytes", "no copy": "FileNotFoundError", "another picture's name": "missing"}[
        wrong
    ] in found.reason
    assert len(trap.asked) == (wrong != "another picture's name")


def test_check_finds_copies_that_are_gone_and_pictures_come_back_from_those_that_are_there(judged_once, tmp_path, trap):
    store = kept(judged_once, tmp_path / "here", "trap://bucket")
    first, second, *_ = store.rows("select id, image_path from generated_images order by image_path")
    del trap.store[f"/bucket/{first['image_path']}"]
    before = in_files(store.folder / "images")
    (store.folder / second["image_path"]).write_bytes(b"damaged")
    found = fk.check(store).findings
    assert [line.partition(":")[0] for line in found] == [
        "the copy of an image is not where it was sent",
        "an image file has other bytes than were written",
    ]
    assert fk.check(store, repair=True).findings == [] and in_files(store.folder / "images") == before
    assert store.rows("select count(*) as n from api_logs where stage = 'repair'") == [{"n": 0}]
    assert fk.generate_images(store, images_per_prompt=2).details == {"copies sent": 1}
    assert f"/bucket/{first['image_path']}" in trap.store


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("memory://me:secret@bucket/a", "a password"),
        ("memory://bucket/a?key=secret", "a password"),
        ("nope://bucket", "nope"),
        ("bucket/secret", "no address"),
        ("simplecache::memory://a", "no address"),
        (7, "no address"),
    ],
)
def test_an_address_that_cannot_be_is_refused_before_anything_is_written(tmp_path, address, told):
    with pytest.raises(ParameterError, match=told) as refused:
        fk.open_store(tmp_path / "new" / "forge.duckdb", images=address)
    assert "me:secret" not in str(refused.value) and "key=secret" not in str(refused.value)
    assert not (tmp_path / "new").exists() and remote._given == {}


def test_the_environment_gives_the_address_to_commands(judged_once, tmp_path, monkeypatch, capsys):
    store = fk.open_store(Path(shutil.copytree(judged_once, tmp_path / "here")) / "forge.duckdb")
    monkeypatch.setenv(remote.VARIABLE, "memory://bucket")
    assert main(["generate", "--store", str(store.path)]) == 0
    assert "4 copies sent" in capsys.readouterr().out and store.rows(KEPT) == [{"kept_at": "memory://bucket"}]
    monkeypatch.setenv(remote.VARIABLE, "memory://me:secret@bucket")
    assert main(["check", "--store", str(store.path)]) == 2
    assert "secret" not in capsys.readouterr().err


def test_imported_pictures_have_copies_too(judged_once, tmp_path):
    store = fk.open_store(tmp_path / "forge.duckdb", images="memory://bucket")
    pictures = pd.DataFrame({"text": ["a red circle"], "file": [next(judged_once.glob("images/*/*.png")).as_posix()]})
    report = fk.import_pictures(store, pictures, folder=judged_once)
    assert (report.failures, report.details["copies sent"]) == ({}, 1)
