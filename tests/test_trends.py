"""Trends, on records small enough to work out by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import fair_world
import numpy as np
import pytest
import study

from forgekit import trends
from forgekit.cli import main
from forgekit.errors import ParameterError
from forgekit.ids import content_hash, content_id
from forgekit.metrics import mean_interval
from forgekit.store import Store, open_store
from forgekit.store.rows import insert_rows

Scores = Mapping[str, Sequence[Mapping[str, float | None]]]  # vision model -> one element_scores document per image


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "forge.duckdb")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return study.make(tmp_path_factory.mktemp("study"))


def add_version(
    store: Store,
    scene: str,
    iteration: int,
    scores: Scores,
    *,
    experiment: str = "main",
    key: str = "k",
    rounds: Sequence[int] | None = None,
) -> str:
    """Add one evaluated version whose image i has seed i; the first vision model steers. Return its prompt id.

    `rounds` says which of them were drawn when; None: all of them at the round of the version's number.
    """
    scene_hash = content_hash(scene)
    ids = [content_id("prompt", scene=scene, experiment=experiment, iteration=i) for i in (iteration - 1, iteration)]
    images = [content_id("image", prompt=ids[1], seed=i) for i in range(len(next(iter(scores.values()))))]
    steering = next(iter(scores))
    prompt = {
        "id": ids[1],
        "scene_hash": scene_hash,
        "parent_prompt_id": ids[0] if iteration else None,
        "model": "mini",
        "prompt_text": f"{scene} {iteration}",
        "base_parameters": {},
        "generation_iteration": iteration,
        "status": "archived",
        "best_image_id": images[0],
        "experiment": experiment,
    }
    with store.transaction() as con:
        insert_rows(con, "scenes", [{"scene_hash": scene_hash, "scene_text": scene}])
        insert_rows(con, "prompts", [prompt])
        for seed, image in enumerate(images):
            details = {"vision_model": steering}
            row = {"id": image, "prompt_id": ids[1], "image_path": image, "generation_metadata": {"seed": seed}}
            drawn = rounds or [iteration] * len(images)
            row |= {"round": drawn[seed], "image_index": drawn[:seed].count(drawn[seed]), "evaluation_details": details}
            insert_rows(con, "generated_images", [row])
        for judge, documents in scores.items():
            for image, document in zip(images, documents, strict=True):
                verdict = {
                    "id": content_id("evaluation", image=image, judge=judge, key=key),
                    "image_id": image,
                    "prompt_id": ids[1],
                    "scene_hash": scene_hash,
                    "vision_model": judge,
                    "judge_key": key,
                    "element_scores": document,
                }
                insert_rows(con, "image_evaluations", [verdict])
        con.execute(
            """
            update prompts set current_score = s.mean_score from prompt_scores s
            where s.prompt_id = prompts.id and s.vision_model = $judge and prompts.id = $id
            """,
            {"judge": steering, "id": ids[1]},
        )
        con.execute(
            """
            update generated_images set adherence_score = s.soft_tifa_gm from image_scores s
            where s.image_id = generated_images.id and s.vision_model = $judge and s.judge_key = $key
              and s.prompt_id = $id
            """,
            {"judge": steering, "id": ids[1], "key": key},
        )
    return ids[1]


def one(score: float | None) -> dict[str, float | None]:
    return {"object:0": score}


def twice(score: float) -> list[dict[str, float | None]]:
    return [one(score), one(score)]


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


def test_every_figure_goes_by_the_pass_mark_of_its_judge(store: Store) -> None:
    version = add_version(store, "a", 0, {"j": twice(0.6), "k": twice(0.6)})
    mark = {"vision_model": "j", "judge_key": "k", "pass_mark": 0.7, "source": "error graphs"}
    with store.transaction() as con:
        insert_rows(con, "pass_marks", [mark])
    kinds = trends.by_element_kind(store).set_index("vision_model")["failure_rate"]
    assert kinds.to_dict() == {"j": 1.0, "k": 0.0}
    assert trends.judge_agreement(store)["same_verdict"].tolist() == [0.0]
    assert trends.version_elements(store, version).set_index("vision_model")["pass_mark"].to_dict() == {
        "j": 0.7,
        "k": 0.5,
    }
    assert [trends.pictures(store, vision_model=j)["failed"].tolist() for j in "jk"] == [[["object:0"]] * 2, [[]] * 2]


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


def test_element_kinds_have_the_mean_of_their_probabilities_and_the_share_that_failed(store: Store) -> None:
    add_version(store, "a", 0, {"j": [{"color:0": 0.2, "color:1": 0.8, "object:0": 1.0}] * 2})
    table = trends.by_element_kind(store).set_index("kind")
    assert table.loc["color", ["score", "failure_rate"]].tolist() == pytest.approx([0.5, 0.5])
    assert table.loc["object", ["score", "failure_rate"]].tolist() == pytest.approx([1.0, 0.0])


def test_kinds_that_fail_together_have_a_lift_above_one(store: Store) -> None:
    both, none = {"color:0": 0.1, "relation:0": 0.1}, {"color:0": 0.9, "relation:0": 0.9}
    add_version(store, "a", 0, {"j": [both, none, none, none]})
    row = trends.failing_together(store).iloc[0]
    assert (row["kind"], row["other"], row["both_failed"], row["lift"]) == (
        "color",
        "relation",
        0.25,
        pytest.approx(4.0),
    )


def test_judges_that_order_images_alike_have_a_rank_correlation_of_one(store: Store) -> None:
    add_version(store, "a", 0, {"j": [one(x) for x in (0.1, 0.2, 0.6)], "k": [one(x) for x in (0.1, 0.7, 0.9)]})
    row = trends.judge_agreement(store).iloc[0]
    assert (row["judge"], row["other"], row["images"]) == ("j", "k", 3)
    assert row["spearman"] == pytest.approx(1.0)
    assert row["same_verdict"] == pytest.approx(2 / 3)
    assert trends.judge_pairs(store, "j", "k")["x"][0] == pytest.approx(0.2)


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


def test_words_that_fail_together_are_told_as_well(finished: Store) -> None:
    table = trends.failing_together(finished, by="term", vision_model="mini-clip")
    assert {"term", "other", "lift"} <= set(table.columns)
    assert (table["both_failed"] <= table[["failed", "other_failed"]].min(axis=1)).all()
    with pytest.raises(ParameterError, match="'kind' or 'term'"):
        trends.failing_together(finished, by="word")


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


def test_a_version_has_the_mean_score_of_each_element_the_worst_first(store: Store) -> None:
    prompt = add_version(store, "a", 0, {"j": [{"object:0": 0.9, "color:0": 0.2}, {"object:0": 0.7, "color:0": 0.4}]})
    table = trends.version_elements(store, prompt)
    assert table["element"].tolist() == ["color:0", "object:0"]
    assert table["score"].tolist() == pytest.approx([0.3, 0.8])
    assert table["min_score"].tolist() == pytest.approx([0.2, 0.7])


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
    assert main(["adherence", "--store", str(tmp_path / "new.duckdb")]) == 0
    assert "Nothing is judged yet" in capsys.readouterr().out
