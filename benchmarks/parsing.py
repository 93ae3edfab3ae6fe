"""Precision, recall and F1 of the scene parser, and its speed: python benchmarks/parsing.py [--json] [--types].

Sets: t2i_r1's rows, split by the SHA-256 of their prompt (a quarter for tuning, the rest for testing), and free text whose elements
were written down (tests/data/README.md): `free_scenes` and `public tune`, on which the parser was tuned, `held_out_scenes`, which
was looked at, and `public test`, which was not. Matching:
- objects: the same noun, or one compound name ending in the other ("coffee table" / "table"); each annotated noun once.
  The annotators' nouns are not exhaustive (half of the "A person is …" rows name no person, parts after "its" are left out), so
  precision and recall count every row but are also given per task type: read the types made from templates first.
  "objects/listed" is those types: all but "complex" and "non" (non-spatial), whose prose names more than its annotation lists.
  "objects/audited" is all test rows, with the differences corrected by what a blind reader of 340 of them found, and its
  95 % interval; "objects/faultless" what a parser without fault would score against the annotation as it stands.
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
from collections.abc import Collection
from typing import Any

import numpy as np
from annotations import DATA, LOCALITIES, PROSE, Noun, annotated, annotated_freely, load_sets, same_noun, summed
from public_sets import ABSENT, public_sets

from forgekit.scene import default_lexicon, parse

SHOWN = ("objects/listed", "objects/audited", "objects/faultless")
MEASURES = ("objects", "counts", "colors", "relations")


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
        found = parsed(row["text"], frozenset(default_lexicon().places))
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


def audited(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return scores for objects with the help of a blind reader, who was given a sample of the nouns that one side has alone.

    The share of things that are really shown in the sample stands for all. "objects/audited" is the parser against what
    is really shown, "objects/faultless" a parser without fault against the annotation as it stands: no parser that finds what is
    shown can score more. Intervals are from 4,000 draws of the sample's shares.
    """
    differing: dict[str, set[tuple[str, str]]] = {"extra": set(), "missed": set()}
    hits = 0
    for row in rows:
        wanted, found = compared(row)["objects"]
        digest = hashlib.sha256(row["prompt"].encode()).hexdigest()[:16]
        differing["extra"] |= {(digest, str(noun)) for noun in unmatched(found, wanted)}
        differing["missed"] |= {(digest, str(noun)) for noun in unmatched(wanted, found)}
        hits += matched(wanted, found)
    read: dict[str, list[bool]] = {"extra": [], "missed": []}
    for line in (DATA / "t2i_r1_audit.jsonl").open(encoding="utf-8"):
        entry = json.loads(line)
        if (entry["prompt"], entry["noun"]) in differing.get(entry["kind"], ()):
            read[entry["kind"]].append(entry["shown"])
    draws, shown = np.random.default_rng(0), {}
    for kind, verdicts in read.items():
        shares = draws.binomial(len(verdicts), np.mean(verdicts), 4000) / len(verdicts)
        shown[kind] = shares * len(differing[kind])
    right, truly = hits + shown["extra"], hits + shown["extra"] + shown["missed"]
    agreed = hits + shown["missed"]
    scores = {
        "objects/audited": _with_interval(right / (hits + len(differing["extra"])), right / truly),
        "objects/faultless": _with_interval(agreed / truly, agreed / (hits + len(differing["missed"]))),
    }
    return {name: {**score, "annotated": sum(map(len, read.values()))} for name, score in scores.items()}


def _with_interval(precision: np.ndarray, recall: np.ndarray) -> dict[str, float]:
    f1 = 2 * precision * recall / (precision + recall)
    low, high = np.quantile(f1, [0.025, 0.975])
    found = {
        "precision": np.median(precision),
        "recall": np.median(recall),
        "f1": np.median(f1),
        "low": low,
        "high": high,
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def unmatched(some: list[tuple[str, ...]], others: list[tuple[str, ...]]) -> list[str]:
    """Return the nouns of `some` that none of `others` matches."""
    free, left = list(others), []
    for (noun,) in some:
        hit = next((other for other in free if _same(noun, other[0])), None)
        if hit is None:
            left.append(noun)
        else:
            free.remove(hit)
    return left


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


def main() -> None:
    """Print the figures as a table or as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true", help="print one JSON document")
    arguments.add_argument("--types", action="store_true", help="list each task type of t2i_r1, too")
    options = arguments.parse_args()
    if (folder := public_sets()) is None:
        raise SystemExit(ABSENT)
    sets = load_sets(folder)
    result = {
        "sets": {name: {"rows": len(rows), "scores": measure(rows)} for name, rows in sets.items()},
        "scenes_per_second": round(speed([row["prompt"] for row in sets["t2i_r1 test"]])),
    }
    result["sets"]["t2i_r1 test"]["scores"] |= audited(sets["t2i_r1 test"])
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['scenes_per_second']} scenes in a second of processor time")
    print(f"{'set':16s} {'rows':>5s} {'measure':18s} {'precision':>9s} {'recall':>7s} {'F1':>7s} {'annotated':>9s}")
    for name, found in result["sets"].items():
        for key, s in found["scores"].items():
            if "/" not in key or key in SHOWN or options.types:
                figures = f"{s['precision']:9.4f} {s['recall']:7.4f} {s['f1']:7.4f} {s['annotated']:9d}"
                figures += f"  [{s['low']:.4f}, {s['high']:.4f}]" if "low" in s else ""
                print(f"{name:16s} {found['rows']:5d} {key:18s} {figures}")


if __name__ == "__main__":
    main()
