"""What a person sees in the MLflow UI of an experiment that two vision models have judged, and of one of 120 versions.

docs/mlflow.md tells three ways to three answers; each is walked here as it is told there.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import study
from conftest import JUDGES
from mlflow import MlflowClient
from playwright.sync_api import Locator, Page, expect
from servers import ROOT, WAIT_MS, free_port, serving

import forgekit as fk
from forgekit.store import Store

expect.set_options(timeout=WAIT_MS)

SIDEBAR = 205  # pixels: MLflow's own menu, left off pictures for the README
PICTURES = "img[src*='get-artifact'], img[src*='artifacts'], img[src^='blob:']"


@dataclass(frozen=True)
class Ui:
    """A running MLflow UI on a mirrored store: `links` are what `track` printed, by experiment, and `version` is the
    rewritten one that gained most."""

    url: str
    store: Store
    links: dict[str, str]
    version: dict[str, Any]
    seeds: list[str]

    @property
    def experiment_id(self) -> str:
        return re.search(r"experiments/(\d+)", self.links["first-look"])[1]

    def open(self, page: Page, link: str) -> None:
        """Open a page of the UI, without the assistant's panel."""
        page.goto(link)
        expect(page.get_by_text("matching runs")).to_be_visible()
        close_assistant(page)

    def search(self, page: Page, mode: str, where: str) -> None:
        """Open the runs that a filter finds, as a chart or as tables of their artifacts."""
        options = f"workflowType=machine_learning&searchFilter={quote(where)}&compareRunsMode={mode}"
        self.open(page, f"{self.url}/#/experiments/{self.experiment_id}/runs?{options}")


@pytest.fixture(scope="module")
def ui(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Ui:
    folder, port = tmp_path_factory.mktemp("mlflow_ui") / "store", free_port()
    shutil.copytree(drawn, folder)
    store = fk.open_store(folder / "forge.duckdb")
    version = store.rows(
        "select p.id, p.scene_hash, p.prompt_text from prompts p join prompts parent on parent.id = p.parent_prompt_id "
        "order by p.current_score - parent.current_score desc, p.id limit 1"
    )[0]
    seeds = store.rows(
        "select generation_metadata ->> '$.seed' as seed from generated_images where prompt_id = $id", id=version["id"]
    )
    study.fill(store, experiment="many", scenes=30, iterations=3, seeds=2)  # 60 versions, 120 runs of versions
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_PORT", str(port))
        report = fk.track(store)
    assert not report.failed, str(report)
    links = dict(note.split(": ", 1) for note in report.notes if "://" in note)
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
        yield Ui(url, store, links, version, [row["seed"] for row in seeds])


def test_the_link_that_track_prints_opens_on_the_rounds_with_the_summary_first(ui: Ui, page: Page, shoot) -> None:
    ui.open(page, ui.links["first-look"])
    curve = fk.trends.adherence(ui.store, experiment="first-look")
    expect(page.get_by_text(f"{len(curve) + 1} matching runs")).to_be_visible()
    names = page.get_by_role("gridcell").get_by_role("link", name=" · ")
    expect(names).to_have_count(len(curve) + 1)
    first, *rounds = names.all_inner_texts()
    assert first == "summary · first-look"
    assert [int(name.split()[1]) for name in rounds] == sorted(curve["round"], reverse=True)
    gain = fk.trends.round_gains(ui.store, experiment="first-look", vision_model="mini-clip").iloc[-1]
    place = names.filter(has_text=last_round(gain)).locator("xpath=ancestor::*[@role='row']").get_attribute("row-index")
    row = page.locator(f".ag-center-cols-container [row-index='{place}']")
    expect(row).to_contain_text(digits(gain["gain"]))
    expect(row).to_contain_text(digits(gain["low"]))
    shoot("mlflow-rounds", left=SIDEBAR)


def harsher(ui: Ui) -> str:
    """The judge that gives the lower scores on the same images, as runs are called after it."""
    pair = fk.trends.judge_agreement(ui.store, experiment="first-look").iloc[0]
    return (pair["judge"] if pair["mean_difference"] < 0 else pair["other"]).removeprefix("mini-")


def test_way_1_which_judge_is_harsher(ui: Ui, page: Page, shoot) -> None:
    ui.open(page, ui.links["first-look"])
    choose_view(page, "rounds", "judges by round")
    means = expect_group_means(ui, page, "first-look", JUDGES)
    curve = fk.trends.adherence(ui.store, experiment="first-look").groupby("vision_model")["adherence"].mean()
    assert min(means, key=means.__getitem__) == curve.idxmin()
    shoot("mlflow-judges", left=SIDEBAR)


def test_way_2_on_which_pictures_do_they_disagree_most(ui: Ui, page: Page, shoot) -> None:
    ui.open(page, ui.links["first-look"])
    page.get_by_role("link", name="summary · first-look").click()
    furthest = fk.trends.disagreements(ui.store, "mini-clip", "mini-owl", experiment="first-look", per_scene=2, most=48)
    expect(page.get_by_text(f"Harsher judge: {harsher(ui)}")).to_be_visible()
    expect(page.get_by_text(furthest["scene_text"][0]).first).to_be_visible()
    shoot("mlflow-summary", left=SIDEBAR)
    page.get_by_text("Show more").click()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name=f"{len(furthest)} pictures").click()
    sheet = opened.value
    wait_for_pictures(sheet.locator(PICTURES), 1)
    expect(sheet.get_by_text("disagreements-mini-clip-mini-owl.jpg").first).to_be_visible()
    sheet.screenshot(path=ROOT / "build" / "screenshots" / "mlflow-disagreements.png")


