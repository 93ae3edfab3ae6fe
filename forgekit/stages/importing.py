"""Importing: bring prompt sets in, whole and once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import ParameterError
from forgekit.models import LanguageModel, known_models, load_model, recorded_name
from forgekit.models.naming import was_given, why_refused
from forgekit.progress import StageReport, running
from forgekit.scene.syntax.parameters import LARGEST_SEED, checked_parameters
from forgekit.sources import BENCHMARK_NAMES, BadRow, Notes, Reading, expand_rows, read_chunks
from forgekit.sources.rows import excerpt, plain
from forgekit.stages.calls import Call
from forgekit.stages.intake import LISTED_BAD_ROWS, Intake, origin_of, place_of
from forgekit.stages.reading_scenes import read_scenes
from forgekit.store import Store, arguments
from forgekit.store.arguments import whole
from forgekit.store.names import check_experiment, check_name
from forgekit.store.rows import insert_rows

if TYPE_CHECKING:
    import pandas as pd

    from forgekit.sources.reading import Source

SHOWN_ROWS = 5
CHECKPOINTS = (".safetensors", ".ckpt", ".pt", ".gguf")  # files of weights, as other programs name their models


def import_prompts(
    store: Store,
    source: Source,
    *,
    model: str = "mini",
    experiment: str = "main",
    parameters: Mapping[str, Any] | None = None,
    format: str | None = None,
    text_column: str | int | None = None,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    expand: int | None = None,
    wildcards: str | Path | None = None,
    seed: int = 0,
    draft: bool = False,
    dry_run: bool = False,
    language_model: LanguageModel | str | None = None,
) -> StageReport:
    """Import scene texts as prompts: all good rows of a source, or nothing.

    Texts are kept as they stand; a scene is what one asks for, without prompt syntax, and what the syntax
    directs is kept beside it. Texts with the same normalised form are one scene; a prompt is
    identified by its scene, syntax, model, parameters and experiment, so duplicates are counted and importing
    again adds nothing. Rows that cannot be used are listed in the report and in `api_logs`; what was
    assumed, skipped or not understood is in the report's notes. A scene that no benchmark annotates is
    read by `language_model` once the prompts are stored; without one, by the rules when its prompts are
    completed. Importing again has those scenes read that have no elements yet.

    Args:
        source: a file or folder of prompts (from Python also a DataFrame or a list of texts); see `forgekit.sources.read_chunks`.
        model: the image generator for rows that name none; it may name code, which no row may.
        experiment: the arm of a study that the prompts belong to, such as "study/arm"; 200 bytes at most, no part of
            it empty or beginning with a dot.
        parameters: how images are drawn, such as guidance_scale=4.5; what a row says of itself goes before.
        format: txt, csv, tsv, excel, json, jsonl, yaml, parquet, arrow, picture, folder, or a benchmark by name
            (partiprompts, geneval, dsg-1k, t2i-compbench, …); told from the file where not given.
        text_column: the column of the texts, by name, or by number from 0 where there is no header; told from its name
            or content where not given.
        columns: which columns hold what, of id, category, model and parameters, such as id=prompt_id,category=Kind.
            Columns such as steps, cfg, seed, size and negative_prompt are parameters; others are kept in `scenes.source`.
        encoding: of text files that are no UTF-8, such as cp1252 or gb18030; where not given the likeliest is assumed.
        expand: how many expansions of each template (`{a|b}`, `__wildcard__`) to draw by `seed`, 0 for all of
            them; such texts are taken as they stand where not given.
        wildcards: the folder of wildcard files, name.txt for `__name__`.
        seed: what draws the expansions.
        draft: leave the prompts in status `draft`.
        dry_run: store nothing; the report shows the first rows and what would happen.
        language_model: who reads what the scenes ask for, in any language, one request a scene.

    Raises:
        SourceError: the source cannot be read, or no text column can be told.
        UnknownModelError: `model` names no image generator, or `language_model` no language model.
        ParameterError: an unknown format, encoding or role, a parameter that is no value, an experiment that cannot be
            called so, or a template that cannot be expanded.
    """
    check_experiment(store, None)
    check_name("experiment", experiment)
    seed = whole("seed", seed, least=-LARGEST_SEED, most=LARGEST_SEED)
    draft, dry_run = arguments.switch("draft", draft), arguments.switch("dry_run", dry_run)
    format, encoding = arguments.text("format", format), arguments.text("encoding", encoding)
    load_model("image_generator", model)
    model = recorded_name("image_generator", model)
    reader = load_model("language_model", language_model) if language_model is not None else None
    if wildcards is not None and not isinstance(wildcards, str | Path):
        raise ParameterError(f"wildcards is a {type(wildcards).__name__}; give the folder of wildcard files")
    expand = None if expand is None else whole("expand", expand, least=0)
    origin = origin_of(source) | ({"benchmark": format} if format in BENCHMARK_NAMES else {})
    intake = Intake(model, experiment, _given({} if parameters is None else parameters), origin)
    notes = Notes()
    with running("import", total=0, unit="row") as (report, bar):
        for chunk in read_chunks(source, format=format, text_column=text_column, columns=columns, encoding=encoding):
            notes = chunk.notes
            frame, refused = chunk.frame, list[BadRow]()
            if "model" in frame:
                frame, refused = _with_models(frame, model, notes)
            if expand is not None or wildcards is not None:
                told = Reading(encoding=encoding, notes=notes)
                frame = expand_rows(frame, n=expand or None, seed=seed, wildcards=wildcards, reading=told)
            intake.bad += [*chunk.bad, *refused]
            intake.add(frame)
            bar.update(chunk.total)
        with store.transaction() as con:
            new, known, otherwise = intake.store(con, status="" if dry_run else "draft" if draft else "imported")
            if not dry_run:
                insert_rows(con, "api_logs", [_log_row(intake, new, notes)])
        report.done = 0 if dry_run else new
        if dry_run:
            report.stage = "import (dry run)"
            report.count("would be new", new)
            report.notes += [f"{row['model']}: {row['prompt_text']!r}" for row in intake.first(SHOWN_ROWS)]
        report.notes += notes.lines()
        report.failures = {place_of(row): f"{row.reason}: {row.raw!r}" for row in intake.bad}
        if reader is not None and not dry_run:
            read_scenes(store, intake.scene_hashes(), reader, report)
        report.count("duplicates in the source", intake.rows - new - known)
        report.count("already stored", known)
        report.count("with prompt syntax", intake.with_syntax)
        report.count("scenes stored before without this annotation, which stay so", otherwise)
        report.skipped = intake.rows - report.done
    return report


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the caller's parameters as they are stored. Raises ParameterError: one is no value that JSON has."""
    if not isinstance(parameters, Mapping):
        raise ParameterError(f"parameters is a {type(parameters).__name__}; give a mapping of names to values")
    try:
        told = plain(parameters)
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"parameters: {error}") from error
    for name, value in parameters.items():
        if value is not None and name not in told:
            raise ParameterError(f"parameters: {name} is {value}, which is no value; leave it out")
    return checked_parameters(told)


