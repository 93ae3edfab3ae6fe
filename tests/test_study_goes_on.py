"""A study goes on: after a kill, beside a scene that cannot be drawn, with a generator that fails for a while."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import study_models
import warm
from test_study import PLAN, SCENES

import forgekit as fk
from forgekit.models.naming import TRUST_VARIABLE
from forgekit.study import run_study, study
from forgekit.study.results import results

TESTS = Path(__file__).parent
TRUSTED = "study_models:Generator,study_models:Steering,study_models:Watching"  # no plan names code unless told so


def test_a_killed_study_goes_on_and_draws_no_image_too_few_or_too_many(tmp_path):
    plan = tmp_path / "words.toml"
    pd.DataFrame({"text": SCENES, "category": ["one object"] * len(SCENES)}).to_csv(
        tmp_path / "scenes.csv", index=False
    )
    plan.write_text(
        f"""
prompts = "{tmp_path}/scenes.csv"
arms = ["resample", "refine"]
model = "study_models:Generator"
vision_models = ["study_models:Steering", "study_models:Watching"]
images_per_prompt = 2
images_per_scene = 4
scenes_per_block = 2
"""
    )
    command = [sys.executable, "-m", "forgekit.cli", "study", "--store", f"{tmp_path}/forge.duckdb"]
    command += ["--out", f"{tmp_path}/experiments", str(plan)]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}", TRUST_VARIABLE: TRUSTED}
    process = warm.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    store = fk.open_store(tmp_path / "forge.duckdb")
    deadline = time.monotonic() + 300
    while store.rows("select count(*) as n from prompt_learnings")[0]["n"] < 4:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert store.rows("select count(*) as n from prompts where status <> 'archived'")[0]["n"] > 0
    warm.run(command, env=environment, check=True)
    [folder] = (tmp_path / "experiments").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert [(arm["images"], arm["confirming_images"]) for arm in result["arms"]] == [(16, 8), (16, 8)]
    assert result["unfaithful_prompts"] == 0


def test_a_scene_that_cannot_be_drawn_stays_open_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv(TRUST_VARIABLE, TRUSTED)
    (tmp_path / "scenes.csv").write_text("text\na scarlet circle\na red heart\n")  # hearts are refused
    (tmp_path / "plan.toml").write_text(
        f"""
prompts = "{tmp_path}/scenes.csv"
arms = ["resample", "refine"]
model = "study_models:Generator"
vision_models = ["study_models:Steering", "study_models:Watching"]
images_per_prompt = 1
images_per_scene = 2
"""
    )
    report = study(fk.open_store(tmp_path / "forge.duckdb"), str(tmp_path / "plan.toml"), out=str(tmp_path / "out"))
    assert "Unfinished: 2 prompts" in (report.folder / "README.md").read_text()
    result = json.loads((report.folder / "result.json").read_text())
    assert [(arm["confirming_images"], arm["missing_images"]) for arm in result["arms"]] == [(1, 1), (1, 1)]
    assert {(row["n"], row["left_out"]) for row in result["differences"] if row["scenes"] == "all"} == {(1, 1)}


def test_a_generator_that_fails_for_a_while_is_asked_again(store):
    """Two rounds in which nothing is drawn are no reason to leave every scene open."""
    plan = replace(
        PLAN, arms=("resample", "refine"), model="study_models:Flaky", images_per_prompt=1, images_per_scene=1
    )
    study_models.refusals = 2 * len(plan.arms)  # the first two calls of each arm
    run_study(store, pd.DataFrame({"text": SCENES[:1]}), plan)
    assert study_models.refusals == 0
    found = results(store, plan)["arms"]
    assert [(arm["finished"], arm["missing_images"], arm["confirming_images"]) for arm in found] == [(1, 0, 1)] * 2
