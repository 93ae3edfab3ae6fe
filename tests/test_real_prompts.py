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


@pytest.mark.parametrize(
    ("measure", "floor"),
    [("objects", 0.955), ("counts", 0.965), ("attributes", 0.88), ("relations", 0.75), ("negations", 0.88)],
)
def test_the_rules_understand_what_people_post_at_least_so_well(real_texts, measure, floor):
    tallies = [real_texts.tallies(row)[measure] for row in real_texts.load_texts("dev") if row["language"] == "en"]
    assert real_texts.f1(np.array(tallies).sum(0)) >= floor


def test_few_scenes_have_a_question_that_a_careful_reader_refused(real_texts):
    asked = real_texts.asking(real_texts.load_texts("dev"))
    assert asked["scenes refused"]["score"] <= 0.24


def test_no_scene_is_asked_the_same_twice(real_texts):
    for row in real_texts.load_texts("dev"):
        asked = Counter(element.question for element in list_elements(parse(row["text"])))
        assert not [question for question, times in asked.items() if times > 1], row["id"]


def test_texts_in_other_languages_get_no_made_up_elements(real_texts):
    for row in real_texts.load_texts("dev"):
        if row["language"] != "en":
            assert not list_elements(parse(row["text"])), row["id"]
