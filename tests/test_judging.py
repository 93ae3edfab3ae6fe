"""Judging the judges: error graphs, ordering and separation, agreement, calibration. Oracles know what is drawn."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from conftest import FakeJudge

import forgekit as fk
from forgekit import cli
from forgekit import judge_tests as judging
from forgekit.errors import ParameterError
from forgekit.mini.error_graphs import ERRORS, draw, element_truths, error_graphs
from forgekit.mini.world import WorldObject, WorldScene
from forgekit.models import Judgement, load_model
from forgekit.scene import Scene, parse
from training.measure_judges import pictures

SEED = 5
N = 12


@pytest.fixture(scope="module")
def graphs():
    return error_graphs(N, drawings=2, seed=SEED)


def digest(image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


@dataclass
class Oracle:
    """Knows the pictures of some graphs: 0.95 for what is shown, else 0.05; kinds in `blind` always count as shown."""

    graphs: list
    name: str = "oracle"
    blind: tuple[str, ...] = ()
    upside_down: bool = False
    adhering_at: float = 0.5
    judge_key: str = "oracle-key"
    known: dict = field(default_factory=dict)

    def __post_init__(self):
        for number, graph in enumerate(self.graphs):
            for images in draw(graph, seed=SEED + number):
                self.known |= {digest(image): graph.truths[n] for n, image in enumerate(images)}

    def judge(self, images, scenes):
        return [self.verdict(self.known[digest(image)]) for image in images]

    def verdict(self, truths):
        seen = {key: truth or key.split(":")[0] in self.blind for key, truth in truths.items()}
        scores = {key: 0.95 if shown != self.upside_down else 0.05 for key, shown in seen.items()}
        return Judgement(scores, sum(scores.values()) / len(scores))


def constant_judge() -> FakeJudge:
    return FakeJudge("constant")


def test_each_picture_has_one_error_more_and_nothing_else_changes(graphs):
    for graph in graphs:
        assert len(set(graph.errors)) == 3
        for walk in graph.worlds:
            for before, after, error in zip(walk, walk[1:], graph.errors, strict=False):
                looks, later = [(o.shape, o.color) for o in before.objects], [(o.shape, o.color) for o in after.objects]
                same_style = before.style == after.style and before.background == after.background
                assert same_style == (error != "style")
                assert len(later) - len(looks) in {"dropped": {-1}, "extra": {1}, "count": {-1, 1}}.get(error, {0})
                if error == "swapped":
                    (a, b), (c, d) = looks, later
                    assert (c, d) == ((a[0], b[1]), (b[0], a[1]))
                if error == "relation":
                    mirrored = sum(
                        abs(o.cx + p.cx - 64) < 1e-6 for o, p in zip(before.objects, after.objects, strict=True)
                    )
                    upended = sum(
                        abs(o.cy + p.cy - 64) < 1e-6 for o, p in zip(before.objects, after.objects, strict=True)
                    )
                    assert 2 in (mirrored, upended)


def test_every_error_makes_more_of_the_text_false(graphs):
    for graph in graphs:
        false = [sum(not truth for truth in truths.values()) for truths in graph.truths]
        assert false[0] == 0
        assert false == sorted(set(false))


def test_drawings_of_a_graph_show_the_same_things_at_other_places(graphs):
    for graph in graphs:
        one, other = (walk[0] for walk in graph.worlds)
        assert [o.look for o in one.objects] == [o.look for o in other.objects]
        assert [(o.cx, o.cy) for o in one.objects] != [(o.cx, o.cy) for o in other.objects]


def test_all_kinds_of_error_come_up(graphs):
    assert {error for graph in graphs for error in graph.errors} == set(ERRORS)


def test_the_truth_of_elements_is_that_of_the_picture():
    text = "a red circle to the left of a blue star on a yellow background, no rings"
    circle = WorldObject("circle", "red", "", 12, 32, 6)
    star, ring = WorldObject("star", "blue", "", 50, 32, 6), WorldObject("ring", "red", "", 30, 32, 6)
    shown = [
        WorldScene((circle, star), "yellow", "flat", "left"),
        WorldScene((circle, ring), "yellow"),
    ]
    right, wrong = element_truths(Scene(text, parse(text)), shown)
    assert all(right.values())
    assert [key for key, truth in wrong.items() if not truth] == ["object:1", "color:1", "relation:0", "negation:0"]


def test_ordering_is_minus_spearman_along_each_walk():
    assert judging.ordering(np.array([[[0.9, 0.5, 0.3, 0.1]]])) == pytest.approx(1)
    assert judging.ordering(np.array([[[0.9, 0.3, 0.5, 0.1]]])) == pytest.approx(0.8)  # 1 - 6 · 2 / (4 · 15)
    assert judging.ordering(np.array([[[0.9, 0.3, 0.5, 0.1], [0.1, 0.2, 0.3, 0.4]]])) == pytest.approx(-0.1)
    assert judging.ordering(np.array([[[0.5, 0.5]]])) == 0
    assert judging.ordering(np.array([[[0.9, np.nan, 0.3, np.nan]]])) == pytest.approx(1)
    assert np.isnan(judging.ordering(np.array([[[0.9, np.nan]]])))


def test_separation_is_the_largest_gap_between_distribution_functions():
    steps = np.array([[[0.9, 0.5], [0.8, 0.85]]])  # 0.9 and 0.8 without an error, 0.5 and 0.85 with one
    assert judging.separation(steps) == pytest.approx(0.5)
    assert judging.separation(np.array([[[0.9, 0.2, 0.2], [0.8, 0.1, 0.1]]])) == pytest.approx(2 / 3)  # 1, 1 and 0


def test_an_oracle_orders_all_graphs_and_tells_all_steps_apart(graphs):
    found = judging.judge_test(judges=[Oracle(graphs)], graphs=N, drawings=2, seed=SEED).figures["oracle"]
    assert (found["ordering"], found["separation"]) == (1, 1)
    assert {kind: (part["ordering"], part["separation"]) for kind, part in found["by_error"].items()} == dict.fromkeys(
        ERRORS, (1, 1)
    )
    assert sum(part["graphs"] for part in found["by_error"].values()) == 3 * N
    assert found["pictures"] == N * 2 * 4


def test_a_judge_that_says_the_opposite_separates_as_well_and_orders_the_wrong_way(graphs):
    oracle = Oracle(graphs, upside_down=True)
    found = judging.judge_test(judges=[oracle], graphs=N, drawings=2, seed=SEED).figures["oracle"]
    assert (found["ordering"], found["separation"]) == (-1, 1)


def test_a_judge_blind_to_style_fails_at_that_error_and_no_other(graphs):
    oracle = Oracle(graphs, blind=("style",))
    by_error = judging.judge_test(judges=[oracle], graphs=N, drawings=2, seed=SEED).figures["oracle"]["by_error"]
    assert {kind: part["ordering"] for kind, part in by_error.items()} == {**dict.fromkeys(ERRORS, 1), "style": 0}
    assert by_error["style"]["separation"] == 0


def test_a_judge_without_weights_is_reported_and_the_others_are_tested():
    judges = [FakeJudge(), "local-dir:/nowhere/clip-x", "mini-clop"]
    report = judging.judge_test(judges=judges, graphs=2, drawings=1)
    assert report.figures["fake-judge"]["ordering"] == 0
    assert "no weights could be loaded" in report.figures["clip-x"]["error"]
    assert "is called 'mini-clop'" in report.figures["mini-clop"]["error"]
    assert report.failed == 2


def test_the_command_needs_no_store_and_prints_json(capsys):
    assert cli.main(["judge-test", "--judges", "test_judging:constant_judge", "--graphs", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["constant"]
    assert (found["ordering"], found["separation"]) == (0, 0)
    assert found["by_error"]


def test_judges_agree_by_rank_and_disagreements_come_largest_first(graphs):
    models = [Oracle(graphs), Oracle(graphs, name="contrary", upside_down=True)]
    table = judging.judge_test(judges=models, graphs=N, drawings=2, seed=SEED).table
    pairs = judging.agreement(table).set_index(["other", "judge"])
    assert pairs.loc[("oracle", "contrary"), "spearman"] == pytest.approx(-1)
    assert pairs.loc[("oracle", "contrary"), "images"] == N * 2 * 4
    gaps = judging.disagreements(table, "oracle", "contrary")
    assert gaps["errors"].iloc[0] == 0  # 0.95 against 0.05
    assert (gaps["x"] - gaps["y"]).abs().is_monotonic_decreasing


def test_judges_agree_on_a_picture_where_both_pass_it_or_both_fail_it_each_by_its_own_mark():
    rows = [("a", "one", 0.6), ("a", "other", 0.6), ("b", "one", 0.9), ("b", "other", 0.9)]
    table = pd.DataFrame(rows, columns=["image_path", "judge", "score"]).assign(text_score=None)
    assert _same_verdict(judging.agreement(table)) == 1.0
    assert _same_verdict(judging.agreement(table, pass_marks={"one": 0.7})) == 0.5


def _same_verdict(pairs):
    return pairs.set_index(["judge", "other"]).loc[("one", "other"), "same_verdict"]


def test_elements_of_all_pictures_come_with_their_truth(graphs):
    table = judging.judge_test(judges=[Oracle(graphs)], graphs=N, drawings=2, seed=SEED).table
    elements = judging.element_scores(table)
    assert len(elements) == sum(2 * len(truths) for graph in graphs for truths in graph.truths)
    assert ((elements["score"] > 0.5) == elements["truth"]).all()


def test_the_threshold_is_the_lowest_score_that_is_surely_right_often_enough():
    scores, truths = [0.8] * 30 + [0.6] * 5 + [0.4] * 30, [True] * 35 + [False] * 30
    found = judging.threshold_for(scores, truths, 0.9)
    assert (found.threshold, found.precision, found.recall) == (0.6, 1.0, 1.0)
    assert found.precision_low == pytest.approx(35 / (35 + 1.2816**2), abs=1e-4)  # Wilson, all of 35 right
    assert judging.threshold_for(scores, truths, 0.97).threshold is None  # 35 of 35 do not show that
    assert judging.threshold_for([], [], 0.9).threshold is None
    with pytest.raises(ParameterError, match="between 0 and 1"):
        judging.threshold_for(scores, truths, 1.0)


def test_equal_scores_stand_or_fall_together():
    scores, truths = [0.9] * 100 + [0.7] * 200, [True] * 200 + [False] * 100
    assert judging.threshold_for(scores, truths, 0.9).threshold == 0.9  # half of those at 0.7 are wrong


def test_the_reliability_curve_sets_what_is_said_against_what_is_so():
    curve = judging.reliability([0.1, 0.15, 0.95, 0.95, 1.0, None], [False, True, True, True, False, True])
    assert curve["n"].tolist() == [2, 3]
    assert curve["said"].tolist() == pytest.approx([0.125, 2.9 / 3])
    assert curve["so"].tolist() == pytest.approx([0.5, 2 / 3])
    assert (curve["so_low"] < curve["so"]).all() and (curve["so"] < curve["so_high"]).all()


@pytest.fixture
def rated(generated):
    """Images judged 0.9, and 0.58 for those of the third scene, in which the relation is found missing; rated alike."""
    fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.9, scores={"relation:0": 0.1})])
    images = generated.df("select cast(id as varchar) as image_id, adherence_score from generated_images order by id")
    images["rating"] = [5 if score > 0.8 else 1 for score in images.pop("adherence_score")]
    fk.judging.import_ratings(generated, images, scale="1-5", name="panel")
    return generated


ADHERING = "select is_adhering, count(*) as n from generated_images group by all order by all"


def test_calibration_on_ratings_moves_what_counts_as_adhering(rated):
    judge = FakeJudge(score=0.9, scores={"relation:0": 0.1})
    assert rated.rows(ADHERING) == [{"is_adhering": True, "n": 6}]
    found = judging.calibrate(rated, judges=[judge], precision=0.7, rated_at=0.75)
    assert found["threshold"].tolist() == pytest.approx([0.9])
    assert rated.rows(ADHERING) == [{"is_adhering": False, "n": 2}, {"is_adhering": True, "n": 4}]
    details = rated.rows("select evaluation_details as d from generated_images limit 1")[0]["d"]
    assert details["adhering_at"] == pytest.approx(0.9)


def test_images_judged_later_follow_the_stored_threshold(rated, fake_generator):
    judge = FakeJudge(score=0.9, scores={"relation:0": 0.1})
    judging.calibrate(rated, judges=[judge], precision=0.7, rated_at=0.75)
    fk.import_prompts(rated, pd.DataFrame({"text": ["a pink heart left of a gray cross"]}), model=fake_generator.name)
    fk.complete_prompts(rated)
    fk.generate_images(rated, images_per_prompt=1, image_generator=fake_generator)
    fk.evaluate_images(rated, vision_models=[judge])
    assert rated.rows(ADHERING)[0] == {"is_adhering": False, "n": 3}
    judge.judge_key = "key-2"  # other settings have no calibration
    assert judging.calibration_of(rated, "fake-judge")["judge_key"].tolist() == ["key-1"]


def test_calibration_on_graphs_is_stored_with_the_judge_and_replaced_by_the_next(store):
    oracle = Oracle(error_graphs(N, drawings=1, seed=SEED))
    for precision in (0.6, 0.75):
        made = judging.calibrate(store, judges=[oracle], precision=precision, graphs=N, seed=SEED)
    assert made["images"].tolist() == [N * 4]
    (row,) = store.rows("select * from judge_calibrations")
    assert (row["wanted_precision"], row["truth"], row["judge_key"]) == (0.75, "error graphs", "oracle-key")
    assert row["threshold"] == pytest.approx(0.95)
    assert sum(part["n"] for part in row["curve"]) == N * 4


def test_calibration_without_rated_images_says_what_to_do(generated):
    with pytest.raises(ParameterError, match="import-ratings"):
        judging.calibrate(generated, judges=[FakeJudge()], rated_at=0.75)


@pytest.mark.parametrize("name", ["mini-clip", "mini-fuyu", "mini-owl"])
def test_embedded_judges_order_error_graphs(name):
    report = judging.judge_test(judges=[load_model("vision_model", name)], graphs=24, drawings=1)
    assert report.figures[name]["ordering"] > 0.8


def test_mini_fuyu_counts_describes_and_answers_in_both_directions():
    world = WorldScene(
        (WorldObject("star", "red", "", 20, 20, 9), WorldObject("star", "red", "", 44, 44, 9)), "white", "flat"
    )
    text = "two red stars, no circles"
    (image,) = pictures([world])
    (verdict,) = load_model("vision_model", "mini-fuyu").judge([image], [Scene(text, parse(text))])
    assert min(verdict.element_scores.values()) > 0.8
    assert verdict.description.startswith("two red stars on a white background")
    wrong = "three blue circles, no stars"
    (verdict,) = load_model("vision_model", "mini-fuyu").judge([image], [Scene(wrong, parse(wrong))])
    assert max(verdict.element_scores[key] for key in ("count:0", "color:0", "negation:0")) < 0.2
