"""A real browser on real pages: Debian's Chromium, and the servers that the pages come from, all on loopback.

Not part of the plain suite: `python -m pytest tests/browser`, with
`apt-get install chromium` and `pip install playwright`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))  # the helper modules of tests/

from servers import WAIT_MS

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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser. Tests get pages from `page`."""
    if not Path(CHROMIUM).exists():
        pytest.fail("no Chromium here. Install it: apt-get install -y chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=WAIT_MS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium) -> Iterator[Page]:
    """A page that notes which hosts it asked for something; asking one that is not this machine fails the test."""
    context = chromium.new_context(viewport={"width": 1500, "height": 950})
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    outside: list[str] = []

    def note(request) -> None:
        if not request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")):
            outside.append(request.url)

    page.on("request", note)
    yield page
    context.close()
    assert not outside, f"the page asked for {outside[:3]}"


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory) -> Path:
    """Where screenshots go: the folder in FORGEKIT_SCREENSHOTS, or pytest's own temporary one."""
    folder = os.environ.get("FORGEKIT_SCREENSHOTS")
    path = Path(folder) if folder else tmp_path_factory.mktemp("screenshots")
    path.mkdir(parents=True, exist_ok=True)
    return path
