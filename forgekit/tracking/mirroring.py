"""`track`: bring MLflow up to date with the store, or make the mirror afresh."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from tqdm import tqdm

from forgekit.errors import ParameterError, without_secrets
from forgekit.ids import content_hash
from forgekit.progress import StageReport, running
from forgekit.store import Store
from forgekit.tracking.artifacts import write_files
from forgekit.tracking.connection import (
    ARTIFACTS,
    DATABASE,
    MIRROR_NOTE,
    connect,
    default_uri,
    little_patience,
    pages,
    what_can_go_wrong,
)
from forgekit.tracking.mirror import Mirror
from forgekit.tracking.rounds import read_rounds, read_tables, write_round
from forgekit.tracking.run import SCENE_LIMIT, Run, Study, shorten
from forgekit.tracking.run_contents import Due, due_runs, read_runs
from forgekit.tracking.summary import read_summary, summary_content, summary_identity, write_summary
from forgekit.tracking.views import VIEW, address, saved_views
from forgekit.trends import arms

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

RUNS_AT_A_TIME = 128  # that are read from the store
REFUSED = "INVALID_PARAMETER_VALUE"  # MLflow's word for a run that it will never take


def track(
    store: Store,
    *,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    skip_registry: bool = False,
    rebuild: bool = False,
) -> StageReport:
    """Bring MLflow up to date with the store: a run per (prompt version, vision model), per (round, vision model), per study.

    Only what is new or has changed is written; a changed run is replaced. Parts of an experiment's name before "/"
    are the MLflow experiment, so the arms of a study lie side by side. Where MLflow cannot be reached or refuses, the
    report says so and nothing is raised; the next call does the rest. The report counts the runs of versions, and says
    where to look.

    Args:
        tracking_uri: a server or database; where not given, `mlflow.db` beside the store, with its artifacts in `mlartifacts`.
        experiment: mirror this experiment only; a study's name stands for all its arms.
        skip_registry: leave the prompt versions out of MLflow's prompt registry.
        rebuild: delete all runs of this store first, and a database beside it that is damaged.

    Raises:
        ParameterError: no version of `experiment` exists; `rebuild` of a part.
    """
    if rebuild and experiment:
        raise ParameterError("rebuild makes the whole mirror again. Leave experiment out, or leave rebuild out")
    wanted = set(arms(store, experiment))
    try:  # two processes would write every run twice
        held = FileLock(store.path.with_suffix(".track"), blocking=False).acquire()
    except Timeout:
        return StageReport("track", details={"left to another process that is mirroring this store": 1})
    with held:
        all_due = due_runs(store)
        due = [run for run in all_due if run.experiment in wanted]
        with running("track", total=len(due), unit="run") as (report, bar), little_patience():
            if due or rebuild:
                own = tracking_uri in (None, default_uri(store))
                job = _Job(store, report, bar, all_due, own, link_prompts=not skip_registry)
                job.do(tracking_uri or default_uri(store), due, rebuild=rebuild)
    if report.failures:
        log.warning("the MLflow mirror is behind: %s", next(iter(report.failures.values())))
    return report


@dataclass(frozen=True)
class _Job:
    """One call of `track`: the report it fills, all runs there should be, and whether MLflow is the one beside the store."""

    store: Store
    report: StageReport
    bar: tqdm
    all_due: Sequence[Due]
    own: bool
    link_prompts: bool

    def do(self, uri: str, due: Sequence[Due], *, rebuild: bool) -> None:
        """Mirror what is due. What MLflow says against it ends up in the report, not at the caller."""
        database = self.store.folder / DATABASE if self.own else None
        try:
            client = self._cleared(uri, database) if rebuild else connect(uri, database)
            for study in dict.fromkeys(run.study for run in due):
                with self._noting_refusal(study.name):
                    mirror = self._mirror(client, study, [run for run in due if run.study == study])
                    self.report.notes.append(f"{study.name}: {address(uri, mirror.experiment_id)}")
            if self.own and self.report.notes:
                (self.store.folder / MIRROR_NOTE).parent.mkdir(exist_ok=True)
                (self.store.folder / MIRROR_NOTE).write_text(str(self.store.folder), "utf-8")
                self.report.notes.append(f"`make ui STORE={self.store.path}` serves these pages")
        except what_can_go_wrong() as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            rest = "The store has everything; the next call mirrors the rest"
            self.report.failures["mlflow"] = without_secrets(f"{uri}: {reason}. {rest}")

    def _cleared(self, uri: str, database: Path | None) -> MlflowClient:
        """Open MLflow and delete this store's runs; a database beside the store that is damaged goes with its files."""
        try:
            client = connect(uri, database)
        except sqlite3.OperationalError:  # somebody else has it, or the disk is full
            raise
        except what_can_go_wrong():
            if database is None:
                raise
            for file in database.parent.glob(f"{database.name}*"):
                file.unlink()
            shutil.rmtree(self.store.folder / ARTIFACTS, ignore_errors=True)
            client = connect(uri, database)
        studies = {run.study.name for run in self.all_due}
        for experiment in list(pages(client.search_experiments)):
            if VIEW in experiment.tags or experiment.name in studies:
                self._open(client, experiment.name).remove_others(())
        return client

    def _open(self, client: MlflowClient, study: str) -> Mirror:
        artifacts = self.store.folder / ARTIFACTS if self.own else None
        store_name = content_hash([gethostname(), str(self.store.path)])[:12]
        return Mirror.open(client, study, artifacts=artifacts, store_name=store_name)

    def _mirror(self, client: MlflowClient, study: Study, due: Sequence[Due]) -> Mirror:
        """Write a study's runs where they differ, then its rounds and its summary, which cover all arms."""
        mirror = self._open(client, study.name)
        if mirror.moved:
            moved = "the store was moved, so all runs are written anew, where it lies now"
            self.report.notes.append(f"{study.name}: {moved}")
        fresh = [run for run in due if not mirror.is_current(run.identity, run.content)]
        self.report.skipped += len(due) - len(fresh)
        self.bar.update(len(due) - len(fresh))
        for start in range(0, len(fresh), RUNS_AT_A_TIME):
            for run in read_runs(self.store, fresh[start : start + RUNS_AT_A_TIME]):
                files = partial(write_files, run, self.store.folder)
                self.report.done += self._write(mirror, run, files, link_prompt=self.link_prompts)
                self.bar.update()
        all_due = [run for run in self.all_due if run.study == study]
        known = {summary_identity(study.name), *(run.identity for run in all_due)}
        if not mirror.is_current(summary_identity(study.name), summary_content(all_due, mirror.rounds)):
            tables = read_tables(self.store, study)
            rounds = read_rounds(self.store, study, tables)
            known |= {run.identity for run in rounds}
            for run in rounds:
                if not mirror.is_current(run.identity, run.about["content"]):
                    self._write(mirror, run, partial(write_round, run))
            self.report.count("no longer in the store, removed", mirror.remove_others(known))
            summary = read_summary(self.store, all_due, tables, len(rounds))
            self._write(mirror, summary, partial(write_summary, self.store, summary))
            scenes = tables["scenes"].sort_values("versions", key=lambda n: n == 1, kind="stable")["scene_text"]
            scene = shorten(" ".join(scenes.iloc[0].split()), SCENE_LIMIT) if len(scenes) else ""
            mirror.describe(saved_views(rounds, scene, tuple(study.differing("", ""))) | study.tags())
        return mirror

    def _write(
        self, mirror: Mirror, run: Run, files: Callable[[Path], Sequence[str]], *, link_prompt: bool = False
    ) -> bool:
        """Write one run; return whether MLflow took it."""
        with self._noting_refusal(run.name):
            mirror.write(run, files, link_prompt=link_prompt)
            return True
        return False

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
