"""Back up and restore: consistent while others write, images once, an earlier backup whole whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FakeGenerator
from test_checking import in_files
from whole_store import judges

import forgekit as fk
from forgekit.cli import main
from forgekit.errors import StoreError
from forgekit.store import Store
from forgekit.store.claims import alone
from forgekit.store.file import RECORD_TABLES
from forgekit.upkeep.backup import DATABASE

pytest_plugins = ["whole_store"]

# Draws and judges prompt after prompt, until it is stopped.
WRITER = """
import sys; import pandas as pd; import forgekit as fk
from conftest import FakeGenerator, FakeJudge
store, n = fk.open_store(sys.argv[1]), 0
while True:
    fk.import_prompts(store, pd.DataFrame({"text": [f"{n} red circles"]}), model=FakeGenerator().name)
    fk.complete_prompts(store)
    fk.generate_images(store, images_per_prompt=2, image_generator=FakeGenerator())
    fk.evaluate_images(store, vision_models=[FakeJudge(score=0.3)])
    n += 1
    print(n, flush=True)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}


def rows(store: Store) -> dict:
    return {table: store.rows(f"select * from {table} order by all") for table in RECORD_TABLES}


def test_a_restored_store_is_the_same_passes_check_and_goes_on(whole, tmp_path):
    assert fk.backup(whole, tmp_path / "copy").failed == 0
    report = fk.restore(tmp_path / "copy", tmp_path / "new" / "other.duckdb")
    new = fk.open_store(tmp_path / "new" / "other.duckdb")
    assert (report.failed, rows(new), fk.check(new).findings) == (0, rows(whole), [])
    assert in_files(whole.folder / "images") == in_files(new.folder / "images")
    fk.generate_images(new, images_per_prompt=2, image_generator=FakeGenerator())
    fk.evaluate_images(new, vision_models=judges())
    assert fk.refine_prompts(new).done == 8
    assert rows(whole)["generated_images"] != rows(new)["generated_images"]


def test_a_second_backup_copies_only_what_is_new(whole, tmp_path):
    first = fk.backup(whole, tmp_path / "copy")
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "copy" / "images").rglob("*.png")}
    fk.generate_images(whole, images_per_prompt=2, image_generator=FakeGenerator(), experiment="again")
    second = fk.backup(whole, tmp_path / "copy")
    assert (first.done, first.skipped, second.done, second.skipped) == (40, 0, 8, 40)
    assert all(path.stat().st_mtime_ns == time for path, time in files.items())
    fk.restore(tmp_path / "copy", tmp_path / "new" / "forge.duckdb")
    assert rows(Store(tmp_path / "new" / "forge.duckdb")) == rows(whole)


def test_a_backup_made_while_others_write_is_one_moment_of_the_store(store, tmp_path):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store.path)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    try:
        for _ in range(2):
            writer.stdout.readline()
            assert fk.backup(store, tmp_path / "copy").failed == 0
        assert writer.poll() is None
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    fk.restore(tmp_path / "copy", tmp_path / "new" / "forge.duckdb")
    new = fk.open_store(tmp_path / "new" / "forge.duckdb")
    assert new.rows("select count(*) as n from generated_images")[0]["n"] >= 2
    assert fk.check(new).findings == []


def test_a_backup_that_is_cut_off_leaves_the_one_before_whole(whole, tmp_path, monkeypatch):
    fk.backup(whole, tmp_path / "copy")
    before = rows(whole)
    fk.generate_images(whole, images_per_prompt=2, image_generator=FakeGenerator(), experiment="again")
    code = """
import sys, os; import forgekit as fk; from forgekit.upkeep import backup
done = []
def cut(*_): done.append(1); len(done) < 4 or os.kill(os.getpid(), 9)
write = backup.write_whole
backup.write_whole = lambda *a: (cut(), write(*a))
fk.backup(fk.open_store(sys.argv[1]), sys.argv[2])
"""
    command = [sys.executable, "-c", code, str(whole.path), str(tmp_path / "copy")]
    assert subprocess.run(command, env=ENVIRONMENT, check=False).returncode == -signal.SIGKILL
    fk.restore(tmp_path / "copy", tmp_path / "old" / "forge.duckdb")
    assert rows(Store(tmp_path / "old" / "forge.duckdb")) == before
    assert fk.backup(whole, tmp_path / "copy").done == 5
    assert sorted(p.name for p in (tmp_path / "copy").iterdir()) == ["images", "store.duckdb", "store.duckdb.lock"]


