"""Batches: a plan is checked before anything runs; what is finished is kept, whatever happens to the rest."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import fair_world
import nbformat
import pandas as pd
import pytest
import study
from PIL import Image

import forgekit as fk
from forgekit import trends
from forgekit.batches.index import summary
from forgekit.batches.plan import read_plan
from forgekit.batches.run import run_batch
from forgekit.errors import ParameterError
from forgekit.show import pages
from forgekit.store import Store

PARAMETERS = """
store = "data/forge.duckdb"
experiment = "main"
x = 1
scale = 0.5
policy = "refine"
judges = ["a"]
limit: int | None = None
folder = "."
"""
WORK = """
import os, pathlib, time
pathlib.Path(folder, f"start-{x}-{time.time_ns()}").touch()
if policy == "fail" and not pathlib.Path(folder, "repaired").exists():
    raise ValueError("x is cursed")
if policy == "die" and not pathlib.Path(folder, "repaired").exists():
    os._exit(9)
assert get_ipython().kernel.parent.curve_secretkey  # what is said between the batch and its kernels is encrypted
print(experiment, store)
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook that leaves a file for each time it is executed."""
    cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(WORK)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    file = tmp_path / "tiny.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), file)
    return file


def write_plan(notebook: Path, text: str) -> Path:
    file = notebook.with_name("plan.toml")
    file.write_text(f'notebook = "{notebook.name}"\n' + text)
    return file


def states(folder: Path) -> dict[int, str]:
    """What became of each execution, by its x."""
    found = (json.loads(file.read_text()) for file in folder.glob("*.json"))
    return {state["parameters"]["x"]: state["status"] for state in found}


def starts(folder: Path) -> Counter:
    return Counter(int(file.name.split("-")[1]) for file in folder.glob("start-*"))


def test_a_grid_is_every_combination_and_each_is_an_experiment_of_its_own(notebook: Path) -> None:
    plan = read_plan(write_plan(notebook, '[parameters]\nlimit = 3\n[grid]\nx = [1, 2]\npolicy = ["a", "b"]\n'))
    assert [e.values for e in plan.executions] == [{"x": x, "policy": p} for x in (1, 2) for p in "ab"]
    assert all(e.parameters["limit"] == 3 for e in plan.executions)
    assert len({plan.experiment(e) for e in plan.executions}) == 4
    assert plan.experiment(plan.executions[0]).startswith("plan/x-1-policy-a-")


def test_an_execution_keeps_its_name_when_the_grid_grows(notebook: Path) -> None:
    small = read_plan(write_plan(notebook, "[grid]\nx = [2]\n"))
    large = read_plan(write_plan(notebook, "[grid]\nx = [1, 2, 3]\n"))
    assert small.executions[0] == large.executions[1]


def test_runs_are_taken_one_by_one(notebook: Path) -> None:
    plan = read_plan(write_plan(notebook, "[[runs]]\nx = 1\nscale = 2\n[[runs]]\nx = 5\n"))
    assert [e.values for e in plan.executions] == [{"x": 1, "scale": 2}, {"x": 5}]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("[grid]\nxx = [1]\n", r"unknown parameter 'xx'. Did you mean 'x'\?.*known: store, experiment, x"),
        ("[grid]\nx = [1.5]\n", "x = 1.5 should be a valid integer"),
        ("[grid]\nx = [true]\n", "x = True should be a valid integer"),
        ('[grid]\nscale = ["1"]\n', "scale = '1' should be a valid number"),
        ("[grid]\njudges = [[1]]\n", "judges = 1 should be a valid string"),
        ('[grid]\nlimit = ["many"]\n', "limit = 'many' should be a valid integer"),
        ("[grid]\nx = 1\n", r"grid.x = 1 should be a valid list"),
        ("[grid]\nx = []\n", r"grid.x = \[\].*at least 1 item"),
        ("[grid]\nx = [1, 1]\n", "is there 2 times"),
        ('[grid]\nstore = ["a"]\n', "'store' is set by the batch itself"),
        ("[grid]\nxx = [1]\nscale = [[]]\n", "scale = .. should be a valid number; unknown parameter 'xx'"),
        ("runs = [3]\n", "runs = 3 should be a valid dictionary"),
        ("[gird]\nx = [1]\n", "unknown key 'gird'. Did you mean 'grid'"),
        ("[parameters]\nx = 1\n", r"give either \[grid\]"),
        ("[grid\n", "no valid TOML"),
        ("name = 3\n[grid]\nx = [1]\n", "name = 3 should be a valid string"),
    ],
)
def test_a_wrong_plan_is_refused_before_anything_runs(notebook: Path, store: Store, plan: str, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        run_batch(store, write_plan(notebook, plan))
    assert sorted(file.name for file in notebook.parent.iterdir() if file.is_dir()) == []


def test_a_notebook_without_a_parameters_cell_is_refused(notebook: Path, store: Store) -> None:
    content = nbformat.read(notebook, as_version=4)
    content.cells[0].metadata.tags = []
    nbformat.write(content, notebook)
    with pytest.raises(ParameterError, match="no cell with the tag `parameters`"):
        run_batch(store, write_plan(notebook, "[grid]\nx = [1]\n"))


def test_a_failed_execution_stops_no_other_and_only_it_is_run_again(notebook: Path, store: Store) -> None:
    folder = notebook.parent
    cells = '[[runs]]\nx = 1\n[[runs]]\nx = 2\npolicy = "fail"\n[[runs]]\nx = 3\n'
    plan = write_plan(notebook, f'[parameters]\nfolder = "{folder}"\n' + cells)
    report = fk.run_batch(store, plan, jobs=2)
    assert (report.done, report.failed) == (2, 1)
    failed = next(iter(report.failures))
    assert report.failures[failed] == "ValueError: x is cursed (cell 3)"
    assert "x is cursed" in (folder / "plan" / f"{failed}.ipynb").read_text()
    assert "x is cursed" in (folder / "plan" / f"{failed}.html").read_text()
    index = (folder / "plan" / "index.html").read_text()
    assert index.count('class="finished"') == 2
    assert f'href="{failed}.html"' in index
    (folder / "repaired").touch()
    report = fk.run_batch(store, plan)
    assert (report.done, report.skipped, report.failed) == (1, 2, 0)
    assert starts(folder) == {1: 1, 2: 2, 3: 1}
    assert "cursed" not in (folder / "plan" / "summary.csv").read_text()


def test_an_edited_notebook_is_not_done_and_one_that_was_only_run_is(
    notebook: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And executions have the environment that the batch has then, not that of the first batch of this process."""
    plan = write_plan(notebook, f'[parameters]\nfolder = "{notebook.parent}"\n[grid]\nx = [1]\n')
    assert run_batch(store, plan, untracked=True).done == 1
    content = nbformat.read(notebook, as_version=4)
    content.cells[1].outputs = [nbformat.v4.new_output("stream", text="main")]
    content.cells[1].execution_count = 7
    nbformat.write(content, notebook)
    assert run_batch(store, plan, untracked=True).skipped == 1
    content.cells[1].source += "\nprint('edited', os.environ['SET_SINCE'])"
    monkeypatch.setenv("SET_SINCE", "and set since")
    nbformat.write(content, notebook)
    assert run_batch(store, plan, untracked=True).done == 1
    assert starts(notebook.parent) == {1: 2}
    assert "edited and set since" in next((notebook.parent / "plan").glob("x-1-*.html")).read_text()


