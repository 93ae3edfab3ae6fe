"""Every notebook runs from top to bottom and once more, most of them by papermill in a forked kernel, on small parameters."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import papermill
import pytest
import study
import warm
from jupyter_client.provisioning import local_provisioner

import forgekit as fk

pytest_plugins = ["mirror_fixtures"]
ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STARTED = (
    "02_loop",
    "03_trends",
    "06_batches",
)  # in kernels that start as Jupyter has them, by test_notebooks_started.py
SMALL = {
    "00_tour": {"images_per_prompt": 1, "rounds": 1},
    "01_prompts": {"prompts": "small.csv"},
    "02_loop": {"prompts": "small.csv", "iterations": 2, "images_per_prompt": 2},
    "04_vision_models": {"graphs": 6},
    "05_study": {"plan": "small.toml", "out": "experiments"},
    "06_batches": {"plan": "batch.toml", "jobs": 1},
}
PLAN = """
prompts = "{}"
scenes = 2
arms = ["resample", "refine"]
images_per_prompt = 1
images_per_scene = 2
"""
BATCH = """
notebook = "loop.ipynb"
[parameters]
prompts = "{}"
iterations = 1
images_per_prompt = 1
[grid]
policy = ["resample"]
"""


# Read by Python before anything else: writes down, and refuses, what leaves this machine or asks for a name elsewhere.
SEALED = """
import os, socket

def sealed(call, place):
    def checked(*given, **named):
        host = given[place]
        host = host[0] if isinstance(host, tuple) else host
        here = host is None or isinstance(host, bytes) or host in ("", "localhost", "::1", "0.0.0.0", socket.gethostname())
        if not here and isinstance(host, str) and not host.startswith(("127.", "/", "\\0")):
            with open(os.environ["SENT"], "a") as sent:
                sent.write(f"{call.__name__} {host}\\n")
            raise OSError(f"nothing is sent from here: {host}")
        return call(*given, **named)
    return checked

socket.getaddrinfo = sealed(socket.getaddrinfo, 0)
for name in ("connect", "connect_ex"):
    setattr(socket.socket, name, sealed(getattr(socket.socket, name), 1))
"""


@pytest.fixture
def forked(sent, monkeypatch) -> None:
    """Kernels that are started from here are forked, and sealed: to start a cold one takes a quarter of a minute."""
    monkeypatch.setattr(local_provisioner, "launch_kernel", partial(warm.kernel, first=SEALED))


@pytest.fixture
def sent(tmp_path, monkeypatch) -> Path:
    """What kernels started from here tried to send anywhere but to this machine: a file, if they did."""
    (tmp_path / "sealed").mkdir()
    (tmp_path / "sealed" / "sitecustomize.py").write_text(SEALED)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "sealed"), str(ROOT)]))
    monkeypatch.setenv("SENT", str(tmp_path / "sent.txt"))
    return tmp_path / "sent.txt"


def test_what_is_sent_elsewhere_is_refused_and_written_down(sent):
    code = "import urllib.request as u, socket; socket.create_server(('127.0.0.1', 0)); u.urlopen('http://example.org')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "nothing is sent from here: example.org" in ended.stderr
    assert sent.read_text() == "getaddrinfo example.org\n"


@pytest.fixture(scope="module")
def studied(tmp_path_factory) -> Path:
    """The folder of a store with something to look at."""
    folder = tmp_path_factory.mktemp("studied")
    study.fill(fk.open_store(folder / "store.duckdb"))
    return folder


@pytest.fixture
def prepared(request, tmp_path):
    """Lay into a folder what a notebook works on, and return its parameters."""

    def prepare(notebook: Path) -> dict:
        if notebook.stem in ("03_trends", "07_mlflow"):  # they look at what is there
            shutil.copytree(request.getfixturevalue("studied"), tmp_path, dirs_exist_ok=True)
        (tmp_path / "small.csv").write_text("text\na red circle\na cobalt sphere\n")
        shutil.copy(ROOT / "notebooks/02_loop.ipynb", tmp_path / "loop.ipynb")
        (tmp_path / "batch.toml").write_text(BATCH.format(tmp_path / "small.csv"))
        (tmp_path / "small.toml").write_text(PLAN.format(tmp_path / "small.csv"))
        parameters = {"store": str(tmp_path / "store.duckdb"), **SMALL.get(notebook.stem, {})}
        return parameters | {
            name: str(tmp_path / parameters[name]) for name in ("prompts", "out", "plan") if name in parameters
        }

    return prepare


def twice(notebook: Path, folder: Path) -> Path:
    """Write a notebook whose cells stand in it twice, but for its parameters: a kernel that starts takes half a minute."""
    content = json.loads(notebook.read_text())
    others = [cell for cell in content["cells"] if "parameters" not in cell["metadata"].get("tags", ())]
    content["cells"] += [{**cell, "id": f"{cell['id']}-again"} for cell in others]
    (folder / "twice.ipynb").write_text(json.dumps(content))
    return folder / "twice.ipynb"


def by_papermill(notebook: Path, parameters: dict, folder: Path, sent: Path) -> None:
    """Run a notebook, and once more in the same kernel; nothing is heard of warnings, and nothing leaves this machine."""
    done = folder / notebook.name
    papermill.execute_notebook(
        twice(notebook, folder), done, parameters=parameters, kernel_name="python3", cwd=ROOT, progress_bar=False
    )
    assert noise_of(done) == []
    assert not sent.exists(), sent.read_text()


@pytest.mark.parametrize("notebook", [n for n in NOTEBOOKS if n.stem not in STARTED], ids=lambda path: path.stem)
def test_the_notebook_runs_from_top_to_bottom_and_once_more(notebook, prepared, tmp_path, sent, forked, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    by_papermill(notebook, prepared(notebook), tmp_path, sent)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_only_the_tour_is_stored_with_its_outputs(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    has_outputs = any(cell.get("outputs") for cell in cells)
    assert has_outputs == (notebook.stem == "00_tour")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_names_the_kernel_that_every_environment_has(notebook):
    assert json.loads(notebook.read_text())["metadata"]["kernelspec"]["name"] == "python3"


def noise_of(notebook: Path) -> list[str]:
    """What an executed notebook shows on stderr: bars, warnings, errors."""
    outputs = [output for cell in json.loads(notebook.read_text())["cells"] for output in cell.get("outputs", ())]
    return ["".join(output["text"]) for output in outputs if output.get("name") == "stderr"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_parameter_keeps_what_it_was_given(notebook):
    """A name that becomes an object cannot be run twice: `store = fk.open_store(store)`."""
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    given = next(cell for cell in cells if "parameters" in cell["metadata"].get("tags", ()))
    names = {target.id for node in ast.parse("".join(given["source"])).body for target in node.targets}
    others = "\n".join("".join(cell["source"]) for cell in cells if cell is not given)
    assigned = {
        node.id
        for node in ast.walk(ast.parse(others))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    assert names & assigned == set()
