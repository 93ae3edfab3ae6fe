"""What a person sees in the MLflow UI of an experiment that two vision models have judged."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any
from urllib.parse import quote

import pytest
from conftest import JUDGES
from mlflow import MlflowClient
from playwright.sync_api import Locator, Page, expect
from servers import ROOT, WAIT_MS, free_port, serving

import forgekit as fk

expect.set_options(timeout=WAIT_MS)

SIDEBAR = 205  # pixels: MLflow's own menu, left off pictures for the README
PICTURES = "img[src*='get-artifact'], img[src*='artifacts'], img[src^='blob:']"


@dataclass(frozen=True)
class Ui:
    """A running MLflow UI on a mirrored store: a run per version and judge, and `version`, the rewritten one that
    gained most."""

    url: str
    experiment_id: str
    runs: list
    version: dict[str, Any]
    seeds: list[str]

    def open(self, page: Page, mode: str = "", *, view: str = "", where: str = "") -> None:
        """Open the experiment's runs, by a saved view or a filter, without the assistant's panel."""
        options = [f"viewStateShareKey={view}"] if view else []
        options += [f"searchFilter={quote(where)}"] if where else []
        options += [f"compareRunsMode={mode}"] if mode else []
        page.goto(f"{self.url}/#/experiments/{self.experiment_id}/runs?{'&'.join(options)}")
        expect(page.get_by_text("matching runs")).to_be_visible()
        assistant = page.get_by_label("Close", exact=True)
        if assistant.count():
            assistant.first.click()


@pytest.fixture(scope="module")
def ui(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Ui:
    folder = tmp_path_factory.mktemp("mlflow_ui") / "store"
    shutil.copytree(drawn, folder)
    store = fk.open_store(folder / "forge.duckdb")
    version = store.rows(
        "select p.id, p.scene_hash, p.prompt_text from prompts p join prompts parent on parent.id = p.parent_prompt_id "
        "order by p.current_score - parent.current_score desc, p.id limit 1"
    )[0]
    seeds = store.rows(
        "select generation_metadata ->> '$.seed' as seed from generated_images where prompt_id = $id", id=version["id"]
    )
    versions = store.rows("select count(*) as n from prompts")[0]["n"]
    report = fk.track(store)
    assert (report.done, report.failed) == (len(JUDGES) * versions, 0), str(report)
    client = MlflowClient(tracking_uri=fk.tracking.default_uri(store))
    experiment_id = client.get_experiment_by_name("first-look").experiment_id
    runs = [run for run in client.search_runs([experiment_id]) if "prompt_id" in run.data.tags]
    port = free_port()
    recipe = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "--old-file=.venv/.ready", "ui", f"STORE={store.path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    command = shlex.split(recipe.stdout.splitlines()[-1])  # what `make ui` runs, without making the environment anew
    environment = {"MLFLOW_PORT": str(port), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    url = f"http://127.0.0.1:{port}"
    with serving(command, f"{url}/health", folder / "ui.log", environment):
        yield Ui(url, experiment_id, runs, version, [row["seed"] for row in seeds])


def test_the_saved_view_groups_the_runs_by_vision_model_with_their_means(ui: Ui, page: Page, shoot):
    ui.open(page, view="forgekit")
    expect(page.get_by_text("Group by: vision_model")).to_be_visible()
    for judge in JUDGES:
        group = page.get_by_role("row").filter(has_text=f"Group: {judge}")
        scores = [run.data.metrics["score/mean"] for run in ui.runs if run.data.tags["vision_model"] == judge]
        expect(group.first).to_contain_text(re.compile(rf"{judge}\s*{len(scores)}(?!\d)"))
        wanted = mean(scores)
        expect(page.get_by_role("gridcell").filter(has_text=f"{str(wanted)[:8]}").first).to_be_visible()
    shoot("mlflow-by-vision-model", left=SIDEBAR)


def test_the_distributions_of_two_vision_models_lie_over_each_other(ui: Ui, page: Page, shoot):
    ui.open(page, "CHART", view="forgekit")
    for metric in ("dist/histogram", "dist/quantile"):
        for judge in JUDGES:
            expect(page.get_by_text(f"{judge} ({metric})").first).to_be_attached()
    card = card_of(page, "dist/quantile")
    expect(card.locator(".scatterlayer .trace.scatter").first).to_be_attached()
    assert card.locator(".scatterlayer .trace.scatter").count() >= len(JUDGES)
    shoot("mlflow-distributions", left=SIDEBAR)


def test_the_image_grid_shows_a_picture_of_each_version(ui: Ui, page: Page, shoot):
    ui.open(page, "CHART", where=versions_of_one_scene(ui))
    page.get_by_placeholder("Search metric charts").fill("image")
    expect(page.locator(PICTURES).first).to_be_visible()
    page.locator("[data-component-id='fullscreen_button_chartcard']").last.click()
    pictures = page.get_by_role("dialog").locator(PICTURES)
    wait_for_pictures(pictures, 2)
    for number in range(2):  # they may lie below each other
        pictures.nth(number).scroll_into_view_if_needed()
        expect(pictures.nth(number)).to_be_in_viewport(ratio=0.9)
        expect(page.get_by_role("dialog").get_by_text(f" v{number} · {JUDGES[0]}")).to_be_attached()
    shoot("mlflow-image-grid")


def test_the_table_compares_versions_seed_by_seed(ui: Ui, page: Page, shoot):
    ui.open(page, "ARTIFACT", where=versions_of_one_scene(ui))
    expect(page.get_by_text("images.json").first).to_be_visible()
    for seed in ui.seeds:
        expect(page.get_by_text(seed, exact=True).first).to_be_attached()
    page.get_by_label("Dialog Combobox, selected option: score").click()
    page.get_by_role("option", name="image").click()
    expect(page.locator(PICTURES).first).to_be_visible()
    wait_for_pictures(page.locator(PICTURES), 2 * len(ui.seeds))
    shoot("mlflow-by-seed")


def test_a_run_shows_its_prompt_its_registered_version_and_the_way_to_its_parent(ui: Ui, page: Page, shoot):
    child = next(run for run in ui.runs if run.data.tags["prompt_id"] == str(ui.version["id"]))
    page.goto(f"{ui.url}/#/experiments/{ui.experiment_id}/runs/{child.info.run_id}")
    expect(page.get_by_text("Runs of the parent version")).to_be_visible()
    expect(page.get_by_text(ui.version["prompt_text"]).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"first-look\.[a-z0-9-]+\.[0-9a-f]{8}")).first).to_be_visible()
    shoot("mlflow-run")


def versions_of_one_scene(ui: Ui) -> str:
    """The filter for the two versions of the scene that gained most, as the steering judge saw them."""
    return f"tags.scene_hash = '{ui.version['scene_hash']}' and tags.vision_model = '{JUDGES[0]}'"


def card_of(page: Page, metric: str) -> Locator:
    """The chart card that is headed by the metric's name."""
    return page.locator("[data-testid='experiment-view-compare-runs-card']").filter(has_text=metric).first


def wait_for_pictures(pictures: Locator, count: int) -> None:
    """Wait until `count` pictures are there, decoded and of more than one pixel."""
    expect(pictures.nth(count - 1)).to_be_attached()
    for index in range(count):
        handle = pictures.nth(index).element_handle()
        handle.owner_frame().wait_for_function("image => image.complete && image.naturalWidth > 1", arg=handle)
