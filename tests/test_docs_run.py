"""What README and docs tell a reader to type works: their Python runs, their commands exist with these options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from forgekit.cli import command_line

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(?:.*?)^```|^ {4}\S.*?$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?: {4})?(?:\w+=\S+ )*forgekit (?P<words>[^#\n&]+)", re.MULTILINE)

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


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[words[:40] for _, words in COMMANDS])
def test_the_commands_of_a_page_are_understood(page, words):
    command_line().parse_args(shlex.split(words))
