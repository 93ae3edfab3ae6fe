"""A process that generates or evaluates with slow models is killed, and another goes on: nothing twice, nothing lost, no clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import warm

import forgekit as fk

SCENES = [f"{number} {color} circles" for number in ("two", "three") for color in ("red", "blue", "green")]
SECONDS = 1.0  # a batch; much longer than any transaction

# Slow models that note every item they are asked about, one line each.
MODELS = f"""
import sys, time
from pathlib import Path
import forgekit as fk
from conftest import FakeGenerator, FakeJudge

store, notes = fk.open_store(sys.argv[1]), Path(sys.argv[2])

def note(what):
    with notes.open("a") as file:
        file.write(what + "\\n")

class Generator(FakeGenerator):
    def draw(self, requests):
        for request in requests:
            note(f"{{request.prompt}} {{request.seed}}")
        time.sleep({SECONDS})
        return super().draw(requests)

class Judge(FakeJudge):
    def judge(self, images, scenes):
        for image, scene in zip(images, scenes):
            note(f"{{scene.text}} {{image.getpixel((0, 0))}}")
        time.sleep({SECONDS})
        return super().judge(images, scenes)

generate = lambda: fk.generate_images(store, images_per_prompt=2, images_per_batch=2, image_generator=Generator())
evaluate = lambda: fk.evaluate_images(store, vision_models=[Judge()], prompts_per_batch=1)
print(globals()[sys.argv[3]]())
"""
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)]),
}
DONE = {"generate": ("generated", "generated_images"), "evaluate": ("evaluated", "image_evaluations")}


@pytest.fixture(params=["generate", "evaluate"])
def stage(request):
    return request.param


@pytest.fixture
def due(stage, store, fake_generator):
    """A store whose six prompts are due for the stage."""
    fk.import_prompts(store, pd.DataFrame({"text": SCENES}), model=fake_generator.name)
    fk.complete_prompts(store)
    if stage == "evaluate":
        fk.generate_images(store, images_per_prompt=2, image_generator=fake_generator)
    return store


def start(store, stage) -> subprocess.Popen:
    arguments = [sys.executable, "-c", MODELS, str(store.path), str(store.folder / "notes"), stage]
    return warm.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def asked(store) -> list[str]:
    notes = store.folder / "notes"
    return notes.read_text().splitlines() if notes.exists() else []


def wait_until(holds, seconds=120.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_a_killed_worker_had_in_hand_is_taken_up_at_once_and_its_finished_work_stands(due, stage):
    killed = start(due, stage)
    wait_until(lambda: len(asked(due)) >= 4)  # the second batch is in hand
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    status, table = DONE[stage]
    stands = due.rows(f"select id from {table}")
    in_hand = due.rows("select prompt_id from claims")
    assert len(stands) >= 2 and len(in_hand) == 1
    successor = start(due, stage)
    wait_until(lambda: len(asked(due)) >= 6)
    assert due.rows("select prompt_id from claims where prompt_id = $id", id=in_hand[0]["prompt_id"]) == in_hand
    told = successor.communicate(timeout=240)
    assert successor.returncode == 0, told
    assert due.rows("select status, count(*) as n from prompts group by all") == [{"status": status, "n": 6}]
    assert due.rows(f"select count(*) as n from {table}") == [{"n": 12}]
    assert {row["id"] for row in stands} <= {row["id"] for row in due.rows(f"select id from {table}")}
    assert len(set(asked(due))) == 12
    assert len(asked(due)) <= 14  # what was in hand at the kill, and nothing else, was asked again
