"""The MLflow mirror: what is in it."""

from __future__ import annotations

import base64
import json
import re
import zlib

import numpy as np
import pytest
from mirrored import artifacts, client_of, geometric_means, runs_of, version_runs
from PIL import Image

import forgekit as fk

pytest_plugins = ["mirror_fixtures"]
IMAGE_NAME = r"images/[\w\-. ]+\+step\+\d+\+timestamp\+\d+\+[0-9a-f-]{36}(\.png|\+compressed\.webp)"


def test_there_is_one_flat_run_per_version_and_vision_model(tracked):
    runs = version_runs(tracked)
    pairs = {(run.data.tags["prompt_id"], run.data.tags["vision_model"]) for run in runs}
    assert len(runs) == len(pairs) == 3 * 2
    assert not [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.params["vision_model"] == run.data.tags["vision_model"]
        assert run.data.params["draw.guidance_scale"] == "3.5"


def test_metrics_say_what_the_stored_documents_say(tracked):
    client = client_of(tracked)
    for run in version_runs(tracked):
        low, high = geometric_means(tracked, run)
        metrics = run.data.metrics
        assert metrics["score/mean"] == pytest.approx((low + high) / 2)
        assert (metrics["score/min"], metrics["score/max"]) == (pytest.approx(low), pytest.approx(high))
        quantiles = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "dist/quantile")}
        assert sorted(quantiles) == list(range(0, 101, 10))
        assert (quantiles[0], quantiles[100]) == (pytest.approx(low), pytest.approx(high))
        assert quantiles[50] == pytest.approx((low + high) / 2)  # of two values, half-way between them
        bars = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "dist/histogram")}
        assert {step for step, share in bars.items() if share} == {int(low * 20), int(high * 20)}
        assert sum(bars.values()) == pytest.approx(1)


def test_a_kind_of_element_has_the_mean_over_its_elements_in_all_images(tracked):
    for run in version_runs(tracked):
        documents = tracked.rows(
            "select element_scores from image_evaluations where prompt_id = $id and vision_model = $judge",
            id=run.data.tags["prompt_id"],
            judge=run.data.tags["vision_model"],
        )
        for kind in ("object", "color"):
            scores = [s for d in documents for key, s in d["element_scores"].items() if key.startswith(kind)]
            assert run.data.metrics[f"element/{kind}"] == pytest.approx(np.mean(scores))


def test_images_have_the_names_that_log_image_gives(tracked):
    run = version_runs(tracked)[0]
    ours = [name for name in artifacts(tracked, run) if name.startswith("images/")]
    client = client_of(tracked)
    other = client.create_run(client.create_experiment("by hand"))
    client.log_image(other.info.run_id, Image.new("RGB", (4, 4)), key="image", step=3, synchronous=True)
    theirs = [file.path for file in client.list_artifacts(other.info.run_id, "images")]
    assert len(ours) == 2 * 2 and len(theirs) == 2  # each image and its preview
    for name in [*ours, *theirs]:
        assert re.fullmatch(IMAGE_NAME, name), name
    assert run.data.tags["mlflow.loggedImages"] == client.get_run(other.info.run_id).data.tags["mlflow.loggedImages"]


def test_a_step_is_the_same_seed_in_every_version_of_a_scene(tracked):
    steps = {}
    for run in version_runs(tracked):
        for row in json.loads(artifacts(tracked, run)["images.json"].read_text())["data"]:
            step = int(re.search(r"step\+(\d+)", row[1]["filepath"])[1])
            steps.setdefault(row[0], set()).add(step)
    assert steps == {"1000": {0}, "1001": {1}}


def test_the_table_has_an_image_and_a_score_per_seed(tracked):
    run = version_runs(tracked)[0]
    files = artifacts(tracked, run)
    table = json.loads(files["images.json"].read_text())
    assert table["columns"][:3] == ["seed", "image", "score"]
    assert sorted(row[2] for row in table["data"]) == pytest.approx(geometric_means(tracked, run))
    for row in table["data"]:
        assert Image.open(files[row[1]["filepath"]]).size == (64, 64)
        assert Image.open(files[row[1]["compressed_filepath"]]).size == (256, 256)
    evaluations = json.loads(files["evaluations.json"].read_text())
    named = [dict(zip(evaluations["columns"], row, strict=True)) for row in evaluations["data"]]
    assert all(0 <= row["object:0"] <= 1 and row["text_match"] == 0.5 for row in named)


