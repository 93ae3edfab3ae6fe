"""MLflow's troubles, and those of a picture, stay where they are: one bad run never stops the others."""

from __future__ import annotations

import http.server
import json
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
import study
from mirrored import about, artifacts, version_runs

import forgekit as fk
from forgekit import cli

pytest_plugins = ["mirror_fixtures"]


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


def test_a_damaged_database_is_reported_and_a_rebuild_heals_it(small):
    (small.folder / "mlflow.db").write_bytes(b"no database " * 1000)
    orphan = small.folder / "mlartifacts" / "main" / "a run that nobody knows any more"
    orphan.mkdir(parents=True)
    report = fk.track(small)
    assert report.failed == 1 and "not a database" in report.failures["mlflow"]
    assert fk.track(small, rebuild=True).failed == 0
    assert len(version_runs(small)) == 2
    assert not orphan.exists()


def test_no_folder_elsewhere_is_deleted_whatever_the_database_says(mirrored, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    kept = [elsewhere / name / "run" / "kept.txt" for name in ("plain", "climbing")]
    for file in kept:
        file.parent.mkdir(parents=True)
        file.touch()
    there = [f"{kept[0].parent}/artifacts"]
    there += [f"{mirrored.folder}/mlartifacts/main/../../../{elsewhere.name}/climbing/run/artifacts"]
    with sqlite3.connect(mirrored.folder / "mlflow.db") as con:
        for number, (run_id,) in enumerate(con.execute("select run_uuid from runs").fetchall()):
            con.execute("update runs set artifact_uri = ? where run_uuid = ?", [f"file://{there[number % 2]}", run_id])
    assert fk.track(mirrored, rebuild=True).done == 6
    assert all(file.exists() for file in kept)


def test_a_missing_picture_leaves_its_run_with_the_others(studied):
    image = studied.rows("select prompt_id, image_path from generated_images order by id limit 1")[0]
    (studied.folder / image["image_path"]).unlink()
    assert fk.track(studied).failed == 0
    runs = [run for run in version_runs(studied) if about(run)["prompt_id"] == image["prompt_id"]]
    assert len(runs) == 2
    for run in runs:
        assert len(json.loads(artifacts(studied, run)["images.json"].read_text())["data"]) == 1
        assert run.data.metrics["images/drawn"] == 2


def test_what_mlflow_refuses_does_not_stop_the_rest(small):
    too_long = "a" * 600  # MLflow takes experiment names of 500 characters; this one comes first
    study.fill(small, experiment=too_long, scenes=1, iterations=1, seeds=1, seed=7)
    report = fk.track(small)
    assert (report.done, list(report.failures)) == (2, [too_long])
    assert "MLflow refuses it" in report.failures[too_long]


def test_the_command_says_what_it_did_and_fails_where_no_server_answers(studied, capsys):
    assert cli.main(["track", "--store", str(studied.path), "--tracking-uri", "http://127.0.0.1:9"]) == 1
    out = capsys.readouterr().out
    assert "track: 0 done" in out and "no MLflow server answers" in out and "make ui" in out


@pytest.mark.parametrize(
    "uri", ["http://me:s3cret@127.0.0.1:9", "sqlite:////nowhere/s3cret.db", "postgresql://me:s3cret@127.0.0.1:9/x"]
)
def test_an_address_that_leads_nowhere_is_given_up_in_seconds_and_loses_its_password(studied, uri, caplog):
    began = time.monotonic()
    report = fk.track(studied, tracking_uri=uri)
    assert report.done == 0 and "The store has everything" in report.failures["mlflow"]
    assert ("s3cret" in f"{report}{caplog.text}") == uri.startswith("sqlite")  # a file's name is no secret
    assert time.monotonic() - began < 30


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


def test_a_database_that_is_deleted_under_a_running_process_is_told_and_a_new_process_makes_it_again(small):
    """MLflow keeps the file that it has opened, and would say that all is written to what nobody sees."""
    assert fk.track(small).failed == 0
    for file in small.folder.glob("mlflow.db*"):
        file.unlink()
    report = fk.track(small)
    assert "was deleted or replaced while this process had it open" in report.failures["mlflow"]
    assert not (small.folder / "mlflow.db").exists()
    again = "import sys, forgekit as fk; print(fk.track(fk.open_store(sys.argv[1])).done)"
    done = subprocess.run(
        [sys.executable, "-c", again, str(small.path)], capture_output=True, text=True, check=True
    ).stdout
    assert int(done.split()[-1]) > 0
