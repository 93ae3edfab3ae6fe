"""PromptImporter: bring prompt sets in, whole and once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import ParameterError
from forgekit.ids import content_id
from forgekit.models import load_model
from forgekit.scene import scene_hash
from forgekit.stages.report import Call, StageReport, running
from forgekit.store import Store, insert_rows

if TYPE_CHECKING:
    import pandas as pd


def import_prompts(
    store: Store,
    source: str | Path | pd.DataFrame,
    *,
    model: str = "mini",
    experiment: str = "main",
    format: str | None = None,
    text_column: str | None = None,
    columns: Mapping[str, str] | None = None,
    draft: bool = False,
    dry_run: bool = False,
) -> StageReport:
    """Import scene texts as prompts in status `imported`, all of a source or nothing.

    Texts are kept as they stand. Two texts with the same normalised form are one scene; a prompt is
    identified by its scene, model, parameters and experiment, so duplicates are counted, and importing
    again adds nothing. Rows that cannot be used are listed in the report and in `api_logs`.

    Args:
        source: a file or folder of prompts, or a DataFrame; see `forgekit.sources.read` for formats and benchmarks.
        model: the image generator for rows that name none.
        columns: which columns hold what: {"id": …, "category": …, "model": …, "parameters": …}.
        draft: leave the prompts in status `draft`.
        dry_run: store nothing; show the first rows and what would happen.

    Raises:
        SourceError: the source cannot be read, or no text column can be told.
        UnknownModelError: `model` names no image generator.
    """
    load_model("image_generator", model)
    if not experiment:
        raise ParameterError('experiment is empty; give it a name such as "main"')
    import pandas as pd

    frame = source if isinstance(source, pd.DataFrame) else pd.read_csv(source)
    with running("import", total=len(frame), unit="row") as (report, bar):
        scenes, prompts = {}, {}
        for number, row in enumerate(frame.to_dict("records"), 2):
            text = row.get(text_column or "text")
            if not isinstance(text, str) or not text.strip():
                report.failures[f"row {number}"] = "the text is empty"
                continue
            key = scene_hash(text)
            identity = {"scene_hash": key, "model": model, "experiment": experiment}
            prompt_id = content_id("prompt", **identity)
            scenes.setdefault(
                key,
                {
                    "scene_hash": key,
                    "scene_text": text,
                    "first_prompt_id": prompt_id,
                    "source": {"row": number, **{k: v for k, v in row.items() if k != "text"}},
                },
            )
            prompts.setdefault(
                prompt_id,
                {
                    "id": prompt_id,
                    **identity,
                    "prompt_text": text,
                    "base_parameters": {},
                    "generation_iteration": 0,
                    "status": "imported",
                },
            )
        with store.transaction() as con:
            insert_rows(con, "scenes", list(scenes.values()))
            report.done = insert_rows(con, "prompts", list(prompts.values()))
        report.skipped = len(frame) - report.done - report.failed
        bar.update(len(frame))
    return report
