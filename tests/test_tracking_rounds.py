"""The MLflow mirror at the grain that people compare: runs of rounds, the views that start from them, the summary's answers."""

from __future__ import annotations

import base64
import json
import re
import shutil
import zlib

import pytest
import study
from mirrored import artifacts, client_of, runs_of, version_runs
from PIL import Image

import forgekit as fk
from forgekit.errors import ParameterError
from forgekit.tracking.run import Run
from forgekit.tracking.views import VIEW, saved_views

pytest_plugins = ["mirror_fixtures"]


def state_of(tag: str) -> dict:
    packed = json.loads(tag)["state"].removeprefix("deflate;")
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def views_of(store, experiment="main") -> dict[str, dict]:
    """The saved views of an experiment by name."""
    tags = client_of(store).get_experiment_by_name(experiment).tags
    return {json.loads(tag)["name"]: state_of(tag) for name, tag in tags.items() if name.startswith(VIEW)}


def test_a_round_has_the_figures_of_the_store_by_each_judge(tracked):
    rounds = runs_of(tracked, "tags.kind = 'round'")
    told = {(run.data.tags["vision_model"], int(run.data.tags["round"])): run.data.metrics for run in rounds}
    curve = fk.trends.adherence(tracked)
    assert len(rounds) == len(told) == len(curve) == 2 * 2
    for row in curve.itertuples():
        metrics = told[row.vision_model, row.round]
        assert metrics["adherence/mean"] == pytest.approx(row.adherence, abs=1e-4)
        assert (metrics["adherence/low"], metrics["n/scenes"]) == (pytest.approx(row.low, abs=1e-4), row.scenes)
    for row in fk.trends.round_gains(tracked).itertuples():
        metrics = told[row.vision_model, row.round]
        assert [metrics[f"gain/{name}"] for name in ("mean", "low", "high")] == pytest.approx(
            [row.gain, row.low, row.high], abs=1e-4
        )
    for row in fk.trends.by_element_kind(tracked).itertuples():
        assert told[row.vision_model, row.round][f"failed/{row.kind}"] == pytest.approx(row.failure_rate, abs=1e-4)
        said = f"{row.kind} {row.failure_rate:.0%} of {row.scenes}"  # a rate alone would not say of how few
        assert any(said in run.data.tags["mlflow.note.content"] for run in rounds)
    for row in fk.trends.distributions(tracked).itertuples():
        metrics = told[row.vision_model, row.round]
        assert (metrics["score/q50"], metrics["n/images"]) == (pytest.approx(row.q50, abs=1e-4), row.images)


def test_a_round_says_its_role_and_has_a_figure_of_how_scores_spread_by_all_judges(tracked):
    roles = set()
    for run in runs_of(tracked, "tags.kind = 'round'"):
        number, judge, role = run.info.run_name.split(" · ")
        assert number == f"round {run.data.tags['round']}" and f"mini-{judge}" == run.data.tags["vision_model"]
        roles.add((judge, role))
        assert set(artifacts(tracked, run)) == {"distribution.png"}
        assert re.search(r"adherence 0\.\d{4} \[", run.data.tags["mlflow.note.content"])
    assert roles == {("clip", "objective"), ("fuyu", "held-out")}


def test_the_newest_run_is_the_summary_and_it_answers_in_its_first_lines(tracked):
    client = client_of(tracked)
    experiment_id = client.get_experiment_by_name("main").experiment_id
    newest = client.search_runs([experiment_id], order_by=["attributes.start_time DESC"])[0]
    assert newest.data.tags["kind"] == "summary"
    harsher, last, apart = newest.data.tags["mlflow.note.content"].split("\n")[:3]
    agreement = fk.trends.judge_agreement(tracked).iloc[0]
    assert "Harsher judge: fuyu" in harsher and f"clip scores {agreement['mean_difference']:+.4f}" in harsher
    gain = fk.trends.round_gains(tracked, vision_model="mini-fuyu").iloc[-1]
    assert "Last round (1) by fuyu (held out)" in last and f"{gain['gain']:+.4f} [{gain['low']:+.4f}" in last
    furthest = fk.trends.disagreements(tracked, "mini-clip", "mini-fuyu").iloc[0]
    assert f"({furthest['x']:.2f} / {furthest['y']:.2f})" in apart
    sheet = artifacts(tracked, newest)["disagreements-mini-clip-mini-fuyu.jpg"]
    assert Image.open(sheet).width > 1000
    assert {"distributions/round-0.png", "distributions/round-1.png"} <= set(artifacts(tracked, newest))


