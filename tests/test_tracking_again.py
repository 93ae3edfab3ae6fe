"""The MLflow mirror is written once: what a second call, a killed one, a rebuild and a moved store leave behind."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import study
from mirrored import about, artifacts, client_of, runs_of, version_runs
from PIL import Image

import forgekit as fk
from forgekit.errors import ParameterError
from forgekit.store.rows import insert_rows
from forgekit.tracking.run_contents import due_runs, read_runs

pytest_plugins = ["mirror_fixtures"]


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
        tags = {name: text.replace(run.info.run_id, "run") for name, text in run.data.tags.items()}
        shown[run.info.run_name] = tags, run.data.params, history, files, times, run.info.status
    prompts = {
        prompt.name: [(v.version, v.template, v.tags) for v in client.search_prompt_versions(prompt.name)]
        for prompt in client.search_prompts()
    }
    return shown, prompts


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


def test_what_a_run_calls_failed_is_below_the_pass_mark_of_its_judge_and_a_new_mark_writes_it_again(mirrored):
    mark = {"vision_model": "mini-clip", "judge_key": "key of mini-clip", "pass_mark": 1.0, "source": "human ratings"}
    with mirrored.transaction() as con:
        insert_rows(con, "pass_marks", [mark])
    due = [run for run in due_runs(mirrored) if run.vision_model == "mini-clip"]
    for run in read_runs(mirrored, due):
        assert run.about["pass_mark"] == 1.0
        assert all(len(image["failed"]) == len(image["element_scores"]) for image in run.shown)
    report = fk.track(mirrored)
    assert (report.done, report.skipped) == (3, 3)  # the runs of one judge of two


def test_a_second_call_writes_only_what_has_changed(mirrored):
    before = {run.info.run_name: run.info.run_id for run in runs_of(mirrored)}
    assert (fk.track(mirrored).done, fk.track(mirrored).skipped) == (0, 6)
    assert {run.info.run_name: run.info.run_id for run in runs_of(mirrored)} == before
    add_verdicts(mirrored, judge_key="key of mini-clip", score=0.25, prompts=1, image="new")
    assert fk.track(mirrored).done == 2  # one more image in the runs of both judges
    after = {run.info.run_name: run.info.run_id for run in runs_of(mirrored)}
    changed = {name for name in after if after[name] != before[name]}
    assert sorted(after) == sorted(before)  # replaced, not doubled
    versions = {name for name in changed if name.startswith("v")}
    assert len(versions) == 2 and "summary · main" in changed


def test_a_summary_that_is_missing_is_written_by_the_next_call(mirrored):
    client_of(mirrored).delete_run(runs_of(mirrored, "tags.kind = 'summary'")[0].info.run_id)
    assert fk.track(mirrored).done == 0
    assert len(runs_of(mirrored, "tags.kind = 'summary'")) == 1


def test_runs_under_older_settings_of_a_judge_go_when_it_judges_anew(mirrored):
    add_verdicts(mirrored, judge_key="newer settings", score=0.5, prompts=2)
    report = fk.track(mirrored)
    clip = [run for run in version_runs(mirrored) if run.data.tags["vision_model"] == "mini-clip"]
    assert [run.data.metrics["score/mean"] for run in clip] == pytest.approx([0.5, 0.5])
    assert report.details == {"no longer in the store, removed": 1}


def test_killed_half_way_and_called_again_it_has_the_same_runs(studied, tracked):
    command = [sys.executable, "-m", "forgekit.cli", "track", "--store", str(studied.path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while run_count(studied) < 3 and process.poll() is None:
        time.sleep(0.01)  # a run takes ten times as long
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert fk.track(studied).failed == 0
    (shown, prompts), (expected, expected_prompts) = snapshot(studied), snapshot(tracked)
    assert sorted(shown) == sorted(expected)
    assert prompts == expected_prompts
    for name, (tags, params, history, files, *_) in shown.items():
        assert (params, history, sorted(files)) == (*expected[name][1:3], sorted(expected[name][3]))
        assert json.loads(tags["forgekit"])["content"] == json.loads(expected[name][0]["forgekit"])["content"]


def test_runs_of_an_older_mirror_are_replaced(mirrored):
    client = client_of(mirrored)
    for run in version_runs(mirrored):
        told = about(run)
        client.delete_tag(run.info.run_id, "forgekit")
        for name in ("identity", "content", "store"):
            client.set_tag(run.info.run_id, f"forgekit.{name}", told[name])
    old = {run.info.run_id for run in version_runs(mirrored)}
    assert fk.track(mirrored).done == 6
    assert len(version_runs(mirrored)) == 6 and old.isdisjoint(run.info.run_id for run in version_runs(mirrored))


def test_a_version_registered_without_a_run_is_not_registered_again(mirrored):
    for run in runs_of(mirrored):  # as if the call had been killed after registering
        client_of(mirrored).delete_run(run.info.run_id)
    assert fk.track(mirrored).done == 6
    client = client_of(mirrored)
    assert sum(len(client.search_prompt_versions(prompt.name)) for prompt in client.search_prompts()) == 3


def test_a_rebuilt_mirror_equals_the_old_one(mirrored):
    before = snapshot(mirrored)
    assert fk.track(mirrored, rebuild=True).done == 6
    assert snapshot(mirrored) == before
    folders = {Path(run.info.artifact_uri.removeprefix("file://")).parent for run in runs_of(mirrored)}
    assert set((mirrored.folder / "mlartifacts").glob("*/*")) == folders  # nothing of the old one is left


def test_a_rebuild_takes_away_what_the_store_has_no_more(mirrored):
    study.fill(mirrored, experiment="other", scenes=1, iterations=1, seeds=1, seed=3)
    assert fk.track(mirrored).done == 2
    with mirrored.transaction() as con:
        con.execute("update prompts set experiment = 'main' where experiment = 'other'")
    assert fk.track(mirrored, rebuild=True).done == 8
    assert runs_of(mirrored, experiment="other") == []


def test_the_mirror_of_a_store_that_was_moved_is_written_where_it_lies_now(mirrored, tmp_path_factory):
    folder = tmp_path_factory.mktemp("moved") / "here"
    shutil.move(mirrored.folder, folder)
    moved = fk.open_store(folder / "forge.duckdb")
    assert [finding for finding in fk.check(moved).findings if "MLflow mirror" in finding]
    report = fk.track(moved)
    assert any("the store was moved" in note for note in report.notes)
    assert (report.done, fk.track(moved).done) == (6, 0)
    assert not [finding for finding in fk.check(moved).findings if "MLflow mirror" in finding]
    for run in runs_of(moved):
        assert artifacts(moved, run)
        assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(folder)
    client = client_of(moved)
    experiment_id = client.get_experiment_by_name("main").experiment_id
    assert len(client.search_prompts(f"experiment_id = '{experiment_id}'")) == 2


def test_a_rebuild_of_a_part_is_refused(studied):
    with pytest.raises(ParameterError, match="Leave experiment out"):
        fk.track(studied, experiment="main", rebuild=True)


def test_one_process_mirrors_at_a_time(mirrored):
    with mirrored.path.with_suffix(".track").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        report = fk.track(mirrored)
    assert (report.done, report.skipped, report.failed) == (0, 0, 0)
    assert "left to another process that is mirroring this store" in report.details
    assert fk.track(mirrored).skipped == 6
