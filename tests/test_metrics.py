"""Statistics on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from forgekit.metrics import Difference, bootstrap_interval, paired_difference, signed_rank_p, transfer_ratio


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
        low, high = bootstrap_interval(rng.normal(0.3, 1.0, 60), resamples=500, seed=number)
        covered += low <= 0.3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_signed_ranks_of_ten_gains_and_no_loss_are_significant():
    assert signed_rank_p(np.arange(1, 11) / 100) == pytest.approx(2 / 2**10)  # exact: both tails, all signs alike
    assert signed_rank_p([0.0, 0.0]) == 1.0


def test_transfer_is_the_held_out_share_of_the_gain():
    gain = Difference(0.2, 0.1, 0.3, 0.01, 50)
    assert transfer_ratio(gain, Difference(0.1, 0.0, 0.2, 0.05, 50)) == pytest.approx(0.5)
    assert transfer_ratio(Difference(-0.1, -0.2, 0.0, 0.05, 50), gain) is None
