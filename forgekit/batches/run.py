"""Batches: a notebook executed once per set of parameters, several at a time, continued where it stopped.

Each execution runs in a process of its own and leaves a notebook, that notebook as a page, and a state file in the
batch's folder. The state file is written after the notebook, so one that was killed is not taken for a finished one.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.batches.index import write_index, write_pictures
from forgekit.batches.plan import Execution, Plan, read_plan
from forgekit.batches.state import State, read_state, state_file, write_state
from forgekit.errors import ParameterError
from forgekit.ids import content_hash
from forgekit.progress import StageReport, running
from forgekit.show import pages
from forgekit.show.report import execute, need_papermill
from forgekit.store import Store
from forgekit.store.claims import alone
from forgekit.store.images import write_whole

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess


ANY_PROMPT = "select id from prompts where starts_with(experiment, $prefix) limit 1"
IMAGES = "select count(*) as n from generated_images join prompts p on p.id = prompt_id where starts_with(p.experiment, $prefix)"


def run_batch(
    store: Store, file: str | Path, *, jobs: int = 1, out: str | Path | None = None, untracked: bool = False
) -> StageReport:
    """Execute a notebook once for each set of parameters of a plan, and write an index page and a summary table.

    What is finished is kept: a batch that failed in part, or was killed, goes on where it stopped when it is run again.
    What an earlier state of the notebook left is not finished: edit a cell, and all executions run again. A failed
    execution stops no other; its notebook is saved with the error. Each execution is an experiment in the store,
    `BATCH/EXECUTION`, so MLflow has the batch as one experiment with a group per execution.

    Args:
        file: the plan, a TOML file; see `forgekit.batches.plan`.
        jobs: how many run at the same time, all on this store.
        out: the folder for notebooks, `index.html` and `summary.csv`; where not given, one of the plan's name beside it.
        untracked: leave MLflow alone.

    Raises:
        ParameterError: the plan is wrong, papermill is missing, or the batch is running already.
    """
    if jobs < 1:
        raise ParameterError(f"jobs={jobs}: at least 1 must run at a time")
    need_papermill()
    plan = read_plan(file)
    folder = Path(out) if out is not None else Path(file).resolve().parent / plan.name
    folder.mkdir(parents=True, exist_ok=True)
    busy = ParameterError(
        f"the batch in {folder} is running in another process; wait for it, or give another folder as `out`"
    )
    with alone(folder / ".lock", busy), running("batch", total=len(plan.executions), unit="notebook") as (report, bar):
        due = _due(plan, folder)
        report.skipped = len(plan.executions) - len(due)
        bar.update(report.skipped)
        write_index(store, plan, folder)
        started, before = time.monotonic(), _images(store, plan)
        for execution, state in _execute(store, plan, folder, due, jobs):
            if state.status == "finished":
                report.done += 1
                write_pictures(store, plan.experiment(execution), folder / f"{execution.name}.png")
            else:
                report.failures[execution.name] = str(state.error)
            bar.set_postfix_str(f"{(_images(store, plan) - before) / (time.monotonic() - started):.2f} images/s")
            bar.update()
            write_index(store, plan, folder)
        if not untracked:
            _track(store, plan, report)
        report.notes.append(f"index: {folder / 'index.html'}")
    return report


def _images(store: Store, plan: Plan) -> int:
    return store.rows(IMAGES, prefix=f"{plan.name}/")[0]["n"]


def _due(plan: Plan, folder: Path) -> list[Execution]:
    """Return the executions that this state of the notebook has not finished yet."""
    states = {execution.name: read_state(folder, execution) for execution in plan.executions}
    wanted = ("finished", _notebook_hash(plan.notebook))
    done = {name for name, state in states.items() if state and (state.status, state.notebook_hash) == wanted}
    return [execution for execution in plan.executions if execution.name not in done]


def _notebook_hash(notebook: Path) -> str:
    """Return the hash of a notebook's cells; their outputs, and when they ran, leave it as it is."""
    return content_hash(
        [[cell["cell_type"], "".join(cell["source"])] for cell in json.loads(notebook.read_text("utf-8"))["cells"]]
    )


def _execute(
    store: Store, plan: Plan, folder: Path, due: Sequence[Execution], jobs: int
) -> Iterator[tuple[Execution, State]]:
    """Run the executions that are due and yield each when it has come to an end, with what became of it."""
    context = multiprocessing.get_context("forkserver")  # papermill is imported once, not once per execution
    context.set_forkserver_preload(["papermill", "nbconvert"])
    # As it is now: the server that forks them has that of the first batch of this process.
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs)), **os.environ}
    environment.pop("JPY_SESSION_NAME", None)  # nobody looks on: no bars, and the explorer as plain HTML
    waiting = list(due)
    at_work: dict[Any, tuple[ForkServerProcess, Execution]] = {}
    try:
        while waiting or at_work:
            while waiting and len(at_work) < jobs:
                execution = waiting.pop(0)
                state_file(folder, execution.name).unlink(missing_ok=True)  # of a failure, which is tried again
                given = {"store": str(store.path), "experiment": plan.experiment(execution)}
                done = folder.resolve() / f"{execution.name}.ipynb"
                told = (plan.notebook, done, execution.parameters | given, Path.cwd(), environment)
                process = context.Process(target=_run, args=told, daemon=True)
                process.start()
                at_work[process.sentinel] = (process, execution)
            for sentinel in wait(list(at_work)):
                process, execution = at_work.pop(sentinel)
                process.join()
                state = read_state(folder, execution)
                if state is None:  # killed, or an error of ours
                    reason = f"its process ended with status {process.exitcode} before the notebook did"
                    state = State("failed", execution.parameters, "", "", 0.0, reason)
                    write_state(folder, execution.name, state)
                yield execution, state
    finally:
        for process, _ in at_work.values():
            process.terminate()


def _run(notebook: Path, done: Path, parameters: dict[str, Any], cwd: Path, environment: dict[str, str]) -> None:
    """Execute one notebook in this process and write down what became of it."""
    threading.Thread(target=_die_with_the_batch, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    started_at, started, notebook_hash = datetime.now(UTC), time.monotonic(), _notebook_hash(notebook)
    error = execute(notebook, done, parameters)
    seconds, status = round(time.monotonic() - started, 1), "failed" if error else "finished"
    state = State(status, parameters, notebook_hash, started_at.isoformat(timespec="seconds"), seconds, error)
    write_state(done.parent, done.stem, state)
    write_whole(done.with_suffix(".html"), pages.notebook_page(done, done.stem).encode())


def _die_with_the_batch() -> None:
    """End this process when the batch is gone, however it went; the kernel then ends by itself."""
    if batch := multiprocessing.parent_process():
        batch.join()
        os._exit(1)


def _track(store: Store, plan: Plan, report: StageReport) -> None:
    """Mirror what the notebooks have not mirrored themselves."""
    from forgekit.tracking import track

    if not store.rows(ANY_PROMPT, prefix=f"{plan.name}/"):  # notebooks need not draw anything
        return
    mirrored = track(store, experiment=plan.name)
    report.count("runs mirrored", mirrored.done)
    report.notes += [f"MLflow: {reason}" for reason in mirrored.failures.values()]
