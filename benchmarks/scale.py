"""How the store grows: file size, compaction, and what is asked of it, on made-up rows.

    python benchmarks/scale.py [--images 1000000] [--folder /tmp/forgekit-scale] [--json]
    python benchmarks/scale.py --store data/forge.duckdb   # a store of yours: what its file holds, and what compaction gives

The rows are those of benchmarks/trends.py (200 images a scene in 4 or more versions, 4 judges, 3 elements: 12 element scores an
image) with documents as long as real ones: a picture's metadata with its draw key and prompt, a verdict's description. The
store is filled under the real schema and kept for the next run. Seconds are of the second of two calls.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import duckdb
import trends as made

from forgekit.store import Store, open_store

METADATA = """json_object('seed', i % 50, 'draw_key', sha256('draw' || i), 'model', 'mini', 'repo', 'embedded',
    'prompt', 'a red circle left of a blue square, scene ' || i // 250, 'dtype', 'float32', 'device', 'cpu',
    'pipeline', 'FluxPipeline', 'width', 64, 'height', 64, 'duration_s', round(random(), 4), 'parameters',
    json_object('num_inference_steps', 16, 'true_cfg_scale', 3.0, 'negative_prompt', ''), 'truncated', null,
    'versions', json_object('torch', '2.14.1', 'diffusers', '0.42.1', 'transformers', '5.24.0'))"""
OUTPUT = """json_object('description', 'a red circle and a blue square, number ' || i % 1000, 'confidence_scores',
    json_object('objects', round(random(), 4), 'colors', round(random(), 4), 'spatial', round(random(), 4)), 'detected_artifacts', [],
    'metrics', json_object('clip_score', round(random(), 6), 'soft_tifa_am', round(random(), 6)))"""
ANALYSIS = """json_object('text_match_score', round(random(), 6), 'missing_elements', ['a red circle'][:i % 2],
    'unwanted_elements', [], 'style_deviation', null)"""
PARTITIONED = """
copy (
    select p.experiment, e.vision_model, e.scene_hash, e.image_id, e.element_scores, e.soft_tifa_gm, e.created_at
    from store.image_evaluations e
    join store.prompts p on p.id = e.prompt_id
) to '{folder}' (format parquet, compression zstd, partition_by (experiment, vision_model), overwrite)
"""
OVER_FILES = """
select vision_model, count(*), avg(soft_tifa_gm), quantile_cont(soft_tifa_gm, [0.1, 0.5, 0.9])
from read_parquet('{folder}/**/*.parquet', hive_partitioning = true)
group by vision_model
"""


def fill(store: Store, images: int) -> None:
    """Fill an empty store as benchmarks/trends.py does, with documents as long as real ones."""
    statements = list(made.FILL)
    statements[2] = statements[2].replace(f"'{{\"seed\": ' || i % {made.SEEDS} || '}}'", METADATA)
    columns = "judge_key, model_output, adherence_analysis)"
    statements[3] = statements[3].replace("judge_key)", columns, 1)
    statements[3] = statements[3].replace("sha256('judge' || i % 4)", f"sha256('judge' || i % 4), {OUTPUT}, {ANALYSIS}")
    assert statements[2] != made.FILL[2] and statements[3].count("json_object") > 3
    before, made.FILL = made.FILL, tuple(statements)
    try:
        made.fill(store, images * made.JUDGES)
    finally:
        made.FILL = before


def mib(path: Path) -> float:
    """Return the size of a file, or of all files in a folder, in MiB."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return round(sum(file.stat().st_size for file in files) / 2**20, 2)


