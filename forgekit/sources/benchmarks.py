"""Known benchmarks by name: their files, columns and annotation. The files themselves are not shipped."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from forgekit.errors import SourceError, listed
from forgekit.sources import ground_truth, questions
from forgekit.sources.files import files_below
from forgekit.sources.readers import READERS, SUFFIXES
from forgekit.sources.rows import BadRow, Reading, Row

Record = Mapping[str, Any]
Category = Callable[[Record], str | None]


def _columns(*names: str) -> Callable[[Path], Category]:
    return lambda file: lambda record: " / ".join(str(record[n]) for n in names if record.get(n) not in (None, ""))


def _stem(file: Path) -> Category:
    return lambda record: file.stem.removesuffix("_val").removesuffix("_train")


def _data_set(id_column: str) -> Callable[[Path], Category]:
    """Take the data set in an id like "whoops_5"."""
    return lambda file: lambda record: str(record.get(id_column)).rsplit("_", 1)[0]


def _skills(file: Path) -> Category:
    """Take GenAI-Bench's skills from the file beside the prompts: {"basic": {"attribute": [ids], …}, …}."""
    beside = file.with_name("genai_skills.json")
    skills: dict[str, list[str]] = defaultdict(list)
    if beside.is_file() and not beside.is_symlink():
        try:
            levels = json.loads(beside.read_text("utf-8")).values()
        except (ValueError, AttributeError) as error:
            raise SourceError(f"{beside} is no JSON object: {error}") from error
        for skill, ids in ((skill, ids) for level in levels if isinstance(level, dict) for skill, ids in level.items()):
            for one in ids:
                skills[str(one).zfill(5)].append(skill)
    return lambda record: ", ".join(skills.get(str(record.get("id")).zfill(5), ())) or None


def _dimension(file: Path) -> Category:
    """Take the main category of UniGenBench's cells, which hold JSON."""

    def category(record: Record) -> str | None:
        try:
            found = json.loads(record.get("sub_dims_en") or record.get("sub_dims_zh") or "")
        except (TypeError, ValueError):
            return None
        return next((str(found[key]) for key in ("Primary Categories", "一级垂类") if key in found), None)

    return category


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark keeps what."""

    files: tuple[str, ...]  # patterns, the first that a folder holds counts
    text: str
    id: str = ""
    category: Callable[[Path], Category] | None = None
    elements: Callable[[Any], dict[str, Any] | None] | None = None
    group: str = ""  # the column that rows of one prompt share; `elements` then gets all of them
    parameters: Mapping[str, str] = field(default_factory=dict)  # columns, and what we call them
    whole_folder: bool = False  # all its files count, not only the first


BENCHMARKS = {
    "partiprompts": Benchmark(("PartiPrompts.tsv", "*.tsv"), "Prompt", category=_columns("Category", "Challenge")),
    "drawbench": Benchmark(("*drawbench*.csv", "*.csv"), "Prompts", category=_columns("Category")),
    "geneval": Benchmark(
        ("evaluation_metadata.jsonl", "*.jsonl"), "prompt", "", _columns("tag"), ground_truth.from_geneval
    ),
    "geneval2": Benchmark(
        ("geneval2_data.jsonl", "*.jsonl"), "prompt", "", _columns("atom_count"), questions.from_geneval2
    ),
    "t2i-compbench": Benchmark(("*.txt",), "text", category=_stem, whole_folder=True),
    "dsg-1k": Benchmark(
        ("dsg-1k-anns.csv", "*dsg*.csv"), "text", "item_id", _data_set("item_id"), questions.from_dsg, "item_id"
    ),
    "tifa": Benchmark(
        ("*question_answers*.json", "*text_inputs*.json"), "caption", "id", _data_set("id"), questions.from_tifa, "id"
    ),
    "genai-bench": Benchmark(("genai_image.json", "genai_bench*.json", "*.json"), "prompt", "id", _skills),
    "hpsv2": Benchmark(("*.json",), "text", category=_stem, whole_folder=True),
    "gecko": Benchmark(("prompts.csv", "*.csv"), "prompt", "prompt_id", _columns("prompt_type", "dataset_id")),
    "unigenbench": Benchmark(("test_prompts_en.csv", "test_prompts*.csv"), "prompt_en", "index", _dimension),
    "t2i-r1": Benchmark(
        ("*t2i*final*.json", "*.json", "*.jsonl"), "prompt", "", _columns("task_type"), ground_truth.from_t2i_r1
    ),
    "diffusiondb": Benchmark(
        ("metadata*.parquet", "*.parquet"), "prompt", "image_name",
        parameters={
            "seed": "seed", "step": "num_inference_steps", "cfg": "guidance_scale", "width": "width", "height": "height",
        },
    ),
}  # fmt: skip
NAMES = tuple(BENCHMARKS)


def read(name: str, path: Path, reading: Reading) -> Iterator[Row]:
    """Read the benchmark `name` from a file or folder: rows with the columns text, id, category, elements, …

    Raises:
        SourceError: the folder does not hold the benchmark's file, or the file lacks its text column.
    """
    benchmark = BENCHMARKS[name]
    paths = [path] if path.is_file() else _paths(name, path)
    for file in paths:
        category = benchmark.category and benchmark.category(file)
        text = ""
        for row in _groups(READERS[SUFFIXES.get(file.suffix.lower(), "txt")](file, reading), benchmark.group):
            if isinstance(row, BadRow):
                yield row
                continue
            number, records = row
            text = text or _text_column(name, file, records[0])
            record = {"text": records[0].get(text), **_mapped(benchmark, records)}
            if category:
                record["category"] = category(records[0])
            if len(paths) > 1:
                record["file"] = file.name
            yield number, record


def _paths(name: str, folder: Path) -> list[Path]:
    files, _ = files_below(folder)
    for pattern in BENCHMARKS[name].files:
        found = [file for file in files if fnmatch(file.name.lower(), pattern.lower())]
        if found:
            return found if BENCHMARKS[name].whole_folder else found[:1]
    raise SourceError(f"{folder} does not hold {name}; it looks for {', '.join(BENCHMARKS[name].files)}")


def _groups(rows: Iterator[Row], column: str) -> Iterator[tuple[int, list[dict[str, Any]]] | BadRow]:
    """Yield rows that share what stands in `column` as one, under the first one's number; every row where there is none."""
    groups: dict[str, tuple[int, list[dict[str, Any]]]] = {}
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        number, record = row
        if column in record:
            groups.setdefault(str(record[column]), (number, []))[1].append(record)
        else:
            yield number, [record]
    yield from groups.values()


def _text_column(name: str, file: Path, record: Record) -> str:
    wanted = BENCHMARKS[name].text
    found = next((column for column in (wanted, wanted.replace("_en", "_zh")) if column in record), None)
    if found is None:
        raise SourceError(f"{file} is not {name} as we know it: no column {wanted!r}, only {listed(record)}")
    return found


def _mapped(benchmark: Benchmark, records: Sequence[Record]) -> dict[str, Any]:
    """Return id, parameters and elements of a prompt; an annotation not of the known shape is left out, its text stays."""
    record, mapped = records[0], {}
    if benchmark.id in record:
        mapped["id"] = record[benchmark.id]
    if benchmark.parameters:
        mapped["parameters"] = {ours: record[name] for name, ours in benchmark.parameters.items() if name in record}
    if benchmark.elements:
        try:
            mapped["elements"] = benchmark.elements(records if benchmark.group else record)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            mapped["elements"] = None
    return mapped
