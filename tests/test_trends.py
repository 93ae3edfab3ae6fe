"""Trends by round, on records small enough to work out by hand: curves, gains, changes, spread."""

from __future__ import annotations

import numpy as np
import pytest
import study
from small_record import add_version, one, twice

from forgekit import trends
from forgekit.errors import ParameterError
from forgekit.ids import content_id
from forgekit.metrics import mean_interval
from forgekit.store import Store
from forgekit.store.rows import insert_rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return study.make(tmp_path_factory.mktemp("study"))


def test_a_finished_scene_is_carried_forward_to_the_last_round(store: Store) -> None:
    add_version(store, "a", 0, {"j": twice(0.9)})
    add_version(store, "b", 0, {"j": twice(0.2)})
    add_version(store, "b", 1, {"j": twice(0.6)})
    table = trends.adherence(store)
    assert table["scenes"].tolist() == [2, 2]
    assert table["adherence"].tolist() == pytest.approx([0.55, 0.75])
    assert table["images"].tolist() == [4, 6]


def test_a_worse_version_does_not_replace_a_better_one(store: Store) -> None:
    add_version(store, "a", 0, {"j": twice(0.7)})
    add_version(store, "a", 1, {"j": twice(0.3)})
    assert trends.adherence(store)["adherence"].tolist() == pytest.approx([0.7, 0.7])
    assert trends.adherence(store)["selected"].tolist() == pytest.approx([0.7, 0.7])


def test_each_half_of_the_images_chooses_a_version_and_the_other_half_scores_it(store: Store) -> None:
    add_version(store, "a", 0, {"j": [one(x) for x in (0.5, 0.3, 0.5, 0.5)]})
    add_version(store, "a", 1, {"j": [one(x) for x in (0.9, 0.1, 0.7, 0.3)]})
    # The even ones (0.5 against 0.8) choose the second version: its odd ones say 0.2. The odd ones (0.4 against 0.2)
    # choose the first: its even ones say 0.5.
    row = trends.adherence(store).iloc[1]
    assert row["adherence"] == pytest.approx((0.2 + 0.5) / 2)
    assert row["selected"] == pytest.approx(0.5)  # the second version, by all four
    assert row["best_image"] == pytest.approx(0.9)
    assert sorted(trends.distributions(store).iloc[1][["images", "mean"]]) == pytest.approx([0.35, 4])


def test_of_versions_that_a_half_finds_equal_the_earlier_one_counts(store: Store) -> None:
    add_version(store, "a", 0, {"j": twice(0.5), "k": twice(0.1)})
    add_version(store, "a", 1, {"j": twice(0.5), "k": twice(0.9)})
    assert trends.adherence(store, vision_model="k")["adherence"].tolist() == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_version_with_scores_in_one_half_only_cannot_be_chosen_by_halves(store: Store, lacking: int) -> None:
    add_version(store, "a", 0, {"j": [one(0.3), one(0.5)]})
    add_version(store, "a", 1, {"j": [one(None if half == lacking else 0.9) for half in (0, 1)]})
    row = trends.adherence(store).iloc[1]
    assert (row["adherence"], row["selected"]) == pytest.approx((0.4, 0.9))


def test_a_version_that_is_drawn_again_counts_with_all_its_images_from_that_round_on(store: Store) -> None:
    add_version(store, "a", 0, {"j": [*twice(0.4), *twice(0.6)]}, rounds=(0, 0, 1, 1))
    add_version(store, "b", 0, {"j": twice(0.8)})
    table = trends.adherence(store)
    assert table["round"].tolist() == [0, 1]
    assert table["images"].tolist() == [4, 6]
    assert table["adherence"].tolist() == pytest.approx([(0.4 + 0.8) / 2, (0.5 + 0.8) / 2])
    assert trends.gain(store)["gain"].tolist() == pytest.approx([0.05])


def test_the_held_out_judge_reports_on_the_version_that_the_steering_judge_chose(store: Store) -> None:
    add_version(store, "a", 0, {"steering": twice(0.4), "watching": twice(0.9)})
    add_version(store, "a", 1, {"steering": twice(0.8), "watching": twice(0.5)})
    table = trends.adherence(store).set_index(["vision_model", "round"])
    assert table.loc[("watching", 1), "adherence"] == pytest.approx(0.5)
    assert table.loc["steering", "steers"].all()
    assert not table.loc["watching", "steers"].any()


def test_an_image_without_all_its_element_scores_has_no_score_rather_than_a_low_one(store: Store) -> None:
    add_version(store, "a", 0, {"j": [*twice(0.8), {"object:0": 0.8, "color:0": None}]})
    assert trends.adherence(store)["adherence"].tolist() == pytest.approx([0.8])


def test_verdicts_under_older_judge_settings_do_not_mix_with_new_ones(store: Store) -> None:
    add_version(store, "a", 0, {"j": twice(0.2)}, key="old")
    add_version(store, "a", 0, {"j": twice(0.8)}, key="new")
    assert trends.adherence(store)["adherence"].tolist() == pytest.approx([0.8])


