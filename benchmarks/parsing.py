"""Precision, recall and F1 of the scene parser, and its speed: python benchmarks/parsing.py [--json] [--types].

Sets: t2i_r1's rows, split by the SHA-256 of their prompt (a quarter for tuning, the rest for testing), and two sets of free text
with elements written by hand: `free_scenes` (the parser was tuned on it) and `held_out_scenes` (it was not). Matching:
- objects: the same noun, or one compound name ending in the other ("coffee table" / "table"); each annotated noun once.
  The annotators' nouns are not exhaustive (half of the "A person is …" rows name no person, parts after "its" are left out), so
  precision and recall count every row but are also given per task type: read the types made from templates first.
  "objects/listed" is those types: all but "complex" and "non" (non-spatial), whose prose names more than its annotation lists.
- counts: (noun, number); colours: (noun, last colour word) from the annotated noun phrases; relations: (noun, relation, noun),
  on t2i_r1 those of its templates, on free text all that say where.
The speed is in scenes for each second of one processor's time, so that other processes do not count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from forgekit.scene.lexicon import default_lexicon
from forgekit.scene.parsing import parse
from forgekit.scene.vocabulary import singular

SHARED = Path(__file__).parents[2] / "shared" / "prompts"  # beside the checkout
SET = SHARED / "t2i_r1" / "geneval_and_t2i_data_final.json"
FREE = Path(__file__).parents[1] / "tests" / "data"
PROSE = ("complex", "non")  # task types whose annotation does not list all nouns
LOCALITIES = {
    "left of": "left of", "on the left of": "left of", "right of": "right of", "on the right of": "right of",
    "above": "above", "on the top of": "above", "below": "below", "on the bottom of": "below", "on top of": "on",
    "next to": "next to", "near": "next to", "on side of": "next to",
}  # fmt: skip
MEASURES = ("objects", "counts", "colors", "relations")


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


def matched(wanted: list[tuple[str, ...]], found: list[tuple[str, ...]]) -> int:
    """Count one-to-one matches: nouns by `same_noun`, what else a tuple holds by equality."""
    free, hits = list(found), 0
    for want in wanted:
        hit = next((f for f in free if all(_same(a, b) for a, b in zip(want, f, strict=True))), None)
        if hit is not None:
            free.remove(hit)
            hits += 1
    return hits


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Noun) and isinstance(other, Noun):
        return same_noun(one, other)
    return one == other


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
    lexicon = default_lexicon()

    def noun(text: str) -> Noun:
        return Noun(singular(text, lexicon))

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


def parsed(text: str, spatial: Collection[str]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the parser finds, in the form of `annotated`, with the relations that are in `spatial`."""
    elements = parse(text)
    objects = elements["objects"]
    return {
        "objects": list(dict.fromkeys((Noun(o["name"]),) for o in objects)),
        "counts": summed((o["name"], o["count"]) for o in objects),
        "colors": [
            (Noun(o["name"]), a["value"].split()[-1]) for o in objects for a in o["attributes"] if a["kind"] == "color"
        ],
        "relations": [
            (Noun(objects[r["subject"]]["name"]), r["predicate"], Noun(objects[r["object"]]["name"]))
            for r in elements["relations"]
            if r["object"] is not None and r["predicate"] in spatial
        ],
    }


def measure(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and the number annotated, for each measure, over all rows and per task type."""
    tallies: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for name, (wanted, found) in compared(row).items():
            hits = matched(wanted, found)
            kind = row.get("task_type")
            keys = [name] if kind is None else [name, f"{name}/{kind}"]
            if name == "objects" and kind is not None and kind not in PROSE:
                keys.append("objects/listed")
            for key in keys:
                tallies[key].update(hits=hits, wanted=len(wanted), found=len(found))
    return {key: _scores(tally) for key, tally in sorted(tallies.items())}


def compared(row: dict[str, Any]) -> dict[str, tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]]:
    """Return (annotated, found) for each measure that the row, of t2i_r1 or of free text, is annotated for."""
    if "prompt" in row:
        wanted, found = annotated(row), parsed(row["prompt"], frozenset(LOCALITIES.values()))
    else:
        wanted = annotated_freely(row)
        found = parsed(row["text"], frozenset(default_lexicon().grammar["spatial"]["words"]))
    if "counts" in wanted:  # scored on the annotated nouns: others stand in no list
        nouns = [w[0] for w in (wanted["counts"] if "prompt" in row else wanted["objects"])]
        found["counts"] = [f for f in found["counts"] if any(same_noun(noun, f[0]) for noun in nouns)]
    return {name: (wanted[name], found[name]) for name in wanted}


def _scores(tally: Counter[str]) -> dict[str, float]:
    precision = tally["hits"] / max(tally["found"], 1)
    recall = tally["hits"] / max(tally["wanted"], 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return {
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(f1, 4),
        "annotated": tally["wanted"],
    }


def speed(texts: list[str]) -> float:
    """Return scenes parsed in a second of one processor's time, the lexicon warm: the best of five passes."""
    for text in texts:
        parse(text)
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for text in texts:
            parse(text)
        best = min(best, time.process_time() - start)
    return len(texts) / best


def load_sets(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every set by name."""
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    sets = {f"t2i_r1 {split}": [r for r in rows if split_of(r["prompt"]) == split] for split in ("tune", "test")}
    for name in ("free_scenes", "held_out_scenes"):
        sets[name] = [json.loads(line) for line in (FREE / f"{name}.jsonl").open(encoding="utf-8")]
    return sets


def main() -> None:
    """Print the figures as a table or as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true", help="print one JSON document")
    arguments.add_argument("--types", action="store_true", help="list each task type of t2i_r1, too")
    arguments.add_argument("--set", type=Path, default=SET, help="t2i_r1's file")
    options = arguments.parse_args()
    sets = load_sets(options.set)
    result = {
        "sets": {name: {"rows": len(rows), "scores": measure(rows)} for name, rows in sets.items()},
        "scenes_per_second": round(speed([row["prompt"] for row in sets["t2i_r1 test"]])),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['scenes_per_second']} scenes in a second of processor time")
    print(f"{'set':16s} {'rows':>5s} {'measure':18s} {'precision':>9s} {'recall':>7s} {'F1':>7s} {'annotated':>9s}")
    for name, found in result["sets"].items():
        for key, s in found["scores"].items():
            if "/" not in key or key == "objects/listed" or options.types:
                figures = f"{s['precision']:9.4f} {s['recall']:7.4f} {s['f1']:7.4f} {s['annotated']:9d}"
                print(f"{name:16s} {found['rows']:5d} {key:18s} {figures}")


if __name__ == "__main__":
    main()
