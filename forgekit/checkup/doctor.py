"""`doctor`: look before a run at all that it names, and say what is wrong, what would work, and what it will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from forgekit.checkup import services
from forgekit.checkup.findings import FAULT, OK, WARNING, DoctorReport, Finding
from forgekit.checkup.models import Looked, note_cut, note_memory, note_weights, resolved, try_out
from forgekit.checkup.work import IS_STORE, Work, expected
from forgekit.errors import ForgekitError, ParameterError, first_line
from forgekit.models.fetching import look_up
from forgekit.models.naming import note_given
from forgekit.models.served_calls import as_they_come
from forgekit.store import Store
from forgekit.study.plan import Study, check_plan

LIMIT_S = 3.5  # for all that may not answer, at the same time; it is looked at once a second


def doctor(
    store: Store | None = None,
    *targets: str,
    online: bool = False,
    dry_run: bool = False,
    memory_gib: float | None = None,
    tracking_uri: str | None = None,
) -> DoctorReport:
    """Look before a run whether the models it names are here, fit and answer, and what it will take.

    Nothing is loaded, written or asked of the hub unless that is asked for.

    Args:
        targets: models of any role by name or address, or the TOML files of batches and studies; where not given, the
            models of the prompts that are due in the store.
        online: ask the hub for download sizes, licences and gates; HF_HUB_OFFLINE is honoured.
        dry_run: have each model that is there draw one picture in one step, judge one, or answer once.
        memory_gib: look whether models fit into an accelerator of so many GiB, instead of this machine.
        tracking_uri: the MLflow server that runs are to be mirrored to.

    Raises:
        ParameterError: memory_gib is not above 0.
    """
    if memory_gib is not None and not memory_gib > 0:
        raise ParameterError(f"memory_gib={memory_gib} must be above 0, such as 24")
    started, report, work = time.monotonic(), DoctorReport(), Work()
    studies = _take_up(report, work, targets)
    _look_at_store(report, work, store, targets)
    looked = [model for key, by_data in work.models.items() if (model := resolved(report, *key, by_data, work.folders))]
    _ask(report, looked, store, online=online, tracking_uri=tracking_uri)
    for model in looked:
        if note_weights(report, model) and note_memory(report, model, memory_gib):
            note_cut(report, model, work.texts.get(model.name, []))
            if dry_run:
                try_out(report, model)
    for study in studies if not report.failed else []:
        try:
            check_plan(study)
        except ForgekitError as error:
            report.add(study.name, "study", FAULT, str(error))
    expected(report, work, store)
    report.seconds = time.monotonic() - started
    return report


def _take_up(report: DoctorReport, work: Work, targets: tuple[str, ...]) -> list[Study]:
    """Take up what is named; return the studies among it."""
    studies = []
    for target in targets:
        if not target.endswith(".toml"):
            note_given(target)
            work.name(None, [target], by_data=False)
            continue
        try:
            if study := work.add_plan(Path(target)):
                studies.append(study)
            report.add(target, "plan", OK, "it can be read, and names nothing that it may not")
        except ForgekitError as error:
            report.add(target, "plan", FAULT, str(error))
    return studies


def _look_at_store(report: DoctorReport, work: Work, store: Store | None, targets: tuple[str, ...]) -> None:
    """Take up what is due in the store, unless a plan is looked at, which brings its own prompts."""
    if store is None or not store.path.exists():
        told = "no store is given" if store is None else f"{store.path} is not there yet; the first import makes it"
        report.add("store", "file", OK if targets else WARNING, told, "" if targets else "name a model, or a plan")
        return
    try:
        if store.rows(IS_STORE)[0]["n"] != 2:
            told = f"{store.path} is no store of forgekit"
            report.add("store", "file", FAULT, told, "give another file: --store PATH")
            return
        report.add("store", "file", OK, str(store.path))
        if not any(target.endswith(".toml") for target in targets):
            work.add_store(store, as_targets=not targets)
    except ForgekitError as error:
        report.add("store", "file", FAULT, str(error))


def _ask(
    report: DoctorReport, looked: list[Looked], store: Store | None, *, online: bool, tracking_uri: str | None
) -> None:
    """Ask all that may not answer at the same time: servers, clusters, MLflow, and the hub about weights that are not here."""
    tasks: dict[str, Callable[[], Any]] = {m.name: partial(services.server, m.name) for m in looked if m.is_served}
    tasks |= {model.pool: partial(services.ray, model.pool) for model in looked if model.pool}
    if store is not None:
        tasks["mlflow"] = partial(services.mlflow, store, tracking_uri)
    absent = {f"hub {model.name}": model for model in looked if online and model.repository and not model.is_here}
    hub = {name: partial(look_up, model.repository) for name, model in absent.items() if model.repository}
    answers = _ask_all(tasks | hub)
    for name in tasks:
        found = answers[name] if isinstance(answers[name], Finding) else services.silent(name, answers[name])
        report.findings.append(found)
        for model in looked:
            if name in (model.name, model.pool):
                model.answers &= found.verdict != FAULT
    for name, model in absent.items():
        model.hub = answers[name]
        if isinstance(model.hub, Exception):
            remedy = "look at the network, HF_ENDPOINT and HF_HUB_OFFLINE; or copy the model's folder here"
            report.add(model.name, "hub", FAULT, f"it says nothing: {first_line(model.hub)}", remedy)


def _ask_all(tasks: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Do all tasks at the same time and return what each returned or raised; nobody waits for one that does not end."""
    names = list(tasks)

    def ask(place: int) -> Any:
        try:
            return tasks[names[place]]()
        except Exception as error:  # handed to the caller, whose finding it is
            return error

    late = TimeoutError(f"no answer within {LIMIT_S:g} s")
    groups = as_they_come(len(names), ask, lambda *_: late, in_flight=len(names), total_s=LIMIT_S)
    return {names[place]: answer for place, answer in chain.from_iterable(groups)}
