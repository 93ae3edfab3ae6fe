"""Known benchmarks by name: their files, columns and annotation. The files themselves are not shipped."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from forgekit.errors import SourceError
from forgekit.sources import ground_truth
from forgekit.sources.files import files_below, read_lines
from forgekit.sources.json_files import read_json, read_json_lines
from forgekit.sources.rows import BadRow, Block
from forgekit.sources.tables import read_delimited, read_parquet


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark keeps what. `category` names columns, joined by " / "; "@stem" is the file's bare name."""

    files: tuple[str, ...]  # patterns, the first that a folder holds counts
    text: str
    id: str = ""
    category: tuple[str, ...] = ()
    elements: Callable[[Any], dict[str, Any] | None] | None = None
    group: str = ""  # the column that rows of one prompt share; `elements` then gets all of them
    model: str = ""
    parameters: tuple[str, ...] = ()


BENCHMARKS = {
    "partiprompts": Benchmark(("PartiPrompts.tsv", "*.tsv"), "Prompt", category=("Category", "Challenge")),
    "drawbench": Benchmark(("*drawbench*.csv", "*.csv"), "Prompts", category=("Category",)),
    "geneval": Benchmark(
        ("evaluation_metadata.jsonl", "*.jsonl"), "prompt", category=("tag",), elements=ground_truth.from_geneval
    ),
    "geneval2": Benchmark(
        ("geneval2_data.jsonl", "*.jsonl"), "prompt", category=("atom_count",), elements=ground_truth.from_geneval2
    ),
    "t2i-compbench": Benchmark(("*.txt",), "text", category=("@stem",)),
    "dsg-1k": Benchmark(
        ("dsg-1k-anns.csv", "*dsg*.csv"), "text", "item_id", ("@source",), ground_truth.from_dsg, group="item_id"
    ),
    "tifa": Benchmark(
        ("*question_answers*.json", "*text_inputs*.json"),
        "caption",
        "id",
        ("@source",),
        ground_truth.from_tifa,
        group="id",
    ),
    "genai-bench": Benchmark(
        ("genai_image.json", "genai_bench*.json", "*.json"), "prompt", "id", category=("@skills",)
    ),
    "hpsv2": Benchmark(("*.json",), "text", category=("@stem",)),
    "gecko": Benchmark(("prompts.csv", "*.csv"), "prompt", "prompt_id", ("prompt_type", "dataset_id")),
    "unigenbench": Benchmark(("test_prompts_en.csv", "test_prompts*.csv"), "prompt_en", "index", ("@dimensions",)),
    "t2i-r1": Benchmark(
        ("*t2i*final*.json", "*.json", "*.jsonl"), "prompt", category=("task_type",), elements=ground_truth.from_t2i_r1
    ),
    "diffusiondb": Benchmark(
        ("metadata*.parquet", "*.parquet"),
        "prompt",
        "image_name",
        parameters=("seed", "step", "cfg", "width", "height"),
    ),
}
NAMES = tuple(BENCHMARKS)
READERS = {
    ".tsv": lambda path: read_delimited(path, "\t"),
    ".csv": lambda path: read_delimited(path, ","),
    ".jsonl": read_json_lines,
    ".json": read_json,
    ".txt": read_lines,
    ".parquet": read_parquet,
}
RENAMED = {"step": "num_inference_steps", "cfg": "guidance_scale"}
MANY_FILES = frozenset({"t2i-compbench", "hpsv2"})


def read(name: str, path: Path) -> Iterator[Block]:
    """Read the benchmark `name` from a file or folder: blocks with the columns text, id, category, elements, …

    Raises:
        SourceError: the folder does not hold the benchmark's file, or the file lacks its text column.
    """
    benchmark = BENCHMARKS[name]
    paths = _paths(name, benchmark, path)
    for file in paths:
        for block in READERS.get(file.suffix.lower(), read_lines)(file):
            yield _mapped(name, benchmark, file, block, several=len(paths) > 1)