def compacted(path: Path) -> dict[str, Any]:
    """Copy a store into a new file and say what both hold."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        copy = open_store(Path(folder) / "copy.duckdb").path
        started = time.perf_counter()
        with duckdb.connect(str(copy)) as con:
            con.execute(f"attach '{path}' as old (read_only)")
            told = con.execute(
                "select used_blocks, free_blocks from pragma_database_size() where database_name = 'old'"
            )
            used, free = told.fetchone() or (0, 0)
            tables = con.execute(
                "select table_name from duckdb_tables() where database_name = 'old' order by table_oid"
            )
            for (table,) in tables.fetchall():
                copy_rows(con, table)
        return {
            "file_mib": mib(path), "used_blocks": used, "free_blocks": free, "compacted_mib": mib(copy),
            "compacting_s": round(time.perf_counter() - started, 2),
        }  # fmt: skip


def copy_rows(con: duckdb.DuckDBPyConnection, table: str) -> None:
    """Copy a table; of one whose rows have parents in it the parents first, which `copy from database` does not do."""
    if con.execute(f"select count(*) from {table}").fetchall()[0][0]:
        return  # what the schema brings with it
    parent = {"prompts": "parent_prompt_id", "prompt_learnings": "parent_learning_id"}.get(table)
    where = f"where ({parent} is null or {parent} in (select id from {table}))" if parent else ""
    new = f"and id not in (select id from {table})" if parent else ""
    added = 1
    while added:
        added = con.execute(f"insert into {table} by name from old.{table} {where} {new}".strip()).fetchall()[0][0]
        added = added if parent else 0


def timed(ask: Callable[[], Any]) -> dict[str, float]:
    """Return the seconds of the second of two calls, of the clock and of the processor."""
    for _ in range(2):
        clock, processor = time.perf_counter(), time.process_time()
        ask()
        found = {"s": round(time.perf_counter() - clock, 3), "cpu_s": round(time.process_time() - processor, 3)}
    return found


def first_view(store: Store) -> None:
    """Ask what the gallery asks when it opens: what there is to choose from, and the first page of cards."""
    from forgekit.show.gallery import begin
    from forgekit.show.selection import Selection
    from forgekit.trends.cards import Choice, find_cards

    find_cards(store, Choice(**begin(Selection.first(store, None, None, None))["choice"]), limit=60)


def asked(store: Store) -> dict[str, dict[str, float]]:
    """Time what stages, trends, the explorer and the mirror ask."""
    import forgekit as fk
    from forgekit import trends
    from forgekit.tracking.run_contents import due_runs

    return {
        "generate, nothing due": timed(partial(fk.generate_images, store)),
        "evaluate, nothing due": timed(partial(fk.evaluate_images, store, vision_models=["mini-clip"])),
        "refine, nothing due": timed(partial(fk.refine_prompts, store)),
        "trends.adherence": timed(partial(trends.adherence, store)),
        "trends.distributions": timed(partial(trends.distributions, store)),
        "explorer, first view": timed(partial(first_view, store)),
        "mirror, runs due": timed(partial(due_runs, store)),
    }


def over_parquet(store: Store, folder: Path) -> dict[str, Any]:
    """Write the verdicts as Parquet, a folder per experiment and judge, and ask DuckDB about the files."""
    shutil.rmtree(folder, ignore_errors=True)
    with duckdb.connect() as con:
        con.execute(f"attach '{store.path}' as store (read_only)")
        writing = time.perf_counter()
        con.execute(PARTITIONED.format(folder=folder))
        writing = time.perf_counter() - writing
        question = OVER_FILES.format(folder=folder)
        return {
            "mib": mib(folder),
            "writing_s": round(writing, 1),
            "one question": timed(lambda: con.execute(question).fetchall()),
        }


def main() -> None:
    """Fill where needed, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "forgekit-scale")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.store:
        print(json.dumps(compacted(arguments.store)))
        return
    store = open_store(arguments.folder / f"{arguments.images}.duckdb")
    if not store.rows("select count(*) as n from generated_images")[0]["n"]:
        started = time.perf_counter()
        fill(store, arguments.images)
        print(f"filled in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    counts = store.rows(
        "select (select count(*) from generated_images) as images, (select count(*) from image_evaluations) as verdicts,"
        " (select count(*) from prompts) as prompts"
    )[0]
    result = {"rows": counts, "file": compacted(store.path), "seconds": asked(store)}
    result["parquet"] = over_parquet(store, arguments.folder / "parquet")
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
