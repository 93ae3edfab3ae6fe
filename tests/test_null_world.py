"""Where nothing helps nothing is shown, and what helps is found: studies of worlds whose truth is known."""

from __future__ import annotations

import null_world as nw
import numpy as np
import pandas as pd
import pytest

from forgekit.store import open_store
from forgekit.study.report import verdicts
from forgekit.study.results import results

JUDGES = tuple(f"{name}-{number}" for name in (nw.WATCHING, nw.FLATTERING) for number in range(4))
NULL = nw.World(scenes=30, luck=0.02, heldout=JUDGES)  # little luck: the 16 claims fail for themselves


def told(folder, world, count):
    """The primary comparisons of `count` studies of a world, with what the reports say of each."""
    store = open_store(folder / "forge.duckdb")
    rows = []
    for plan in nw.write_studies(store, world, count):
        result = results(store, plan)
        primary = [row for row in result["differences"] if row["role"] == "primary"]
        said = [verdict.startswith("shown") for verdict in verdicts(result)]
        rows += [{**row, "study": plan.name, "said": told} for row, told in zip(primary, said, strict=False)]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def null(tmp_path_factory):
    return told(tmp_path_factory.mktemp("null"), NULL, 16)


def test_where_nothing_helps_hardly_any_study_says_shown(null):
    """At most 5 % of studies may; of 16, one or two is luck, and four has a chance of 1 in 1,000."""
    assert len(null) == 16 * 2 * len(JUDGES)
    assert null.groupby("study")["said"].any().sum() <= 2


def test_without_the_correction_it_would_have_been_many(null):
    """So that the test above means something: each study makes 16 claims."""
    uncorrected = (null["low"] > 0) & (null["p"] < 0.05)
    assert uncorrected.groupby(null["study"]).any().sum() >= 4


def test_the_intervals_of_nothing_hold_0(null):
    covered = (null["low"] <= 0) & (null["high"] >= 0)
    assert covered.mean() >= 0.92


def test_a_judge_that_flatters_what_the_steering_one_likes_sees_no_gain(null):
    """It shares 0.9 of its view of each picture; on fresh seeds that view is a fair draw."""
    flattering = null["vision_model"].str.startswith(nw.FLATTERING)
    assert null[flattering].groupby("study")["said"].any().sum() <= 1
    assert abs(null[flattering]["mean"].mean()) < 0.01


def test_a_gain_of_a_tenth_is_found_and_its_intervals_hold_it(tmp_path):
    found = told(tmp_path, nw.World(effect=0.1, spread=0.1), 15)
    assert ((found["low"] <= 0.1) & (found["high"] >= 0.1)).mean() >= 0.85
    assert found["mean"].mean() == pytest.approx(0.1, abs=0.02)
    assert found["said"].mean() >= 0.8


def test_a_study_through_the_real_stages_selects_and_yet_gains_nothing(tmp_path):
    """The refiner picks the luckiest version; on the confirming seeds its luck is gone, by every judge."""
    store = open_store(tmp_path / "forge.duckdb")
    world = nw.World(scenes=16, images=2, versions=4, arms=("resample", "refine"), heldout=(nw.WATCHING,))
    result = results(store, nw.run_real(store, world))
    picked = store.rows(
        """
        select avg(b.current_score) - avg(f.current_score) as luck
        from prompt_learnings l
        join prompts b on b.id = cast(l.actions ->> '$.base_prompt_id' as uuid)
        join prompts f on f.scene_hash = b.scene_hash and f.experiment = b.experiment and f.parent_prompt_id is null
        where l.actions ->> '$.decision' = 'confirm' and b.experiment = 'real/refine'
        """
    )
    assert picked[0]["luck"] > 0.05  # selection there was
    for row in result["differences"]:
        if row["scenes"] == "all":
            assert row["low"] <= 0 <= row["high"]
            assert abs(row["mean"]) < 0.05
    assert not any(verdict.startswith("shown") for verdict in verdicts(result))
    assert np.isfinite(nw.curve_gains(store)["gain"]).all()
