"""Precision, recall and F1 of the scene parser on t2i_r1's annotation, and its speed: python benchmarks/parsing.py [--json].

The rows are split by the SHA-256 of their prompt: a quarter is for tuning, the rest is reported. Matching:
- objects: the same noun, or one compound name ending in the other ("coffee table" / "table"); each annotated noun once.
  The annotators' nouns are not exhaustive (half of the "A person is …" rows name no person, parts after "its" are left out), so
  precision and recall count every row but are also given per task type: read the types made from templates first.
- counts: (noun, number); colours: (noun, last colour word) from the annotated noun phrases; relations: (noun, relation, noun).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from forgekit.scene.lexicon import default_lexicon
from forgekit.scene.parsing import parse
from forgekit.scene.vocabulary import singular

SHARED = Path(__file__).parents[2] / "shared" / "prompts"  # beside the checkout
SET = SHARED / "t2i_r1" / "geneval_and_t2i_data_final.json"
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


def parsed(row: dict[str, Any]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the parser finds, in the form of `annotated`."""
    elements = parse(row["prompt"])
    objects = elements["objects"]
    spatial = set(LOCALITIES.values())
    return {
        "objects": list(dict.fromkeys((Noun(o["name"]),) for o in objects)),
        "counts": [(Noun(o["name"]), o["count"]) for o in objects if isinstance(o["count"], int)],
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
        found = parsed(row)
        for name, wanted in annotated(row).items():
            if name == "counts":  # scored on the annotated nouns: others stand in no list
                found[name] = [f for f in found[name] if any(same_noun(w[0], f[0]) for w in wanted)]
            hits = matched(wanted, found[name])
            for key in (name, f"{name}/{row['task_type']}"):
                tallies[key].update(hits=hits, wanted=len(wanted), found=len(found[name]))
    return {key: _scores(tally) for key, tally in sorted(tallies.items())}


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


def speed(rows: list[dict[str, Any]]) -> float:
    """Return scenes parsed in a second of one processor's time, the lexicon warm; other processes do not count."""
    texts = [row["prompt"] for row in rows]
    for text in texts:
        parse(text)
    start = time.process_time()
    for text in texts:
        parse(text)
    return len(texts) / (time.process_time() - start)


def main() -> None:
    """Print the figures as a table or as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--split", choices=("test", "tune"), default="test")
    arguments.add_argument("--set", type=Path, default=SET)
    options = arguments.parse_args()
    rows = [json.loads(line) for line in options.set.open(encoding="utf-8")]
    rows = [row for row in rows if split_of(row["prompt"]) == options.split]
    result = {
        "rows": len(rows),
        "split": options.split,
        "scores": measure(rows),
        "scenes_per_second": round(speed(rows)),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"{len(rows)} rows ({options.split}), {result['scenes_per_second']} scenes a second")
    for key, scores in result["scores"].items():
        print(f"{key:22s}", *(f"{name} {value:<8}" for name, value in scores.items()))


if __name__ == "__main__":
    main()
