"""GenEval's rules on hand-made boxes, and what a detector is asked to look for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_judges import scene

from forgekit.models.detector import DetectorJudge
from forgekit.models.detector_checks import Sought
from forgekit.models.geneval import Proposals, Sighting, relative_position

TEXTS = ("a red circle left of a blue square", "two pink hearts on a white background", "a star, no rings")
RULES = DetectorJudge("rules", "", threshold=0.5, count_threshold=0.5)
LEFT, RIGHT = (2, 20, 22, 40), (40, 20, 60, 40)  # boxes of 20 pixels


def sight(text: str, found: list[tuple[tuple, dict[str, float]]], rules: DetectorJudge = RULES) -> Sighting:
    """Judge `text` on boxes with the scores of some phrases; all other phrases score 0.01."""
    sought = Sought.of(scene(text), ("color",), rivals=True)
    boxes = np.array([box for box, _ in found], dtype=float).reshape(-1, 4)
    scores = np.array([[named.get(p, 0.01) for p in sought.phrases] for _, named in found]).reshape(len(found), -1)
    sighting = Sighting(sought, Proposals(boxes, scores), rules)
    for check in sought.checks:
        sighting.judge(check)
    return sighting


RED_CIRCLE = {"a circle": 0.9, "a red circle": 0.9}
BLUE_CIRCLE = {"a circle": 0.9, "a blue circle": 0.9}
BLUE_SQUARE = {"a square": 0.9, "a blue square": 0.9}


def test_an_element_has_the_odds_of_its_box_against_threshold_and_best_rival():
    sighting = sight("a red circle", [(LEFT, {"a circle": 0.9, "a red circle": 0.8, "a blue circle": 0.5})])
    assert sighting.scores["color:0"] == pytest.approx(4 / (4 + 1 + 1))  # 0.8 has odds 4; the threshold and blue have 1
    assert sighting.scores["object:0"] == pytest.approx(9 / (9 + 1 + 0.01 / 0.99))
    assert sighting.reasons == {}


def test_a_score_at_the_threshold_gives_one_half():
    rules = replace(RULES, threshold=0.3)
    sighting = sight("a star", [(LEFT, {"a star": 0.3})], rules)
    assert sighting.scores["object:0"] == pytest.approx(0.5, abs=0.01)


def test_another_color_at_the_place_is_named_in_the_reason():
    sighting = sight("a red circle", [(LEFT, {**BLUE_CIRCLE, "a red circle": 0.4})])
    assert sighting.scores["object:0"] > 0.8
    assert sighting.scores["color:0"] < 0.1
    assert sighting.reasons["color:0"] == "expected a red circle, found a blue circle"
    assert sighting.unwanted() == ["a blue circle instead of a red circle"]


def test_a_count_needs_that_many_and_no_more():
    three = [(LEFT, RED_CIRCLE), (RIGHT, RED_CIRCLE), ((22, 44, 40, 62), RED_CIRCLE)]
    two = sight("two red circles", three[:2])
    assert two.scores["count:0"] == pytest.approx(0.9, abs=0.01)  # of the second, and no third box at all
    assert two.scores["color:0"] == pytest.approx(0.9, abs=0.01)
    assert sight("two red circles", three[:1]).scores["count:0"] == 0
    more = sight("two red circles", three)
    assert more.scores["count:0"] == pytest.approx(0.9 * 0.1, abs=0.01)
    assert more.reasons["count:0"] == "expected 2 circles, found 3"
    assert more.unwanted() == ["three circles instead of 2 circles"]
    assert more.description() == "three red circles"


def test_each_of_several_must_have_the_color():
    sighting = sight("two red circles", [(LEFT, RED_CIRCLE), (RIGHT, BLUE_CIRCLE)])
    assert sighting.scores["count:0"] > 0.8
    assert sighting.scores["color:0"] < 0.1
    assert sighting.reasons["color:0"] == "expected 2 red circles, found 1"


def test_boxes_of_one_thing_are_counted_once():
    sighting = sight("a red circle", [(LEFT, RED_CIRCLE), ((3, 21, 23, 41), {"a circle": 0.8, "a red circle": 0.8})])
    assert sighting.description() == "a red circle"


def test_a_box_without_area_is_one_box():
    sighting = sight("a red circle", [((5, 5, 5, 5), RED_CIRCLE)])
    assert sighting.scores["color:0"] == pytest.approx(0.9, abs=0.01)


def test_a_relation_needs_both_things_and_the_direction():
    right = sight(TEXTS[0], [(LEFT, RED_CIRCLE), (RIGHT, BLUE_SQUARE)])
    assert right.scores["relation:0"] == pytest.approx(0.9 * 0.9, abs=0.02)
    turned = sight(TEXTS[0], [(RIGHT, RED_CIRCLE), (LEFT, BLUE_SQUARE)])
    assert turned.scores["relation:0"] < 0.01
    assert turned.reasons["relation:0"] == "expected a red circle left of a blue square, found it right of"
    alone = sight(TEXTS[0], [(LEFT, RED_CIRCLE)])
    assert alone.reasons["relation:0"].endswith("found no blue square")


def test_swapped_colors_are_seen():
    found = [(LEFT, BLUE_CIRCLE), (RIGHT, {"a square": 0.9, "a red square": 0.9})]
    sighting = sight(TEXTS[0], found)
    assert min(sighting.scores["object:0"], sighting.scores["object:1"]) > 0.8
    assert max(sighting.scores["color:0"], sighting.scores["color:1"], sighting.scores["relation:0"]) < 0.1


def test_absence_is_success_for_a_negation():
    absent = sight(TEXTS[2], [(LEFT, {"a star": 0.9})])
    assert absent.scores["negation:0"] > 0.9
    present = sight(TEXTS[2], [(LEFT, {"a star": 0.9}), (RIGHT, {"a ring": 0.9})])
    assert present.scores["negation:0"] == pytest.approx(0.1, abs=0.01)
    assert present.reasons == {"negation:0": "expected no ring, found 1"}
    assert present.unwanted() == ["a ring"]


def test_an_asked_thing_is_not_mistaken_for_the_negated_one():
    sighting = sight(TEXTS[2], [(LEFT, {"a star": 0.95, "a ring": 0.6})])
    assert sighting.scores["negation:0"] > 0.9


def test_other_things_than_those_asked_for_are_unwanted():
    sighting = sight("a star", [(LEFT, {"a star": 0.9}), (RIGHT, {"a heart": 0.9})])
    assert sighting.unwanted() == ["a heart"]
    assert sighting.reasons == {}


def test_a_place_goes_to_the_object_that_fits_it_best():
    sighting = sight("a circle next to a square", [(LEFT, {"a square": 0.95, "a circle": 0.6})])
    assert sighting.scores["object:0"] < 0.1
    assert sighting.reasons["object:0"] == "expected a circle, found a square"


def test_geneval_positions_need_distance_and_direction():
    box = np.array(LEFT, dtype=float)
    assert relative_position(box, box + np.array([30, 0, 30, 0]), (-1, 0), 0.1) == pytest.approx(1 / (1 + np.exp(-5)))
    # 0.1 of both sizes is 4 pixels: what is moved by less has no direction
    assert relative_position(box, box + np.array([3, 3, 3, 3]), (-1, 0), 0.1) == pytest.approx(1 / (1 + np.exp(5)))
    # (12 - 4, 12 - 4): the share of either axis is 0.707, so this is left of and above at once
    both = [relative_position(box, box + 12, way, 0.1) for way in ((-1, 0), (0, -1))]
    assert both == pytest.approx([1 / (1 + np.exp(-(0.5**0.5 - 0.5) / 0.1))] * 2)


def test_style_and_background_are_beyond_a_detector():
    kinds = {
        check.element.kind
        for check in Sought.of(scene("two red stars on a pink background, watercolor"), ("color",), rivals=True).checks
    }
    assert kinds == {"object", "count", "color"}