def test_way_3_did_the_last_round_help_by_the_held_out_judge(ui: Ui, page: Page, shoot) -> None:
    ui.open(page, ui.links["first-look"])
    gain = fk.trends.round_gains(ui.store, experiment="first-look", vision_model="mini-clip").iloc[-1]
    page.get_by_role("link", name=last_round(gain)).click()
    helped = "it helped" if gain["low"] > 0 else "it hurt" if gain["high"] < 0 else "not shown that it helped"
    expect(page.get_by_text(f"{helped}, {gain['gain']:+.4f} [{gain['low']:+.4f}")).to_be_visible()
    page.get_by_text("Show more").click()
    wait_for_pictures(page.locator(PICTURES), 1)
    shoot("mlflow-round", left=SIDEBAR)


def test_from_the_front_page_the_answers_are_three_clicks_away(ui: Ui, page: Page) -> None:
    page.goto(ui.url)
    page.get_by_text("Model training", exact=True).first.click()
    page.get_by_role("link", name="first-look", exact=True).click()
    close_assistant(page)
    page.get_by_role("link", name="summary · first-look").click()
    for answer in (f"Harsher judge: {harsher(ui)}", "by clip (held out)", "Furthest apart (clip / owl)"):
        expect(page.get_by_text(answer)).to_be_in_viewport()


def test_of_more_versions_than_the_ui_loads_the_summary_is_first_and_the_means_are_those_of_the_store(
    ui: Ui, page: Page
) -> None:
    ui.open(page, re.sub("&viewStateShareKey.*", "", ui.links["many"]))
    expect(page.get_by_text("100 matching runs")).to_be_visible()  # of 127
    expect(page.get_by_role("gridcell").get_by_role("link", name=" · ").first).to_have_text("summary · many")
    ui.open(page, ui.links["many"])
    choose_view(page, "rounds", "judges by round")
    expect_group_means(ui, page, "many", study.JUDGES)


def test_the_view_of_a_scene_shows_its_versions_in_order(ui: Ui, page: Page) -> None:
    ui.open(page, ui.links["many"])
    choose_view(page, "rounds", "versions of a scene")
    names = page.get_by_role("gridcell").get_by_role("link", name=" · ")
    expect(names.first).to_contain_text("v0 · ")
    assert [name.split(" · ")[0] for name in names.all_inner_texts()] == ["v0", "v0", "v1", "v1", "v2", "v2"]


def test_the_image_grid_shows_a_picture_of_each_version(ui: Ui, page: Page, shoot) -> None:
    ui.search(page, "CHART", versions_of_one_scene(ui))
    page.get_by_placeholder("Search metric charts").fill("image")
    expect(page.locator(PICTURES).first).to_be_visible()
    page.locator("[data-component-id='fullscreen_button_chartcard']").last.click()
    pictures = page.get_by_role("dialog").locator(PICTURES)
    wait_for_pictures(pictures, 2)
    for number in range(2):  # they may lie below each other
        pictures.nth(number).scroll_into_view_if_needed()
        expect(pictures.nth(number)).to_be_in_viewport(ratio=0.9)
        expect(page.get_by_role("dialog").get_by_text(f"v{number} · owl · ")).to_be_attached()
    shoot("mlflow-image-grid")


