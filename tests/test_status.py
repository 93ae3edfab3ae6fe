"""`forgekit status` and what a person sees while work goes on: counts by stage, the next command, one bar at most."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pandas as pd
import pytest

import forgekit as fk
from forgekit.cli import main
from forgekit.errors import ParameterError
from forgekit.progress import as_text, progress_bar, running
from forgekit.store import Store

SCENES = pd.DataFrame({"text": ["a red circle", "two blue squares", "a green star"]})


def due(store: Store) -> dict[str, int]:
    (row,) = fk.trends.status(store).counts.to_dict("records")
    return {name: n for name, n in row.items() if name != "experiment" and n}


def test_status_counts_what_is_due_and_names_the_stage_that_comes_next(store: Store):
    told = fk.trends.status(store)
    assert str(told) == f"The store is empty. Next: forgekit import FILE --store {store.path}"
    fk.import_prompts(store, SCENES)
    assert due(store) == {"scenes": 3, "complete": 3}
    assert fk.trends.status(store).next == f"forgekit complete --store {store.path}"
    fk.complete_prompts(store)
    assert due(store) == {"scenes": 3, "generate": 3}
    with store.transaction() as con:  # one is in hand, one is to be drawn again, one was judged
        ids = [str(row[0]) for row in con.execute("select id from prompts order by id").fetchall()]
        con.execute("update prompts set status = 'generating' where id = $1", [ids[0]])
        con.execute("update prompts set status = 'needs_refinement' where id = $1", [ids[1]])
        con.execute("update prompts set status = 'evaluated' where id = $1", [ids[2]])
    assert due(store) == {"scenes": 3, "generate": 2, "refine": 1}
    assert fk.trends.status(store).next == f"forgekit generate --store {store.path}"


def test_the_next_command_names_the_experiment_where_there_are_several(store: Store, capsys):
    fk.import_prompts(store, SCENES, experiment="a/first")
    fk.import_prompts(store, SCENES, experiment="a/second")
    fk.complete_prompts(store, experiment="a/first")
    assert fk.trends.status(store).next.endswith("--experiment a/second")
    assert len(fk.trends.status(store, experiment="a").counts) == 2
    assert main(["status", "--store", str(store.path), "--experiment", "a/second"]) == 0
    assert f"Next: forgekit complete --store {store.path}\n" in capsys.readouterr().out
    with pytest.raises(ParameterError, match="Did you mean 'a/first'"):
        fk.trends.status(store, experiment="a/fist")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "session", "shown"), [(Terminal, "", True), (io.StringIO, "", False), (io.StringIO, "n.ipynb", True)]
)
def test_a_bar_is_shown_in_a_terminal_and_in_a_notebook_and_nowhere_else(stream, session, shown, monkeypatch):
    seen = stream()
    monkeypatch.setattr(sys, "stderr", seen)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    if session:
        monkeypatch.setenv("JPY_SESSION_NAME", session)
    with progress_bar("study", total=2, unit="scene"), running("generate", total=3, unit="prompt") as (report, bar):
        bar.update()
    assert ("study" in seen.getvalue()) is shown
    assert "generate" not in seen.getvalue()  # a part of what has a bar has none
    assert report.seconds > 0


def test_a_step_without_an_outer_bar_has_its_own_and_leaves_an_empty_line(monkeypatch):
    seen = Terminal()
    monkeypatch.setattr(sys, "stderr", seen)
    with running("import", total=0, unit="row"), running("read", total=2, unit="scene") as (_, bar):
        bar.update(2)
    assert "read" in seen.getvalue()
    assert seen.getvalue().rpartition("\r")[0].rpartition("\r")[2].strip() == ""


def test_a_table_keeps_to_the_width_of_a_terminal_and_is_whole_in_a_file(monkeypatch):
    table = pd.DataFrame({f"column_{n}": [0.12345, None] for n in range(12)} | {"text": ["word " * 40, "b"]})
    whole = as_text(table)
    assert ("word " * 40).strip() in whole
    assert "0.123" in whole
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", Terminal())
    narrow = as_text(table)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "column_11" in narrow


def test_ctrl_c_ends_a_command_with_130_and_no_traceback(store: Store):
    fk.import_prompts(store, SCENES)
    code = (
        "import os, signal, sys; from forgekit.cli import main; import forgekit.stages.completing as stage;"
        "stage.working = lambda store: os.kill(os.getpid(), signal.SIGINT) or stage;"
        f"sys.exit(main(['complete', '--store', {str(store.path)!r}]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}, check=False
    )
    assert ended.returncode == 130
    assert "Traceback" not in ended.stderr
    assert "the same command goes on from there" in ended.stderr
