"""complete and refine as processes that share a store: nothing is paid for twice, and a killed one loses one answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import warm
from conftest import FakeGenerator, FakeJudge
from slow_writer import Writer, asked

import forgekit as fk
from forgekit.models.naming import TRUST_VARIABLE
from forgekit.refiner.llm import LanguageModelPolicy
from forgekit.store import Store

SCENES = ["a red circle", "a blue square", "two green triangles", "a pink heart", "a purple ring", "an orange star"]
STAGES = {
    "complete": ("--language-model", Writer().name),
    "refine": ("--policy", f"llm:{Writer().name}"),
}


@pytest.fixture
def due(store, request):
    """A store with prompts that the stage of the test has to work on."""
    fk.import_prompts(store, pd.DataFrame({"text": SCENES}), model=FakeGenerator().name)
    if request.node.callspec.params["stage"] == "refine":
        fk.complete_prompts(store)
        fk.generate_images(store, images_per_prompt=1)
        fk.evaluate_images(store, vision_models=[FakeJudge(score=0.3)])
    return store


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
    """Where the language model notes what it is asked."""
    monkeypatch.setenv("WRITER_LOG", str(tmp_path / "asked.jsonl"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv(TRUST_VARIABLE, FakeGenerator().name)  # the store names it, and other processes read the store
    return tmp_path / "asked.jsonl"


def start(store, stage, **environment) -> subprocess.Popen:
    command = [sys.executable, "-m", "forgekit.cli", stage, *STAGES[stage], "--store", str(store.path)]
    env = {**os.environ, **environment}
    return warm.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def again(store, stage):
    if stage == "complete":
        return fk.complete_prompts(store, language_model=Writer())
    return fk.refine_prompts(store, policy=STAGES["refine"][1])


def kill_in_answer(process, log, n):
    """SIGKILL the process while it waits for the n-th answer."""
    while len(asked(log)) < n:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("stage", STAGES)
def test_two_workers_share_the_prompts_and_pay_for_no_answer_twice(due, log, stage):
    workers = [start(due, stage, WRITER_SECONDS="0.2", WRITER_TOGETHER="2") for _ in range(2)]
    told = [worker.communicate() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], told
    assert sorted(scene for _, scene in asked(log)) == sorted(SCENES)
    assert {pid for pid, _ in asked(log)} == {worker.pid for worker in workers}
    done = [int(out.split(f"{stage}: ")[1].split(" done")[0]) for out, _ in told]
    assert sum(done) == len(SCENES) and all(", 0 failed" in out for out, _ in told)
    assert due.rows("select distinct status from prompts") == [{"status": "completed"}] or stage == "refine"
    texts = [row["prompt_text"] for row in due.rows("select prompt_text from prompts where status = 'completed'")]
    assert sorted(texts) == sorted(f"{scene}, line art" for scene in SCENES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_worker_loses_the_answer_in_flight_and_is_succeeded_at_once(due, log, stage):
    kill_in_answer(start(due, stage, WRITER_SECONDS="0.3"), log, 3)
    before = due.rows("select count(*) as n from api_logs where endpoint = $name and ok", name=Writer().name)
    assert before == [{"n": 2}]
    killed_at = time.monotonic()
    assert again(due, stage).failed == 0
    assert time.monotonic() - killed_at < 60  # no lease to wait for; the rest is the work itself
    scenes = [scene for _, scene in asked(log)]
    assert Counter(scenes) == {**dict.fromkeys(SCENES, 1), scenes[2]: 2}
    assert due.rows("select count(*) as n from prompts where prompt_text like '%line art'") == [{"n": len(SCENES)}]
    assert due.rows("select count(*) as n from claims") == [{"n": 0}]


@pytest.mark.parametrize("stage", ["complete"])
def test_an_answer_that_was_refused_before_the_kill_is_not_paid_for_again(due, log, stage, monkeypatch):
    monkeypatch.setenv("WRITER_REFUSED", "yes")
    kill_in_answer(start(due, stage, WRITER_SECONDS="0.3"), log, 2)
    assert again(due, stage).failed == 0
    paid = Counter(scene for _, scene in asked(log))
    assert paid == {**dict.fromkeys([*SCENES, *(f"{scene} again" for scene in SCENES)], 1), f"{SCENES[0]} again": 2}


@pytest.mark.parametrize("stage", STAGES)
def test_what_another_live_worker_has_in_hand_is_left_to_it(due, log, stage):
    process = start(due, stage, WRITER_SECONDS="600")
    while not asked(log):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    with due.transaction() as con:
        con.execute("update claims set claimed_at = claimed_at - interval 1000 hours")
    assert again(due, stage).done == len(SCENES) - 1
    assert Counter(scene for _, scene in asked(log)) == dict.fromkeys(SCENES, 1)
    process.kill()
    process.communicate()


@dataclass
class Overtaken:
    """A language model that is so slow that somebody takes its worker for dead and does the work meanwhile."""

    store: Store
    others: Callable[[], object]
    name: str = "overtaken"

    def generate(self, requests):
        for lock in self.store.path.with_name(f"{self.store.path.name}.workers").glob("*.lock"):
            lock.unlink()
        self.others()
        return ["<PROMPT>a red circle, watercolor</PROMPT>"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_that_lost_its_claim_changes_nothing_any_more(due, log, stage):
    with due.transaction() as con:
        con.execute("update prompts set status = 'archived' where prompt_text not like 'a red circle%'")
    model = Overtaken(due, lambda: again(due, stage))
    if stage == "complete":
        report = fk.complete_prompts(due, language_model=model)
    else:
        report = fk.refine_prompts(due, policy=LanguageModelPolicy(model))
    assert (report.done, report.failed) == (0, 0)
    late = due.rows("select count(*) as n from prompts where prompt_text like '%watercolor'")
    assert late == [{"n": 0}]
    assert due.rows("select count(*) as n from prompts where prompt_text like '%line art'") == [{"n": 1}]
    assert due.rows("select count(*) as n from prompt_learnings") == [{"n": int(stage == "refine")}]
    assert fk.check(due).findings == []