def _with_models(frame: pd.DataFrame, model: str, notes: Notes) -> tuple[pd.DataFrame, list[BadRow]]:
    """Return the rows with models under their recorded names, and those whose model data may not name, with the reason.

    The name of a checkpoint that is none here goes to the source.
    """
    why, is_checkpoint = cache(why_refused), cache(_is_checkpoint)  # asked once for each name
    names, sources, refused = list[str | None](), list[Any](), list[BadRow | None]()
    for row in frame.to_dict("records"):
        name, source = row["model"], row.get("source")
        reason = None if name is None else why(name) if isinstance(name, str) else why_refused(name)
        refused.append(BadRow(row["row"], reason, excerpt(row["text"]), row.get("file") or "") if reason else None)
        if name is not None and not reason and is_checkpoint(name):
            notes.add(f"models that are none here, kept in scenes.source ({model} draws)", repr(name))
            name, source = None, {**(source or {}), "model": name}
        names.append(name if name is None or reason else recorded_name("image_generator", name))
        sources.append(source)
    frame = frame.assign(model=names, source=sources)
    return frame[[bad is None for bad in refused]], [bad for bad in refused if bad]


def _is_checkpoint(name: str) -> bool:
    """Say whether a name that data may use is a mere word: no known model, no address, no folder, nothing that was given."""
    if name.lower().endswith(CHECKPOINTS):
        return True
    address = set("/:?") & set(name) or was_given(name) or name in known_models("image_generator")
    return not address and not Path(name).is_dir()


def _log_row(intake: Intake, new: int, notes: Notes) -> dict[str, Any]:
    call = Call("import", intake.origin.get("file", "a DataFrame"), {"experiment": intake.experiment})
    call.request["rows"] = intake.rows + len(intake.bad)
    call.response = {"new_prompts": new, "notes": notes.lines()}
    call.errors = [f"{place_of(row)}: {row.reason}" for row in intake.bad[:LISTED_BAD_ROWS]]
    call.traceback = intake.traceback
    return call.row()