def test_a_version_links_to_the_runs_of_its_parent(tracked):
    child = next(run for run in version_runs(tracked) if run.data.tags["prompt_version"] == "1")
    parent_id = child.data.tags["parent_prompt_id"]
    parents = runs_of(tracked, f"tags.prompt_id = '{parent_id}'")
    assert [run.data.tags["prompt_version"] for run in parents] == ["0", "0"]
    assert f"/experiments/{child.info.experiment_id}/runs?searchFilter=" in child.data.tags["mlflow.note.content"]
    assert child.data.tags["mlflow.note.content"].count(parent_id) == 1


def test_the_registry_has_each_version_once_linked_to_its_runs(tracked):
    client = client_of(tracked)
    versions = {v.tags["prompt_id"]: v for p in client.search_prompts() for v in client.search_prompt_versions(p.name)}
    texts = {row["id"]: row["prompt_text"] for row in tracked.rows("select id, prompt_text from prompts")}
    assert {prompt_id: version.template for prompt_id, version in versions.items()} == texts
    for run in version_runs(tracked):
        version = versions[run.data.tags["prompt_id"]]
        linked = json.loads(run.data.tags["mlflow.linkedPrompts"])
        assert linked == [{"name": version.name, "version": str(version.version)}]
    experiment_id = client.get_experiment_by_name("main").experiment_id
    assert len(client.search_prompts(f"experiment_id = '{experiment_id}'")) == 2  # one per scene


def test_each_experiment_has_a_view_by_vision_model(tracked):
    view = json.loads(client_of(tracked).get_experiment_by_name("main").tags["mlflow.sharedViewState.forgekit"])
    state = json.loads(zlib.decompress(base64.b64decode(view["state"].removeprefix("deflate;"))))
    assert view["name"] == "by vision model"
    assert state["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "vision_model"}]


def test_the_summary_has_the_trend_and_sheets_of_all_versions(tracked):
    (summary,) = runs_of(tracked, "tags.kind = 'summary'")
    files = artifacts(tracked, summary)
    sheets = [name for name in files if name.startswith("sheets/main/")]
    assert len(sheets) == 2  # one per scene
    assert {"adherence.csv", "adherence.png", "before-after-main.jpg"} <= set(files)
    history = client_of(tracked).get_metric_history(summary.info.run_id, "trend/main/mini-clip")
    assert [point.step for point in history] == [0, 1]
    first = [run for run in version_runs(tracked) if run.data.tags["prompt_version"] == "0"]
    scores = [np.mean(geometric_means(tracked, r)) for r in first if r.data.tags["vision_model"] == "mini-clip"]
    assert history[0].value == pytest.approx(np.mean(scores))


def test_the_summary_tells_what_is_cross_fitted_from_what_is_selected_and_has_the_paired_gain(tracked):
    (summary,) = runs_of(tracked, "tags.kind = 'summary'")
    table = fk.trends.adherence(tracked, vision_model="mini-clip")
    for name, column in {"trend": "adherence", "selected": "selected"}.items():
        history = client_of(tracked).get_metric_history(summary.info.run_id, f"{name}/main/mini-clip")
        assert [point.value for point in history] == pytest.approx(table[column].tolist())
    gain = fk.trends.gain(tracked, vision_model="mini-clip")["gain"][0]
    assert summary.data.metrics["gain/main/mini-clip"] == pytest.approx(gain)
    assert {"gain.csv", "confirmed.csv"} <= set(artifacts(tracked, summary))


def test_nothing_is_left_in_the_folder_where_it_is_called(studied, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    fk.track(studied)
    assert list(elsewhere.iterdir()) == []


def test_doubled_braces_are_text_and_not_a_template(studied):
    with studied.transaction() as con:
        con.execute("update prompts set prompt_text = 'a {{red}} circle {% if %}' where generation_iteration = 1")
    assert fk.track(studied).failed == 0
    client = client_of(studied)
    versions = [version for p in client.search_prompts() for version in client.search_prompt_versions(p.name)]
    (braced,) = [version for version in versions if "red" in version.template and "if" in version.template]
    assert not braced.variables
    assert braced.format() == "a { {red}} circle { % if %}"