def test_the_table_compares_versions_seed_by_seed_and_shows_whole_pictures(ui: Ui, page: Page, shoot) -> None:
    ui.search(page, "ARTIFACT", versions_of_one_scene(ui))
    expect(page.get_by_text("images.json").first).to_be_visible()
    for seed in ui.seeds:
        expect(page.get_by_text(seed, exact=True).first).to_be_attached()
    page.get_by_label("Dialog Combobox, selected option: score").click()
    page.get_by_role("option", name="image").click()
    pictures = page.locator(PICTURES)
    expect(pictures.first).to_be_visible()
    wait_for_pictures(pictures, 2 * len(ui.seeds))
    for number in range(
        4
    ):  # the picture is in the upper half of its square (test_tracking), which must lie in the cell
        square = pictures.nth(number).bounding_box()
        cell = pictures.nth(number).locator("xpath=ancestor::*[@role='gridcell'][1]").bounding_box()
        assert cell["y"] <= square["y"] and square["y"] + square["height"] / 2 <= cell["y"] + cell["height"]
        assert cell["x"] <= square["x"] and square["x"] + square["width"] <= cell["x"] + cell["width"]
    shoot("mlflow-by-seed", left=SIDEBAR)


def test_a_run_shows_its_pictures_its_prompt_its_registered_version_and_the_way_to_its_parent(
    ui: Ui, page: Page, shoot
) -> None:
    client = MlflowClient(tracking_uri=fk.tracking.default_uri(ui.store))
    runs = client.search_runs([ui.experiment_id], "tags.kind = 'version'")
    child = next(run for run in runs if json.loads(run.data.tags["forgekit"])["prompt_id"] == ui.version["id"])
    page.goto(f"{ui.url}/#/experiments/{ui.experiment_id}/runs/{child.info.run_id}?workflowType=machine_learning")
    wait_for_pictures(page.locator(PICTURES), 1)
    expect(page.locator(PICTURES).first).to_be_in_viewport(ratio=0.9)
    expect(page.get_by_text("Runs of the parent version")).to_be_visible()
    expect(page.get_by_text(ui.version["prompt_text"]).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"first-look\.[a-z0-9-]+\.[0-9a-f]{8}")).first).to_be_visible()
    close_assistant(page)
    shoot("mlflow-run", left=SIDEBAR)


def choose_view(page: Page, shown: str, name: str) -> None:
    """Choose a saved view from the list that is headed by the one which is shown."""
    page.get_by_role("button", name=shown, exact=True).click()
    page.get_by_text(name, exact=True).last.click()


def expect_group_means(ui: Ui, page: Page, experiment: str, judges: tuple[str, ...]) -> dict[str, float]:
    """Expect a row for each judge with the mean adherence over its rounds, as the store has it; return them."""
    curve = fk.trends.adherence(ui.store, experiment=experiment).groupby("vision_model")["adherence"]
    means = curve.mean().to_dict()
    for judge in judges:
        group = page.get_by_role("row").filter(has_text=f"Group: {judge}").first
        expect(group).to_contain_text(re.compile(rf"{judge}\s*{curve.count()[judge]}(?!\d)"))
        place = group.get_attribute("row-index")
        shown = page.locator(f".ag-center-cols-container [row-index='{place}'] [role=gridcell]").first
        expect(shown).to_contain_text(re.compile(r"0\.\d+"))
        assert float(re.search(r"[\d.]+", shown.inner_text())[0]) == pytest.approx(means[judge], abs=1e-4)
    return means


def last_round(gain: Any) -> str:
    """Return the name of a round's run by the held-out judge."""
    return f"round {gain['round']} · clip · held-out"


def digits(value: float) -> str:
    """Return a figure as MLflow shows what has four digits."""
    return str(round(value, 4))


def close_assistant(page: Page) -> None:
    assistant = page.get_by_label("Close", exact=True)
    if assistant.count():
        assistant.first.click()


def versions_of_one_scene(ui: Ui) -> str:
    """The filter for the two versions of the scene that gained most, as the steering judge saw them."""
    return f"tags.forgekit LIKE '%{ui.version['scene_hash']}%' and tags.vision_model = '{JUDGES[0]}'"


def wait_for_pictures(pictures: Locator, count: int) -> None:
    """Wait until `count` pictures are there, decoded and of more than one pixel."""
    expect(pictures.nth(count - 1)).to_be_attached()
    for index in range(count):
        handle = pictures.nth(index).element_handle()
        handle.owner_frame().wait_for_function("image => image.complete && image.naturalWidth > 1", arg=handle)
