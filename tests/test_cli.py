"""The command line: what it says of itself, how options are read, and its exit status."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pydantic  # noqa: F401  cyclopts checks more where it is loaded, as it is in `forgekit batch` and `study`
import pytest
import warm

import forgekit as fk
from forgekit.cli import COMMANDS, EXAMPLES, GROUPS, MAKES_STORE, WATCHABLE, command_line, main, summary
from forgekit.store import Store, open_store

NEED_NONE = {"judge-test", "doctor", "fetch", "redraw", "restore"}  # these work without a store


def function_of(command: str):
    module, _, name = COMMANDS[command].partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_the_options_of_its_function_and_the_first_line_of_its_docstring(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    function = function_of(command)
    assert summary(COMMANDS[command]) == inspect.getdoc(function).splitlines()[0]
    assert main([command, "--help"]) == 0
    told = capsys.readouterr().out
    parameters = inspect.signature(function).parameters.values()
    options = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY or p.name == "store"}
    options |= {"watch"} if command in WATCHABLE else set()
    found = {word for word in told.replace("│", " ").split() if word.startswith("--")}
    assert {"--" + name.replace("_", "-") for name in options} <= found


def test_the_list_of_commands_says_what_each_does_and_loads_nothing_heavy():
    heavy = ("duckdb", "pandas", "numpy", "torch", "mlflow", "diffusers", "transformers", "matplotlib", "pydantic")
    code = (
        "import sys; from forgekit.cli import main; main(['--help']);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == "[]"
    words = " ".join(told.replace("│", " ").split())
    for command, address in COMMANDS.items():
        assert f" {command} {summary(address)[:40]}".replace("`", "") in words


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["imprt"], 'forgekit: Unknown command "imprt". Did you mean "import"?'),
        (
            ["evaluate", "--vision-model", "x"],
            "forgekit evaluate: Unknown option: --vision-model. Did you mean --vision-models?",
        ),
        (["import"], 'forgekit import: Command "import" parameter SOURCE requires an argument.'),
        (["import", "p.csv", "--seed", "a"], "forgekit import: Invalid value for --seed"),
        (["generate", "--images-per-prompt", "1.5"], "forgekit generate: Invalid value for --images-per-prompt"),
        (["import", "p.csv", "--columns", "id"], "forgekit import: 'id' is not of the form NAME=VALUE,NAME=VALUE"),
        (["import", "p.csv", "--no-draft"], "forgekit import: Unknown option: --no-draft"),
        (["import", "none.csv"], "forgekit import: "),
        (["generate", "--workers", "-1"], "forgekit generate: workers=-1: it must be 1 or more"),
        (["refine", "--target", "2"], "forgekit refine: target is 2.0, it must lie in [0, 1]"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_status_2(tmp_path, monkeypatch, capsys, argv, said):
    monkeypatch.chdir(tmp_path)
    open_store("data/forge.duckdb")
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert err.startswith(said)
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize(
    ("redirected", "status", "said"),
    [
        ("| true", 141, ""),
        ("> /dev/full", 2, "it is done and stored, but what came of it cannot be written: No space left"),
    ],
)
def test_output_that_nobody_takes_is_no_traceback(tmp_path, redirected, status, said):
    open_store(tmp_path / "s.duckdb")
    command = f"{sys.executable} -m forgekit.cli status --store s.duckdb {redirected}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, said in done.stderr, "Error" in done.stderr) == (status, True, False), done.stderr


def test_no_command_at_all_is_the_help_and_status_2(capsys):
    assert main([]) == 2
    assert "judge-test" in capsys.readouterr().out


def test_options_are_read_as_what_their_function_takes(store: Store, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("p.csv").write_text("a red cube,7,photo\n3 blue cubes,8,photo\n")
    how = "guidance_scale=4.5,flag=true, negative_prompt=no text"
    given = ["--parameters", how, "--text-column", "0", "--seed", "-3", "--experiment=a/b", "--draft"]
    assert main(["import", "p.csv", "--store", str(store.path), *given]) == 0
    rows = store.rows("select base_parameters, experiment, status::varchar as status from prompts")
    assert rows[0]["base_parameters"] == {"guidance_scale": 4.5, "flag": True, "negative_prompt": "no text"}
    assert (rows[0]["experiment"], rows[0]["status"]) == ("a/b", "draft")
    Path("q.csv").write_text("what,kind\na green ring,photo\n")
    assert (
        main(["import", "q.csv", "--store", str(store.path), "--text-column", "what", "--columns", "category=kind"])
        == 0
    )
    assert store.rows("select source ->> '$.category' as c from scenes where scene_text = 'a green ring'") == [
        {"c": "photo"}
    ]
    assert "import: 1 done" in capsys.readouterr().out
    assert main(["judge-test", "--judges", "nobody-1, nobody-2", "--graphs", "2"]) == 1  # neither is known
    told = capsys.readouterr().out
    assert "nobody-1: no vision_model" in told
    assert "nobody-2: no vision_model" in told


def test_the_store_that_is_not_named_lies_in_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("p.csv").write_text("prompt\na red cube\n")
    assert main(["import", "p.csv"]) == 0
    assert Path("data/forge.duckdb").exists()
    assert main(["check"]) == 0


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - MAKES_STORE - NEED_NONE))
def test_a_store_that_is_not_there_is_an_error_and_makes_no_file(command, tmp_path, capsys):
    open_store(tmp_path / "forge.duckdb")
    given = {
        "report": ["page.html"],
        "export": ["folder"],
        "backup": ["folder"],
        "import-ratings": ["ratings.csv"],
    }.get(command, [])
    assert main([command, *given, "--store", str(tmp_path / "forg.duckdb")]) == 2
    assert f"forgekit {command}: no store at {tmp_path / 'forg.duckdb'}. Did you mean" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["forge.duckdb"]


def test_every_command_stands_in_one_group_and_has_an_example_that_is_understood():
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS) == sorted(EXAMPLES)
    for command, example in EXAMPLES.items():
        assert shlex.split(example)[:2] == ["forgekit", command]
        command_line().parse_args(shlex.split(example)[1:])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does_and_an_example_ends_the_help(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    main([command, "--help"])
    told = capsys.readouterr().out
    options = [line.strip("│ ") for line in told.splitlines() if line.startswith(("│ --", "│ *"))]
    bare = [
        line
        for line in options
        if not re.sub(r"^\W*(--?\S+ |[A-Z_|=,…]+ |STR |INT |FLOAT |PATH )+|\[.*?\]", "", line).strip()
    ]
    assert bare == []
    assert "None" not in told  # which nobody can type
    assert EXAMPLES[command] in told


def test_something_that_failed_is_status_1(store: Store, capsys):
    fk.import_prompts(store, pd.DataFrame({"text": ["a red cube"]}))
    with store.transaction() as con:
        con.execute("update prompts set model = 'no:body'")
    assert main(["complete", "--store", str(store.path)]) == 1
    assert "1 failed" in capsys.readouterr().out


def test_a_stage_that_watches_takes_up_what_comes_and_ends_in_peace_when_it_is_asked_to(store: Store):
    command = [sys.executable, "-m", "forgekit.cli", "complete", "--watch", "--store", str(store.path)]
    watcher = warm.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    fk.import_prompts(store, pd.DataFrame({"text": ["a red cube"]}))
    deadline = time.monotonic() + 120
    while store.rows("select status::varchar as s from prompts") != [{"s": "completed"}]:
        assert watcher.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    watcher.send_signal(signal.SIGTERM)
    assert "complete: 1 done" in watcher.communicate(timeout=60)[0]
    assert watcher.returncode == 0
