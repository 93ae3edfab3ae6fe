"""What a plan will draw and can show, before it is run."""

from __future__ import annotations

import json

import null_world
import numpy as np
import pytest
from scipy.stats import wilcoxon

from forgekit import cli
from forgekit.errors import ParameterError
from forgekit.models.naming import TRUST_VARIABLE
from forgekit.store import open_store
from forgekit.study import Comparison, Study, study
from forgekit.study.power import expect, scenes_needed
from forgekit.study.results import results

PLAN = Study(
    "next",
    arms=("resample", "refine"),
    model="study_models:Generator",
    vision_models=("study_models:Steering", "study_models:Watching"),
    images_per_prompt=2,
    images_per_scene=8,
)


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setenv(TRUST_VARIABLE, ",".join([PLAN.model, *PLAN.vision_models]))  # no plan names code unless told so
    (tmp_path / "scenes.csv").write_text("text\na red circle\na blue square\na green star\n")
    path = tmp_path / "next.toml"
    path.write_text(
        f"""
prompts = "{tmp_path}/scenes.csv"
arms = ["resample", "refine"]
model = "study_models:Generator"
vision_models = ["study_models:Steering", "study_models:Watching"]
images_per_prompt = 2
images_per_scene = 8

[[primary]]
arm = "refine"
against = "resample"
"""
    )
    return path


def result_of(folder, row):
    key = {"arm": "refine", "against": "resample", "vision_model": "study_models:Watching", "scenes": "all"}
    (folder / "result.json").write_text(json.dumps({"differences": [{**key, **row}]}))
    return folder


@pytest.mark.parametrize("comparisons", [1, 2, 6])
@pytest.mark.parametrize("sd", [0.08, 0.2])
def test_so_many_scenes_show_the_gain_about_four_times_in_five(sd, comparisons):
    n = scenes_needed(sd, comparisons=comparisons)
    drawn = np.random.default_rng(0).normal(0.05, sd, (800, n))
    power = np.mean(wilcoxon(drawn, axis=1).pvalue < 0.05 / comparisons)
    assert 0.76 <= power <= 0.86


def test_more_spread_or_more_claims_take_more_scenes_and_never_fewer_than_a_p_can_come_from():
    assert (
        scenes_needed(0.1) < scenes_needed(0.2) < scenes_needed(0.2, comparisons=2) < scenes_needed(0.2, comparisons=8)
    )
    assert scenes_needed(0.2) / scenes_needed(0.1) == pytest.approx(4, rel=0.1)
    assert scenes_needed(0.001) == 6  # two-sided, all signs alike: 2 / 2^6 is the first below 0.05


def test_a_plan_says_what_it_will_draw_and_writes_nothing(plan, tmp_path, capsys):
    missing = tmp_path / "none" / "forge.duckdb"
    assert cli.main(["study", "--store", str(missing), "--plan-only", str(plan)]) == 0
    said = capsys.readouterr().out
    assert "at most 60 images" in said
    assert "48 to choose by: 2 arms × 3 scenes × 8" in said
    assert "12 to confirm: 2 arms × 3 scenes × 2" in said
    assert "no earlier spread is known; " in said
    assert f"{scenes_needed(0.2)} at sd 0.2" in said
    assert not missing.parent.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["next.toml", "scenes.csv"]


def test_a_plan_only_leaves_a_store_that_is_there_as_it_is(plan, store):
    before = store.rows("select count(*) as n from prompts")
    study(store, str(plan), plan_only=True)
    assert store.rows("select count(*) as n from prompts") == before == [{"n": 0}]


def test_the_spread_is_that_of_an_earlier_result(store, tmp_path):
    said = expect(store, PLAN, 3, earlier=str(result_of(tmp_path, {"n": 50, "sd": 0.12})))
    [spread] = said.spreads.values()
    assert spread.sd == 0.12
    assert f"{scenes_needed(0.12)} at sd 0.120" in str(said)
    assert "the plan has 3" in str(said)
    assert "enough" in str(expect(store, PLAN, 500, earlier=str(tmp_path / "result.json")))


def test_a_comparison_that_no_earlier_study_made_has_no_spread(store, tmp_path):
    folder = result_of(tmp_path, {"n": 100, "sd": 0.1})
    plan = Study(**{**vars(PLAN), "arms": ("paraphrase", "refine")})
    assert list(expect(store, plan, 3, earlier=str(folder)).spreads.values()) == [None]


def test_a_claim_on_half_of_the_scenes_takes_twice_as_many(store):
    half = Comparison("refine", "resample", "study_models:Watching", "second half")
    plan = Study(**{**vars(PLAN), "primary": (half,)})
    assert f" {2 * scenes_needed(0.2)} at sd 0.200 (given)" in str(expect(store, plan, 3, sd=0.2))


def test_without_a_word_the_spread_is_that_of_the_newest_other_study_in_the_store(store):
    world = null_world.World(scenes=20)
    [past] = null_world.write_studies(store, world, 1)
    measured = [row["sd"] for row in results(store, past)["differences"][:2]]
    said = expect(store, world.plan("next"), 100)
    assert [spread.sd for spread in said.spreads.values()] == pytest.approx(measured)
    assert f"study {past.name} in the store, n = 20" in str(said)
    assert list(expect(store, past, 100).spreads.values()) == [None, None]  # not from what it has drawn itself


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sd": 0.0}, "above 0"),
        ({"sd": float("nan")}, "above 0"),
        ({"sd": 0.1, "earlier": "x"}, "give either"),
        ({"earlier": "nowhere"}, "is no result of a study"),
    ],
)
def test_a_spread_that_is_none_is_refused(store, arguments, message):
    with pytest.raises(ParameterError, match=message):
        expect(store, PLAN, 3, **arguments)


def test_a_spread_for_a_study_that_is_run_is_refused(plan, tmp_path):
    with pytest.raises(ParameterError, match="for plan_only"):
        study(open_store(tmp_path / "forge.duckdb"), str(plan), sd=0.1)