def test_of_six_killed_half_way_and_started_again_none_that_was_finished_runs_twice(
    notebook: Path, store: Store
) -> None:
    folder, out = notebook.parent, notebook.parent / "plan"
    plan = write_plan(notebook, f'[parameters]\nfolder = "{folder}"\n[grid]\nx = {list(range(6))}\n')
    command = [sys.executable, "-m", "forgekit.cli", "batch", str(plan), "--store", str(store.path), "--jobs", "2"]
    batch = subprocess.Popen([*command, "--untracked"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(states(out)) < 3 and batch.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    batch.send_signal(signal.SIGKILL)
    batch.wait()
    finished = set(states(out))
    assert 3 <= len(finished) < 6
    again = subprocess.run([*command, "--untracked"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert states(out) == dict.fromkeys(range(6), "finished")
    times = starts(folder)
    assert all(times[x] == 1 for x in finished)
    assert sum(times.values()) <= 6 + 2  # the two at work when the batch was killed
    assert f"{6 - len(finished)} done, {len(finished)} skipped, 0 failed" in again.stdout
    assert (out / "index.html").read_text().count('class="finished"') == 6


def test_the_summary_has_the_paired_gain_of_each_execution_with_its_interval(notebook: Path, store: Store) -> None:
    plan = read_plan(write_plan(notebook, "[grid]\nx = [1, 2]\n"))
    drawn, waiting = (plan.experiment(execution) for execution in plan.executions)
    study.fill(store, experiment=drawn)
    table = summary(store, plan, notebook.parent).set_index("x")
    gain = trends.gain(store, experiment=drawn, vision_model="mini-clip").iloc[0]
    figures = ["scenes", "first", "last", "gain", "low", "high"]
    assert table.loc[1, figures].tolist() == pytest.approx(gain[figures].tolist())
    assert table.loc[1, ["generator", "judge", "images"]].tolist() == ["mini", "mini-clip", 28]
    assert table.loc[2, ["judge", *figures]].isna().all()
    assert waiting not in table.to_string()
    held_out = trends.gain(store, experiment=drawn).query("not steers").iloc[0]
    told = [table.loc[1, f"{part} by {held_out['vision_model']}"] for part in ("gain", "low", "high")]
    assert told == pytest.approx(held_out[["gain", "low", "high"]].tolist())


def test_a_gain_that_rounds_to_nothing_is_no_loss_in_a_table() -> None:
    html = pages.table(pd.DataFrame({"gain": [-0.001, -0.01]})).to_html()
    assert "-0.01" in html
    assert "-0.00" not in html


def test_the_index_shows_the_same_scene_of_each_execution_whatever_it_scored(notebook: Path, store: Store) -> None:
    file = write_plan(notebook, f'[parameters]\nfolder = "{notebook.parent}"\n[grid]\nx = [1, 2]\n')
    one, two = read_plan(file).executions
    study.fill(store, experiment=(drawn := read_plan(file).experiment(one)))
    fk.run_batch(store, file, untracked=True)
    pictures = trends.before_after(store, experiment=drawn)  # the scene that gained most comes first
    gained_most, lot = pictures["scene_hash"].iloc[0], min(pictures["scene_hash"])
    first = pictures.groupby(["scene_hash", "moment"], sort=False).head(1)
    sheets = [
        fk.sheets.contact_sheet(first[first["scene_hash"] == scene], row="scene_hash", block="moment")
        for scene in (lot, gained_most)
    ]
    index = (notebook.parent / "plan" / "index.html").read_text()
    assert f'<img src="{one.name}.png"' in index
    assert f"{two.name}.png" not in index  # it drew nothing
    with Image.open(notebook.parent / "plan" / f"{one.name}.png") as sheet:
        assert sheet.tobytes() == sheets[0].tobytes() != sheets[1].tobytes()


def test_drawing_again_and_rewriting_are_told_alike_where_neither_changes_anything(
    notebook: Path, store: Store
) -> None:
    plan = read_plan(write_plan(notebook, '[grid]\npolicy = ["rewrite", "redraw"]\n'))
    names = {execution.values["policy"]: plan.experiment(execution) for execution in plan.executions}
    fair_world.World(scenes=150, names=names).fill(store)
    table = summary(store, plan, notebook.parent).set_index("policy")
    assert (table["low"] < 0).all()
    assert (table["high"] > 0).all()
    assert (table["high"] - table["low"]).between(0.001, 0.1).all()  # neither is 0 by construction
    assert table["images"].tolist() == [150 * 4 * 6] * 2


def test_a_kernel_that_dies_stops_no_other_execution_and_is_started_again_by_the_next_run(
    notebook: Path, store: Store
) -> None:
    folder = notebook.parent
    runs = '[[runs]]\nx = 1\npolicy = "die"\n[[runs]]\nx = 2\n'
    plan = write_plan(notebook, f'[parameters]\nfolder = "{folder}"\n' + runs)
    report = fk.run_batch(store, plan)
    assert list(report.failures.values()) == ["the kernel died, for want of memory perhaps: Kernel died"]
    assert states(folder / "plan") == {1: "failed", 2: "finished"}
    (folder / "repaired").touch()
    assert (fk.run_batch(store, plan).done, starts(folder)) == (1, {1: 2, 2: 1})


def test_two_batches_in_one_folder_are_refused(notebook: Path, store: Store) -> None:
    import fcntl

    plan = write_plan(notebook, "[grid]\nx = [1]\n")
    (notebook.parent / "plan").mkdir()
    with (notebook.parent / "plan" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ParameterError, match="running in another process"):
            run_batch(store, plan)


def test_the_plan_in_the_repository_fits_the_notebook_it_names() -> None:
    plan = read_plan(Path(__file__).parents[1] / "experiments" / "guidance.toml")
    assert plan.notebook.stem == "02_loop"
    assert len(plan.executions) == 6
