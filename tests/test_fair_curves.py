"""Curves in worlds whose truth is known: luck in choosing is not told as progress, and real progress is."""

from __future__ import annotations

import re
from pathlib import Path

import fair_world
import pandas as pd
import pytest

from forgekit import trends
from forgekit.store import Store, open_store
from forgekit.trends import rounds


def make(folder: Path, **settings: object) -> Store:
    return fair_world.World(**settings).fill(open_store(folder / "forge.duckdb"))


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Nothing that is done changes what the pictures are worth."""
    return make(tmp_path_factory.mktemp("null"))


def by_line(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index(["experiment", "vision_model"])


def errors(gain: pd.DataFrame) -> pd.Series:
    """Return the gain in standard errors."""
    return gain["gain"] / ((gain["high"] - gain["low"]) / 3.92)


def test_where_nothing_improves_no_judge_reports_a_gain_in_any_arm(null: Store) -> None:
    gain = by_line(trends.gain(null))
    assert set(gain.index) == {(arm, judge) for arm in fair_world.ARMS for judge in fair_world.JUDGES}
    assert errors(gain).abs().max() < 3
    assert gain["gain"].abs().max() < 0.02


def test_no_round_of_the_curve_lies_above_what_the_scenes_are_worth(null: Store) -> None:
    curve = trends.adherence(null)
    assert curve.groupby(["experiment", "vision_model"])["round"].agg(list).tolist() == [list(range(6))] * 4
    assert curve["adherence"].between(0.48, 0.52).all()
    assert (curve["scenes"] == 600).all()


def test_the_curve_that_rewards_selection_rises_there_and_says_selected(null: Store) -> None:
    ends = trends.adherence(null, experiment="rewrite").groupby("vision_model")["selected"].agg(["first", "last"])
    assert (ends["last"] - ends["first"] > 0.08).all()


def test_drawing_the_same_prompt_again_moves_along_the_rounds_and_gains_nothing(null: Store) -> None:
    curve = trends.adherence(null, experiment="redraw", vision_model="steering")
    assert curve["images"].tolist() == [2400 * (i + 1) for i in range(6)]
    assert (curve["selected"] - curve["adherence"]).abs().max() < 1e-9  # one version: there is nothing to choose


def test_at_round_0_the_cross_fitted_score_is_the_plain_mean(null: Store) -> None:
    plain = null.rows("select avg(adherence_score) as mean from generated_images where round = 0")[0]["mean"]
    first = trends.adherence(null, vision_model="steering").query("round == 0")["adherence"]
    assert first.mean() == pytest.approx(plain)


def test_images_of_a_distribution_had_no_part_in_choosing_their_version(null: Store) -> None:
    spread = trends.distributions(null, experiment="rewrite", vision_model="steering")
    kinds = trends.by_element_kind(null, experiment="rewrite", vision_model="steering")
    assert spread["mean"].between(0.48, 0.52).all()
    assert kinds["score"].between(0.48, 0.52).all()


def test_a_true_gain_of_a_tenth_is_shown_by_every_judge(tmp_path: Path) -> None:
    gain = by_line(trends.gain(make(tmp_path, effect=0.1)))
    rewrite = gain.loc["rewrite"]
    assert rewrite["gain"].between(0.08, 0.12).all()
    assert (rewrite["low"] > 0.05).all()
    assert gain.loc["redraw", "gain"].abs().max() < 0.02


def test_versions_that_confirm_compete_with_none_and_stand_beside_the_curve(tmp_path: Path) -> None:
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    store = make(tmp_path / "with", scenes=20, confirm=True, confirmed=1.0)
    other = make(tmp_path / "without", scenes=20)
    assert trends.adherence(store)["selected"].max() < 1
    shown = trends.confirmed(store)
    assert (shown["confirmed"] == 1).all()
    assert shown["scenes"].tolist() == [20] * 4
    assert shown["gain"].tolist() == pytest.approx((1 - shown["first"]).tolist())
    assert len(trends.confirmed(other)) == 0
    for table in (trends.adherence(store), trends.adherence(other)):
        assert table["round"].max() == 5
        assert table.groupby(["experiment", "vision_model"])["images"].last().tolist() == [20 * 4 * 6] * 4


def test_scenes_that_stop_when_they_reach_the_target_gain_nothing_on_fresh_seeds(tmp_path: Path) -> None:
    shown = trends.confirmed(make(tmp_path, target=0.6, confirm=True))
    assert (shown["gain_low"] < 0).all()
    assert (shown["gain_high"] > 0).all()
    assert (shown["scenes"] == 600).all()


def test_of_one_image_a_version_only_the_selected_curve_can_be_told(tmp_path: Path) -> None:
    curve = trends.adherence(make(tmp_path, scenes=10, images=1))
    assert curve["adherence"].isna().all()
    assert curve["selected"].notna().all()
    assert len(trends.gain(open_store(tmp_path / "forge.duckdb"))) == 0


def test_no_step_of_a_question_makes_many_more_rows_than_there_are_verdicts(tmp_path: Path) -> None:
    """Joined in another order, all images of a seed meet each other first: of 8 arms, 20 GB and no end."""
    arms = tuple(f"arm{number}" for number in range(8))
    store = make(
        tmp_path, scenes=60, rounds=4, judges=("steering",), arms=arms, helps=arms[:2], effect=0.1, confirm=True
    )
    verdicts = store.rows("select count(*) as n from image_evaluations")[0]["n"]
    values = {"against": "parent", "experiment": None, "vision_model": None}
    with store.transaction() as con:
        told = con.execute(f"explain (analyze, format json) {rounds.DELTAS}", values).fetchall()[0][1]
    most = max(map(int, re.findall(r'"intermediate_rows": *(\d+)', told)))
    assert 0 < most <= 2 * verdicts
