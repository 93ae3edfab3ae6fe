"""`forgekit doctor` on names, plans and stores: what they may not name, and what the work will take."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from test_doctor import found

import forgekit as fk
from forgekit.cli import main
from forgekit.store import Store


def test_what_nobody_knows_is_a_fault_with_the_nearest_name(capsys, tmp_path):
    assert main(["doctor", "mini-clop", "--store", str(tmp_path / "no.duckdb")]) == 1
    assert "no model is called 'mini-clop'. Did you mean 'mini-clip'?" in capsys.readouterr().out


STUDY = """
prompts = "scenes.csv"
arms = ["resample", "refine"]
model = "mini"
vision_models = ["mini-owl", "mini-clip"]
images_per_prompt = 2
images_per_scene = 6
"""


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenes.csv").write_text("text\na red circle\na blue square\n" + "a red circle and " * 20 + "a star\n")
    (tmp_path / "plan.toml").write_text(STUDY)
    return tmp_path / "plan.toml"


def test_a_study_is_counted_and_timed_by_what_its_models_took_before(store, plan):
    with store.transaction() as con:
        con.execute("""insert into api_logs (id, stage, endpoint, response, duration_ms, ok) values
            (uuid(), 'generate', 'mini', '{"images": 10}', 2000, true),
            (uuid(), 'generate', 'mini', '{"images": 10}', 4000, true),
            (uuid(), 'generate', 'mini', '{"cost": 0.5}', 1, true),
            (uuid(), 'evaluate', 'mini-owl', '{"judged": 4}', 2000, true)""")
    report = fk.doctor(store, str(plan))
    assert report.failed == 0, report
    # 2 arms × 3 scenes × (6 to choose by + 2 to confirm) = 48 images: 0.3 s each, and 0.025 of whatever the price is in
    assert report.plan == [
        "study plan: at most 2 arms × 3 scenes × 8 images, of which 2 confirm",
        "48 images by mini: 14 s, cost 1.20 at 0.3 s each (the mean of 20)",
        "48 verdicts by mini-clip: time not known yet (it has made none in this store)",
        "48 verdicts by mini-owl: 24 s at 0.5 s each (the mean of 4)",
        "in all 38 s, cost 1.20, and what is not known yet: mini-clip, one after the other",
    ]
    ((verdict, told),) = found(report, "prompts")
    assert (verdict, "of 3 prompts 1 are longer than it reads, such as 'a red circle and" in told) == ("warning", True)


@pytest.mark.parametrize(
    "line", ['model = "http://127.0.0.1:9/v1#m"', 'model = "trap:make"', 'arms = ["resample", "refne"]']
)
def test_what_a_plan_may_not_name_is_a_fault_and_nothing_is_asked_or_run(store, plan, line):
    plan.write_text(
        "".join(f"{line if old.split('=')[0] == line.split('=')[0] else old}\n" for old in STUDY.splitlines())
    )
    report = fk.doctor(store, str(plan))
    assert report.failed == 1
    assert found(report, "server") == []


def test_a_batch_is_counted_by_the_parameters_of_its_notebook(store, plan):
    notebook = Path(__file__).parents[1] / "notebooks" / "02_loop.ipynb"
    shutil.copy(notebook, plan.parent)
    text = 'notebook = "02_loop.ipynb"\n[parameters]\nprompts = "scenes.csv"\niterations = 3\n[grid]\ntarget = [0.5, 0.9]\n'
    plan.write_text(text)
    report = fk.doctor(store, str(plan))
    # twice 3 scenes × (3 rounds + 1 that confirms) × 4 images
    assert report.plan[:2] == [
        "batch plan: 2 executions, at most 96 images",
        "96 images by mini: time not known yet (it has made none in this store)",
    ]
    assert report.failed == 0


def test_the_models_of_rows_are_looked_at_and_refused_where_data_may_not_name_them(store):
    fk.import_prompts(store, pd.DataFrame({"text": ["a red circle", "a blue star"]}), model="mini")
    with store.transaction() as con:
        con.execute("update prompts set model = 'evil:make' where prompt_text like '%star'")
    report = fk.doctor(store)
    assert found(report, "prompts") == [("ok", "of 1 prompts 0 are longer than it reads → ")]
    ((verdict, told),) = found(report, "name")
    assert (verdict, "names code, which only you may give" in told) == ("fault", True)


def test_a_file_that_is_no_store_is_a_fault(tmp_path):
    (tmp_path / "x.duckdb").write_bytes(b"no database" * 1000)
    assert found(fk.doctor(Store(tmp_path / "x.duckdb"), "mini"), "file")[0][0] == "fault"
    with pytest.raises(fk.ForgekitError, match="memory_gib=-1"):
        fk.doctor(None, "mini", memory_gib=-1)
