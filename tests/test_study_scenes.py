"""The scenes of the study: reproducible, different, mixed, and read by the parser as they are meant."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from forgekit.mini.study_scenes import CATEGORIES, RARE_WORDS, study_scenes
from forgekit.scene import list_elements, parse, scene_hash

FILE = Path(__file__).parents[1] / "data" / "prompts" / "study.csv"


def test_the_committed_file_is_what_the_seed_gives():
    with FILE.open(newline="") as file:
        assert list(csv.DictReader(file)) == study_scenes()


def test_there_are_120_different_scenes_of_every_category_evenly_through_the_list():
    rows = study_scenes()
    assert len({scene_hash(row["text"]) for row in rows}) == len(rows) >= 120
    halves = [Counter(row["category"] for row in part) for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :])]
    assert halves[0] == halves[1]
    assert set(halves[0]) == {category.name for category in CATEGORIES}


def test_most_scenes_have_rare_words_and_the_parser_knows_them_all():
    rows = study_scenes()
    rare = [row for row in rows if any(word in row["text"].split() for word in RARE_WORDS)]
    assert len(rare) > len(rows) // 2
    kinds = Counter(element.kind for row in rows for element in list_elements(parse(row["text"])))
    assert min(kinds[kind] for kind in ("object", "color", "relation", "count", "size", "style", "background")) >= 15
    assert not [element for row in rows for element in list_elements(parse(row["text"])) if element.kind == "other"]
