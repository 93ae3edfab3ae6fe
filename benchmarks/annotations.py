"""Annotated texts for `parsing.py`: t2i_r1's rows, and free text whose elements were written down (tests/data/README.md)."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from forgekit.scene.lexicon import default_lexicon
from forgekit.scene.vocabulary import entry_of

T2I_R1 = "t2i_r1/geneval_and_t2i_data_final.json"
DATA = Path(__file__).parents[1] / "tests" / "data"
PROSE = ("complex", "non")  # task types whose annotation does not list all nouns
LOCALITIES = {
    "left of": "left of", "on the left of": "left of", "right of": "right of", "on the right of": "right of",
    "above": "above", "on the top of": "above", "below": "below", "on the bottom of": "below", "on top of": "on",
    "next to": "next to", "near": "next to", "on side of": "next to",
}  # fmt: skip


def split_of(prompt: str) -> str:
    """Return "tune" for a quarter of the prompts and "test" for the others, by hash."""
    return "tune" if int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % 4 == 0 else "test"


def same_noun(one: str, other: str) -> bool:
    """Say whether two lemmas name the same thing: equal, or one a compound of the other, or "X of …"."""
    one, other = one.removesuffix("s"), other.removesuffix("s")  # "chopstick(s)"
    return (
        one == other
        or f" {one}".endswith(f" {other}")
        or f" {other}".endswith(f" {one}")
        or other.startswith(f"{one} of ")
    )


class Noun(str):
    """A name that is compared by `same_noun`."""


def annotated_freely(row: dict[str, Any]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the gold of a free text says; a count of null is a plural without a number."""
    return {
        "objects": list(dict.fromkeys((Noun(name),) for name, _ in row["objects"])),
        "counts": summed(row["objects"]),
        "colors": [(Noun(name), color.split()[-1]) for name, color in row["colors"]],
        "relations": [(Noun(one), predicate, Noun(other)) for one, predicate, other in row["relations"]],
    }


def summed(counted: Iterable[tuple[str, Any]]) -> list[tuple[Noun, int]]:
    """Return how many there are under each name, where all of them are counted: a black cat and a white cat are two."""
    counts: dict[str, list[Any]] = defaultdict(list)
    for name, count in counted:
        counts[name].append(count)
    return [(Noun(name), sum(n)) for name, n in counts.items() if all(isinstance(count, int) for count in n)]


def annotated(row: dict[str, Any]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the annotators say: a list of tuples for each measure the row is annotated for."""
    wanted: dict[str, list[tuple[Any, ...]]] = {"objects": list(dict.fromkeys((noun(n),) for n in row["nouns"]))}
    if "numeracy_info" in row:
        wanted["counts"] = [(noun(item["obj_name"]), item["num"]) for item in row["numeracy_info"]]
    if row["task_type"] == "color":
        wanted["colors"] = []
        for phrase in row.get("attr_nouns") or []:
            wanted["colors"] += [(noun(phrase.split()[-1]), color) for color in colors_in(phrase)]
    if info := row.get("spatial_info"):
        wanted["relations"] = [(noun(info["obj1"]), LOCALITIES[info["locality"]], noun(info["obj2"]))]
    return wanted


def noun(text: str) -> Noun:
    """Return the lemma of a noun of one or more words: "wine glasses" → "wine glass"."""
    *before, last = text.lower().split()
    return Noun(" ".join([*before, entry_of(last, default_lexicon()).noun or last]))


def colors_in(phrase: str) -> list[str]:
    """Return the colour words before the last word of an annotated phrase: "black and sky blue cat"."""
    known = default_lexicon().meanings
    words, colors = phrase.lower().split()[:-1], []
    while words:
        size = next((n for n in (2, 1) if ("color", " ".join(words[:n])) in known and len(words) >= n), 0)
        if size:
            colors.append(words[size - 1])
        words = words[size or 1 :]
    return colors


def load_sets(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every set by name; `folder` holds the public ones."""
    rows = [json.loads(line) for line in (folder / T2I_R1).open(encoding="utf-8")]
    sets = {f"t2i_r1 {split}": [r for r in rows if split_of(r["prompt"]) == split] for split in ("tune", "test")}
    for name in ("free_scenes", "held_out_scenes"):
        sets[name] = [json.loads(line) for line in (DATA / f"{name}.jsonl").open(encoding="utf-8")]
    public = [json.loads(line) for line in (DATA / "public_scenes.jsonl").open(encoding="utf-8")]
    for split in ("tune", "test"):
        sets[f"public {split}"] = [
            {**row, "text": text_at(folder, row["source"])} for row in public if row["split"] == split
        ]
    return sets


def text_at(folder: Path, source: str) -> str:
    """Return the text of a public set that "file:row" names, the first row being 1."""
    file, _, row = source.rpartition(":")
    return texts_of(folder / file)[int(row) - 1]


@cache
def texts_of(path: Path) -> list[str]:
    """Return the texts of one file of the public sets."""
    with path.open(encoding="utf-8", newline="") as lines:
        if path.suffix == ".txt":
            return [line.strip() for line in lines]
        tabbed = path.suffix == ".tsv"
        rows = csv.DictReader(
            lines, delimiter="\t" if tabbed else ",", quoting=csv.QUOTE_NONE if tabbed else csv.QUOTE_MINIMAL
        )
        return [row.get("Prompt") or row.get("prompt") or row["prompt_en"] for row in rows]
