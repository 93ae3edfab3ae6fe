"""The recipes of CONTRIBUTING.md work as they stand there."""

from __future__ import annotations

import importlib
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from study import make

import forgekit as fk
from forgekit.refiner import actions
from forgekit.scene import list_elements, parse
from forgekit.show import plots
from forgekit.store import file as store_file
from forgekit.store import schema

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
BLOCK = re.compile(
    r"^## (?P<title>[^\n]+)\n(?:(?!^## ).)*?```\w+\n(?:#|--) (?P<file>\S+)\n(?P<code>.*?)```", re.M | re.S
)
RECIPES = {found["title"]: (found["file"], found["code"]) for found in BLOCK.finditer(PAGE)}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a recipe's module where Python finds it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(title: str):
        name = Path(RECIPES[title][0]).stem
        (tmp_path / f"{name}.py").write_text(RECIPES[title][1])
        return importlib.import_module(name)

    return write


def added(title: str, home) -> dict:
    """What a recipe defines when it stands at the end of a module of forgekit."""
    names = dict(vars(home))
    exec(RECIPES[title][1], names)
    return names


def drawn(store, model="plain:Plain"):
    fk.import_prompts(store, pd.DataFrame({"text": ["a red circle left of a blue square"]}), model=model)
    fk.complete_prompts(store)
    return fk.generate_images(store, images_per_prompt=2)


def test_the_page_tells_of_six_things():
    assert list(RECIPES) == [
        "A judge", "An image generator", "An action", "A plot", "A stage", "A change of the tables",
    ]  # fmt: skip


def test_the_judge_and_the_generator_go_round_the_loop(store, module):
    module("An image generator"), module("A judge")
    assert drawn(store).done == 1
    report = fk.evaluate_images(store, vision_models=["brightness:Brightness"])
    assert (report.done, report.failed) == (1, 0)
    assert len(store.df("select distinct element_scores from image_evaluations")) == 2  # one is brighter


def test_the_action_proposes_what_it_says(monkeypatch):
    monkeypatch.setattr(actions, "ACTIONS", dict(actions.ACTIONS))
    added("An action", actions)
    text = "a scarlet circle"
    draft = actions.Draft(text, {}, parse(text), parse(text))
    element = next(e for e in list_elements(parse(text)) if e.kind == "color")
    proposed = actions.propose(draft, element, ["shout"])
    assert [candidate.text for candidate in proposed] == ["a SCARLET circle"]


def test_the_plot_draws_a_table_of_trends(tmp_path):
    ax = added("A plot", plots)["images_by_round"](fk.trends.adherence(make(tmp_path)))
    assert len(ax.lines) > 0
    assert ax.get_ylabel() == "images"


def test_the_stage_takes_what_is_due_once(store, module):
    module("An image generator")
    drawn(store)
    measuring = module("A stage")
    assert measuring.measure_images(store).done == 2
    assert measuring.measure_images(store).done == 0
    assert store.df("select generation_metadata ->> '$.width' as width from generated_images")["width"].tolist() == [
        "8",
        "8",
    ]


def test_the_migration_reaches_a_store_that_was_there_before(tmp_path, monkeypatch):
    store = fk.open_store(tmp_path / "old.duckdb")
    assert "note" not in store.df("from prompts").columns
    path, sql = RECIPES["A change of the tables"]
    folder = tmp_path / "sql"
    shutil.copytree(str(schema.FOLDER), folder)
    assert not (folder / Path(path).name).exists()
    (folder / Path(path).name).write_text(sql)
    newer = schema.load_schema(folder)
    monkeypatch.setattr(store_file, "load_schema", lambda: newer)
    assert "note" in fk.open_store(store.path).df("from prompts").columns
