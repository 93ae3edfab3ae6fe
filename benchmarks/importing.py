"""Import a million prompts against DuckDB's own read of the same file into a keyed table: python benchmarks/importing.py [--json].

The file is made from ../shared/prompts/load_test (58,722 distinct prompts): the n-th time round a prompt gets ", take n", and one
row in twenty repeats an earlier row in capitals. Both sides start from an empty database file, and end when it is closed.

- read: `insert or ignore into t select … from read_json(…)`, keyed by the text, as taking each prompt once needs. (A table keyed by
  the row's unique id takes about half of that; --key id measures it.)
- import: `forgekit.import_prompts`: the same file read, texts normalised and hashed, each scene and each prompt once, ids made,
  source kept, foreign keys kept, logged, all in one transaction.

Each side runs in its own process, whose wall time, processor time and peak memory are taken; on a loaded machine compare the
processor times.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOAD_TEST = ROOT.parent / "shared" / "prompts" / "load_test" / "load_prompts.jsonl"
COLUMNS = "columns = {id: 'VARCHAR', text: 'VARCHAR', category: 'VARCHAR'}"
MOST_TIMES, MOST_GIB = 3.0, 2.0


def write_prompts(path: Path, rows: int) -> None:
    """Write `rows` prompts as JSON Lines with the fields id, text, category."""
    with LOAD_TEST.open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            turn, place = divmod(row, len(texts))
            text = f"{texts[place]}, take {turn}" if turn else texts[place]
            if row % 20 == 19:
                text = texts[row * 7 % min(len(texts), row)].upper()
            record = {"id": f"p-{row}", "text": text, "category": f"c{row % 50}"}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read(path: Path, folder: Path, key: str) -> int:
    """Let DuckDB read the file into a table keyed by `key`; return its rows."""
    import duckdb

    con = duckdb.connect(str(folder / "read.duckdb"))
    names = [key, *({"id", "text", "category"} - {key})]
    con.execute(f"create table t ({key} varchar primary key, {names[1]} varchar, {names[2]} varchar)")
    con.execute(
        f"insert or ignore into t select {', '.join(names)} from read_json(?, format = 'newline_delimited', {COLUMNS})",
        [str(path)],
    )
    rows = con.execute("select count(*) from t").fetchall()[0][0]
    con.close()
    return rows


def import_(path: Path, folder: Path, key: str) -> int:
    """Import the file with forgekit; return how many prompts it made."""
    import forgekit as fk

    return fk.import_prompts(fk.open_store(folder / "forge.duckdb"), path).done


SIDES = {"read": read, "import": import_}


def measure(side: str, path: Path, key: str) -> dict[str, Any]:
    """Run one side in this process and return what it took; importing the libraries is not counted."""
    import duckdb  # noqa: F401
    import pyarrow  # noqa: F401

    import forgekit.stages.importing  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        start, processor = time.perf_counter(), time.process_time()
        rows = SIDES[side](path, Path(folder), key)
        took = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processor}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"rows_made": rows, **{k: round(v, 2) for k, v in took.items()}, "peak_gib": round(peak, 2)}


def main() -> None:
    """Print the figures as a table or as JSON; the exit status is 1 where a limit is exceeded."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--key", choices=("text", "id"), default="text")
    arguments.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # one side, in its own process
    arguments.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.side:
        print(json.dumps(measure(options.side, options.file, options.key)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.jsonl"
        write_prompts(path, options.rows)
        command = [sys.executable, __file__, "--file", str(path), "--key", options.key, "--side"]
        sides = {
            side: json.loads(subprocess.run([*command, side], capture_output=True, text=True, check=True).stdout)
            for side in SIDES
        }
    ratios = {name: round(sides["import"][name] / sides["read"][name], 2) for name in ("seconds", "processor_seconds")}
    result = {"rows": options.rows, "key": options.key, **sides, "times_as_long": ratios}
    if options.json:
        print(json.dumps(result))
    else:
        print(f"{options.rows:,} rows; plain read keyed by {options.key}")
        for side in SIDES:
            print(f"{side:8s}", *(f"{name} {value:<10}" for name, value in sides[side].items()))
        print(
            f"times as long: wall {ratios['seconds']}, processor {ratios['processor_seconds']} (at most {MOST_TIMES})"
        )
    sys.exit(ratios["processor_seconds"] > MOST_TIMES or sides["import"]["peak_gib"] > MOST_GIB)


if __name__ == "__main__":
    main()
