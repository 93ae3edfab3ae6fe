"""Scenes one by one, their pictures, what calls took, and the headline of a store."""

from __future__ import annotations

import re
from pathlib import Path

import fair_world
import numpy as np
import pytest
import study
from small_record import add_version, one, twice

from forgekit import trends
from forgekit.cli import main
from forgekit.ids import content_id
from forgekit.store import Store, open_store
from forgekit.store.rows import insert_rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return study.make(tmp_path_factory.mktemp("study"))


def test_the_lineage_of_a_scene_tells_what_made_each_version(finished: Store) -> None:
    longest = finished.rows("select scene_hash from prompts where generation_iteration = 2")[0]["scene_hash"]
    table = trends.lineage(finished, longest)
    assert table["iteration"].tolist() == [0, 1, 2]
    assert table["action"].fillna("").tolist() == ["", "repeat_color", "repeat_color"]
    assert table["parent_prompt_id"].tolist()[1:] == table["prompt_id"].tolist()[:2]
    assert set(table["scores"][0]) == set(study.JUDGES)


def test_before_and_after_show_the_first_drawing_and_the_version_that_was_selected(finished: Store) -> None:
    table = trends.before_after(finished)
    assert table["moment"].unique().tolist() == ["before", "best so far, selected"]
    assert table.groupby("scene_hash")["moment"].value_counts().unique().tolist() == [4]
    means = table.groupby(["scene_hash", "moment"])["score"].mean().unstack()
    assert (means["best so far, selected"] >= means["before"]).all()
    assert all(Path(file).exists() for file in table["file"])


def test_before_and_after_rank_scenes_by_their_cross_fitted_gain(finished: Store) -> None:
    table, scenes = trends.before_after(finished), trends.scenes(finished)
    assert table["scene_hash"].unique().tolist() == scenes["scene_hash"].tolist()
    gains = table.drop_duplicates("scene_hash")["gain"]
    assert gains.tolist() == scenes["gain"].tolist()
    assert gains.is_monotonic_decreasing
    assert gains.iloc[0] > gains.iloc[-1]


def test_costs_add_up_the_calls_of_each_endpoint(finished: Store) -> None:
    table = trends.cost(finished).set_index("endpoint")
    assert table.loc["mini", "seconds"] == pytest.approx(0.9 * table.loc["mini", "calls"])
    assert table.index[0] == "mini"


def test_questions_about_an_empty_store_have_their_columns_and_no_rows(store: Store) -> None:
    for question in (
        trends.adherence,
        trends.distributions,
        trends.by_element_kind,
        trends.version_deltas,
        trends.cost,
    ):
        table = question(store)
        assert len(table) == 0
        assert len(table.columns) > 5


def test_a_call_for_two_experiments_is_shared_out_by_their_images(store: Store) -> None:
    add_version(store, "a", 0, {"j": [one(0.5)] * 3}, experiment="x")
    add_version(store, "a", 0, {"j": [one(0.5)]}, experiment="y")
    images = [row["id"] for row in store.rows("select id from generated_images")]
    call = {"id": content_id("call"), "stage": "evaluate", "endpoint": "j", "duration_ms": 8000.0, "ok": True}
    with store.transaction() as con:
        insert_rows(con, "api_logs", [{**call, "request": {"images": images}}])
    table = trends.cost(store).set_index("experiment")
    assert table["seconds"].to_dict() == pytest.approx({"x": 6.0, "y": 2.0})
    assert table["items"].to_dict() == {"x": 3, "y": 1}
    assert trends.cost(store, experiment="y")["seconds"].tolist() == pytest.approx([2.0])


def test_scenes_are_listed_by_what_they_gained_and_a_maximum_says_selected(store: Store) -> None:
    for scene, scores in {"a": (0.5, 0.4), "b": (0.2, 0.6), "c": (0.9,)}.items():
        for iteration, score in enumerate(scores):
            add_version(store, scene, iteration, {"j": twice(score)})
    add_version(store, "d", 0, {"j": [one(0.1)]})
    add_version(store, "d", 1, {"j": [one(0.9)]})
    table = trends.scenes(store)
    assert table["scene_text"].tolist() == ["b", "a", "c", "d"]
    assert table["gain"].tolist() == pytest.approx([0.4, 0.0, 0.0, np.nan], nan_ok=True)
    assert table["first_score"].tolist() == pytest.approx([0.2, 0.5, 0.9, 0.1])
    assert table["selected_score"].tolist() == pytest.approx([0.6, 0.5, 0.9, 0.9])
    assert table["versions"].tolist() == [2, 2, 1, 2]


def test_a_decision_comes_with_the_change_it_made_by_both_kinds_of_judge(finished: Store) -> None:
    scene = finished.rows("select scene_hash from prompts where generation_iteration = 2")[0]["scene_hash"]
    table = trends.decisions(finished, scene)
    assert table["decision"].tolist() == ["rewrite", "rewrite", "accept"]
    deltas = finished.df(
        "select change from version_changes where scene_hash = $s and vision_model = 'mini-clip' order by all", s=scene
    )
    assert sorted(table["objective_change"].dropna()) == pytest.approx(deltas["change"].tolist())


def test_the_command_prints_the_curve_what_was_gained_and_what_fresh_seeds_confirm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = fair_world.World(scenes=6, rounds=2, confirm=True, confirmed=0.75).fill(
        open_store(tmp_path / "forge.duckdb")
    )
    assert main(["adherence", "--store", str(store.path), "--experiment", "rewrite"]) == 0
    told = capsys.readouterr().out
    gain = trends.gain(store, experiment="rewrite", vision_model="steering").iloc[0]
    assert f"{gain['gain']:.3f}" in told
    assert re.search(r"on fresh seeds\n.*confirmed.*\n.*0\.750", told)
    assert "selected" in told
    assert main(["adherence", "--store", str(open_store(tmp_path / "new.duckdb").path)]) == 0
    assert "Nothing is judged yet" in capsys.readouterr().out
