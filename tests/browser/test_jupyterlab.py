"""The gallery in JupyterLab, and written as a folder, in a real browser: what a click or a key changes is what the store has."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from servers import ROOT, WAIT_MS, lab_on, run_cell, wait_until

import forgekit as fk
from forgekit.show.gallery import write_gallery
from forgekit.trends.cards import ORDERS, Choice, find_cards

expect.set_options(timeout=WAIT_MS)
CELL = 'import forgekit as fk\n\nstore = fk.open_store("forge.duckdb")\nfk.explore(store, experiment="colours/refine")'
FILL = "import pathlib, sys, study; study.make(pathlib.Path(sys.argv[1]), experiment=sys.argv[2], scenes=int(sys.argv[3]), seed=int(sys.argv[4]))"
JUDGE = "mini-clip"  # steers in the study of tests/study.py


def fill(folder: Path, experiment: str, scenes: int, seed: int = 0) -> None:
    """Write a finished study into the store, in another process."""
    subprocess.run(
        [sys.executable, "-c", FILL, str(folder), experiment, str(scenes), str(seed)], cwd=ROOT / "tests", check=True
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two arms of a study of thirty scenes."""
    folder = tmp_path_factory.mktemp("lab")
    for arm in ("colours/refine", "colours/resample"):
        fill(folder, arm, 30)
    return folder


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[str]:
    """The address of a JupyterLab on that folder, with a notebook of one cell."""
    with lab_on(folder, "explore", CELL) as address:
        yield address


def field(page: Page, label: str) -> Locator:
    return page.locator(".forgekit-gallery label", has_text=re.compile(f"^{label}")).locator("select, input")


def status(page: Page, text: str) -> None:
    expect(page.locator(".forgekit-gallery [role=status]")).to_have_text(text)


def titles(tiles: Locator, cards: list[dict[str, Any]]) -> None:
    """These cards are shown, in this order: told by their prompts."""
    prompts = [card["prompt"] for card in cards]
    wait_until(lambda: tiles.evaluate_all("tiles => tiles.map((tile) => tile.title)") == prompts, 60)


def choose(select: Locator, beginning: str) -> None:
    """Choose the option whose label begins so."""
    option = select.locator("option", has_text=re.compile(f"^{re.escape(beginning)}"))
    expect(option).to_have_count(1)
    select.select_option(option.get_attribute("value"))


def drawn_in(images: Locator) -> None:
    """Every one of these images has come and can be seen."""
    expect(images.first).to_have_js_property("complete", True)
    for image in images.all():
        expect(image).not_to_have_js_property("naturalWidth", 0)


