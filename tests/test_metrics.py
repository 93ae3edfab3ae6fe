"""Statistics on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from forgekit.metrics import (
    Difference,
    clustered_interval,
    holm,
    mean_interval,
    paired_difference,
    signed_rank_p,
    transfer_ratio,
)


def test_a_constant_difference_has_an_interval_of_no_width():
    difference = paired_difference([0.5, 0.6, 0.7], [0.4, 0.5, 0.6])
    assert (difference.mean, difference.low, difference.high) == pytest.approx((0.1, 0.1, 0.1))
    assert difference.n == 3


def test_pairs_with_a_missing_score_drop_out():
    assert paired_difference([0.5, np.nan, 0.9], [0.4, 0.5, np.nan]).n == 1


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for number in range(200):
        low, high = mean_interval(rng.normal(0.3, 1.0, 60), resamples=500, seed=number)
        covered += low <= 0.3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_signed_ranks_of_ten_gains_and_no_loss_are_significant():
    assert signed_rank_p(np.arange(1, 11) / 100) == pytest.approx(2 / 2**10)  # exact: both tails, all signs alike
    assert signed_rank_p([0.0, 0.0]) == 1.0


def test_transfer_is_the_held_out_share_of_the_gain():
    gain = Difference(0.2, 0.1, 0.3, 0.01, 50)
    assert transfer_ratio(gain, Difference(0.1, 0.0, 0.2, 0.05, 50)) == pytest.approx(0.5)
    assert transfer_ratio(Difference(-0.1, -0.2, 0.0, 0.05, 50), gain) is None


@pytest.mark.parametrize("low", [-0.01, 0.0, float("nan")])
def test_there_is_no_transfer_where_the_gain_itself_is_not_shown(low):
    assert transfer_ratio(Difference(0.2, low, 0.4, 0.06, 50), Difference(0.1, 0.0, 0.2, 0.05, 50)) is None


def test_the_interval_is_bca_and_leans_to_the_long_tail():
    """Of ten values 1 … 512, by `scipy.stats.bootstrap` with 100,000 resamples."""
    low, high = mean_interval(2.0 ** np.arange(10), resamples=20_000)
    assert (low, high) == pytest.approx((34.1, 259.3), rel=0.05)
    percentile = np.quantile(np.random.default_rng(0).choice(2.0 ** np.arange(10), (20_000, 10)).mean(axis=1), 0.975)
    assert high > percentile + 15


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(1).normal(size=30)
    assert mean_interval(values, seed=3) == mean_interval(values[::-1], seed=3) != mean_interval(values, seed=4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "interval"),
    [
        ([], (np.nan, np.nan)),
        ([0.3], (np.nan, np.nan)),
        ([0.3, np.nan, np.inf], (np.nan, np.nan)),
        ([0.3, 0.3, np.nan], (0.3, 0.3)),
        ([0.3, 0.3 + 1e-16, 0.3], (0.3, 0.3)),
        ([0.0, 1.0], (0.0, 1.0)),
    ],
)
def test_the_interval_of_next_to_nothing_is_told_without_a_warning(values, interval):
    assert mean_interval(values) == pytest.approx(interval, nan_ok=True)


@pytest.mark.filterwarnings("error")
def test_where_bca_is_not_defined_the_interval_is_the_percentile_one():
    low, high = mean_interval([0.0, 0.0, 0.0, 0.0, 1e-300, 1.0])
    assert 0.0 <= low < high <= 1.0
    many = np.random.default_rng(0).normal(size=3000)
    assert mean_interval(many) == pytest.approx((many.mean() - 0.036, many.mean() + 0.036), abs=0.004)


def test_images_of_one_scene_do_not_count_as_so_many_scenes():
    scenes = np.random.default_rng(0).normal(size=12)
    alone = mean_interval(scenes)
    low, high = clustered_interval(np.repeat(scenes, 8), np.repeat(np.arange(12), 8))
    assert (low, high) == pytest.approx(alone)
    assert np.isnan(clustered_interval([0.1, 0.2], ["a", "a"])).all()


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx(
        [0.03, 0.06, 0.06]
    )  # 3 × .01; 2 × .03; the larger of .06, .04
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([np.nan, 0.01]).tolist() == [1.0, 0.02]  # a test that could not be made was planned all the same
    assert holm([]).tolist() == []
