"""Two workers of each of four stages, eight processes on one store with slow models, from import to the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import warm
from conftest import FakeGenerator

import forgekit as fk

SCENES = [f"{number} {color} circles" for number in ("two", "three") for color in ("red", "blue", "green")]
STAGES = ("complete", "generate", "evaluate", "refine")
# A prompt goes through these in this order, and never back: each version is drawn once, and a rewrite is a new version.
ORDER = ("imported", "incomplete", "completed", "generating", "generated", "evaluating", "evaluated", "archived")

# Models that take much longer than a transaction, and note every item they are asked about, a line each.
WORKER = """
import re, sys, time
from dataclasses import dataclass
from pathlib import Path
import forgekit as fk
from conftest import FakeGenerator, FakeJudge
from forgekit.refiner.llm import LanguageModelPolicy

path, stage = sys.argv[1:]
store = fk.open_store(path)

def note(what):
    with (store.folder / stage).open("a") as file:
        file.write(what + "\\n")

@dataclass
class Writer:
    style: str
    name: str = "writer"
    def generate(self, requests):
        scenes = [re.search("Scene: (.*)", request)[1] for request in requests]
        for scene in scenes:
            note(scene)
            time.sleep(0.7)
        return [f"<PROMPT>{scene}, {self.style}</PROMPT>" for scene in scenes]

class Generator(FakeGenerator):
    def draw(self, requests):
        for request in requests:
            note(f"{request.prompt} {request.seed}")
        time.sleep(1.0)
        return super().draw(requests)

class Judge(FakeJudge):
    def judge(self, images, scenes):
        for image, scene in zip(images, scenes):
            note(f"{scene.text} {image.getpixel((0, 0))}")
        time.sleep(1.0)
        return super().judge(images, scenes)

work = {
    "complete": lambda: fk.complete_prompts(store, language_model=Writer("watercolor")),
    "generate": lambda: fk.generate_images(store, images_per_prompt=2, images_per_batch=2, image_generator=Generator()),
    "evaluate": lambda: fk.evaluate_images(store, vision_models=[Judge(score=0.3)], prompts_per_batch=1),
    "refine": lambda: fk.refine_prompts(store, policy=LanguageModelPolicy(Writer("line art")), max_iterations=1),
}[stage]
done = 0
while not (store.folder / "stop").exists():
    report = work()
    assert not report.failures, report
    done += report.done
    time.sleep(0 if report.done else 2.0)
print(done)
"""
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)]),
    "TQDM_DISABLE": "1",
    "FORGEKIT_TRUSTED_MODELS": FakeGenerator().name,
}


@pytest.fixture
def due(store):
    fk.import_prompts(store, pd.DataFrame({"text": SCENES}), model=FakeGenerator().name)
    return store


def start(store, stage) -> subprocess.Popen:
    command = [sys.executable, "-c", WORKER, str(store.path), stage]
    return warm.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def watch(store, workers, seconds=240.0) -> list[tuple[str, str, str]]:
    """Wait until all is archived; return every step back that a prompt was seen to take."""
    end, seen, back = time.monotonic() + seconds, {}, []
    while True:
        now = {row["id"]: row["status"] for row in store.rows("select id, status from prompts")}
        back += [(i, seen[i], s) for i, s in now.items() if i in seen and ORDER.index(s) < ORDER.index(seen[i])]
        seen = now
        if len(now) == 2 * len(SCENES) and set(now.values()) == {"archived"}:
            return back
        failed = [worker for worker in workers if worker.poll() is not None]
        assert not failed, [worker.communicate() for worker in failed]
        assert time.monotonic() < end, Counter(now.values())
        time.sleep(1.0)


def test_eight_workers_do_everything_once_and_nothing_is_pulled_back(due):
    workers = {(stage, n): start(due, stage) for stage in STAGES for n in range(2)}
    try:
        assert watch(due, workers.values()) == []
        (due.folder / "stop").touch()
        told = {key: worker.communicate(timeout=120) for key, worker in workers.items()}
        assert {worker.returncode for worker in workers.values()} == {0}, told
    finally:
        for worker in workers.values():
            worker.kill()
    asked = {stage: Counter((due.folder / stage).read_text().splitlines()) for stage in STAGES}
    assert {stage: (sum(n.values()), max(n.values())) for stage, n in asked.items()} == {
        "complete": (6, 1),  # an answer a scene
        "generate": (24, 1),  # two images of two versions of each
        "evaluate": (24, 1),
        "refine": (6, 1),  # the second time the limit is reached, and nobody is asked
    }
    counts = {stage: sum(int(told[stage, n][0]) for n in range(2)) for stage in STAGES}
    assert counts == {"complete": 6, "generate": 12, "evaluate": 12, "refine": 12}
    for table, n in (("prompts", 12), ("generated_images", 24), ("image_evaluations", 24), ("claims", 0)):
        assert due.rows(f"select count(*) as n from {table}") == [{"n": n}]
    assert due.rows("select count(distinct prompt_text) as n from prompts") == [{"n": 12}]
    assert fk.check(due).findings == []
