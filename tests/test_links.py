"""What README, docs, notebooks and cards point to is in the repository: evidence that a page names can be read."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"""!?\[[^\]]*\]\(\s*<?([^)\s>]+)|(?:src|href)=["']([^"']+)["']""")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|#|//", re.IGNORECASE)  # another host, a place on the same page, data


def tracked() -> set[str]:
    """Every file that git holds, and every folder above one."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = set(files.split("\0")) - {""}
    return names | {str(folder) for name in names for folder in Path(name).parents}


def prose(file: Path) -> str:
    if file.suffix != ".ipynb":
        return file.read_text()
    cells = json.loads(file.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def links(text: str) -> list[str]:
    found = [a or b for a, b in LINK.findall(CODE.sub("", text))]
    return [unquote(link.partition("#")[0].partition("?")[0]) for link in found if not ELSEWHERE.match(link)]


def dead_links(file: Path, held: set[str]) -> list[str]:
    """The links of a page that lead to nothing that the repository holds."""
    root = ROOT.resolve()
    targets = {link: (file.parent / link).resolve() for link in links(prose(file))}
    return [
        link
        for link, target in targets.items()
        if not target.is_relative_to(root) or str(target.relative_to(root)) not in held
    ]


PAGES = sorted(name for name in tracked() if name.endswith((".md", ".ipynb")))


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_to_a_file_of_the_repository(page):
    assert dead_links(ROOT / page, tracked()) == []


def test_a_link_to_a_file_that_is_not_committed_is_found(tmp_path):
    page = ROOT / "docs" / "page-that-is-not-there.md"
    text = 'A [study](../experiments/loop/x.md), ![a picture](<images/none.png>) and <img src="images/none.webp">.'
    assert links(text) == ["../experiments/loop/x.md", "images/none.png", "images/none.webp"]
    held = tracked()
    assert all(str((page.parent / link).resolve().relative_to(ROOT.resolve())) not in held for link in links(text))


def test_finished_studies_are_not_kept_out_of_the_repository():
    ignored = subprocess.run(
        ["git", "check-ignore", "experiments/2030-01-02-words/README.md", "experiments/loop/02_loop.ipynb"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ignored.stdout.split() == ["experiments/loop/02_loop.ipynb"]
