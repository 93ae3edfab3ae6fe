"""Texts in the shape of what people post, the half for tuning: how much of them is understood, and what is asked about them."""

import re
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from forgekit.scene import list_elements, parse

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


@pytest.fixture(scope="module")
def real_texts() -> ModuleType:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "path", [BENCHMARKS, *sys.path])
        return import_module("real_texts")


def for_tuning(real_texts: ModuleType, name: str) -> list[dict]:
    """Return the texts of the half for tuning: the "first" 248, those of "clauses" or of "lists", which were added later."""
    marks = {"lists": r"more-", "clauses": r".*-r\d+", "first": r"(?!more-|.*-r\d)"}
    return [row for row in real_texts.load_texts("dev") if re.match(marks[name], row["id"])]


@pytest.mark.parametrize(
    ("name", "floors"),
    [
        ("first", {"objects": 0.96, "counts": 0.965, "attributes": 0.9, "relations": 0.78, "negations": 0.88}),
        ("clauses", {"objects": 0.94, "counts": 0.95, "attributes": 0.85, "relations": 0.72, "negations": 0.85}),
        ("lists", {"objects": 0.85, "counts": 0.94, "attributes": 0.77, "relations": 0.64, "negations": 0.2}),
    ],
)
def test_the_rules_understand_what_people_post_at_least_so_well(real_texts, name, floors):
    tallies = [real_texts.tallies(row) for row in for_tuning(real_texts, name) if row["language"] == "en"]
    found = {measure: real_texts.f1(np.array([tally[measure] for tally in tallies]).sum(0)) for measure in floors}
    assert {measure: score for measure, score in found.items() if score < floors[measure]} == {}


@pytest.mark.parametrize(("name", "most"), [("first", 0.13), ("clauses", 0.31), ("lists", 0.43)])
def test_few_scenes_have_a_question_that_a_careful_reader_refused(real_texts, name, most):
    assert real_texts.asking(for_tuning(real_texts, name))["scenes refused"]["score"] <= most


def test_no_scene_is_asked_the_same_twice(real_texts):
    for row in real_texts.load_texts("dev"):
        asked = Counter(element.question for element in list_elements(parse(row["text"])))
        assert not [question for question, times in asked.items() if times > 1], row["id"]


def test_texts_in_other_languages_get_no_made_up_elements(real_texts):
    for row in real_texts.load_texts("dev"):
        if row["language"] != "en":
            assert not list_elements(parse(row["text"])), row["id"]