def _paths(name: str, benchmark: Benchmark, path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    names, _ = files_below(path, "*")
    for pattern in benchmark.files:
        found = [file for file in names if fnmatch(file.name.lower(), pattern.lower())]
        if found:
            return found if name in MANY_FILES else found[:1]
    raise SourceError(f"{path} does not hold {name}; it looks for {', '.join(benchmark.files)}")


def _mapped(name: str, benchmark: Benchmark, file: Path, block: Block, *, several: bool) -> Block:
    columns, count = block.columns, len(block.rows)
    text = benchmark.text if benchmark.text in columns else _other_language(benchmark.text, columns)
    if text not in columns:
        if not columns:
            return block
        raise SourceError(
            f"{file} is not {name} as we know it: no column {benchmark.text!r}, only {', '.join(columns)}"
        )
    if benchmark.group and benchmark.group in columns:
        return _grouped(benchmark, block)
    result: dict[str, list[Any]] = {"text": columns[text]}
    if benchmark.id in columns:
        result["id"] = columns[benchmark.id]
    if benchmark.category:
        parts = [_category(part, file, columns, count) for part in benchmark.category]
        result["category"] = [
            " / ".join(str(p) for p in row if p not in (None, "")) for row in zip(*parts, strict=True)
        ]
    if benchmark.parameters:
        named = {RENAMED.get(p, p): columns[p] for p in benchmark.parameters if p in columns}
        result["parameters"] = [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
    if several:
        result["file"] = [file.name] * count
    bad = list(block.bad)
    if benchmark.elements:
        result["elements"], bad = _annotated(benchmark, block)
    return Block(block.rows, result, bad, block.blank)


def _other_language(text: str, columns: dict[str, list[Any]]) -> str:
    return text.replace("_en", "_zh") if text.replace("_en", "_zh") in columns else text


def _category(part: str, file: Path, columns: dict[str, list[Any]], count: int) -> list[Any]:
    if part == "@stem":
        return [file.stem.removesuffix("_val").removesuffix("_train")] * count
    if part == "@skills":
        return _skills(file, columns, count)
    if part == "@dimensions":
        cells = columns.get("sub_dims_en") or columns.get("sub_dims_zh") or [None] * count
        return [_dimension(cell) for cell in cells]
    return columns.get(part, [None] * count)


def _dimension(cell: Any) -> str | None:
    try:
        found = json.loads(cell)
    except (TypeError, ValueError):
        return None
    return next((str(found[key]) for key in ("Primary Categories", "一级垂类") if key in found), None)


def _skills(file: Path, columns: dict[str, list[Any]], count: int) -> list[Any]:
    """GenAI-Bench keeps the skills in a file beside the prompts: {"basic": {"attribute": [ids], …}, …}."""
    beside = file.with_name("genai_skills.json")
    if not beside.is_file() or beside.is_symlink() or "id" not in columns:
        return [None] * count
    skills: dict[str, list[str]] = defaultdict(list)
    for level in json.loads(beside.read_text("utf-8")).values():
        for skill, ids in level.items() if isinstance(level, dict) else ():
            for one in ids:
                skills[str(one).zfill(5)].append(skill)
    return [", ".join(skills.get(str(one).zfill(5), ())) or None for one in columns["id"]]


def _annotated(benchmark: Benchmark, block: Block) -> tuple[list[Any], list[BadRow]]:
    """Read each row's annotation; one that is not of the known shape is left out, its text stays."""
    names = list(block.columns)
    documents = []
    for values in zip(*block.columns.values(), strict=True):
        try:
            documents.append(benchmark.elements(dict(zip(names, values, strict=True))) if benchmark.elements else None)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            documents.append(None)
    return documents, list(block.bad)


def _grouped(benchmark: Benchmark, block: Block) -> Block:
    """Make one row of all rows that share an id: one prompt with its questions. Its number is the first one's."""
    groups: dict[Any, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    names = list(block.columns)
    for row, values in zip(block.rows, zip(*block.columns.values(), strict=True), strict=True):
        record = dict(zip(names, values, strict=True))
        groups[record[benchmark.group]].append((row, record))
    records = [[record for _, record in group] for group in groups.values()]
    columns = {
        "text": [group[0][benchmark.text] for group in records],
        "id": list(groups),
        "category": [_source(key) for key in groups],
        "elements": [_document(benchmark, group) for group in records],
    }
    return Block([group[0][0] for group in groups.values()], columns, block.bad, block.blank)


def _document(benchmark: Benchmark, records: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    try:
        return benchmark.elements(records) if benchmark.elements else None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None


def _source(key: Any) -> str:
    """Return the data set in an id like "whoops_5"."""
    return str(key).rsplit("_", 1)[0]
