"""Where nothing helps nothing is shown, no curve rises, and what helps is found: worlds whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import null_world as nw
import pandas as pd
import pytest

from forgekit import trends
from forgekit.store import Store, open_store

JUDGES = tuple(f"{name}-{number}" for name in (nw.WATCHING, nw.FLATTERING) for number in range(4))
# Little luck: the 16 claims of each study fail for themselves.
NULL = nw.World(scenes=30, images=2, rounds=3, luck=0.02, judges=(nw.STEERING, *JUDGES))

CURVES = nw.World(images=4, rounds=3, judges=(nw.STEERING, nw.WATCHING, nw.FLATTERING))


@dataclass(frozen=True)
class Told:
    """What forgekit says of the curves of a store of null studies: by line, and by execution of a batch."""

    curves: pd.DataFrame
    batch: pd.DataFrame


@pytest.fixture(scope="module")
def null(tmp_path_factory) -> pd.DataFrame:
    """The primary comparisons of 16 null studies."""
    store = open_store(tmp_path_factory.mktemp("null") / "forge.duckdb")
    return nw.claims_of(store, nw.write_studies(store, NULL, 16, seed=2))


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Told:
    store = open_store(tmp_path_factory.mktemp("curves") / "forge.duckdb")
    plans = nw.write_studies(store, CURVES, 16)
    return Told(nw.curves_of(store), nw.summary_of(store, plans))


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> tuple[Store, nw.Study]:
    """A null study that the real stages and policies have run: drawing again beside refining, 4 rounds of 4 images."""
    store = open_store(tmp_path_factory.mktemp("real") / "forge.duckdb")
    world = nw.World(scenes=16, rounds=4, arms=("resample", "refine"))
    return store, nw.run_real(store, world)


def holds_0(table, low="low", high="high"):
    return (table[low] <= 0) & (table[high] >= 0)


def test_where_nothing_helps_hardly_any_study_says_shown(null):
    """At most 5 % of studies may; of 16, one or two is luck, and four has a chance of 1 in 1,000."""
    assert len(null) == 16 * 2 * len(JUDGES)
    assert null.groupby("study")["said"].any().sum() <= 2


def test_without_the_correction_it_would_have_been_many(null):
    """So that the test above means something: each study makes 16 claims."""
    uncorrected = (null["low"] > 0) & (null["p"] < 0.05)
    assert uncorrected.groupby(null["study"]).any().sum() >= 4


def test_the_intervals_of_nothing_hold_0(null):
    assert holds_0(null).mean() >= 0.9  # 256 claims, but of 16 studies


def test_a_judge_that_flatters_what_the_steering_one_likes_sees_no_gain(null):
    """It shares 0.9 of its view of each picture; on fresh seeds that view is a fair draw."""
    flattering = null[null["vision_model"].str.startswith(nw.FLATTERING)]
    assert flattering.groupby("study")["said"].any().sum() <= 1
    assert abs(flattering["mean"].mean()) < 0.01


def test_no_curve_of_nothing_rises_by_any_judge_though_the_selected_ones_do(told):
    found = told.curves.groupby(["arm", "vision_model"])[["gain", "ends", "selected"]].mean()
    assert len(found) == 3 * 3
    assert found[["gain", "ends"]].abs().to_numpy().max() < 0.01
    assert (found.drop("resample", level="arm")["selected"] > 0.02).all()


def test_slopes_and_gains_of_nothing_own_up_to_0(told):
    assert holds_0(told.curves, "slope_low", "slope_high").mean() >= 0.9
    assert holds_0(told.curves).mean() >= 0.9
    assert len(told.batch) == 16 * 3
    assert holds_0(told.batch.astype({"low": float, "high": float})).mean() >= 0.85


def test_a_gain_of_a_tenth_is_found_and_its_intervals_hold_it(tmp_path):
    store = open_store(tmp_path / "forge.duckdb")
    found = nw.claims_of(
        store, nw.write_studies(store, nw.World(images=3, rounds=3, effect=0.1, spread=0.1), 10, seed=1)
    )
    assert ((found["low"] <= 0.1) & (found["high"] >= 0.1)).mean() >= 0.85
    assert found["mean"].mean() == pytest.approx(0.1, abs=0.02)
    assert found["said"].mean() >= 0.8


def test_a_study_through_the_real_stages_selects_and_yet_shows_nothing(real):
    """The refiner picks the luckiest version; on the confirming seeds its luck is gone, by every judge."""
    store, plan = real
    claims = nw.claims_of(store, [plan])
    assert len(claims) == 1
    assert not claims["said"].any()
    fresh = nw.curves_of(store).set_index(["arm", "vision_model"])
    assert fresh.loc[("refine", nw.STEERING), "selected"] > 0.05  # selection there was
    assert holds_0(fresh, "confirmed_low", "confirmed_high").all()


def test_the_curve_through_the_real_stages_does_not_rise_with_what_was_selected(real):
    """The curve that issue 11 was about: the best version so far rises, by the steering judge most."""
    curve = trends.adherence(real[0], experiment="real/0/refine").set_index("round")
    gains = trends.gain(real[0], experiment="real/0/refine").set_index("vision_model")
    for judge, line in curve.groupby("vision_model"):
        assert line["selected"].iloc[-1] - line["adherence"].iloc[-1] > 0.02
        assert line["adherence"].iloc[-1] - line["adherence"].iloc[0] == pytest.approx(gains.loc[judge, "gain"])
    assert holds_0(gains).all()


def test_drawing_again_through_the_real_stages_moves_along_the_rounds_and_gains_nothing(real):
    curve = trends.adherence(real[0], experiment="real/0/resample", vision_model=nw.STEERING)
    assert curve["round"].tolist() == [0, 1, 2, 3]
    assert curve["images"].tolist() == [64, 128, 192, 256]
    gains = trends.gain(real[0], experiment="real/0/resample")
    assert holds_0(gains).all()
    assert (gains["high"] - gains["low"] > 0.01).all()  # and not 0 by construction
