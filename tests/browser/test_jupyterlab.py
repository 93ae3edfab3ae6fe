"""The explorer in JupyterLab, in a real browser: a click changes what is shown, also while the store is written."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from conftest import JUDGES
from playwright.sync_api import Locator, Page, expect
from servers import ROOT, WAIT_MS, free_port, serving

import forgekit as fk

expect.set_options(timeout=WAIT_MS)
CELL = 'import forgekit as fk\n\nstore = fk.open_store("forge.duckdb")\nfk.explore(store)'
FILL = (
    "import pathlib, sys, study; study.make(pathlib.Path(sys.argv[1]), experiment=sys.argv[2], scenes=6, iterations=3)"
)


def fill(folder: Path, experiment: str) -> None:
    """Write a finished study into the store, in another process."""
    subprocess.run([sys.executable, "-c", FILL, str(folder), experiment], cwd=ROOT / "tests", check=True)


@pytest.fixture(scope="module")
def lab(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with a store and a notebook of one cell, and the address of a JupyterLab on it."""
    folder = tmp_path_factory.mktemp("lab") / "store"
    shutil.copytree(drawn, folder)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(CELL)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "explore.ipynb")
    port = free_port()
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
        *(f"--notebook-dir={folder}", "--IdentityProvider.token="),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    own = {name: str(folder / ".jupyter" / name) for name in names}  # not what this machine's user has set
    address = f"http://127.0.0.1:{port}"
    with serving(command, f"{address}/api", folder / "lab.log", own):
        yield folder, address


def control(page: Page, name: str) -> Locator:
    return page.locator(".widget-dropdown", has_text=re.compile(f"^{name}")).locator("select")


def chosen(select: Locator) -> str:
    return select.evaluate("select => select.selectedOptions[0].text").replace("\xa0", " ")


def test_choosing_in_the_explorer_changes_what_is_shown(
    lab: tuple[Path, str], page: Page, shoot: Callable[..., None]
) -> None:
    folder, address = lab
    store = fk.open_store(folder / "forge.duckdb")
    page.goto(f"{address}/lab/tree/explore.ipynb?reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # what is run before that is lost
    expect(page.get_by_text("Jupyter news")).to_have_count(0)  # the environment's settings say that nobody asks
    page.keyboard.press("Control+B")  # without the list of files
    page.locator(".jp-Notebook .cm-content").click()
    page.keyboard.press("Shift+Enter")

    # It opens on the scene that gained most, cross-fitted, and there on the best version by the steering judge.
    scene = fk.trends.scenes(store, experiment="first-look").iloc[0]
    best = store.rows(
        "select arg_max(generation_iteration, current_score) as iteration, max(current_score) as score "
        "from prompts where scene_hash = $scene_hash",
        scene_hash=scene["scene_hash"],
    )[0]
    shown = page.locator(".widget-html-content")
    expect(shown.locator("img")).to_have_count(4)
    expect(shown.nth(1)).to_contain_text(f"Scene {scene['scene_text']}")
    assert chosen(control(page, "version")).startswith(f"v{best['iteration']} · {best['score']:.2f} · ")
    assert chosen(control(page, "experiment")) == "first-look"
    assert chosen(control(page, "judge")) == JUDGES[0]
    page.set_viewport_size({"width": 1100, "height": 1110})
    shoot("explorer")

    # The first version has other images.
    images = shown.locator("img").first.get_attribute("src")
    control(page, "version").select_option(index=0)
    expect(shown.locator("img").first).not_to_have_attribute("src", images)

    # Another judge gives other scores.
    elements = shown.nth(1).inner_text()
    control(page, "judge").select_option(JUDGES[1])
    expect(shown.nth(1)).not_to_have_text(elements)

    # Brushing: only images above a score are left of all of the experiment.
    page.get_by_role("button", name="the experiment").click()
    counted = page.get_by_text(re.compile(r"with a score from [\d.]+ to 1.00: (\d+) of (\d+)"))
    expect(counted).to_contain_text("from 0.00")
    drag(page, page.locator(".noUi-handle-lower"), 0.6)
    expect(counted).not_to_contain_text("from 0.00")
    low, inside, of_all = re.search(r"from ([\d.]+) to 1.00: (\d+) of (\d+)", counted.inner_text()).groups()
    assert 0.5 < float(low) < 0.7
    wanted = store.rows(
        "select count(*) as n, count(*) filter (soft_tifa_gm >= $low) as inside from image_scores "
        "where vision_model = $judge",
        low=float(low),
        judge=JUDGES[1],
    )[0]
    assert (int(inside), int(of_all)) == (wanted["inside"], wanted["n"])
    expect(shown.locator("img")).to_have_count(int(inside))
    shoot("explorer-brushed")

    # What another process writes meanwhile is there when it is read again: two versions, each with ", vivid" added.
    fill(folder, "colours/resample")
    page.get_by_role("button", name="Read again").click()
    control(page, "experiment").select_option("colours/resample")
    expect(shown.locator("ins").first).to_contain_text("vivid")
    assert chosen(control(page, "experiment")) == "colours/resample"
    control(page, "version").select_option(index=0)
    expect(shown.locator("ins")).to_have_count(0)


def drag(page: Page, handle: Locator, share: float) -> None:
    """Drag a handle of the score range to a share of its width."""
    handle.scroll_into_view_if_needed()
    start, track = handle.bounding_box(), page.locator(".noUi-base").bounding_box()
    y = start["y"] + start["height"] / 2
    page.mouse.move(start["x"] + start["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"] * share, y, steps=5)
    page.mouse.up()
