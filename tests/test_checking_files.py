"""`forgekit check` on files: images, what lies beside them, locks, the mirror; and stores that are damaged or none at all."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import duckdb
import pytest

import forgekit as fk
from forgekit.errors import StoreError
from forgekit.store import Store
from forgekit.store.claims import working
from forgekit.store.remote import keep_at
from forgekit.upkeep.rules import load_rules

pytest_plugins = ["whole_store"]
RULES = {rule.name: rule for rule in load_rules() if rule.of_files}


def image(store: Store) -> tuple[str, Path]:
    """Return an image whose bytes no other one has, and its file."""
    row = store.rows(
        "select any_value(id) as id, any_value(image_path) as image_path from generated_images "
        "group by image_path[11:42] having count(*) = 1 order by all"
    )[0]
    return row["id"], store.folder / row["image_path"]


def path_set(path: str):
    def plant(store: Store) -> None:
        chosen = image(store)[0]
        with store.transaction() as con:
            con.execute(
                "delete from human_ratings; delete from image_evaluations"
            )  # DuckDB changes no path that has some
        with store.transaction() as con:
            con.execute("update generated_images set image_path = $p where id = $i", {"p": path, "i": chosen})

    return plant


def flipped(store: Store) -> None:
    content = bytearray(image(store)[1].read_bytes())
    content[-20] ^= 1
    image(store)[1].write_bytes(content)


def never_sent(store: Store) -> None:
    chosen = image(store)[0]
    keep_at(store.folder, "memory://nothing")
    with store.transaction() as con:
        con.execute("update generated_images set kept_at = 'memory://nothing' where id = $i", {"i": chosen})


def mirror_file(store: Store) -> Path:
    name = f"image+step+0+timestamp+1+{image(store)[0]}.png"
    file = store.folder / "mlartifacts" / "main" / "0a1b" / "artifacts" / "images" / name
    file.parent.mkdir(parents=True)
    return file


def killed(store: Store) -> None:
    """Have a process die with a prompt in hand."""
    code = "import sys, os; import forgekit as fk; from forgekit.store.claims import working\n"
    code += "with working(fk.open_store(sys.argv[1])) as w: w.claim('select id from prompts', limit=1); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(store.path)], check=False)
    assert store.rows("select count(*) as n from claims") == [{"n": 1}]


PLANTED = {
    "image-path: out of the store": path_set("../secret.png"),
    "image-path: absolute": path_set("/etc/passwd"),
    "image-path: no name of it": path_set("images/00/a.png"),
    "image-missing": lambda store: image(store)[1].unlink(),
    "image-copy": never_sent,
    "image-bytes": flipped,
    "image-bytes: cut off": lambda store: os.truncate(image(store)[1], 40),
    "image-bytes: empty": lambda store: os.truncate(image(store)[1], 0),
    "image-bytes: another picture": lambda store: shutil.copy(
        max(store.folder.glob("images/*/*.png")), image(store)[1]
    ),
    "orphan": lambda store: shutil.copy(image(store)[1], image(store)[1].with_name("0-1.png")),
    "orphan: half a file": lambda store: image(store)[1].with_name("a.png.12.partial").touch(),
    "orphan: a link": lambda store: (store.folder / "images" / "link").symlink_to("/etc"),
    "dead-worker": killed,
    "dead-worker: its lock alone": lambda store: (
        (store.folder / "forge.duckdb.workers").mkdir(exist_ok=True)
        or (store.folder / "forge.duckdb.workers" / "0a.lock").touch()
    ),
    "mirror": lambda store: mirror_file(store).write_bytes(b"another"),
    "mirror-place": lambda store: (
        (store.folder / "mlartifacts").mkdir() or (store.folder / "mlartifacts/lies-in.txt").write_text("/elsewhere")
    ),
    "mirror: a link": lambda store: mirror_file(store).symlink_to("/etc/passwd"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_damage_is_found_by_its_rule_and_by_no_other(whole, name):
    PLANTED[name](whole)
    found = {rule.name: list(rule.findings(whole)) for rule in RULES.values()}
    others = {"orphan", "image-missing"} if name.startswith("image-path") else set()  # the file that was its own
    assert {rule for rule, ids in found.items() if ids} - others == {name.partition(":")[0]}


def test_every_rule_of_files_has_a_damage_that_breaks_it():
    assert {name.partition(":")[0] for name in PLANTED} == set(RULES)


def test_what_a_worker_has_written_and_not_yet_committed_is_no_orphan(whole):
    PLANTED["orphan"](whole)
    with working(whole):
        assert fk.check(whole).findings == []
    assert [finding.split(":")[0] for finding in fk.check(whole).findings] == ["a file belongs to no image"]


def test_the_images_of_another_store_in_the_folder_are_no_orphans(whole):
    shutil.copy(whole.path, whole.folder / "second.duckdb")
    fk.open_store(whole.folder / "third.duckdb")
    shutil.copy(__file__, whole.folder / "notes.db")
    for name in ("forge", "second"):
        assert fk.check(fk.open_store(whole.folder / f"{name}.duckdb")).findings == []
    assert len(fk.check(fk.open_store(whole.folder / "third.duckdb")).findings) == 0


def broken(way: str, path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    if way == "empty":
        path.touch()
    elif way == "zeros":
        path.write_bytes(bytes(len(content)))
    elif way == "truncated":
        path.write_bytes(content[: len(content) // 4])
    elif way == "flipped":
        spoiled = bytearray(content)
        for page in range(12288 + 200, len(content), 262144):
            spoiled[page] ^= 255
        path.write_bytes(spoiled)
    elif way == "a torn head":
        path.write_bytes(content[:5000])
    elif way == "text":
        path.write_text("these are my notes " * 1000)


@pytest.mark.parametrize("way", ["empty", "zeros", "truncated", "flipped", "a torn head", "text"])
def test_a_damaged_store_is_an_error_that_says_what_can_be_saved(whole, way):
    broken(way, whole.path)
    before = whole.path.read_bytes()
    with pytest.raises(StoreError, match="What can be saved:\n(.*\n)*- 40 pictures in .*images, each with its prompt"):
        fk.check(fk.open_store(whole.path))
    assert whole.path.read_bytes() == before


def test_of_a_store_with_one_broken_page_it_is_told_how_the_rest_is_read(whole):
    with duckdb.connect(str(whole.path), read_only=True) as con:
        [(page,)] = con.execute("select max(block_id) from pragma_storage_info('api_logs')").fetchall()
    content = bytearray(whole.path.read_bytes())
    content[12288 + page * 262144 + 500] ^= 255
    whole.path.write_bytes(content)
    with pytest.raises(StoreError, match="What can be saved:\n- what DuckDB reads of its tables"):
        fk.check(fk.open_store(whole.path))


@pytest.mark.parametrize("kind", ["sqlite", "parquet", "duckdb", "a view", "folder", "pipe", "zip"])
def test_what_is_no_store_is_refused_before_anything_is_written(tmp_path, kind):
    path = tmp_path / "forge.duckdb"
    if kind == "sqlite":
        with sqlite3.connect(path) as con:
            con.execute("create table prompts (id)")
    elif kind == "parquet":
        duckdb.sql("select 1 as a").write_parquet(str(path))
    elif kind in ("duckdb", "a view"):
        with duckdb.connect(str(path)) as con:
            con.execute("create table prompts (id integer)" if kind == "duckdb" else "create view mine as select 1")
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("forge.duckdb", "")
    else:
        path.mkdir() if kind == "folder" else os.mkfifo(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreError, match="not a store|no store|is a folder|no regular file"):
        fk.open_store(path)
    assert [p.name for p in tmp_path.iterdir()] == ["forge.duckdb"]
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_log_that_is_damaged_is_said_with_what_the_last_checkpoint_has(whole):
    code = "import duckdb, sys, os; c = duckdb.connect(sys.argv[1])\n"
    code += "for n in range(50): c.execute(\"insert into scenes (scene_hash, scene_text) values ($n, 'x')\", {'n': str(n)})\n"
    code += "os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(whole.path)], check=False)
    log = whole.path.with_name("forge.duckdb.wal")
    content = log.read_bytes()
    at = content.index(b"x", len(content) // 2)  # a value, not the length of an entry
    log.write_bytes(content[:at] + b"y" + content[at + 1 :])
    with pytest.raises(StoreError, match=r"Corrupt WAL(.*\n)*.*to its last checkpoint"):
        fk.open_store(whole.path)
    log.unlink()
    assert fk.check(fk.open_store(whole.path)).findings == []
