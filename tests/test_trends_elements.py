"""How elements fare and judges agree, on records small enough to work out by hand."""

from __future__ import annotations

import pytest
import study
from small_record import add_version, one, twice

from forgekit import trends
from forgekit.errors import ParameterError
from forgekit.store import Store
from forgekit.store.rows import insert_rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return study.make(tmp_path_factory.mktemp("study"))


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


def test_where_two_judges_disagree_most_comes_first_with_what_they_differ_on(store: Store) -> None:
    red = "a red circle"  # object:0 is "a circle", color:0 "a red circle"
    strict = [{"object:0": 0.9, "color:0": 0.1}, {"object:0": 0.9, "color:0": 0.9}]
    mild = [{"object:0": 0.9, "color:0": 0.9}, {"object:0": 0.9, "color:0": 0.8}]
    add_version(store, red, 0, {"mild": mild, "strict": strict})
    add_version(store, "two stars", 0, {"mild": [one(0.4)], "strict": [one(0.6)]})
    table = trends.disagreements(store, "mild", "strict")
    assert table["scene_text"].tolist() == [red, "two stars", red]
    assert table["seed"].tolist() == [0, 0, 1]
    first = table.iloc[0]
    assert (first["x"], first["y"]) == (pytest.approx(0.9), pytest.approx((0.9 * 0.1) ** 0.5))
    assert first["gap"] == pytest.approx(first["x"] - first["y"])
    assert [len(differ) for differ in table["differ"]] == [1, 1, 0] and "red" in first["differ"][0]
    assert table["file"].isna().all()  # these paths lead out of the store's images
    assert trends.disagreements(store, "strict", "mild", per_scene=1, most=9)["seed"].tolist() == [0, 0]
    assert len(trends.disagreements(store, "mild", "strict", most=1)) == 1


def test_what_only_one_judge_looks_at_is_a_difference_where_it_misses_it(store: Store) -> None:
    add_version(store, "a red circle", 0, {"j": [{"object:0": 0.9}], "k": [{"object:0": 0.9, "color:0": 0.1}]})
    assert len(trends.disagreements(store, "j", "k")["differ"][0]) == 1


def test_a_judge_that_scored_nothing_is_named_with_those_that_did(store: Store) -> None:
    add_version(store, "a", 0, {"mini-owl": [one(0.5)], "mini-clip": [one(0.5)]})
    with pytest.raises(ParameterError, match=r"'mini-olw'.*Did you mean 'mini-owl'"):
        trends.disagreements(store, "mini-olw", "mini-clip")
    with pytest.raises(ParameterError, match="are both 'mini-owl'"):
        trends.disagreements(store, "mini-owl", "mini-owl")


def test_words_that_fail_together_are_told_as_well(finished: Store) -> None:
    table = trends.failing_together(finished, by="term", vision_model="mini-clip")
    assert {"term", "other", "lift"} <= set(table.columns)
    assert (table["both_failed"] <= table[["failed", "other_failed"]].min(axis=1)).all()
    with pytest.raises(ParameterError, match="'kind' or 'term'"):
        trends.failing_together(finished, by="word")


def test_a_version_has_the_mean_score_of_each_element_the_worst_first(store: Store) -> None:
    prompt = add_version(store, "a", 0, {"j": [{"object:0": 0.9, "color:0": 0.2}, {"object:0": 0.7, "color:0": 0.4}]})
    table = trends.version_elements(store, prompt)
    assert table["element"].tolist() == ["color:0", "object:0"]
    assert table["score"].tolist() == pytest.approx([0.3, 0.8])
    assert table["min_score"].tolist() == pytest.approx([0.2, 0.7])
