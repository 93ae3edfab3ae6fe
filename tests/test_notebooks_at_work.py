"""The notebooks that draw run from top to bottom and once more: in a file of their own, which another worker can take."""

from __future__ import annotations

import pytest
from test_notebooks import AT_WORK, ROOT, by_nbval, by_papermill, sent  # noqa: F401 (a fixture)


@pytest.mark.parametrize("name", AT_WORK)
def test_the_notebook_runs_from_top_to_bottom_and_once_more(name, tmp_path, sent):  # noqa: F811
    by_papermill(ROOT / f"notebooks/{name}.ipynb", tmp_path, sent)


def test_nbval_runs_a_notebook_that_draws(tmp_path, sent):  # noqa: F811
    by_nbval(ROOT / "notebooks/02_loop.ipynb", tmp_path, sent)
