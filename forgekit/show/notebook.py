"""What notebooks share: they work in the project's folder, wherever they were started."""

from __future__ import annotations

import os
from pathlib import Path


def in_project() -> Path:
    """Make the project's folder the working folder and return it: the nearest one, from here upwards, with a pyproject.toml.

    JupyterLab starts a notebook in the folder that it lies in, papermill in the caller's; paths mean the same in both.
    Where no folder has one, the working folder stays.
    """
    here = Path.cwd()
    found = next((folder for folder in (here, *here.parents) if (folder / "pyproject.toml").is_file()), here)
    os.chdir(found)
    return found