@pytest.fixture
def with_log(store) -> Store:
    """A store whose writer was killed before its log was merged."""
    code = "import sys, os, duckdb; c = duckdb.connect(sys.argv[1])\n"
    code += "c.execute(\"insert into scenes (scene_hash, scene_text) values ('0', 'x')\"); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(store.path)], check=False)
    assert store.path.with_name("forge.duckdb.wal").exists()
    return store


def test_what_a_killed_writer_left_in_its_log_is_in_the_backup(with_log, tmp_path):
    fk.backup(with_log, tmp_path / "copy")
    assert Store(tmp_path / "copy" / "store.duckdb").rows("select scene_text from scenes") == [{"scene_text": "x"}]


def test_nobody_writes_between_the_copies_of_the_log_and_of_the_file(with_log, tmp_path, monkeypatch):
    code = "import sys, forgekit as fk\nwith fk.open_store(sys.argv[1], timeout_s=0.1).transaction(): pass"
    command = [sys.executable, "-c", code, str(with_log.path)]
    copy, refused = shutil.copyfile, []

    def copied(source, target):
        copy(source, target)
        refused.append(subprocess.run(command, capture_output=True, check=False).returncode)

    monkeypatch.setattr(shutil, "copyfile", copied)
    fk.backup(with_log, tmp_path / "copy")
    assert refused == [1, 0]  # the second copy is the last


def test_a_damaged_image_is_said_and_does_not_replace_the_good_one(whole, tmp_path):
    fk.backup(whole, tmp_path / "copy")
    good = in_files(tmp_path / "copy" / "images")
    files = sorted((whole.folder / "images").rglob("*.png"))
    files[0].write_bytes(b"spoiled")
    assert fk.backup(whole, tmp_path / "copy").failed == 0
    assert in_files(tmp_path / "copy" / "images") == good
    assert list(fk.backup(whole, tmp_path / "another").failures.values()) == [
        f"the bytes of {files[0].name} are not those that it was written with; `forgekit check --repair` draws it again"
    ]


def test_neither_a_store_nor_the_backup_of_another_one_is_overwritten(whole, store, tmp_path):
    fk.backup(whole, tmp_path / "copy")
    before = in_files(tmp_path / "copy")
    with pytest.raises(StoreError, match="has 18 rows of prompts that this store lacks"):
        fk.backup(store, tmp_path / "copy")
    assert {name: hash for name, hash in in_files(tmp_path / "copy").items() if not name.endswith(".new")} == before
    store_before = store.path.read_bytes()
    with pytest.raises(StoreError, match="exists already and is not overwritten"):
        fk.restore(tmp_path / "copy", store.path)
    assert store.path.read_bytes() == store_before
    for call, match in (
        (lambda: fk.backup(whole, whole.folder), "own folder"),
        (lambda: fk.backup(whole, __file__), "Name a folder"),
        (lambda: fk.restore(tmp_path / "nothing", tmp_path / "new.duckdb"), "holds no backup"),
    ):
        with pytest.raises(StoreError, match=match):
            call()


def test_two_backups_into_one_folder_are_refused(store, tmp_path):
    target = tmp_path / "backup"
    target.mkdir()
    with (
        alone(target / f"{DATABASE}.lock", AssertionError()),
        pytest.raises(StoreError, match="another process is backing up"),
    ):
        fk.backup(store, target)
    fk.backup(store, target)


def test_what_was_in_hand_is_in_nobodys_hand_in_the_backup(whole, tmp_path):
    with whole.transaction() as con:
        con.execute("insert into claims (prompt_id, worker) select id, 'w' from prompts where status = 'imported'")
    fk.backup(whole, tmp_path / "copy")
    fk.restore(tmp_path / "copy", tmp_path / "new" / "forge.duckdb")
    assert fk.check(fk.open_store(tmp_path / "new" / "forge.duckdb")).findings == []


def test_the_command_line_backs_up_and_restores(whole, tmp_path, capsys):
    def forgekit(*arguments) -> str:
        assert main(list(map(str, arguments))) == 0
        return capsys.readouterr().out

    assert "backup: 40 done, 0 skipped, 0 failed" in forgekit("backup", tmp_path / "copy", "--store", whole.path)
    assert "restore: 40 done" in forgekit("restore", tmp_path / "copy", tmp_path / "new" / "forge.duckdb")
    assert "all is well" in forgekit("check", "--repair", "--store", tmp_path / "new" / "forge.duckdb")