def test_changes_and_what_was_tried_are_counted_under_one_judge_key(store: Store) -> None:
    versions = [
        add_version(store, "a", i, {"j": twice(0.2 + 0.4 * i)}, key=key) for key in ("old", "new") for i in (0, 1)
    ]
    actions = {"decision": "rewrite", "action": "x", "kind": "color", "detail": "y", "objective": "j"}
    learning = {"id": content_id("l"), "prompt_id": versions[0], "actions": actions | {"child_prompt_id": versions[1]}}
    with store.transaction() as con:
        insert_rows(con, "prompt_learnings", [learning])
    assert [row["judge_key"] for row in store.rows("from version_changes")] == ["new"]
    assert [row["tried"] for row in store.rows("from evidence_in(null)")] == [1, 1]
    assert [row["judge_key"] for row in store.rows("from current_scores")] == ["new", "new"]
    assert trends.version_deltas(store)["pairs"].tolist() == [2]


def test_a_key_under_which_nothing_but_failures_came_makes_nothing_current(store: Store) -> None:
    add_version(store, "a", 0, {"j": twice(0.8)}, key="old")
    add_version(store, "a", 0, {"j": [None, None]}, key="new")
    with store.transaction() as con:
        con.execute("update image_evaluations set error = 'out of memory' where judge_key = 'new'")
    assert [row["judge_key"] for row in store.rows("from current_judges")] == ["old"]
    assert trends.adherence(store)["adherence"].tolist() == pytest.approx([0.8])


def test_an_interval_needs_two_scenes(store: Store) -> None:
    add_version(store, "a", 0, {"j": twice(0.4)})
    assert np.isnan(trends.adherence(store)["low"][0])
    for scene, score in {"b": 0.6, "c": 0.5}.items():
        add_version(store, scene, 0, {"j": twice(score)})
    row = trends.adherence(store).iloc[0]
    assert (row["low"], row["high"]) == mean_interval([0.4, 0.5, 0.6])


def test_distributions_count_each_image_in_its_bin(store: Store) -> None:
    add_version(store, "a", 0, {"j": [one(0.0), one(0.07), one(1.0), one(0.06)]})
    histogram = trends.distributions(store)["histogram"][0]
    assert (histogram[0], histogram[1], histogram[19], sum(histogram)) == (1, 2, 1, 4)


def test_versions_are_compared_on_the_seeds_they_share(store: Store) -> None:
    add_version(store, "a", 0, {"j": [one(0.2), one(0.4)]})
    add_version(store, "a", 1, {"j": [one(0.5), one(0.5), one(0.9)]})
    row = trends.version_deltas(store).iloc[0]
    assert (row["round"], row["pairs"], row["delta"], row["improved"]) == (1, 2, pytest.approx(0.2), 1.0)
    assert np.isnan(row["low"])


def test_the_change_of_a_version_is_paired_by_seed_in_every_view(store: Store) -> None:
    add_version(store, "a", 0, {"j": [one(0.2), one(0.4)]})
    add_version(store, "a", 1, {"j": [one(0.5), one(0.5), one(0.9)]})
    row = store.rows("select pairs, change from version_changes")[0]
    assert list(row.values()) == pytest.approx([2, 0.2])


def test_a_confirming_version_competes_with_none(store: Store) -> None:
    chosen = add_version(store, "a", 0, {"j": twice(0.4)})
    confirming = add_version(store, "a", 1, {"j": twice(0.9)})
    learning = {"id": content_id("l"), "prompt_id": chosen}
    with store.transaction() as con:
        insert_rows(
            con, "prompt_learnings", [learning | {"actions": {"decision": "confirm", "child_prompt_id": confirming}}]
        )
    assert trends.adherence(store)[["round", "adherence", "selected", "best_image"]].values.tolist() == [
        pytest.approx([0, 0.4, 0.4, 0.4])
    ]
    assert trends.confirmed(store)["confirmed"].tolist() == pytest.approx([0.9])


def test_versions_can_be_compared_with_the_first_one(store: Store) -> None:
    for iteration, score in enumerate((0.2, 0.3, 0.5)):
        add_version(store, "a", iteration, {"j": [one(score)]})
    assert trends.version_deltas(store)["delta"].tolist() == pytest.approx([0.1, 0.2])
    assert trends.version_deltas(store, against="first")["delta"].tolist() == pytest.approx([0.1, 0.3])


def test_an_unknown_baseline_is_refused_with_the_known_ones(store: Store) -> None:
    with pytest.raises(ParameterError, match="'parent' or 'first'"):
        trends.version_deltas(store, against="best")


def test_a_round_is_compared_with_the_one_before_within_scenes_and_a_finished_scene_gains_nothing(store: Store) -> None:
    add_version(store, "a", 0, {"j": [one(0.2)] * 2})
    add_version(store, "a", 1, {"j": [one(0.6)] * 2})
    add_version(store, "b", 0, {"j": [one(0.9)] * 2})
    row = trends.round_gains(store).iloc[0]
    assert (row["round"], row["scenes"], row["gain"]) == (1, 2, pytest.approx(0.2))
    assert row["low"] <= 0.2 <= row["high"]
    assert len(trends.round_gains(store)) == 1
