"""A study as one HTML page that needs no network: the notebook 03_trends, executed, without its code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from forgekit import trends
from forgekit.errors import ForgekitError, ParameterError
from forgekit.progress import StageReport, running
from forgekit.show import pages
from forgekit.store import Store
from forgekit.store.images import write_whole

NOTEBOOK = Path("notebooks", "03_trends.ipynb")
JUDGED = "select distinct experiment from current_scores"


def write_report(
    store: Store,
    file: str | Path,
    *,
    experiment: str | None = None,
    scenes: int = 12,
    notebook: str | Path | None = None,
) -> StageReport:
    """Write one HTML page about an experiment, or about all arms of a study; an existing file is replaced.

    The page is the notebook 03_trends as papermill executes it, without code. It carries its pictures and opens from
    disk on any machine.

    Args:
        file: the page, such as report.html.
        experiment: an experiment, or a study whose arms are `experiment`/…; everything where not given.
        scenes: how many scenes of each experiment are shown before and after, the ones that gained most first.
        notebook: another one that takes the parameters of 03_trends; where not given 03_trends, which lies in `notebooks/` of
            the clone that forgekit runs from, or else of the working folder.

    Raises:
        ParameterError: there is no such experiment or notebook.
        ForgekitError: papermill is not installed, or a cell of the notebook fails.
    """
    need_papermill()
    arms = trends.arms(store, experiment)
    source = _find(notebook)
    title = f"Prompt adherence: {experiment or store.path.name}"
    with running("report", total=0, unit="page") as (report, _):
        if {row["experiment"] for row in store.rows(JUDGED)}.isdisjoint(arms):
            html = pages.page(title, ["<p>In these experiments nothing is judged yet.</p>"])
        else:
            given = {
                "store": str(store.path.resolve()),
                "experiment": experiment,
                "shown": scenes,
                "interactive": False,
            }
            with TemporaryDirectory() as folder:
                done = Path(folder, source.name)
                if error := execute(source, done, given):
                    raise ForgekitError(f"no report, for {source} failed: {error}; execute it by hand to see where")
                html = pages.notebook_page(done, title, code=False)
        write_whole(Path(file), html.encode())
        report.done = 1
        report.notes.append(f"{file}, {len(html) / 2**20:.1f} MiB")
    return report


def execute(notebook: Path, done: Path, parameters: Mapping[str, Any]) -> str | None:
    """Execute a notebook in the working folder, and return why it failed; None where it did not.

    What is executed is saved as `done` either way, with the error where there is one.
    """
    import papermill
    import zmq
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    secret = {"transport_encryption": "auto" if zmq.has("curve") else "disabled"}  # else kernels warn of who may listen
    try:
        papermill.execute_notebook(
            notebook,
            done,
            parameters=dict(parameters),
            kernel_name="python3",
            cwd=Path.cwd(),
            progress_bar=False,
            config=Config({"KernelManager": secret}),
        )
    except papermill.PapermillExecutionError as failure:
        return f"{failure.ename}: {failure.evalue} (cell {failure.exec_count})"
    except DeadKernelError as failure:
        return f"the kernel died, for want of memory perhaps: {failure}"
    return None


def need_papermill() -> None:
    """Say what to install where notebooks cannot be executed.

    Raises:
        ForgekitError: papermill is not installed.
    """
    from importlib.util import find_spec

    if find_spec("papermill") is None:
        raise ForgekitError("executing a notebook needs papermill: pip install 'forgekit[lab]'")


def _find(notebook: str | Path | None) -> Path:
    clone = Path(__file__).parents[2]
    places = [Path(notebook)] if notebook is not None else [clone / NOTEBOOK, Path.cwd() / NOTEBOOK]
    for place in places:
        if place.is_file():
            return place.resolve()
    raise ParameterError(
        f"there is no notebook {' or '.join(map(str, places))}; run this in a clone of forgekit, or name the notebook"
    )
