"""Import a million prompts and say how long it took and how much memory: python benchmarks/importing.py [--json] [--rows N].

The file is made here: the n-th time round, a scene gets ", take n", and one row in twenty repeats an earlier row in capitals.
The public sets, where they are there (data/public/README.md), are imported, too, each into a store of its own.

Each import runs in its own process, from an empty store until it is closed: the rows read, texts normalised and hashed, each scene and
each prompt once, ids made, sources kept, all in one transaction. On a loaded machine look at the processor time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from public_sets import ABSENT, public_sets

MOST_SECONDS, MOST_GIB = 120, 2.0  # for a million rows
ROOT = Path(__file__).parents[1]
PARTS = (
    ("a", "two", "a pair of", "seven", "many"),
    ("red", "weathered blue", "tiny golden", "glossy black", "striped"),
    ("bicycles", "owls", "teapots", "lighthouses", "old suitcases", "paper lanterns"),
    ("left of", "under", "on top of", "reflected in", "behind"),
    ("a wooden table", "a mirror in a long hallway", "the café “Été”", "a snowy field at dawn", "two sleeping dogs"),
)
# A set's folder or file, and the benchmark that it is, if any.
SETS = {
    "partiprompts": "partiprompts", "t2i_compbench": "t2i-compbench", "t2i_r1": "t2i-r1", "abc6k": None, "agiqa3k/data.csv": None,
    "unigenbench": "unigenbench", "gecko": "gecko",
}  # fmt: skip


def write_prompts(path: Path, rows: int) -> None:
    """Write `rows` prompts as JSON Lines with the fields id, text, category."""
    texts = [" ".join(words) for words in product(*PARTS)]
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            turn, place = divmod(row, len(texts))
            text = f"{texts[place]}, take {turn}" if turn else texts[place]
            if row % 20 == 19:
                text = texts[row * 7 % min(len(texts), row)].upper()
            record = {"id": f"p-{row}", "text": text, "category": f"c{row % 50}"}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def measure(path: Path, format: str | None) -> dict[str, Any]:
    """Import a source in this process and return what it took; importing the libraries is not counted."""
    import forgekit as fk
    import forgekit.stages.importing

    with tempfile.TemporaryDirectory() as folder:
        start, processor = time.perf_counter(), time.process_time()
        report = fk.import_prompts(fk.open_store(Path(folder) / "forge.duckdb"), path, format=format)
        took = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processor}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows = report.done + report.skipped + report.failed
    return {
        "rows": rows, "prompts": report.done, "bad": report.failed,
        **{name: round(value, 2) for name, value in took.items()}, "peak_gib": round(peak, 2),
    }  # fmt: skip


def measured(path: Path, format: str | None = None) -> dict[str, Any]:
    """Return `measure`'s figures from a process of their own."""
    command = [sys.executable, __file__, "--file", str(path), *(["--format", format] if format else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    """Print the figures as a table or as JSON; the exit status is 1 where a limit is exceeded."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--file", type=Path, help=argparse.SUPPRESS)  # one source, in this process
    arguments.add_argument("--format", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.file:
        print(json.dumps(measure(options.file, options.format)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.jsonl"
        write_prompts(path, options.rows)
        result = {"made here": measured(path)}
    folder = public_sets()
    for name, format in SETS.items() if folder else ():
        if (folder / name).exists():
            result[name] = measured(folder / name, format)
    if options.json:
        print(json.dumps(result))
    else:
        for name, figures in result.items():
            print(f"{name:18s}", *(f"{key} {value:<10}" for key, value in figures.items()))
        print(
            f"at most {MOST_SECONDS} s and {MOST_GIB} GiB for a million rows", *([] if folder else [ABSENT]), sep="\n"
        )
    large = result["made here"]
    sys.exit(large["seconds"] > MOST_SECONDS * max(1, large["rows"] / 1e6) or large["peak_gib"] > MOST_GIB)


if __name__ == "__main__":
    main()