def test_every_view_finds_its_runs(tracked):
    views = views_of(tracked)
    assert list(views) == ["rounds", "judges by round", "versions of a scene"]
    found = {name: runs_of(tracked, state["searchFilter"]) for name, state in views.items()}
    assert [len(found[name]) for name in views] == [5, 4, 2 * 2]
    rewritten = fk.trends.scenes(tracked).query("versions > 1")["scene_text"].iloc[0]  # of those, it gained most
    assert {run.data.tags["scene"] for run in found["versions of a scene"]} == {rewritten}
    known = {f"metrics.`{name}`" for run in found["rounds"] for name in run.data.metrics}
    assert {column for column in views["rounds"]["selectedColumns"] if column.startswith("metrics")} <= known
    assert views["judges by round"]["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "vision_model"}]


def many_rounds(arms: int, rounds: int, judges: int) -> list[Run]:
    """The tags that a view filters by, of a study of that size."""
    return [
        Run("", {"place": place, "role": "held-out" if judge else "objective"}, {}, {}, [], "", 0, 0, None)
        for _ in range(arms)
        for number in range(rounds)
        for judge in range(judges)
        for place in ["last" if number == rounds - 1 else "between" if number else "first"]
    ]


@pytest.mark.parametrize(
    ("size", "shown"),
    [((4, 4, 2), 32), ((8, 5, 4), 64), ((20, 5, 3), 60), ((90, 2, 2), 90), ((200, 2, 1), 0)],
)
def test_no_view_asks_for_more_runs_than_the_ui_loads(size, shown):
    runs = many_rounds(*size)
    where = state_of(saved_views(runs, "a scene", ())[VIEW])["searchFilter"]
    asked = {name: re.findall(r"'(.*?)'", values) for name, values in re.findall(r"tags\.(\w+) IN \((.*?)\)", where)}
    found = [run for run in runs if all(run.tags[name] in values for name, values in asked.items())]
    assert len(found) == shown < 100


@pytest.fixture(scope="module")
def arms(tmp_path_factory, empty_database):
    """A store with two arms of a study, mirrored, and another experiment, not mirrored."""
    folder = tmp_path_factory.mktemp("arms")
    shutil.copy(empty_database, folder / "mlflow.db")
    store = study.make(folder, scenes=1, iterations=1, seeds=1)
    for arm in ("refine", "resample"):
        study.fill(store, experiment=f"colours/{arm}", scenes=2, iterations=2, seeds=2, seed=3)
    assert fk.track(store, experiment="colours").done == 12
    return store


def test_arms_are_told_apart_where_there_are_several(arms):
    rounds = runs_of(arms, "tags.kind = 'round'", "colours")
    assert {run.info.run_name for run in rounds} >= {
        "round 1 · clip · objective · refine",
        "round 1 · fuyu · held-out · resample",
    }
    assert {run.data.tags["experiment"] for run in rounds} == {"colours/refine", "colours/resample"}
    assert "tags.`experiment`" in views_of(arms, "colours")["rounds"]["selectedColumns"]


def test_the_arms_of_a_study_lie_in_one_mlflow_experiment(arms):
    assert {run.data.tags["experiment"] for run in version_runs(arms, "colours")} == {
        "colours/refine",
        "colours/resample",
    }
    assert client_of(arms).get_experiment_by_name("main") is None
    with pytest.raises(ParameterError, match=r"no experiment is called 'colors/refine'.*Did you mean 'colours/refine'"):
        fk.track(arms, experiment="colors/refine")


def test_a_round_that_is_missing_is_written_by_the_next_call_and_one_that_has_not_changed_is_not(mirrored):
    before = {run.info.run_name: run.info.run_id for run in runs_of(mirrored, "tags.kind = 'round'")}
    client_of(mirrored).delete_run(before["round 1 · clip · objective"])
    assert fk.track(mirrored).done == 0
    after = {run.info.run_name: run.info.run_id for run in runs_of(mirrored, "tags.kind = 'round'")}
    assert {name for name in after if after[name] != before[name]} == {"round 1 · clip · objective"}


def test_the_report_says_where_the_ui_opens_on_the_rounds(mirrored, monkeypatch):
    monkeypatch.setenv("MLFLOW_PORT", "5123")
    experiment_id = client_of(mirrored).get_experiment_by_name("main").experiment_id
    link = f"http://127.0.0.1:5123/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey=forgekit"
    assert f"main: {link}" in fk.track(mirrored).notes
