"""PromptImporter: bring prompt sets in, whole and once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import ParameterError
from forgekit.ids import content_id
from forgekit.models import load_model
from forgekit.scene import scene_hash
from forgekit.sources import BadRow, expand_rows, read_chunks
from forgekit.stages.report import Call, StageReport, running
from forgekit.store import Store, insert_rows

if TYPE_CHECKING:
    import pandas as pd

SHOWN_ROWS = 5
LISTED_BAD_ROWS = 1000  # in api_logs; the report holds them all
EXISTING = "select count(*) as n from prompts where id in (select unnest($ids::uuid[]))"


def import_prompts(
    store: Store,
    source: str | Path | pd.DataFrame,
    *,
    model: str = "mini",
    experiment: str = "main",
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
    again adds nothing. Rows that cannot be used are listed in the report and in `api_logs`.

    Args:
        source: a file or folder of prompts, or a DataFrame; see `forgekit.sources.read_chunks`.
        model: the image generator for rows that name none.
        format: the file's format, or a benchmark by name; told from the file where None.
        text_column: the column of the texts; told from its name where None.
        columns: which columns hold what: {"id": …, "category": …, "model": …, "parameters": …}.
        expand: how many expansions of each template (`{a|b}`, `__wildcard__`) to draw by `seed`, 0 for all of
            them; None takes such texts as they stand.
        wildcards: the folder of wildcard files.
        draft: leave the prompts in status `draft`.
        dry_run: store nothing; the report shows the first rows and what would happen.

    Raises:
        SourceError: the source cannot be read, or no text column can be told.
        UnknownModelError: `model` names no image generator.
    """
    load_model("image_generator", model)
    if not experiment:
        raise ParameterError('experiment is empty; give it a name such as "main"')
    gathered = _Gathered(model, experiment, "draft" if draft else "imported")
    with running("import", total=0, unit="row") as (report, bar):
        for chunk in read_chunks(source, format=format, text_column=text_column, columns=columns):
            frame = chunk.frame
            if expand is not None or wildcards is not None:
                frame = expand_rows(frame, n=expand or None, seed=seed, wildcards=wildcards)
            gathered.add(frame)
            gathered.bad += chunk.bad
            bar.update(chunk.total)
        name = "a DataFrame" if hasattr(source, "columns") else Path(source).name
        _store(store, report, gathered, name, dry_run=dry_run)
    return report


@dataclass
class _Gathered:
    """The scenes and prompts of a source, each once, as rows for the store."""

    model: str
    experiment: str
    status: str
    rows: int = 0
    scenes: dict[str, dict[str, Any]] = field(default_factory=dict)
    prompts: dict[str, dict[str, Any]] = field(default_factory=dict)
    bad: list[BadRow] = field(default_factory=list)

    def add(self, frame: pd.DataFrame) -> None:
        """Add a chunk of rows; the first of several rows with one normalised text counts."""
        names = [name for name in frame.columns if name not in ("text", "elements", "parameters", "model")]
        columns = {name: frame[name].tolist() for name in frame.columns}
        nothing = [None] * len(frame)
        notes = zip(*(columns[name] for name in names), strict=True)
        models, parameters, elements = (columns.get(name, nothing) for name in ("model", "parameters", "elements"))
        for text, own_model, own, known, note in zip(columns["text"], models, parameters, elements, notes, strict=True):
            key = scene_hash(text)
            identity = {"scene_hash": key, "model": own_model or self.model, "experiment": self.experiment}
            prompt_id = content_id("prompt", **identity, base_parameters=own or {})
            if key not in self.scenes:
                source = {name: value for name, value in zip(names, note, strict=True) if value is not None}
                self.scenes[key] = {
                    "scene_hash": key,
                    "scene_text": text,
                    "first_prompt_id": prompt_id,
                    "elements": known,
                    "source": source,
                }
            if prompt_id not in self.prompts:
                self.prompts[prompt_id] = {
                    "id": prompt_id,
                    **identity,
                    "prompt_text": text,
                    "base_parameters": own or {},
                    "generation_iteration": 0,
                    "status": self.status,
                }
        self.rows += len(frame)


def _store(store: Store, report: StageReport, gathered: _Gathered, source: str, *, dry_run: bool) -> None:
    """Write what was gathered in one transaction, or only say what would be written."""
    prompts = list(gathered.prompts.values())
    report.failures = {f"{bad.file or 'row'} {bad.row}": f"{bad.reason}: {bad.raw!r}" for bad in gathered.bad}
    report.count("duplicates in the source", gathered.rows - len(prompts))
    if dry_run:
        known = store.rows(EXISTING, ids=list(gathered.prompts))[0]["n"]
        report.stage = "import (dry run)"
        report.count("would be new", len(prompts) - known)
        report.notes += [f"{prompt['model']}: {prompt['prompt_text']!r}" for prompt in prompts[:SHOWN_ROWS]]
        report.skipped = gathered.rows
        return
    call = Call("import", source, {"rows": gathered.rows + len(gathered.bad), "experiment": gathered.experiment})
    call.errors = [f"row {bad.row}: {bad.reason}" for bad in gathered.bad[:LISTED_BAD_ROWS]]
    with store.transaction() as con:
        insert_rows(con, "scenes", list(gathered.scenes.values()))
        report.done = insert_rows(con, "prompts", prompts)
        call.response = {"new_prompts": report.done}
        insert_rows(con, "api_logs", [call.row()])
    report.skipped = gathered.rows - report.done
    report.count("already stored", len(prompts) - report.done)
