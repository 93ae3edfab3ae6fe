"""`track`: bring MLflow up to date with the store, or make the mirror afresh."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from socket import gethostname

from tqdm import tqdm

from forgekit.errors import ParameterError, did_you_mean
from forgekit.ids import content_hash
from forgekit.progress import StageReport, running
from forgekit.store import Store
from forgekit.tracking.artifacts import write_files
from forgekit.tracking.connection import (
    ARTIFACTS,
    DATABASE,
    Connection,
    connect,
    default_uri,
    little_patience,
    sqlite_uri,
    what_can_go_wrong,
)
from forgekit.tracking.runs import Due, Run, due_runs, read_runs
from forgekit.tracking.study import Study
from forgekit.tracking.summary import read_summary, summary_content, summary_identity, write_summary

log = logging.getLogger(__name__)

RUNS_AT_A_TIME = 128
REBUILDING = "mlflow.rebuilding-"  # the database of a rebuild, until it takes the place of the old one
REFUSED = "INVALID_PARAMETER_VALUE"  # MLflow's word for a run that it will never take


def track(
    store: Store,
    *,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    skip_registry: bool = False,
    rebuild: bool = False,
) -> StageReport:
    """Bring MLflow up to date with the store: one run per (prompt version, vision model), one summary per study.

    Only what is new or has changed is written; a changed run is replaced. Parts of an experiment's name before "/"
    are the MLflow experiment, so the arms of a study lie side by side. Where MLflow cannot be reached or refuses, the
    report says so and nothing is raised; the next call does the rest.

    Args:
        tracking_uri: a server or database; None for `mlflow.db` beside the store, with its artifacts in `mlartifacts`.
        experiment: mirror this experiment only; a study's name stands for all its arms.
        skip_registry: leave the prompt versions out of MLflow's prompt registry.
        rebuild: make the mirror beside the store afresh, which takes the place of the old one when it is whole; on
            another server, write every run again.

    Raises:
        ParameterError: no version of `experiment` exists; `rebuild` of a part.
    """
    if rebuild and experiment:
        raise ParameterError("rebuild makes the whole mirror again. Leave experiment out, or leave rebuild out")
    with _only_one(store) as alone:
        all_due = due_runs(store) if alone else []
        due = _chosen(store, all_due, experiment) if alone else []
        with running("track", total=len(due), unit="run") as (report, bar), little_patience():
            if not alone:
                report.count("left to another process that is mirroring this store")
            elif due or rebuild:
                job = _Job(store, report, bar, all_due, due, link_prompts=not skip_registry, rewrite=rebuild)
                job.rebuild() if rebuild and tracking_uri is None else job.update(tracking_uri)
    if report.failures:
        log.warning("the MLflow mirror is behind: %s", next(iter(report.failures.values())))
    return report


@dataclass(frozen=True)
class _Job:
    """One call of `track`: all runs there should be, those that this call looks after, and the report it fills."""

    store: Store
    report: StageReport
    bar: tqdm
    all_due: Sequence[Due]
    due: Sequence[Due]
    link_prompts: bool
    rewrite: bool

    def update(self, tracking_uri: str | None) -> None:
        """Write what differs to MLflow."""
        uri = tracking_uri or default_uri(self.store)
        database = self.store.folder / DATABASE if uri == default_uri(self.store) else None
        self._guarded(uri, database)

    def rebuild(self) -> None:
        """Write all of it to a new database, then let that be what the old one's readers see."""
        folder = self.store.folder
        for left_over in folder.glob(f"{REBUILDING}*"):  # of a rebuild that was killed
            left_over.unlink()
        before = set((folder / ARTIFACTS).glob("*/*"))
        database = folder / f"{REBUILDING}{uuid.uuid4().hex[:8]}.db"
        self._guarded(sqlite_uri(database), database)
        after = set((folder / ARTIFACTS).glob("*/*"))
        if "mlflow" in self.report.failures:  # the old mirror stays
            unused = after - before
        else:
            _put_in_place(database, folder / DATABASE)
            unused = before
        for run_folder in unused:
            shutil.rmtree(run_folder, ignore_errors=True)
        for file in folder.glob(f"{database.name}*"):
            file.unlink()

    def _guarded(self, uri: str, database: Path | None) -> None:
        """Mirror all studies. What MLflow says against it ends up in the report, not at the caller."""
        try:
            connection = connect(self.store, uri, database)
        except what_can_go_wrong() as error:
            self._give_up(uri, error)
            return
        try:
            for study in dict.fromkeys(run.study for run in self.due):
                with self._noting_refusal(study):
                    self._mirror(connection, study, [run for run in self.due if run.study == study])
        except what_can_go_wrong() as error:
            self._give_up(uri, error)

    def _mirror(self, connection: Connection, name: str, due: Sequence[Due]) -> None:
        study = Study.open(connection, name, _name_of(self.store))
        fresh = [run for run in due if self.rewrite or not study.is_current(run.identity, run.content)]
        self.report.skipped += len(due) - len(fresh)
        self.bar.update(len(due) - len(fresh))
        for runs in _batches(self.store, fresh):
            self._write(study, runs)
        stale = study.remove_stale({run.identity for run in due}, {run.experiment for run in due})
        self.report.count("no longer in the store, removed", stale)
        self._summarise(study)

    def _write(self, study: Study, runs: Sequence[Run]) -> None:
        """Write runs, all together where that can be. What MLflow says against one does not stop the others."""
        tagged = []
        for run in runs:
            with self._noting_refusal(run.name):
                tags = study.tags_of(run, link_prompt=self.link_prompts)
                if study.tables is not None:
                    tagged.append((run, tags))
                    continue
                study.write(run, tags, partial(write_files, run, self.store.folder))
                self.report.done += 1
            self.bar.update()
        if tagged:
            study.write_together(tagged, self.store.folder)
            self.report.done += len(tagged)
            self.bar.update(len(tagged))

    @contextlib.contextmanager
    def _noting_refusal(self, item: str) -> Iterator[None]:
        """Note where MLflow will not take a run or a study; it does not stop the others."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            if error.error_code != REFUSED:
                raise
            self.report.failures[item] = f"MLflow refuses it: {error.message}"

    def _summarise(self, study: Study) -> None:
        """Write the study's summary, which covers all its arms, where a run of it has changed since."""
        due = [run for run in self.all_due if run.study == study.name]
        if self.rewrite or not study.is_current(summary_identity(study.name), summary_content(due)):
            summary = read_summary(self.store, study.name, due)
            tags = study.tags_of(summary, link_prompt=False)
            study.write(summary, tags, partial(write_summary, self.store, summary))

    def _give_up(self, uri: str, error: Exception) -> None:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        self.report.failures["mlflow"] = f"{uri}: {reason}. The store has everything; the next call mirrors the rest"


