"""What README and docs tell a reader to type works: their Python runs, their commands exist with these options."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from forgekit.cli import command_line

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(?:.*?)^```|^ {4}\S.*?$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r'^(?: {4})?(?:\w+=\S+ )*forgekit (?P<words>(?:"[^"\n]*"|[^#\n&"])+)', re.MULTILINE)

SH = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)

BLOCKS = [(page.name, code) for page in PAGES for code in PYTHON.findall(page.read_text())]
COMMANDS = [
    (page.name, found["words"].strip())
    for page in PAGES
    for shell in SHELL.findall(page.read_text())
    for found in COMMAND.finditer(shell)
]


def test_there_is_something_to_run():
    assert {"README.md", "prompts.md"} <= {page for page, _ in BLOCKS}
    assert len(COMMANDS) >= 15


@pytest.mark.parametrize(("page", "code"), BLOCKS, ids=[page for page, _ in BLOCKS])
def test_the_python_of_a_page_runs_from_top_to_bottom(page, code, tmp_path, monkeypatch):
    """On two scenes of the starter set and two pictures from outside, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    starter = (ROOT / "data/prompts/starter.csv").read_text().splitlines()[:3]
    for name in ("data/prompts/starter.csv", "prompts.csv"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("\n".join(starter) + "\n")
    for name in ("midjourney/001.png", "dall-e/001.png"):
        Path(name).parent.mkdir()
        Image.new("RGB", (64, 64), (200, 30, 30)).save(name)
    Path("midjourney/001.txt").write_text("a red circle")
    Path("dall-e/pictures.csv").write_text("picture,prompt,model\n001.png,a red circle,dall-e-3\n")
    exec(compile(code, page, "exec"), {})


def test_the_commands_of_the_readme_run_as_they_are_pasted(tmp_path):
    """On two scenes of the starter set, in a folder that has an environment as `make` leaves one."""
    pasted = next(block for block in SH.findall((ROOT / "README.md").read_text()) if "forgekit import data/" in block)
    starter = (ROOT / "data/prompts/starter.csv").read_text().splitlines()[:3]
    (tmp_path / "data/prompts").mkdir(parents=True)
    (tmp_path / "data/prompts/starter.csv").write_text("\n".join(starter) + "\n")
    bin = tmp_path / ".venv/bin"
    bin.mkdir(parents=True)
    (bin / "activate").write_text(f"PATH={bin}:$PATH\n")
    (bin / "forgekit").write_text(f'#!/bin/sh\nexec {sys.executable} -m forgekit.cli "$@"\n')
    (bin / "forgekit").chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-ec", pasted], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "generate: 2 done, 0 skipped, 0 failed" in done.stdout
    assert "Next: forgekit " in done.stdout


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[words[:40] for _, words in COMMANDS])
def test_the_commands_of_a_page_are_understood(page, words):
    command_line().parse_args(shlex.split(words))
