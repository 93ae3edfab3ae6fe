"""What a caller passes is checked by its type before anything is done, and a misspelt experiment is an error with a suggestion."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
import warm
from conftest import FakeJudge

import forgekit as fk
from forgekit.errors import ForgekitError, ParameterError, StoreError

WRONG = ("2", 2.0, float("nan"), True, [], object(), b"2", 10**30, -1)
COUNTS = {
    fk.complete_prompts: ["attempts", "prompts_per_batch"],
    fk.generate_images: ["images_per_prompt", "images_per_batch"],
    fk.evaluate_images: ["prompts_per_batch"],
    fk.refine_prompts: ["max_iterations", "max_images", "patience"],
}
OTHERS = {
    fk.complete_prompts: {"keep": ["no", 1], "template": [3, b"{scene}"], "seed": ["x", 1.5]},
    fk.generate_images: {"image_generator": [3]},
    fk.evaluate_images: {"vision_models": ["mini-clip", 3, None], "backfill": ["yes", 1]},
    fk.refine_prompts: {"target": ["1", True, 2, 10**400, -0.1, float("nan")], "confirm": ["no"], "policy": [3, None], "max_minutes": ["5", -1], "without_actions": ["more_steps", 3]},
}  # fmt: skip
STAGES = tuple(COUNTS)


@pytest.mark.parametrize(("stage", "name"), [(stage, name) for stage, names in COUNTS.items() for name in names])
def test_a_count_that_is_no_whole_number_is_refused_by_name(imported, stage, name):
    for value in WRONG:
        with pytest.raises(ParameterError, match=name):
            stage(imported, **{name: value})
    assert len(imported.rows("select id from prompts where status = 'imported'")) == 3


@pytest.mark.parametrize(("stage", "name"), [(stage, name) for stage, names in OTHERS.items() for name in names])
def test_an_argument_of_another_type_is_an_error_of_ours(imported, stage, name):
    for value in OTHERS[stage][name]:
        with pytest.raises(ForgekitError):
            stage(imported, **{name: value})


@pytest.mark.parametrize(
    "said", [{"expand": "2"}, {"expand": True}, {"seed": "x"}, {"draft": "no"}, {"dry_run": 1}, {"parameters": [1]}, {"columns": "id"}, {"wildcards": 3}, {"format": 3}, {"encoding": 3}]
)  # fmt: skip
def test_import_checks_its_arguments_too(store, said):
    with pytest.raises(ForgekitError):
        fk.import_prompts(store, pd.DataFrame({"text": ["a cat"]}), **said)
    assert store.rows("select id from prompts") == []


def test_numpys_numbers_are_numbers(imported, fake_generator):
    assert fk.complete_prompts(imported, prompts_per_batch=np.int64(2)).done == 3
    report = fk.generate_images(imported, images_per_prompt=np.int32(1), image_generator=fake_generator)
    assert report.details["images"] == 3
    assert fk.evaluate_images(imported, vision_models=(FakeJudge(),), prompts_per_batch=np.int64(8)).done == 3
    assert fk.refine_prompts(imported, target=np.float32(0.5), patience=np.int64(3)).done == 3


@pytest.mark.parametrize("stage", STAGES)
def test_a_misspelt_experiment_is_an_error_that_names_the_near_one(imported, stage):
    with pytest.raises(ParameterError, match=r"no experiment is called 'mian'. Did you mean 'main'\?"):
        stage(imported, experiment="mian")
    for wrong in (3, b"main", "\ud800", object()):
        with pytest.raises(ParameterError, match="experiment"):
            stage(imported, experiment=wrong)


@pytest.mark.parametrize("stage", STAGES)
def test_an_empty_store_has_nothing_to_suggest_and_nothing_to_do(store, stage):
    assert stage(store, experiment="main").done == 0
    with pytest.raises(ParameterError, match=r"open it first: forgekit.open_store"):
        stage("forge.duckdb")


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "\ud800", 3, None, "file/forge.duckdb", "file"])
def test_what_cannot_be_a_store_is_a_store_error(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a cat")
    with pytest.raises(StoreError, match="cannot be a store.*give a path such as|its first bytes are not") as caught:
        fk.open_store(path)
    assert str(caught.value).encode()


def test_an_answer_that_does_not_say_whether_it_is_right_is_left_out(imported, fake_generator):
    class Judge(FakeJudge):
        def judge(self, images, scenes):
            return [
                fk.models.Judgement({"object:0": 0.5}, 0.5, "x", answers={"object:0": {"said": "yes"}}) for _ in scenes
            ]

    fk.complete_prompts(imported)
    fk.generate_images(imported, images_per_prompt=1, image_generator=fake_generator)
    assert fk.evaluate_images(imported, vision_models=[Judge()]).done == 3


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path):
    """In a process of its own, whose files may not grow."""
    code = """
import resource, signal, sys
import pandas as pd, forgekit as fk
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = fk.open_store(sys.argv[1])
rows = lambda n: pd.DataFrame({"text": [f"a red circle number {i}" for i in range(n)]})
fk.import_prompts(store, rows(5))
room = store.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
try:
    fk.import_prompts(store, rows(40_000))
except fk.errors.StoreError as error:
    assert "make room" in str(error)
else:
    sys.exit("no error")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert fk.import_prompts(store, rows(9)).done == 4
"""
    warm.run([sys.executable, "-c", code, str(tmp_path / "s.duckdb")], check=True)
