"""How well texts in the shape of what people post are understood, and what is asked about them.

    python benchmarks/real_texts.py [--split test] [--kinds] [--json]
    python benchmarks/real_texts.py --split test --list unread     # texts with the questions that nobody has read yet, as JSON Lines
    python benchmarks/real_texts.py --split dev --list refused     # or with those that were refused and are still asked

The texts, their annotation, and the readings of the questions are described in tests/data/README.md. Objects, counts and relations
are matched as in `parsing.py`, but
- attributes: (noun, last word); an attribute that the other side has as part of the name is found ("stone bridge");
- negations: the noun that must be absent;
- only English texts count for these; of the others "nothing made up" is the share that got no elements.
A scene is refused if one of its questions was refused by the reader, or is asked twice; the share is of the scenes that ask
anything. Intervals are of 2,000 bootstrap draws of the texts, 95 %.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from annotations import DATA, Noun, annotated_freely, same_noun
from parsing import matched, parsed

from forgekit.scene import parse
from forgekit.scene.elements import list_elements
from forgekit.scene.lexicon import default_lexicon

Row = dict[str, Any]
Tally = tuple[int, int, int, int]  # hits among the wanted, wanted, hits among the found, found
MEASURES = ("objects", "counts", "attributes", "relations", "negations")


def load_texts(split: str) -> list[Row]:
    """Return the annotated texts of one half, "dev" or "test"."""
    rows = [json.loads(line) for line in (DATA / "real_texts.jsonl").open(encoding="utf-8")]
    return [row for row in rows if row["split"] == split]


def tallies(row: Row) -> dict[str, Tally]:
    """Compare what is annotated and what the rules find in one text, for each measure."""
    objects = [(o["name"].lower(), o["count"]) for o in row["objects"]]
    relations = [(one.lower(), predicate, other.lower()) for one, predicate, other in row["relations"]]
    wanted = annotated_freely({"objects": objects, "colors": [], "relations": relations})
    found = parsed(row["text"], frozenset(default_lexicon().places))
    found["objects"] = list(dict.fromkeys((Noun(name.lower()),) for (name,) in found["objects"]))
    found["relations"] = [(Noun(a.lower()), p, Noun(b.lower())) for a, p, b in found["relations"]]
    found["counts"] = [f for f in found["counts"] if any(same_noun(name, f[0]) for name, _ in objects)]
    elements = parse(row["text"])
    wanted["negations"] = [(Noun(name),) for name in row["negated"]]
    found["negations"] = [(Noun(negation["name"].lower()),) for negation in elements["negations"]]
    result = {"attributes": _attributes(row["objects"], elements["objects"])}
    for name in set(MEASURES) - set(result):
        hits = matched(wanted[name], found[name])
        result[name] = (hits, len(wanted[name]), hits, len(found[name]))
    return result


def _attributes(wanted: list[Row], found: list[Row]) -> Tally:
    values = [{**o, "attributes": [a["value"] for a in o["attributes"]]} for o in found]
    return *_said(wanted, values), *_said(values, wanted)


def _said(some: list[Row], others: list[Row]) -> tuple[int, int]:
    """Return how many attributes of `some` the `others` have of a thing of that name, and how many there are."""
    pairs = {(o["name"].lower(), value.lower().split()[-1]) for o in some for value in o["attributes"]}
    said = [
        (o["name"].lower(), {word for text in (o["name"], *o["attributes"]) for word in text.lower().split()})
        for o in others
    ]
    return sum(any(same_noun(name, other) and word in words for other, words in said) for name, word in pairs), len(
        pairs
    )


def f1(tally: np.ndarray) -> float:
    """Return F1 of summed tallies."""
    recall, precision = tally[0] / max(tally[1], 1), tally[2] / max(tally[3], 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def with_interval(rows: np.ndarray, score: Callable[[np.ndarray], float]) -> dict[str, Any]:
    """Score the sum of the rows, one a text, and the 95 % interval over draws of texts."""
    draws = np.random.default_rng(0).integers(0, len(rows), (2000, len(rows)))
    low, high = np.quantile([score(rows[draw].sum(0)) for draw in draws], [0.025, 0.975])
    return {"texts": len(rows), "score": score(rows.sum(0)), "low": float(low), "high": float(high)}


def questions(row: Row) -> list[tuple[str, str]]:
    """Return the (question, expected answer) pairs that a judge is asked about the text."""
    return [(element.question, element.expected) for element in list_elements(parse(row["text"]))]


def readings() -> dict[tuple[str, str, str], bool]:
    """Return for each question that was read, as (text, question, expected answer), whether it was refused."""
    lines = map(json.loads, (DATA / "real_questions.jsonl").open(encoding="utf-8"))
    return {(line["id"], line["question"], line["expected"]): line["refused"] for line in lines}


def listed(rows: list[Row], which: str) -> Iterator[Row]:
    """Yield the texts that have questions "unread" by anybody, or "refused", with these."""
    known, verdict = readings(), None if which == "unread" else True
    for row in rows:
        asked = dict.fromkeys(questions(row))
        if found := [pair for pair in asked if known.get((row["id"], *pair)) is verdict]:
            yield {"id": row["id"], "text": row["text"], which: found}


def asking(rows: list[Row]) -> dict[str, Any]:
    """Return the share of the scenes asking anything that have a refused question, and how many questions were not read."""
    known, scenes, missing = readings(), [], 0
    for row in rows:
        if asked := questions(row):
            twice = max(Counter(asked).values()) > 1
            scenes.append((twice or any(known.get((row["id"], *pair), False) for pair in asked), 1))
            missing += sum((row["id"], *pair) not in known for pair in set(asked))
    return {"unread": missing} | ({"scenes refused": _share(scenes)} if scenes else {})


def _share(cases: list[tuple[bool, int]]) -> dict[str, Any]:
    return with_interval(np.array(cases, dtype=float), lambda total: float(total[0] / total[1]))


def scores(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """Return F1 of each measure over the English texts, and the share of the other texts that got no elements."""
    found = [tallies(row) for row in rows if row["language"] == "en"]
    result = {name: with_interval(np.array([tally[name] for tally in found]), f1) for name in MEASURES if found}
    if foreign := [(not list_elements(parse(row["text"])), 1) for row in rows if row["language"] != "en"]:
        result["nothing made up"] = _share(foreign)
    return result


def main() -> None:
    """Print the figures as a table or as JSON, or what was not read."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--split", choices=("dev", "test"), default="dev", help="which half")
    arguments.add_argument("--kinds", action="store_true", help="list each kind of text, too")
    arguments.add_argument("--json", action="store_true", help="print one JSON document")
    arguments.add_argument("--list", choices=("unread", "refused"), help="print only the texts with such questions")
    options = arguments.parse_args()
    rows = load_texts(options.split)
    if options.list:
        for row in listed(rows, options.list):
            print(json.dumps(row, ensure_ascii=False))
        return
    groups = {"all": rows}
    if options.kinds:
        groups |= {
            kind: [row for row in rows if row["kind"] == kind] for kind in dict.fromkeys(r["kind"] for r in rows)
        }
    result = {name: scores(group) | asking(group) for name, group in groups.items()}
    if options.json:
        print(json.dumps({"split": options.split, **result}))
        return
    for group, found in result.items():
        print(f"{group} ({options.split}), {found.pop('unread')} questions unread")
        for name, s in found.items():
            print(f"  {name:16s} {s['texts']:4d} texts  {s['score']:.3f}  [{s['low']:.3f}, {s['high']:.3f}]")


if __name__ == "__main__":
    main()
