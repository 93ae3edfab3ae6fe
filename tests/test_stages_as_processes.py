"""Five stages as five processes on one file; a killed stage is taken up and ends in the same rows.

The processes are forked; each stage as a cold one is run by tests/test_docs_run.py, as the README has them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm

import forgekit as fk

SCENES = "text\na red circle\na blue square\ntwo green triangles\na yellow star above a purple ring\n"
RECORD = {
    "prompts": "select * exclude (created_at, last_updated) from prompts order by id",
    "generated_images": "select id, prompt_id, image_path, adherence_score, is_adhering from generated_images order by id",
    "image_evaluations": "select * exclude (created_at) from image_evaluations order by id",
    "prompt_learnings": "select * exclude (created_at) from prompt_learnings order by id",
}


def command(store: Path, stage: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "forgekit.cli", stage, *options, "--store", str(store)]


def run(store: Path, stage: str, *options: str) -> str:
    return warm.run(command(store, stage, *options), check=True).stdout


def start(store: Path, stage: str, *options: str, **how) -> subprocess.Popen:
    return warm.Popen(
        command(store, stage, *options), **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **how}
    )


def record(path: Path) -> dict:
    store = fk.open_store(path)
    return {table: store.rows(sql) for table, sql in RECORD.items()}


def scenes_file(folder: Path) -> str:
    (folder / "scenes.csv").write_text(SCENES)
    return str(folder / "scenes.csv")


GENERATE = ("generate", "--images-per-prompt", "2", "--images-per-batch", "2")
EVALUATE = ("evaluate", "--vision-models", "mini-clip", "--prompts-per-batch", "1")


@pytest.fixture(scope="module")
def completed(tmp_path_factory) -> Path:
    """A store of four completed prompts; tests copy it."""
    folder = tmp_path_factory.mktemp("completed")
    store = folder / "forge.duckdb"
    run(store, "import", scenes_file(folder))
    run(store, "complete")
    return store


@pytest.fixture(scope="module")
def undisturbed(completed, tmp_path_factory) -> Path:
    store = Path(shutil.copy(completed, tmp_path_factory.mktemp("undisturbed")))
    assert "4 done, 0 skipped, 0 failed" in run(store, *GENERATE)
    assert "4 done" in run(store, *EVALUATE)
    assert "4 done" in run(store, "refine")
    return store


def test_the_stages_run_alone_each_in_its_own_process(undisturbed):
    store = fk.open_store(undisturbed)
    assert store.rows("select count(*) as n from generated_images") == [{"n": 8}]
    assert fk.check(store).findings == []


def kill_when(process: subprocess.Popen, ready) -> None:
    """SIGKILL the process as soon as `ready()` holds (or let it end first)."""
    while process.poll() is None and not ready():
        time.sleep(0.02)
    process.kill()
    process.wait()


def test_killing_stages_and_running_them_again_ends_in_the_same_rows(completed, undisturbed, tmp_path):
    path = Path(shutil.copy(completed, tmp_path))
    store = fk.open_store(path)
    for stage, table in ((GENERATE, "generated_images"), (EVALUATE, "image_evaluations")):
        rows = f"select count(*) as n from {table}"
        kill_when(start(path, *stage), lambda rows=rows: store.rows(rows)[0]["n"] > 0)
        run(path, *stage)
    kill_when(start(path, "refine"), lambda: store.rows("select count(*) as n from claims")[0]["n"] > 0)
    run(path, "refine")
    assert record(path) == record(undisturbed)
    assert store.rows("select count(*) as n from claims") == [{"n": 0}]


def wait_for(words: str, process: subprocess.Popen) -> None:
    """Wait until the process has printed the words; it must not end before."""
    while words not in (line := process.stdout.readline()):
        assert line, "it ended"


def test_a_watching_stage_takes_up_new_work_and_ends_when_asked(completed, tmp_path):
    path = Path(shutil.copy(completed, tmp_path))
    watcher = start(path, *GENERATE, "--watch", stdout=subprocess.PIPE, text=True)
    wait_for("4 done", watcher)
    (tmp_path / "more.csv").write_text("text\na pink heart\n")
    run(path, "import", str(tmp_path / "more.csv"))
    run(path, "complete")
    wait_for("1 done", watcher)
    watcher.terminate()
    assert watcher.wait(timeout=60) == 0


def test_bad_input_is_a_clear_message_and_exit_status_2(tmp_path):
    path = tmp_path / "forge.duckdb"
    for arguments, message in (
        (("import", scenes_file(tmp_path), "--model", "flx"), "Did you mean 'flux'?"),
        (("import", str(tmp_path / "no-such-file.csv")), "no-such-file.csv"),
        (("evaluate", "--vision-models", "mini-clap"), "Did you mean 'mini-clip'?"),
        (("refine", "--policy", "refin"), "Did you mean 'refine'?"),
    ):
        done = warm.run(command(path, *arguments))
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