def _chosen(store: Store, due: Sequence[Due], experiment: str | None) -> list[Due]:
    """Return what is due of one experiment, or of all arms of a study."""
    if experiment is None:
        return list(due)
    known = [row["experiment"] for row in store.rows("select distinct experiment from prompts order by all")]
    wanted = [name for name in known if name == experiment or name.startswith(f"{experiment}/")]
    if not wanted:
        raise ParameterError(
            f"no experiment is called {experiment!r}.{did_you_mean(experiment, known)} "
            f"The store has: {', '.join(known) or 'none yet'}"
        )
    return [run for run in due if run.experiment in wanted]


def _batches(store: Store, due: Sequence[Due]) -> Iterator[list[Run]]:
    remaining = iter(due)
    while batch := list(islice(remaining, RUNS_AT_A_TIME)):
        yield list(read_runs(store, batch))


def _name_of(store: Store) -> str:
    """Return the name by which runs on a shared server are known as this store's."""
    return content_hash([gethostname(), str(store.path)])[:12]


def _put_in_place(new: Path, old: Path) -> None:
    """Copy a database over another in one transaction, so that an MLflow UI that is open shows the new one."""
    try:
        _copy_database(new, old)
    except sqlite3.DatabaseError:  # what is there is no database any more
        for file in old.parent.glob(f"{old.name}*"):
            file.unlink()
        _copy_database(new, old)


def _copy_database(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(source)) as reading,
        contextlib.closing(sqlite3.connect(target, timeout=30)) as writing,
    ):
        reading.backup(writing)


@contextlib.contextmanager
def _only_one(store: Store) -> Iterator[bool]:
    """Yield whether this process is the one that mirrors the store now. Two would write every run twice."""
    with store.path.with_suffix(".track").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
