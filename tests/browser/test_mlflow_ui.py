"""What a person sees in the MLflow UI of a study that two vision models have judged."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from statistics import mean
from urllib.parse import quote

import pytest
import study
from mlflow import MlflowClient
from playwright.sync_api import Locator, Page, expect
from servers import ROOT, WAIT_MS, free_port, serving

import forgekit as fk

expect.set_options(timeout=WAIT_MS)

PICTURES = "img[src*='get-artifact'], img[src*='artifacts'], img[src^='blob:']"


@dataclass(frozen=True)
class Ui:
    """A running MLflow UI on a mirrored study of three scenes, six versions and twelve runs."""

    url: str
    experiment_id: str
    runs: list

    def open(self, page: Page, mode: str = "", *, view: str = "", where: str = "") -> None:
        """Open the study's runs, by a saved view or a filter, without the assistant's panel."""
        options = [f"viewStateShareKey={view}"] if view else []
        options += [f"searchFilter={quote(where)}"] if where else []
        options += [f"compareRunsMode={mode}"] if mode else []
        page.goto(f"{self.url}/#/experiments/{self.experiment_id}/runs?{'&'.join(options)}")
        expect(page.get_by_text("matching runs")).to_be_visible()
        assistant = page.get_by_label("Close", exact=True)
        if assistant.count():
            assistant.first.click()


@pytest.fixture(scope="module")
def ui(tmp_path_factory) -> Ui:
    folder = tmp_path_factory.mktemp("mlflow_ui")
    store = study.make(folder, scenes=3, iterations=3, seeds=4)
    report = fk.track(store)
    assert (report.done, report.failed) == (12, 0), str(report)
    client = MlflowClient(tracking_uri=fk.tracking.default_uri(store))
    experiment_id = client.get_experiment_by_name("main").experiment_id
    runs = [run for run in client.search_runs([experiment_id]) if "prompt_id" in run.data.tags]
    port = free_port()
    recipe = subprocess.run(
        ["make", "--dry-run", "--old-file=.venv/.ready", "ui", f"STORE={store.path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    command = shlex.split(recipe.stdout.splitlines()[-1])  # what `make ui` runs, without making the environment anew
    environment = {"MLFLOW_PORT": str(port), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    url = f"http://127.0.0.1:{port}"
    with serving(command, f"{url}/health", folder / "ui.log", environment):
        yield Ui(url, experiment_id, runs)


def test_the_saved_view_groups_the_runs_by_vision_model_with_their_means(ui, page, screenshots):
    ui.open(page, view="forgekit")
    expect(page.get_by_text("Group by: vision_model")).to_be_visible()
    for judge in study.JUDGES:
        group = page.get_by_role("row").filter(has_text=f"Group: {judge}")
        expect(group.first).to_contain_text("6")
        wanted = mean(run.data.metrics["score/mean"] for run in ui.runs if run.data.tags["vision_model"] == judge)
        expect(page.get_by_role("gridcell").filter(has_text=f"{str(wanted)[:8]}").first).to_be_visible()
    page.screenshot(path=screenshots / "mlflow-by-vision-model.png")


def test_the_distributions_of_two_vision_models_lie_over_each_other(ui, page, screenshots):
    ui.open(page, "CHART", view="forgekit")
    for metric in ("dist/histogram", "dist/quantile"):
        for judge in study.JUDGES:
            expect(page.get_by_text(f"{judge} ({metric})").first).to_be_attached()
    card = card_of(page, "dist/quantile")
    expect(card.locator(".scatterlayer .trace.scatter").first).to_be_attached()
    assert card.locator(".scatterlayer .trace.scatter").count() >= len(study.JUDGES)
    page.screenshot(path=screenshots / "mlflow-distributions.png")


def test_the_image_grid_shows_a_picture_of_each_version(ui, page, screenshots):
    ui.open(page, "CHART", where=versions_of_one_scene(ui))
    page.get_by_placeholder("Search metric charts").fill("image")
    expect(page.locator(PICTURES).first).to_be_visible()
    page.locator("[data-component-id='fullscreen_button_chartcard']").last.click()
    pictures = page.get_by_role("dialog").locator(PICTURES)
    expect(pictures.first).to_be_visible()
    wait_for_pictures(pictures, 3)
    page.screenshot(path=screenshots / "mlflow-image-grid.png")


def test_the_table_compares_versions_seed_by_seed(ui, page, screenshots):
    ui.open(page, "ARTIFACT", where=versions_of_one_scene(ui))
    expect(page.get_by_text("images.json").first).to_be_visible()
    for seed in range(1000, 1004):
        expect(page.get_by_text(str(seed), exact=True).first).to_be_attached()
    page.get_by_label("Dialog Combobox, selected option: score").click()
    page.get_by_role("option", name="image").click()
    expect(page.locator(PICTURES).first).to_be_visible()
    wait_for_pictures(page.locator(PICTURES), 3)
    page.screenshot(path=screenshots / "mlflow-by-seed.png")


def test_a_run_shows_its_prompt_its_registered_version_and_the_way_to_its_parent(ui, page, screenshots):
    child = next(run for run in ui.runs if run.data.tags["prompt_version"] == "2")
    page.goto(f"{ui.url}/#/experiments/{ui.experiment_id}/runs/{child.info.run_id}")
    expect(page.get_by_text("Runs of the parent version")).to_be_visible()
    expect(page.get_by_text(re.compile(r", vivid, vivid")).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"main\.[a-z0-9-]+\.[0-9a-f]{8}")).first).to_be_visible()
    page.screenshot(path=screenshots / "mlflow-run.png")


def versions_of_one_scene(ui: Ui) -> str:
    """The filter for the three versions of the scene that was rewritten twice, as the steering judge saw them."""
    last = next(run for run in ui.runs if run.data.tags["prompt_version"] == "2")
    return f"tags.scene_hash = '{last.data.tags['scene_hash']}' and tags.vision_model = '{study.JUDGES[0]}'"


def card_of(page: Page, metric: str) -> Locator:
    """The chart card that is headed by the metric's name."""
    return page.locator("[data-testid='experiment-view-compare-runs-card']").filter(has_text=metric).first


def wait_for_pictures(pictures: Locator, count: int) -> None:
    """Wait until `count` pictures are there, decoded and of more than one pixel."""
    expect(pictures.nth(count - 1)).to_be_attached()
    for index in range(count):
        handle = pictures.nth(index).element_handle()
        handle.owner_frame().wait_for_function("image => image.complete && image.naturalWidth > 1", arg=handle)
