"""A real browser on real pages: Debian's Chromium, and the servers that the pages come from, all on loopback.

Not part of the plain suite: `make test-browser`, with `apt-get install -y chromium`. What is looked at is a store of six
scenes that `mini` draws and two judges look at, twice over: 45 s of computing, once for all tests.

Screenshots of what each test saw are kept in `build/screenshots`, or the folder in FORGEKIT_SCREENSHOTS. Six of them are
the pictures in the README and in docs/; they are made anew by
`cp build/screenshots/{explorer,explorer-side-by-side,rating,mlflow-rounds,mlflow-summary,mlflow-round}.png docs/images/`.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from PIL import Image

import forgekit as fk

sys.path.insert(0, str(Path(__file__).parents[1]))  # the helper modules of tests/

from servers import ROOT, WAIT_MS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# Without these, Chromium looks for updates and Google's hosts at every start.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
JUDGES = ("mini-owl", "mini-clip")  # the first steers
SCENES = [  # some that mini draws at once, and some that it fails at, which are rewritten
    "a yellow star on a black background",
    "a red circle to the left of a blue square",
    "three pink hearts on a black background",
    "a scarlet disc",
    "a cobalt sphere",
    "an olive bagel below a ruby tile",
]


def pytest_configure() -> None:
    """Say what is to be installed before anything is drawn."""
    if find_spec("playwright") is None:
        raise pytest.UsageError("no playwright here. Install it: pip install -c constraints.txt -e '.[browser]'")
    if not Path(CHROMIUM).exists():
        raise pytest.UsageError("no Chromium here. Install it: apt-get install -y chromium")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser. Tests get pages from `page`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=WAIT_MS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page that notes which hosts it asked for something; asking one that is not this machine fails the test."""
    context = chromium.new_context(viewport={"width": 1500, "height": 950})
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    outside: list[str] = []

    def note(request) -> None:
        if not request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:", "file:")):
            outside.append(request.url)

    page.on("request", note)
    yield page
    context.close()
    assert not outside, f"the page asked for {outside[:3]}"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store, `forge.duckdb`, with the experiment `first-look`. Copy it before writing into it."""
    folder = tmp_path_factory.mktemp("drawn")
    store = fk.open_store(folder / "forge.duckdb")
    fk.import_prompts(store, pd.DataFrame({"text": SCENES}), model="mini", experiment="first-look")
    fk.complete_prompts(store)
    for iteration in range(2):
        fk.generate_images(store, images_per_prompt=4)
        fk.evaluate_images(store, vision_models=list(JUDGES))
        if iteration == 0:
            fk.refine_prompts(store, target=0.9)
    assert store.rows("select id from prompts where generation_iteration = 1"), "mini has become too good to refine"
    return folder


@pytest.fixture
def shoot(page: Page) -> Callable[..., None]:
    """Keep what the page shows, or a part of it, as NAME.png: in 256 colours, under 200 KB."""
    folder = Path(os.environ.get("FORGEKIT_SCREENSHOTS") or ROOT / "build" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)

    def keep(name: str, *, left: int = 0) -> None:
        size = page.viewport_size
        clip = {"x": left, "y": 0, "width": size["width"] - left, "height": size["height"]}
        shot = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
        shot.quantize(256, dither=Image.Dither.NONE).save(folder / f"{name}.png", optimize=True)

    return keep
