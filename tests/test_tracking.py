"""The MLflow mirror: what is in it."""

from __future__ import annotations

import json
import re
import shutil
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np
import pytest
import study
from mirrored import about, artifacts, client_of, geometric_means, runs_of, version_runs
from mlflow import MlflowClient
from PIL import Image

import forgekit as fk

pytest_plugins = ["mirror_fixtures"]
IMAGE_NAME = r"images/[\w\-. ]+\+step\+\d+\+timestamp\+\d+\+[0-9a-f-]{36}(\.png|\+compressed\.webp)"


def test_there_is_one_flat_run_per_version_and_vision_model(tracked):
    runs = version_runs(tracked)
    pairs = {(about(run)["prompt_id"], run.data.tags["vision_model"]) for run in runs}
    assert len(runs) == len(pairs) == 3 * 2
    assert not [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.params["vision_model"] == run.data.tags["vision_model"]
        assert run.data.params["draw.guidance_scale"] == "3.5"


def test_metrics_say_what_the_stored_documents_say_in_four_digits(tracked):
    for run in version_runs(tracked):
        low, high = geometric_means(tracked, run)
        metrics = run.data.metrics
        assert metrics["score/mean"] == pytest.approx((low + high) / 2, abs=1e-4)
        assert (metrics["score/min"], metrics["score/max"]) == (round(low, 4), round(high, 4))
        assert all(round(value, 4) == value for value in metrics.values())


def test_names_begin_with_what_differs_and_tags_say_nothing_twice(tracked):
    scenes = {row["scene_text"] for row in tracked.rows("select scene_text from scenes")}
    for run in version_runs(tracked):
        tags = run.data.tags
        version, judge, scene = run.info.run_name.split(" · ")
        assert (version, f"mini-{judge}") == (f"v{tags['prompt_version']}", tags["vision_model"])
        assert scene in {text[:60] for text in scenes} | {f"{text[:59]}…" for text in scenes}
        shown = {name for name in tags if not name.startswith("mlflow.")}
        assert shown == {"kind", "vision_model", "role", "prompt_version", "scene", "round", "forgekit"}
        assert tags["role"] == ("objective" if judge == "clip" else "held-out")
    tags = client_of(tracked).get_experiment_by_name("main").tags  # what all of them have in common
    assert (tags["generator"], tags["vision_model"]) == ("mini", "mini-clip, mini-fuyu")


def test_a_kind_of_element_has_the_mean_over_its_elements_in_all_images(tracked):
    for run in version_runs(tracked):
        documents = tracked.rows(
            "select element_scores from image_evaluations where prompt_id = $id and vision_model = $judge",
            id=about(run)["prompt_id"],
            judge=run.data.tags["vision_model"],
        )
        for kind in ("object", "color"):
            scores = [s for d in documents for key, s in d["element_scores"].items() if key.startswith(kind)]
            assert run.data.metrics[f"element/{kind}"] == pytest.approx(np.mean(scores), abs=1e-4)


def test_images_have_the_names_that_log_image_gives(tracked, tmp_path, empty_database):
    run = version_runs(tracked)[0]
    ours = [name for name in artifacts(tracked, run) if name.startswith("images/")]
    client = MlflowClient(tracking_uri=f"sqlite:///{shutil.copy(empty_database, tmp_path / 'by-hand.db')}")
    other = client.create_run(client.create_experiment("by hand", artifact_location=tmp_path.as_uri()))
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
    assert sorted(row[2] for row in table["data"]) == pytest.approx(geometric_means(tracked, run), abs=1e-4)
    for row in table["data"]:
        assert Image.open(files[row[1]["filepath"]]).size == (64, 64)
    evaluations = json.loads(files["evaluations.json"].read_text())
    named = [dict(zip(evaluations["columns"], row, strict=True)) for row in evaluations["data"]]
    assert all(0 <= row["object:0"] <= 1 and row["text_match"] == 0.5 for row in named)
    assert all(Image.open(files[row["image"]["compressed_filepath"]]).size == (256, 256) for row in named)


def test_a_picture_of_any_shape_is_whole_in_the_part_of_a_cell_that_mlflow_shows(studied):
    shapes = [(40, 120), (120, 40), (64, 64)]
    for number, file in enumerate(sorted((studied.folder / "images").rglob("*.png"))):
        Image.new("RGB", shapes[number % 3], "red").save(file)
    fk.track(studied)
    seen = set()
    for run in version_runs(studied):
        files = artifacts(studied, run)
        for _, cell, *_ in json.loads(files["images.json"].read_text())["data"]:
            square = Image.open(files[cell["compressed_filepath"]]).convert("RGB")
            size = Image.open(files[cell["filepath"]]).size
            assert square.width == square.height
            beside_paper = square.getchannel("G").point(lambda green: 255 * (green < 128))  # red on white
            left, top, right, bottom = beside_paper.getbbox()
            assert bottom <= square.height / 2  # the UI shows the upper half of the square
            whole = [side / max(size) * square.height / 2 for side in size]
            assert (right - left, bottom - top) == pytest.approx(whole, abs=3)
            seen.add(size)
    assert seen == set(shapes)


def test_a_version_links_to_the_runs_of_its_parent(tracked):
    child = next(run for run in version_runs(tracked) if run.data.tags["prompt_version"] == "1")
    parent_id = about(child)["parent_prompt_id"]
    parents = [run for run in version_runs(tracked) if about(run)["prompt_id"] == parent_id]
    assert [run.data.tags["prompt_version"] for run in parents] == ["0", "0"]
    note = child.data.tags["mlflow.note.content"]
    link = re.search(r"\[Runs of the parent version\]\(#/experiments/(\d+)/runs\?.*?searchFilter=(.*?)\)", note)
    assert link[1] == child.info.experiment_id
    assert {run.info.run_id for run in runs_of(tracked, unquote(link[2]))} == {run.info.run_id for run in parents}


def test_the_registry_has_each_version_once_linked_to_its_runs(tracked):
    client = client_of(tracked)
    versions = {v.tags["prompt_id"]: v for p in client.search_prompts() for v in client.search_prompt_versions(p.name)}
    texts = {row["id"]: row["prompt_text"] for row in tracked.rows("select id, prompt_text from prompts")}
    assert {prompt_id: version.template for prompt_id, version in versions.items()} == texts
    for run in version_runs(tracked):
        version = versions[about(run)["prompt_id"]]
        linked = json.loads(run.data.tags["mlflow.linkedPrompts"])
        assert linked == [{"name": version.name, "version": str(version.version)}]
    experiment_id = client.get_experiment_by_name("main").experiment_id
    assert len(client.search_prompts(f"experiment_id = '{experiment_id}'")) == 2  # one per scene


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, empty_database):
    """A mirrored store whose prompts are Markdown, HTML and, the rewritten one, a template."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copy(empty_database, folder / "mlflow.db")
    store = study.make(folder, scenes=2, iterations=2, seeds=2)
    with store.transaction() as con:
        con.execute("update prompts set prompt_text = 'a {{red}} circle {% if %}' where generation_iteration = 1")
        con.execute("update prompts set prompt_text = prompt_text || ' ![](http://elsewhere/x.png) <img src=y>'")
    assert fk.track(store).failed == 0
    return store


def test_a_description_shows_the_pictures_of_its_own_run_and_no_others(hostile):
    for run in runs_of(hostile):
        pictures = re.findall(r"(?<!\\)!\[\]\((.*?)\)", run.data.tags["mlflow.note.content"])
        for address in map(urlparse, pictures):
            assert not address.netloc
            named = {name: value[0] for name, value in parse_qs(address.query).items()}
            assert named["run_uuid"] == run.info.run_id and named["path"] in artifacts(hostile, run)
        assert pictures and "<img" not in run.data.tags["mlflow.note.content"]


def test_the_registry_says_which_version_of_ours_is_which_and_which_is_best(tracked):
    client = client_of(tracked)
    for prompt in client.search_prompts():
        versions = list(client.search_prompt_versions(prompt.name))
        scores = {row["id"]: row for row in tracked.rows("select id, current_score, generation_iteration from prompts")}
        for version in versions:
            row = scores[version.tags["prompt_id"]]
            assert version.tags["version"] == f"v{row['generation_iteration']}"
            assert version.commit_message.startswith(f"{version.tags['version']} of: ")
            assert version.tags["score"] == f"{row['current_score']:.4f}"
        best = client.get_prompt_version_by_alias(prompt.name, "best")
        assert float(best.tags["score"]) == max(float(version.tags["score"]) for version in versions)


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
    assert history[0].value == pytest.approx(np.mean(scores), abs=1e-4)


def test_the_summary_tells_what_is_cross_fitted_from_what_is_selected_and_has_the_paired_gain(tracked):
    (summary,) = runs_of(tracked, "tags.kind = 'summary'")
    table = fk.trends.adherence(tracked, vision_model="mini-clip")
    for name, column in {"trend": "adherence", "selected": "selected"}.items():
        history = client_of(tracked).get_metric_history(summary.info.run_id, f"{name}/main/mini-clip")
        assert [point.value for point in history] == pytest.approx(table[column].tolist(), abs=1e-4)
    gain = fk.trends.gain(tracked, vision_model="mini-clip")["gain"][0]
    assert summary.data.metrics["gain/main/mini-clip"] == pytest.approx(gain, abs=1e-4)
    assert {"gain.csv", "confirmed.csv"} <= set(artifacts(tracked, summary))


def test_nothing_is_left_in_the_folder_where_it_is_called(tracked, called_from):
    assert list(called_from.iterdir()) == []


def test_doubled_braces_are_text_and_not_a_template(hostile):
    client = client_of(hostile)
    versions = [version for p in client.search_prompts() for version in client.search_prompt_versions(p.name)]
    (braced,) = [version for version in versions if "red" in version.template and "if" in version.template]
    assert not braced.variables
    assert braced.format() == "a { {red}} circle { % if %} ![](http://elsewhere/x.png) <img src=y>"
