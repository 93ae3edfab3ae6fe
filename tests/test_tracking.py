"""The MLflow mirror: what is in it, that it is written once, and that MLflow's troubles stay MLflow's."""

from __future__ import annotations

import base64
import fcntl
import http.server
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import study
from mlflow import MlflowClient
from PIL import Image

import forgekit as fk
from forgekit import cli
from forgekit.errors import ParameterError
from forgekit.store.rows import insert_rows
from forgekit.tracking.bulk import COLUMNS, Tables
from forgekit.tracking.runs import due_runs, read_runs

CHANGING = "forgekit.store"  # the tag that names the store's place
IMAGE_NAME = r"images/[\w\-. ]+\+step\+\d+\+timestamp\+\d+\+[0-9a-f-]{36}(\.png|\+compressed\.webp)"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """An MLflow database without runs: making one takes MLflow seconds, copying it none."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def studied(tmp_path, empty_database):
    """A store with 3 versions of 2 scenes, each with 2 images that 2 judges have seen."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return study.make(tmp_path, scenes=2, iterations=2, seeds=2)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, empty_database):
    """The same store, mirrored, for tests that only look."""
    folder = tmp_path_factory.mktemp("tracked")
    shutil.copy(empty_database, folder / "mlflow.db")
    store = study.make(folder, scenes=2, iterations=2, seeds=2)
    report = fk.track(store)
    assert (report.done, report.failed) == (6, 0), str(report)
    return store


def client_of(store) -> MlflowClient:
    uri = fk.tracking.default_uri(store)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def runs_of(store, filter_string="", experiment="main"):
    client = client_of(store)
    experiment_id = client.get_experiment_by_name(experiment).experiment_id
    return client.search_runs([experiment_id], filter_string, order_by=["attributes.run_name"])


def version_runs(store, experiment="main"):
    return [run for run in runs_of(store, experiment=experiment) if "prompt_id" in run.data.tags]


def artifacts(store, run) -> dict[str, Path]:
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}


def geometric_means(store, run) -> list[float]:
    """The scores of a run's images, from the stored documents alone."""
    documents = store.rows(
        "select element_scores from image_evaluations where prompt_id = $prompt_id and vision_model = $vision_model",
        prompt_id=run.data.tags["prompt_id"],
        vision_model=run.data.tags["vision_model"],
    )
    return sorted(float(np.exp(np.mean(np.log(list(d["element_scores"].values()))))) for d in documents)


