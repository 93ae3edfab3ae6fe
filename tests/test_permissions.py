"""Stores, folders and files that one may not read or write: said as that, never as damage, and nothing is lost."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from conftest import FakeGenerator

import forgekit as fk
from forgekit.errors import StoreError

NOBODY = 65534
WRITABLE = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO


@contextmanager
def somebody_else() -> Iterator[None]:
    """Be nobody for the length of the block where the tests run as root, whom no permission stops."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def theirs() -> Iterator[fk.Store]:
    """A store with one completed prompt, in a folder that anybody can reach; pytest's own is root's alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        made = fk.open_store(Path(folder) / "study" / "forge.duckdb")
        fk.import_prompts(made, pd.DataFrame({"text": ["a red circle"]}), model="conftest:FakeGenerator")
        fk.complete_prompts(made)  # so that all that is imported late is imported: nobody may not read root's Python
        fk.generate_images(made, image_generator=FakeGenerator(), images_per_prompt=1)
        yield made
        for each in (made.folder, *made.folder.rglob("*")):
            each.chmod(WRITABLE)


def test_a_store_that_may_not_be_read_is_not_called_damaged(theirs):
    theirs.path.chmod(0o000)
    with somebody_else():
        for opening in (lambda: fk.open_store(theirs.path), lambda: theirs.rows("select 1")):
            with pytest.raises(StoreError, match="may not be read by you: permission denied"):
                opening()


def test_a_store_that_may_not_be_written_is_read_and_every_stage_says_why_it_cannot_go_on(theirs):
    for each in theirs.folder.rglob("*"):
        each.chmod(0o555 if each.is_dir() else 0o444)
    theirs.folder.chmod(0o555)
    stages = (
        lambda: fk.import_prompts(theirs, pd.DataFrame({"text": ["a dog"]})),
        lambda: fk.complete_prompts(theirs),
        lambda: fk.generate_images(theirs, image_generator=FakeGenerator(), images_per_prompt=2),
    )
    with somebody_else():
        assert len(fk.open_store(theirs.path).rows("select id from generated_images")) == 1
        for stage in stages:
            with pytest.raises(StoreError, match="may not be written by you: permission denied"):
                stage()


def test_no_store_is_made_where_one_may_not_write(theirs):
    theirs.folder.chmod(0o555)
    with somebody_else(), pytest.raises(StoreError, match="may not be written by you"):
        fk.open_store(theirs.folder / "new.duckdb")
    assert not (theirs.folder / "new.duckdb").exists()


def test_pictures_that_cannot_be_written_are_their_prompts_failure_and_the_next_run_completes(theirs):
    fk.import_prompts(theirs, pd.DataFrame({"text": ["a blue square"]}), model="conftest:FakeGenerator")
    fk.complete_prompts(theirs)
    for each in (theirs.folder, *theirs.folder.rglob("*")):
        each.chmod(WRITABLE)
    images = theirs.folder / "images"
    for folder in (images, *(each for each in images.rglob("*") if each.is_dir())):
        folder.chmod(0o555)
    with somebody_else():
        report = fk.generate_images(theirs, image_generator=FakeGenerator(), images_per_prompt=1)
    assert (report.done, report.failed) == (0, 1)
    assert "Permission denied" in next(iter(report.failures.values()))
    images.chmod(WRITABLE)
    assert fk.generate_images(theirs, image_generator=FakeGenerator(), images_per_prompt=1).done == 1
    assert not fk.check(theirs).findings
