"""Benchmark files in their public shape, with rows of our own that `mini` can draw, or tries to."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DSG_COLUMNS = (
    *("item_id", "text", "keywords", "proposition_id", "dependency"),
    *("category_broad", "category_detailed", "tuple", "question_natural_language"),
)
# item id: text, then a proposition each: dependency, category, what stands in the tuple, question
DSG = {
    "vrd_1": (
        "a red circle above a blue square",
        ("0", "entity/whole", "circle", "Is there a circle?"),
        ("0", "entity/whole", "square", "Is there a square?"),
        ("1", "attribute/color", "circle, red", "Is the circle red?"),
        ("2", "attribute/color", "square, blue", "Is the square blue?"),
        ("1,2", "relation/spatial", "circle, square, above", "Is the circle above the square?"),
    ),
    "countbench_2": (
        "three green hearts",
        ("0", "entity/whole", "hearts", "Are there hearts?"),
        ("1", "other/count", "hearts, ==3", "Are there three hearts?"),
        ("1", "attribute/color", "hearts, green", "Are the hearts green?"),
    ),
    "whoops_3": (
        "a yellow star under some trees",
        ("0", "entity/whole", "star", "Is there a star?"),
        ("0", "entity/whole", "trees", "Are there trees?"),
        ("2", "other/count", "trees, >1", "Are there several trees?"),
        ("1", "attribute/color", "star, yellow", "Is the star yellow?"),
        ("1,2", "relation/spatial", "star, trees, under", "Is the star below the trees?"),
    ),
    "midjourney_4": (
        "two pink rings, flat style",
        ("0", "global/-", "flat style", "Is the image in flat style?"),
        ("0", "entity/whole", "rings", "Are there rings?"),
        ("2", "other/count", "rings, ==2", "Are there two rings?"),
    ),
}
# id: caption, then a question each: element, type, question, choices, answer
TIFA = {
    "coco_1": (
        "a purple triangle and two orange crosses",
        ("triangle", "object", "is there a triangle?", ("yes", "no"), "yes"),
        ("crosses", "object", "are there crosses?", ("yes", "no"), "yes"),
        ("purple", "color", "is the triangle purple?", ("yes", "no"), "yes"),
        ("two", "counting", "how many crosses are there?", ("1", "2", "3", "4"), "2"),
    ),
    "drawbench_2": (
        "a black dog beside a white circle",
        ("dog", "animal/human", "is there a dog?", ("yes", "no"), "yes"),
        ("circle", "object", "is there a circle?", ("yes", "no"), "yes"),
        ("white", "color", "is the circle white?", ("yes", "no"), "yes"),
    ),
    "coco_3": (
        "four blue stars",
        ("stars", "object", "are there stars?", ("yes", "no"), "yes"),
        ("four", "counting", "how many stars are there?", ("3", "4", "5", "6"), "4"),
    ),
}
GENEVAL = (
    {"tag": "single_object", "include": [{"class": "heart", "count": 1}], "prompt": "a heart"},
    {
        "tag": "counting",
        "include": [{"class": "star", "count": 3}],
        "exclude": [{"class": "star", "count": 4}],
        "prompt": "three stars",
    },
    {
        "tag": "position",
        "include": [{"class": "star", "count": 1}, {"class": "ring", "count": 1, "position": ["left of", 0]}],
        "prompt": "a ring left of a star",
    },
)


def write_dsg(file: Path, items: Mapping[str, Sequence[Any]]) -> Path:
    """Write dsg-1k-anns.csv: one row for each proposition."""
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(DSG_COLUMNS)
        for item, (text, *propositions) in items.items():
            for number, (after, category, words, question) in enumerate(propositions, 1):
                broad, detailed = category.split("/")
                said = f"{broad} - {detailed} ({words})"
                rows.writerow([item, text, words.split(",")[0], number, after, broad, detailed, said, question])
    return file


def write_tifa(file: Path, captions: Mapping[str, Sequence[Any]]) -> Path:
    """Write tifa_v1.0_question_answers.json: a list with one object for each question."""
    rows = [
        {
            **{"id": name, "caption": caption, "question": question, "choices": list(choices)},
            **{"answer": answer, "element_type": kind, "element": element, "coco_val_id": "1"},
        }
        for name, (caption, *questions) in captions.items()
        for element, kind, question, choices, answer in questions
    ]
    file.write_text(json.dumps(rows))
    return file


def write_lines(file: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Write JSON Lines, as GenEval's evaluation_metadata.jsonl and geneval2_data.jsonl are."""
    file.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return file
