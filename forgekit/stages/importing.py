"""PromptImporter: bring prompt sets in, whole and once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import ParameterError
from forgekit.models import load_model, recorded_name
from forgekit.models.naming import why_refused
from forgekit.progress import StageReport, running
from forgekit.sources import BENCHMARK_NAMES, BadRow, PlainLines, expand_rows, plain_lines, read_chunks
from forgekit.sources.rows import excerpt
from forgekit.stages.intake import Commons, chunk_table, find_fresh, first_prompts, insert_fresh, take, take_lines
from forgekit.stages.recording import Call
from forgekit.store import Store
from forgekit.store.names import check_name
from forgekit.store.rows import insert_rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SHOWN_ROWS = 5
LISTED_BAD_ROWS = 1000  # in api_logs; the report holds them all


def import_prompts(
    store: Store,
    source: str | Path | pd.DataFrame,
    *,
    model: str = "mini",
    experiment: str = "main",
    parameters: Mapping[str, Any] | None = None,
    format: str | None = None,
    text_column: str | int | None = None,
    columns: Mapping[str, str] | None = None,
    expand: int | None = None,
    wildcards: str | Path | None = None,
    seed: int = 0,
    draft: bool = False,
    dry_run: bool = False,
) -> StageReport:
    """Import scene texts as prompts in status `imported`: all good rows of a source, or nothing.

    Texts are kept as they stand. Texts with the same normalised form are one scene; a prompt is
    identified by its scene, model, parameters and experiment, so duplicates are counted and importing
    again adds nothing. Rows that cannot be used are listed in the report and in `api_logs`. A scene
    that no benchmark annotates is parsed by `complete_prompts`, not here.

    Args:
        source: a file or folder of prompts (from Python also a DataFrame); see `forgekit.sources.read_chunks`.
        model: the image generator for rows that name none; it may name code, which no row may.
        experiment: the arm of a study that the prompts belong to, such as "study/arm"; 200 bytes at most, no part of
            it empty or beginning with a dot.
        parameters: how images are drawn, such as guidance_scale=4.5; what a row says of itself goes before.
        format: txt, csv, tsv, excel, json, jsonl, parquet, png, folder, or a benchmark by name (partiprompts, geneval,
            dsg-1k, t2i-compbench, …); told from the file where not given.
        text_column: the column of the texts, by name, or by number from 0 where there is no header; told from its name
            where not given.
        columns: which columns hold what, of id, category, model and parameters, such as id=prompt_id,category=Kind.
        expand: how many expansions of each template (`{a|b}`, `__wildcard__`) to draw by `seed`, 0 for all of
            them; such texts are taken as they stand where not given.
        wildcards: the folder of wildcard files, name.txt for `__name__`.
        seed: what draws the expansions.
        draft: leave the prompts in status `draft`.
        dry_run: store nothing; the report shows the first rows and what would happen.

    Raises:
        SourceError: the source cannot be read, or no text column can be told.
        UnknownModelError: `model` names no image generator.
        ParameterError: an unknown format or role, an experiment that cannot be called so, or a template that cannot be expanded.
    """
    check_name("experiment", experiment)
    load_model("image_generator", model)
    model = recorded_name("image_generator", model)
    if expand is not None and expand < 0:
        raise ParameterError(f"expand is {expand}; give how many expansions of each template to draw, 0 for all")
    origin = _origin(source, format)
    gathered = _Gathered(Commons(model, experiment, dict(parameters or {})), origin)
    plan = _Plan("draft" if draft else "imported", experiment, dry_run)
    with running("import", total=0, unit="row") as (report, bar):
        if expand is None and wildcards is None:
            lines = plain_lines(source, format=format, text_column=text_column, columns=columns)
            if lines and _store(store, report, gathered, plan, lines):
                return report
        for chunk in read_chunks(source, format=format, text_column=text_column, columns=columns):
            frame, refused = _permitted(chunk.frame)
            if "model" in frame:
                own_name = partial(recorded_name, "image_generator")
                frame["model"] = frame["model"].map(own_name, na_action="ignore")
            if expand is not None or wildcards is not None:
                frame = expand_rows(frame, n=expand or None, seed=seed, wildcards=wildcards)
            gathered.add({name: frame[name].tolist() for name in frame.columns})
            gathered.bad += [*chunk.bad, *refused]
            bar.update(chunk.total)
        _store(store, report, gathered, plan)
    return report


def _permitted(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[BadRow]]:
    """Return the rows whose `model` data may name, and the others with the reason."""
    if "model" not in frame:
        return frame, []
    named = frame[frame["model"].notna()]
    reasons = named["model"].map(cache(why_refused) if named["model"].map(type).eq(str).all() else why_refused)
    reasons = reasons[reasons.notna()]
    files = frame.get("file", {})
    refused = [
        BadRow(frame["row"][i], reason, excerpt(frame["text"][i]), files[i] if len(files) else "")
        for i, reason in reasons.items()
    ]
    return frame.drop(index=reasons.index).reset_index(drop=True), refused


def _origin(source: str | Path | pd.DataFrame, format: str | None) -> dict[str, str]:
    """Return what `scenes.source` says of all rows: the file's name, and the benchmark where one was named."""
    origin = {} if hasattr(source, "columns") else {"file": Path(str(source)).name}
    return {**origin, "benchmark": format} if format in BENCHMARK_NAMES else origin


@dataclass(frozen=True)
class _Plan:
    status: str
    experiment: str
    dry_run: bool


@dataclass
class _Gathered:
    """The rows of a source as Arrow tables (a million rows must not become a million dicts), and the bad ones."""

    commons: Commons
    origin: dict[str, str]
    rows: int = 0
    bad: list[BadRow] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)

    def add(self, columns: Mapping[str, list[Any]]) -> None:
        """Add a chunk of rows."""
        self.tables.append(chunk_table(columns, self.rows, self.commons, self.origin))
        self.rows += len(columns["text"])


def _store(
    store: Store, report: StageReport, gathered: _Gathered, plan: _Plan, lines: PlainLines | None = None
) -> bool:
    """Write all in one transaction, or only say what would be written; False where `lines` cannot be taken so."""
    with store.transaction(other_files=lines is not None) as con:
        if lines is None:
            take(con, gathered.tables)
        elif not take_lines(con, lines, gathered.origin):
            return False
        counts = find_fresh(con, gathered.commons)
        if plan.dry_run:
            report.stage = "import (dry run)"
            report.count("would be new", counts["prompts"] - counts["known"])
            report.notes += [f"{model}: {text!r}" for model, text in first_prompts(con, SHOWN_ROWS)]
        else:
            report.done = insert_fresh(con, status=plan.status, experiment=plan.experiment)
            insert_rows(con, "api_logs", [_log_row(gathered, plan, counts["rows"], report.done)])
    report.failures = {f"{bad.file or 'row'} {bad.row}": f"{bad.reason}: {bad.raw!r}" for bad in gathered.bad}
    report.count("duplicates in the source", counts["rows"] - counts["prompts"])
    report.count("already stored", counts["known"])
    report.skipped = counts["rows"] - report.done
    return True


def _log_row(gathered: _Gathered, plan: _Plan, rows: int, new: int) -> dict[str, Any]:
    counts = {"rows": rows + len(gathered.bad), "experiment": plan.experiment}
    call = Call("import", gathered.origin.get("file", "a DataFrame"), counts, response={"new_prompts": new})
    call.errors = [f"{bad.file or 'row'} {bad.row}: {bad.reason}" for bad in gathered.bad[:LISTED_BAD_ROWS]]
    return call.row()
