"""Take the record out: tables as Parquet, or images with what is known of them as a Hugging Face `imagefolder`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from forgekit.errors import ItemError, ParameterError
from forgekit.progress import StageReport, running
from forgekit.store import Store
from forgekit.store.images import here, link_or_copy, stored_file
from forgekit.trends import arms

CHOSEN = "select id from prompts where experiment in (select unnest($arms::varchar[]))"

# What is exported, and which of its rows belong to the chosen prompts: the six tables of the record, and its scores.
OF_PROMPTS = f"prompt_id in ({CHOSEN})"
TABLES = {
    "scenes": f"scene_hash in (select scene_hash from prompts where id in ({CHOSEN}))",
    "prompts": f"id in ({CHOSEN})",
    **dict.fromkeys(("generated_images", "image_evaluations", "prompt_learnings"), OF_PROMPTS),
    "api_logs": f"""
        {OF_PROMPTS}
        or list_has_any(request ->> '$.requests[*].prompt_id', (select list(id::varchar) from ({CHOSEN})))
        or list_has_any(request ->> '$.images[*]', (select list(id::varchar) from generated_images where {OF_PROMPTS}))
        or request ->> '$.experiment' in (select unnest($arms::varchar[]))
    """,
    **dict.fromkeys(("image_scores", "element_scores", "prompt_scores"), OF_PROMPTS),
}

IMAGES = f"""
select
    i.image_path,
    cast(i.id as varchar) as image_id,
    p.prompt_text as text,
    s.scene_text as scene,
    p.experiment, p.model,
    p.generation_iteration as iteration,
    cast(p.id as varchar) as prompt_id,
    try_cast(i.generation_metadata ->> '$.seed' as bigint) as seed,
    i.adherence_score, i.is_adhering
from generated_images i
join prompts p on p.id = i.prompt_id
join scenes s using (scene_hash)
where p.id in ({CHOSEN})
order by p.experiment, s.created_at, s.scene_hash, p.generation_iteration, p.id, seed, i.id
"""
SCORES = f"""
select
    cast(i.image_id as varchar) as image_id,
    'score_' || i.vision_model as judge,
    any_value(i.soft_tifa_gm) as score
from image_scores i
join current_scores c using (prompt_id, vision_model, judge_key)
where i.prompt_id in ({CHOSEN})
group by all
"""

CARD = """---
task_categories: [text-to-image]
configs:
- config_name: default
  data_files: [metadata.jsonl, "images/*"]
---
{images} images of {scenes} scenes, exported by forgekit from the experiments {experiments}. Read them with
`datasets.load_dataset("imagefolder", data_dir=".")`. `text` is the prompt, `scene` what was asked for,
`adherence_score` what the judge that steered says (0 to 1), `score_JUDGE` what each judge says; null: no verdict.
"""


def export_store(
    store: Store, folder: str | Path, *, format: str = "parquet", experiment: str | None = None
) -> StageReport:
    """Write the record into a new folder, whole or not at all.

    Args:
        folder: must not be there yet, or be empty.
        format: "parquet" has a file per table and one for the scores of images, elements and prompts; ids, statuses and
            JSON are text. "imagefolder" has the images (linked, not copied, on the same disk) and `metadata.jsonl`.
        experiment: this experiment, or all arms of this study, only.

    Raises:
        ParameterError: the folder has something in it, or there is no such format or experiment.
    """
    folder = Path(folder)
    writers = {"parquet": _write_tables, "imagefolder": _write_images}
    if format not in writers:
        raise ParameterError(f"format={format!r}: give {' or '.join(map(repr, writers))}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ParameterError(f"{folder} is there and not empty; give a new folder")
    chosen = arms(store, experiment)
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        with running("export", total=0, unit="file") as (report, _):
            writers[format](store, partial, chosen, report)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def _write_tables(store: Store, folder: Path, experiments: Sequence[str], report: StageReport) -> None:
    from pyarrow.parquet import write_table

    for table, wanted in TABLES.items():
        with store.transaction() as con:  # written by pyarrow: SQL of a stranger's store reaches no file
            rows = con.sql(f"select * from {table} where {wanted}", params={"arms": list(experiments)})
            columns = map(_readable, rows.columns, map(str, rows.types))
            found = rows.project(", ".join(columns)).to_arrow_table()
        write_table(found, folder / f"{table}.parquet")
        report.count(f"rows of {table}", found.num_rows)
        report.done += 1


def _readable(column: str, kind: str) -> str:
    """Return a column as text where other readers of Parquet do not know DuckDB's type, or show it as bytes."""
    return f"{column}::varchar as {column}" if kind in ("UUID", "JSON") or kind.startswith("ENUM") else column


def _write_images(store: Store, folder: Path, experiments: Sequence[str], report: StageReport) -> None:
    (folder / "images").mkdir()
    images = store.df(IMAGES, arms=list(experiments))
    names = ("images/" + images["image_id"]).str.cat(images["image_path"].map(lambda path: Path(path).suffix))
    images.insert(0, "file_name", names)
    for source, name in zip(images.pop("image_path"), names, strict=True):
        file = stored_file(store.folder, source)
        if isinstance(file, ItemError):
            report.failures[source] = file.reason
            continue
        try:
            link_or_copy(here(file), folder / name)
        except OSError as error:
            report.failures[source] = error.strerror or str(error)
    judged = store.df(SCORES, arms=list(experiments)).pivot(index="image_id", columns="judge", values="score")
    written = images[[(folder / name).exists() for name in names]].join(judged, on="image_id")  # a column per judge
    written.to_json(folder / "metadata.jsonl", orient="records", lines=True, force_ascii=False)
    listed = ", ".join(experiments)
    card = CARD.format(images=len(written), scenes=written["scene"].nunique(), experiments=listed)
    (folder / "README.md").write_text(card, "utf-8")
    report.done = len(written)
