"""Texts in the shape of what people post, the half for tuning: how much of them is understood, and what is asked about them."""

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


def for_tuning(real_texts: ModuleType, *, more: bool) -> list[dict]:
    """Return the texts of the half for tuning: the first 248, or those, mostly lists, that were added later."""
    return [row for row in real_texts.load_texts("dev") if row["id"].startswith("more-") is more]


@pytest.mark.parametrize(
    ("measure", "floor", "floor_of_more"),
    [
        ("objects", 0.96, 0.85),
        ("counts", 0.965, 0.94),
        ("attributes", 0.9, 0.77),
        ("relations", 0.78, 0.64),
        ("negations", 0.88, 0.2),
    ],
)
def test_the_rules_understand_what_people_post_at_least_so_well(real_texts, measure, floor, floor_of_more):
    for more, least in ((False, floor), (True, floor_of_more)):
        rows = [row for row in for_tuning(real_texts, more=more) if row["language"] == "en"]
        assert real_texts.f1(np.array([real_texts.tallies(row)[measure] for row in rows]).sum(0)) >= least


@pytest.mark.parametrize(("more", "most"), [(False, 0.13), (True, 0.43)])
def test_few_scenes_have_a_question_that_a_careful_reader_refused(real_texts, more, most):
    asked = real_texts.asking(for_tuning(real_texts, more=more))
    assert asked["scenes refused"]["score"] <= most


def test_no_scene_is_asked_the_same_twice(real_texts):
    for row in real_texts.load_texts("dev"):
        asked = Counter(element.question for element in list_elements(parse(row["text"])))
        assert not [question for question, times in asked.items() if times > 1], row["id"]


def test_texts_in_other_languages_get_no_made_up_elements(real_texts):
    for row in real_texts.load_texts("dev"):
        if row["language"] != "en":
            assert not list_elements(parse(row["text"])), row["id"]