def look_around(page: Page, store: fk.store.Store, shoot: Callable[..., None]) -> None:
    """Page, open, filter and compare, wherever the gallery came from; each time it shows what the store has."""
    everything = Choice("colours/refine", JUDGE)
    cards, total = find_cards(store, everything)
    tiles, view = page.locator(".card"), page.locator(".view")
    status(page, f"60 of {total} images")
    titles(tiles, cards[:60])
    drawn_in(page.locator(".cards li:nth-child(-n+8) img"))
    shoot("explorer")

    # The next page comes when one scrolls to the end, until all are there.
    view.evaluate("view => view.scrollTo(0, view.scrollHeight)")
    status(page, f"120 of {total} images")
    for _ in range(-(-total // 60) - 2):
        before = tiles.count()
        view.evaluate("view => view.scrollTo(0, view.scrollHeight)")
        expect(tiles).not_to_have_count(before)
    status(page, f"{total} of {total} images")
    tiles.last.scroll_into_view_if_needed()
    drawn_in(tiles.last.locator("img"))

    # Keys alone: to the first card, one to the right, open it, on to the next, and back to where one was.
    tiles.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"2 of {total}")
    expect(dialog).to_contain_text(cards[1]["file"])
    page.keyboard.press("ArrowRight")
    expect(dialog).to_contain_text(f"3 of {total}")
    score = cards[2]["verdicts"][JUDGE]["score"]
    expect(dialog.locator("tr", has_text="score").locator("td").nth(1)).to_have_text(f"{score:.2f}")
    drawn_in(dialog.locator("img"))
    assert dialog.locator("img").evaluate("image => image.naturalWidth") == 64  # the file itself, no thumbnail
    shoot("explorer-full-size")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(tiles.nth(2)).to_be_focused()

    # Filters.
    word = cards[0]["scene"].split()[-1]
    for label, text, choice in (
        ("missing", "color", {"failed": "color"}),
        ("missing", "a blue", {"failed": "a blue"}),
        ("search", word, {"words": word}),
        ("score from", "0.5", {"low": 0.5}),
        ("gap at least", "0.02", {"gap": 0.02}),
    ):
        found = find_cards(store, Choice("colours/refine", JUDGE, **choice))[0]
        field(page, label).fill(text)
        status(page, f"{min(60, len(found))} of {len(found)} images")
        titles(tiles, found[:60])
        empty = "0" if label in ("score from", "gap at least") else ""
        field(page, label).fill(empty)
        status(page, f"60 of {total} images")
    for order in ORDERS:
        field(page, "order").select_option(order)
        titles(tiles, find_cards(store, replace(everything, order=order), limit=60)[0])

    # Side by side: the last version of a scene beside the first, then beside the same version of the other arm.
    grown = next(card for card in cards if card["iteration"] == 2)
    field(page, "scene").select_option(grown["scene_hash"])
    status(page, "12 of 12 images")
    field(page, "order").select_option("by scene")
    page.get_by_role("button", name="Side by side").first.click()
    pairs = page.locator(".pairs")
    left, right = pairs.locator("select").nth(0), pairs.locator("select").nth(1)
    choose(right, "colours/refine · v2 by repeat_color")
    left.select_option(index=0)
    expect(pairs.locator("ins")).to_have_text([", vivid, vivid"])
    mine = {card["seed"]: card for card in cards if card["version"] == grown["version"]}
    first = {
        card["seed"]: card for card in cards if card["scene_hash"] == grown["scene_hash"] and card["iteration"] == 0
    }
    captions = []
    for seed, card in sorted(first.items()):
        a, b = (each["verdicts"][JUDGE]["score"] for each in (card, mine[seed]))
        captions.append(f"seed {seed}: {a:.2f} → {b:.2f} {'−' if b < a else '+'}{abs(b - a):.2f}")
    expect(pairs.locator("li > span")).to_have_text(captions)
    expect(pairs).to_contain_text("4 pairs with the same seed")
    drawn_in(pairs.locator("img"))
    shoot("explorer-side-by-side")
    choose(left, "colours/resample · v2")
    expect(pairs.locator("ins, del")).to_have_count(0)  # both arms have come to the same words
    page.get_by_role("button", name="All images").click()
    status(page, "12 of 12 images")


def test_the_gallery_in_jupyterlab(folder: Path, lab: str, page: Page, shoot: Callable[..., None]) -> None:
    store = fk.open_store(folder / "forge.duckdb")
    page.set_viewport_size({"width": 1200, "height": 1000})
    run_cell(page, lab, "explore")
    expect(page.get_by_text("Jupyter news")).to_have_count(0)  # the environment's settings say that nobody asks
    look_around(page, store, shoot)
    page.locator(".card").first.focus()
    page.keyboard.press("b")  # would insert a cell
    expect(page.locator(".jp-Notebook .jp-Cell")).to_have_count(2)  # no key of the gallery was one of the notebook's

    # A store that is held by another process is said in the page, which stays as it was and lives on.
    fill(folder, "later", 3, seed=9)
    total = len(find_cards(store, Choice("later", JUDGE))[0])
    page.get_by_role("button", name="read again").click()
    expect(field(page, "experiment").locator("option", has_text="later")).to_have_count(1)
    status(page, "12 of 12 images")  # nothing is asked any more
    with store.transaction():
        field(page, "experiment").select_option("later")
        expect(page.get_by_role("alert")).to_contain_text("has been held by", timeout=240_000)  # a store waits for 60 s
    expect(field(page, "experiment")).to_have_value("colours/refine")
    field(page, "order").select_option("widest gap")
    expect(page.get_by_role("alert")).to_be_empty()
    status(page, "12 of 12 images")

    # What another process wrote meanwhile is there.
    field(page, "experiment").select_option("later")
    status(page, f"{total} of {total} images")


def test_the_gallery_as_a_folder(folder: Path, tmp_path: Path, page: Page) -> None:
    store = fk.open_store(folder / "forge.duckdb")
    with store.transaction() as con:
        con.execute("update prompts set prompt_text = prompt_text || ' <script>document.title = 1</script>'")
    assert write_gallery(store, output=str(tmp_path / "gallery"), experiment="colours").failures == {}
    page.goto((tmp_path / "gallery" / "index.html").as_uri())
    look_around(page, store, lambda name: None)
    expect(page.locator(".card").first).to_have_attribute("title", re.compile("<script>"))
    assert page.title() != "1"
