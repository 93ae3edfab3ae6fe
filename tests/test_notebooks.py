"""Every notebook runs from top to bottom, by papermill and once more by nbval, on small parameters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import papermill
import pytest
import study

import forgekit as fk

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = {
    "00_tour": {"images_per_prompt": 1, "rounds": 1},
    "01_prompts": {"prompts": "small.csv"},
    "02_loop": {"prompts": "small.csv", "iterations": 2, "images_per_prompt": 2},
    "04_vision_models": {"graphs": 6},
    "05_study": {
        "prompts": "small.csv",
        "out": "experiments",
        "scenes": 2,
        "arms": ["resample", "refine"],
        "images_per_prompt": 1,
        "images_per_scene": 2,
    },
}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_from_top_to_bottom(notebook, tmp_path):
    if notebook.stem == "03_trends":  # it looks at what is there
        study.fill(fk.open_store(tmp_path / "store.duckdb"))
    (tmp_path / "small.csv").write_text("text\na red circle\na cobalt sphere\n")
    parameters = {"store": str(tmp_path / "store.duckdb"), **SMALL.get(notebook.stem, {})}
    parameters |= {name: str(tmp_path / parameters[name]) for name in ("prompts", "out") if name in parameters}
    done = tmp_path / notebook.name
    papermill.execute_notebook(
        notebook, done, parameters=parameters, kernel_name="python3", cwd=ROOT, progress_bar=False
    )
    again = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--nbval-lax",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            str(done),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout[-3000:]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_only_the_tour_is_stored_with_its_outputs(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    has_outputs = any(cell.get("outputs") for cell in cells)
    assert has_outputs == (notebook.stem == "00_tour")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_names_the_kernel_that_every_environment_has(notebook):
    assert json.loads(notebook.read_text())["metadata"]["kernelspec"]["name"] == "python3"
