"""The notebooks whose kernels start as Jupyter has them: by nbval twice from top to bottom, and by a batch of papermill's."""

from __future__ import annotations

import subprocess
import sys

import papermill
import pytest
from test_notebooks import ROOT, by_papermill, noise_of, prepared, sent, studied, twice  # noqa: F401 (fixtures)


@pytest.mark.parametrize("name", ["02_loop", "03_trends"])
def test_nbval_runs_a_notebook_that_draws_and_one_that_looks_and_once_more(name, prepared, tmp_path, sent):  # noqa: F811
    notebook, done = ROOT / f"notebooks/{name}.ipynb", tmp_path / f"{name}.ipynb"
    papermill.execute_notebook(
        twice(notebook, tmp_path), done, parameters=prepared(notebook), kernel_name="python3", prepare_only=True
    )
    words = ["--nbval-lax", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(done)]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert not sent.exists(), sent.read_text()


def test_a_batch_runs_the_loop_and_its_notebook_shows_no_noise(prepared, tmp_path, sent):  # noqa: F811
    """And the notebook that runs the batch, from top to bottom and once more."""
    notebook = ROOT / "notebooks/06_batches.ipynb"
    by_papermill(notebook, prepared(notebook), tmp_path, sent)
    [done] = (tmp_path / "batch").glob("*.ipynb")
    assert noise_of(done) == []
