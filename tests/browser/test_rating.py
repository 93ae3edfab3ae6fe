"""Rating in JupyterLab, in a real browser: an answer reaches the store, and the page never learns what it must not."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import JUDGES
from playwright.sync_api import Page, expect
from servers import WAIT_MS, lab_on, run_cell

import forgekit as fk

expect.set_options(timeout=WAIT_MS)
CELL = 'import forgekit as fk\n\nstore = fk.open_store("forge.duckdb")\nfk.rate(store, rater="ann", kind="pair", n=6)'
TIME = re.compile(rb"\d{4}-\d\d-\d\dT[\d:.]+")
RATINGS = """
select i.image_path, r.rating, r.reason, r.rater, r.replaces is not null as corrects
from human_ratings r
join generated_images i on i.id = r.image_id
order by r.created_at
"""


@pytest.fixture(scope="module")
def lab(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder of a store, and the address of a JupyterLab on it."""
    folder = tmp_path_factory.mktemp("lab") / "store"
    shutil.copytree(drawn, folder)
    with lab_on(folder, "rate", CELL) as address:
        yield folder, address


def secrets(store: fk.Store) -> set[str]:
    """What a blind rater must not get at: judges, arms, ids, files and seeds, and prompts that are not the scene's text."""
    asked = [
        "select experiment from prompts",
        "select id from prompts",
        "select prompt_text from prompts join scenes using (scene_hash) where prompt_text <> scene_text",
        "select id from generated_images",
        "select split_part(image_path, '-', 1) from generated_images",
        "select generation_metadata ->> '$.seed' from generated_images",
        "select judge_key from image_evaluations",
        "select round(soft_tifa_gm, 4)::varchar from image_scores where soft_tifa_gm < 0.9999",
    ]
    return {str(value) for sql in asked for row in store.rows(sql) for value in row.values()} | {
        *JUDGES,
        "iTXt",
        "tEXt",
    }


def test_a_blind_rating_reaches_the_store_and_nothing_tells_whose_picture_it_is(
    lab: tuple[Path, str], page: Page, shoot: Callable[..., None]
) -> None:
    folder, address = lab
    store, received = fk.open_store(folder / "forge.duckdb"), []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(frame)))
    run_cell(page, address, "rate")
    head, pictures = page.locator(".widget-html-content").first, page.locator("img.widget-image")
    expect(head).to_contain_text("0 of 6 · ann")
    expect(pictures).to_have_count(2)
    page.set_viewport_size({"width": 1100, "height": 900})
    shoot("rating")

    page.get_by_role("button", name="A (left)").dblclick()  # the second click is no answer to the next pair
    expect(head).to_contain_text("1 of 6")
    page.get_by_placeholder("click here to use the keys").click()
    for number, key in enumerate(("b", "b", "="), 2):
        page.keyboard.press(key)
        expect(head).to_contain_text(f"{number} of 6")
    page.get_by_role("button", name="Back").click()
    expect(head).to_contain_text("You said: no difference (=).")
    page.get_by_role("button", name="B (right)").click()
    expect(head).not_to_contain_text("You said")
    page.get_by_role("button", name="Skip, because").click()
    expect(head).to_contain_text("5 of 6")
    given = [(row["rating"], row["reason"], row["corrects"]) for row in store.rows(RATINGS)]
    told = "I cannot tell"
    assert given == [
        (1, None, False),
        (0, None, False),
        (0, None, False),
        (0.5, None, False),
        (0, None, True),
        (None, told, False),
    ]

    # Another page, another kernel: it goes on where it was left.
    page.goto("about:blank")
    run_cell(page, address, "rate")
    expect(head).to_contain_text("5 of 6 · ann")
    seen = b"".join(frame if isinstance(frame, bytes) else frame.encode() for frame in received)
    seen = TIME.sub(b"", seen)  # the seconds of a message may be any score: 20.981
    assert b"IDAT" in seen  # what the page got is there, pixels too
    found = [secret for secret in secrets(store) if secret.encode() in seen or secret in page.content()]
    assert found == []

    page.get_by_role("button", name="A (left)").click()
    expect(head).to_contain_text("all done")
    expect(page.locator(".forgekit")).to_contain_text(re.compile(f"{JUDGES[0]}.*same order", re.DOTALL))
    expect(page.locator(".forgekit")).to_contain_text("(earlier version)")
    shoot("rating-done")
