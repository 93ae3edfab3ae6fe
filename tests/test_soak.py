"""The soak runs and finds nothing, at the smallest size; `make soak` is for good."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import soak
import warm
from soak import KINDS, is_well


def test_a_few_kills_and_a_few_processes_lose_and_double_nothing(monkeypatch):
    """Without the mirror and the batches, which have kills of their own and start slowly."""
    monkeypatch.setattr(soak, "Popen", warm.Popen)
    kinds = [kind for kind in KINDS if kind not in ("track", "batch")]
    figures = soak.soak(4, 2, 1.0, kinds=kinds, seed=5, most_s=0.4)
    assert is_well(figures), figures
    assert sum(figures["killed"]["kills"].values()) == 4
    assert set(figures["killed"]["kills"]) <= set(kinds)
    assert figures["together"]["looks"] > 0


def test_a_figure_that_is_bad_is_told():
    for name in ("lost", "doubled", "orphan_files", "not_restored", "drawn_twice", "paid_twice"):
        assert not is_well({"killed": {name: 1}})
    assert not is_well({"killed": {"errors": ["it broke"]}})
