"""A study or a batch that somebody sent runs no code, calls no stranger and reads no file outside (THREATS.md)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from forgekit.batches.run import run_batch
from forgekit.errors import ForgekitError, ParameterError
from forgekit.models.naming import TRUST_VARIABLE
from forgekit.study import load_plan


@pytest.mark.parametrize(
    "line",
    [
        'model = "trap:make"',
        'vision_models = ["mini-clip", "trap:make"]',
        'arms = ["resample", "llm:trap:make"]',
        'arms = ["resample", "llm:http://example.com/v1#m"]',
        'arms = ["resample", "llm-paraphrase:trap:make"]',
        'arms = ["resample", "llm-paraphrase:http://example.com/v1#m"]',
        'model = "/etc"',
        'prompts = "/etc/passwd"',
        'prompts = "../secret.csv"',
        'name = "../up"',
    ],
)
def test_a_study_that_came_by_mail_names_no_code_no_stranger_and_no_file_outside(trap, monkeypatch, line):
    (trap.parent / "mail").mkdir()
    monkeypatch.chdir(trap.parent / "mail")
    Path("plan.toml").write_text(line + "\n")
    with pytest.raises(ParameterError, match=r"plan\.toml"):
        load_plan("plan.toml")
    assert not trap.exists()


def test_a_study_may_name_what_the_environment_lists(trap, monkeypatch):
    Path("plan.toml").write_text('model = "trap:make"\narms = ["llm:http://localhost:8000/v1#m"]\n')
    monkeypatch.setenv(TRUST_VARIABLE, "trap:make,http://localhost:8000/v1#m")
    assert load_plan("plan.toml").model == "trap:make"


NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": "a",
            "metadata": {"tags": ["parameters"]},
            "execution_count": None,
            "outputs": [],
            "source": 'store = ""\nexperiment = ""\nmodel = "mini"\nprompts = "p.csv"\nuri = None\njudges = ["a"]\nd = {}',
        }
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.mark.parametrize(
    "text",
    [
        '[grid]\nmodel = ["mini", "trap:make"]\n',
        '[grid]\njudges = [["mini-clip", "trap:make"]]\n',
        '[parameters]\nd = {model = "trap:make"}\n[grid]\nmodel = ["mini"]\n',
        '[[runs]]\nmodel = "llm:trap:make"\n',
        '[[runs]]\nmodel = "llm-paraphrase:trap:make"\n',
        '[parameters]\nuri = "http://example.com:5000"\n[grid]\nmodel = ["mini"]\n',
        '[parameters]\nprompts = "/etc/passwd"\n[grid]\nmodel = ["mini"]\n',
        '[parameters]\nprompts = "../../secret.csv"\n[grid]\nmodel = ["mini"]\n',
        'name = "../up"\n[grid]\nmodel = ["mini"]\n',
        'name = ".git"\n[grid]\nmodel = ["mini"]\n',
        '[parameters]\nmodel = "hf-hub:../other"\n[grid]\nexperiment = ["x"]\n',
        '[parameters]\nmodel = "preference:/etc"\n[grid]\nprompts = ["x"]\n',
        '[parameters]\nmodel = "local-dir:../other"\n[grid]\nprompts = ["x"]\n',
        '[parameters]\nmodel = "open_clip:ViT-B-32//etc/w.pt"\n[grid]\nprompts = ["x"]\n',
        "[grid]\n" + "\n".join(f"{name} = {list(range(100))}" for name in "abcdef"),
    ],
)
def test_a_batch_that_came_by_mail_hands_its_notebook_no_code_no_stranger_and_no_file_outside(
    store, trap, monkeypatch, text
):
    (trap.parent / "mail").mkdir()
    monkeypatch.chdir(trap.parent / "mail")
    Path("n.ipynb").write_text(json.dumps(NOTEBOOK))
    Path("plan.toml").write_text(text.replace("[", 'notebook = "n.ipynb"\n[', 1) if not text.startswith("name") else
                                 'notebook = "n.ipynb"\n' + text)  # fmt: skip
    with pytest.raises(ParameterError, match=r"plan\.toml"):
        run_batch(store, "plan.toml")
    assert not trap.exists()


@pytest.mark.parametrize("source", ["x = (", "x = " + "(" * 500, "x = {[]: 1}\ny = 1", 3, None, ["x", 3]])
def test_a_notebook_that_is_none_is_an_error_and_runs_nothing(store, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    cell = {**NOTEBOOK["cells"][0], "source": source}
    Path("n.ipynb").write_text(json.dumps({**NOTEBOOK, "cells": [cell]}))
    Path("plan.toml").write_text('notebook = "n.ipynb"\n[grid]\nmodel = ["mini"]\n')
    with pytest.raises(ParameterError, match=r"n\.ipynb"):
        run_batch(store, "plan.toml")


@pytest.mark.parametrize("read", [load_plan, lambda plan: run_batch(None, plan)])
def test_a_plan_that_nobody_writes_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "plan.toml")
    with pytest.raises(ForgekitError, match="no regular file|neither a file"):
        read(str(tmp_path / "plan.toml"))


@pytest.mark.parametrize("named", ["../n.ipynb", "link.ipynb", "absolute"])
def test_a_batch_names_no_notebook_outside_its_folder_and_the_working_folder(store, tmp_path, monkeypatch, named):
    (tmp_path / "mail").mkdir()
    (tmp_path / "n.ipynb").write_text(json.dumps(NOTEBOOK))
    (tmp_path / "mail" / "link.ipynb").symlink_to(tmp_path / "n.ipynb")
    monkeypatch.chdir(tmp_path / "mail")
    named = str(tmp_path / "n.ipynb") if named == "absolute" else named
    Path("plan.toml").write_text(f'notebook = "{named}"\n[grid]\nmodel = ["mini"]\n')
    with pytest.raises(ParameterError, match="outside"):
        run_batch(store, "plan.toml")
