"""A store with everything in it that a rule of `check` looks at, made by the stages alone; tests damage copies of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import FakeGenerator, FakeJudge

import forgekit as fk
from forgekit.judge_tests import import_ratings
from forgekit.store import Store

SCENES = ["a red circle", "two green triangles", "a blue star above a purple ring", "a yellow square"]


def judges() -> list[FakeJudge]:
    return [FakeJudge(scores={"object:0": 0.8}, score=0.3), FakeJudge("watcher", 0.6, judge_key="key-2")]


def rounds(store: Store, experiment: str, policy: str, n: int) -> None:
    for _ in range(n):
        fk.generate_images(store, images_per_prompt=2, image_generator=FakeGenerator(), experiment=experiment)
        fk.evaluate_images(store, vision_models=judges(), experiment=experiment)
        fk.refine_prompts(store, policy=policy, experiment=experiment)


@pytest.fixture(scope="session")
def whole_once(tmp_path_factory) -> Path:
    """The folder of the store: rewrites kept and not, redraws, prompts in every status, ratings, a calibration."""
    store = fk.open_store(tmp_path_factory.mktemp("whole") / "forge.duckdb")
    model = FakeGenerator().name
    for experiment, policy in (("main", "refine"), ("again", "resample")):
        fk.import_prompts(store, pd.DataFrame({"text": SCENES}), model=model, experiment=experiment)
        fk.complete_prompts(store)
        rounds(store, experiment, policy, 2)
    fk.generate_images(store, images_per_prompt=2, image_generator=FakeGenerator(), experiment="main")
    fk.evaluate_images(store, vision_models=judges(), experiment="main")
    fk.import_prompts(
        store, pd.DataFrame({"text": ["a pink heart", "a (red:1.2) cross"]}), model=model, experiment="late"
    )
    images = [row["id"] for row in store.rows("select id from generated_images order by id limit 4")]
    import_ratings(store, pd.DataFrame({"image_id": images, "rating": [1, 3, 4, 5]}), scale="1-5", name="people")
    with store.transaction() as con:
        con.execute("update scenes set source = source")  # a row that is written twice is a row as any other
    return store.folder


@pytest.fixture
def whole(whole_once, tmp_path) -> Store:
    return fk.open_store(Path(shutil.copytree(whole_once, tmp_path / "whole")) / "forge.duckdb")