def snapshot(store):
    """All that MLflow shows, without the ids and times that it chose itself."""
    client, shown = client_of(store), {}
    for run in runs_of(store):
        history = {
            key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        files = {name: file.read_bytes() for name, file in artifacts(store, run).items()}
        times = run.info.start_time, run.info.end_time
        shown[run.info.run_name] = run.data.tags, run.data.params, history, files, times, run.info.status
    prompts = {
        prompt.name: [(v.version, v.template, v.tags) for v in client.search_prompt_versions(prompt.name)]
        for prompt in client.search_prompts()
    }
    return shown, prompts


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


def test_what_a_run_calls_failed_is_below_the_pass_mark_of_its_judge_and_a_new_mark_writes_it_again(studied):
    fk.track(studied)
    mark = {"vision_model": "mini-clip", "judge_key": "key of mini-clip", "pass_mark": 1.0, "source": "human ratings"}
    with studied.transaction() as con:
        insert_rows(con, "pass_marks", [mark])
    due = [run for run in due_runs(studied) if run.vision_model == "mini-clip"]
    for run in read_runs(studied, due):
        assert run.tags["pass_mark"] == "1"
        assert all(len(image["failed"]) == len(image["element_scores"]) for image in run.row["images"])
    report = fk.track(studied)
    assert (report.done, report.skipped) == (3, 3)  # the runs of one judge of two


def test_nothing_is_left_in_the_folder_where_it_is_called(studied, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    fk.track(studied)
    assert list(elsewhere.iterdir()) == []


def test_a_second_call_writes_only_what_has_changed(studied):
    fk.track(studied)
    before = {run.info.run_name: run.info.run_id for run in runs_of(studied)}
    assert (fk.track(studied).done, fk.track(studied).skipped) == (0, 6)
    assert {run.info.run_name: run.info.run_id for run in runs_of(studied)} == before
    add_verdicts(studied, judge_key="key of mini-clip", score=0.25, prompts=1, image="new")
    assert fk.track(studied).done == 2  # one more image in the runs of both judges
    after = {run.info.run_name: run.info.run_id for run in runs_of(studied)}
    changed = {name for name in after if after[name] != before[name]}
    assert sorted(after) == sorted(before)  # replaced, not doubled
    assert len(changed) == 3 and "main · summary" in changed


def test_a_summary_that_is_missing_is_written_by_the_next_call(studied):
    fk.track(studied)
    client_of(studied).delete_run(runs_of(studied, "tags.kind = 'summary'")[0].info.run_id)
    assert fk.track(studied).done == 0
    assert len(runs_of(studied, "tags.kind = 'summary'")) == 1


def test_runs_under_older_settings_of_a_judge_go_when_it_judges_anew(studied):
    fk.track(studied)
    add_verdicts(studied, judge_key="newer settings", score=0.5, prompts=2)
    report = fk.track(studied)
    clip = [run for run in version_runs(studied) if run.data.tags["vision_model"] == "mini-clip"]
    assert [run.data.metrics["score/mean"] for run in clip] == pytest.approx([0.5, 0.5])
    assert report.details == {"no longer in the store, removed": 1}


def test_killed_half_way_and_called_again_it_has_the_same_runs(studied, tracked):
    command = [sys.executable, "-m", "forgekit.cli", "track", "--store", str(studied.path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while run_count(studied) < 3 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert fk.track(studied).failed == 0
    (shown, prompts), (expected, expected_prompts) = snapshot(studied), snapshot(tracked)
    assert sorted(shown) == sorted(expected)
    assert prompts == expected_prompts
    for name, (tags, params, history, files, *_) in shown.items():
        assert (params, history, sorted(files)) == (*expected[name][1:3], sorted(expected[name][3]))
        assert tags["forgekit.content"] == expected[name][0]["forgekit.content"]


def test_a_version_registered_without_a_run_is_not_registered_again(studied):
    fk.track(studied)
    for run in runs_of(studied):  # as if the call had been killed after registering
        client_of(studied).delete_run(run.info.run_id)
    assert fk.track(studied).done == 6
    client = client_of(studied)
    assert sum(len(client.search_prompt_versions(prompt.name)) for prompt in client.search_prompts()) == 3


def test_a_rebuilt_mirror_equals_the_old_one(studied):
    fk.track(studied)
    before = snapshot(studied)
    assert fk.track(studied, rebuild=True).done == 6
    assert snapshot(studied) == before
    folders = {Path(run.info.artifact_uri.removeprefix("file://")).parent for run in runs_of(studied)}
    assert set((studied.folder / "mlartifacts").glob("*/*")) == folders  # nothing of the old one is left
    assert not list(studied.folder.glob("mlflow.rebuilding*"))


def test_a_damaged_database_is_reported_and_a_rebuild_heals_it(studied):
    (studied.folder / "mlflow.db").write_bytes(b"no database " * 1000)
    report = fk.track(studied)
    assert report.failed == 1 and "not a database" in report.failures["mlflow"]
    assert fk.track(studied, rebuild=True).failed == 0
    assert len(version_runs(studied)) == 6


def test_runs_written_together_leave_what_the_client_leaves(studied, tmp_path_factory, empty_database):
    folder = tmp_path_factory.mktemp("by-client")
    shutil.copy(empty_database, folder / "mlflow.db")
    by_client = study.make(folder, scenes=2, iterations=2, seeds=2)
    with sqlite3.connect(folder / "mlflow.db") as con:
        con.execute("alter table tags add column of_another_version integer")  # so the tables are not known
    assert Tables(studied.folder / "mlflow.db", "0", "").are_known()
    assert not Tables(folder / "mlflow.db", "0", "").are_known()
    assert (fk.track(studied).done, fk.track(by_client).done) == (6, 6)
    assert raw_rows(studied) == raw_rows(by_client)


def test_a_missing_picture_leaves_its_run_with_the_others(studied):
    image = studied.rows("select prompt_id, image_path from generated_images order by id limit 1")[0]
    (studied.folder / image["image_path"]).unlink()
    assert fk.track(studied).failed == 0
    for run in runs_of(studied, f"tags.prompt_id = '{image['prompt_id']}'"):
        assert len(json.loads(artifacts(studied, run)["images.json"].read_text())["data"]) == 1
        assert run.data.metrics["images/drawn"] == 2


def test_what_mlflow_refuses_does_not_stop_the_rest(studied):
    too_long = "a" * 600  # MLflow takes experiment names of 500 characters; this one comes first
    study.fill(studied, experiment=too_long, scenes=1, iterations=1, seeds=1, seed=7)
    report = fk.track(studied)
    assert (report.done, list(report.failures)) == (6, [too_long])
    assert "MLflow refuses it" in report.failures[too_long]


def test_doubled_braces_are_text_and_not_a_template(studied):
    with studied.transaction() as con:
        con.execute("update prompts set prompt_text = 'a {{red}} circle {% if %}' where generation_iteration = 1")
    assert fk.track(studied).failed == 0
    client = client_of(studied)
    versions = [version for p in client.search_prompts() for version in client.search_prompt_versions(p.name)]
    (braced,) = [version for version in versions if "red" in version.template and "if" in version.template]
    assert not braced.variables
    assert braced.format() == "a { {red}} circle { % if %}"


def test_the_arms_of_a_study_lie_in_one_mlflow_experiment(studied):
    for arm in ("refine", "resample"):
        study.fill(studied, experiment=f"colours/{arm}", scenes=1, iterations=1, seeds=1, seed=3)
    assert fk.track(studied, experiment="colours").done == 4
    assert {run.data.tags["experiment"] for run in version_runs(studied, "colours")} == {
        "colours/refine",
        "colours/resample",
    }
    assert client_of(studied).get_experiment_by_name("main") is None
    with pytest.raises(ParameterError, match=r"no experiment is called 'colors/refine'.*Did you mean 'colours/refine'"):
        fk.track(studied, experiment="colors/refine")


def test_a_rebuild_of_a_part_is_refused(studied):
    with pytest.raises(ParameterError, match="Leave experiment out"):
        fk.track(studied, experiment="main", rebuild=True)


def test_the_command_says_what_it_did_and_fails_where_no_server_answers(studied, capsys):
    assert cli.main(["track", "--store", str(studied.path), "--tracking-uri", "http://127.0.0.1:9"]) == 1
    out = capsys.readouterr().out
    assert "track: 0 done" in out and "no MLflow server answers" in out and "make ui" in out


@pytest.mark.parametrize("answers_health", [False, True])
def test_a_server_that_hangs_or_fails_is_given_up_in_seconds(studied, answers_health, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with socket.create_server(("127.0.0.1", 0)) if not answers_health else failing_server() as server:
        port = server.getsockname()[1] if not answers_health else server.server_port
        started = time.monotonic()
        report = fk.track(studied, tracking_uri=f"http://127.0.0.1:{port}")
        seconds = time.monotonic() - started
    assert report.done == 0 and "next call" in report.failures["mlflow"]
    assert seconds < 30


def test_one_process_mirrors_at_a_time(studied):
    with studied.path.with_suffix(".track").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        report = fk.track(studied)
    assert (report.done, report.failed) == (0, 0)
    assert "left to another process that is mirroring this store" in report.details
    assert fk.track(studied).done == 6


def raw_rows(store) -> dict[str, list]:
    """The rows of MLflow's tables of runs, by column, with each run under the name it shows."""
    with sqlite3.connect(f"file:{store.folder / 'mlflow.db'}?mode=ro", uri=True) as con:
        con.row_factory = sqlite3.Row
        tables = {table: [dict(row) for row in con.execute(f"select * from {table}")] for table in COLUMNS}
    names = {row["run_uuid"]: row["name"] for row in tables["runs"]}
    place = str(store.folder)
    shown = {}
    for table, rows in tables.items():
        for row in rows:
            run_id = row["run_uuid"]
            row.pop("of_another_version", None)
            row |= {"run_uuid": names[run_id]}
            if table == "runs":
                row["artifact_uri"] = row["artifact_uri"].replace(run_id, "ID").replace(place, "STORE")
        shown[table] = sorted((row for row in rows if row.get("key") != CHANGING), key=repr)
    return shown


def run_count(store) -> int:
    with sqlite3.connect(f"file:{store.folder / 'mlflow.db'}?mode=ro", uri=True) as con:
        return con.execute("select count(*) from runs").fetchone()[0]


def add_verdicts(store, *, judge_key: str, score: float, prompts: int, image: str | None = None) -> None:
    """Have mini-clip judge one image of the last `prompts` versions: a further one, or one that is there."""
    chosen = store.rows(
        """
        select g.prompt_id, p.scene_hash, min(g.id) as image_id
        from generated_images g
        join prompts p on p.id = g.prompt_id
        group by all
        order by max(p.generation_iteration) desc, g.prompt_id
        limit $prompts
        """,
        prompts=prompts,
    )
    images, verdicts = [], []
    for row in chosen:
        if image:
            path = f"images/{image}-{row['prompt_id']}.png"
            Image.new("RGB", (8, 8)).save(store.folder / path)
            image_id = fk.ids.content_id("image", name=path)
            metadata = {"seed": 5}
            images.append(
                {"id": image_id, "prompt_id": row["prompt_id"], "image_path": path, "generation_metadata": metadata}
            )
            row = {**row, "image_id": image_id}
        verdicts.append(
            {
                **row,
                "id": fk.ids.content_id("verdict", image=row["image_id"], judge_key=judge_key),
                "vision_model": "mini-clip",
                "judge_key": judge_key,
                "element_scores": {"object:0": score},
            }
        )
    with store.transaction() as con:
        insert_rows(con, "generated_images", images)
        insert_rows(con, "image_evaluations", verdicts)


def failing_server():
    """A server that says it is well, and answers everything else with an error."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health" else 500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815 (the base class has the name)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
