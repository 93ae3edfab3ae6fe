"""Starts the servers that the browser's pages come from, on loopback, and stops them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
START_S = 300  # a server on a busy machine
WAIT_MS = 180_000  # anything on a page, likewise


@contextmanager
def serving(command: list[str], health: str, log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run a server until the end of the block; it is up when the URL `health` answers."""
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until(lambda: answers(health) or process.poll() is not None, START_S)
            assert process.poll() is None, log.read_text()[-2000:]
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def lab_on(folder: Path, name: str, cell: str) -> Iterator[str]:
    """Put a notebook of one cell into a folder and run a JupyterLab there; its address."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(cell)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / f"{name}.ipynb")
    port = free_port()
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
        *(f"--notebook-dir={folder}", "--IdentityProvider.token="),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    own = {name: str(folder / ".jupyter" / name) for name in names}  # not what this machine's user has set
    address = f"http://127.0.0.1:{port}"
    with serving(command, f"{address}/api", folder / "lab.log", own):
        yield address


def run_cell(page: Page, address: str, name: str) -> None:
    """Open the notebook and run its cell."""
    page.goto(f"{address}/lab/tree/{name}.ipynb?reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # what is run before that is lost
    page.keyboard.press("Control+B")  # without the list of files
    page.locator(".jp-Notebook .cm-content").click()
    page.keyboard.press("Shift+Enter")


def answers(url: str) -> bool:
    """Whether something answers at the URL."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until `holds()`; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s"
        time.sleep(0.2)


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
