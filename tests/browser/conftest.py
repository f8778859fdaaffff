"""One JupyterLab and one Chromium for all browser tests; a fresh page and a fresh kernel for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.lab import Lab, LabPage, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHOTS = Path(__file__).parent / "shots"


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="session")
def prefixed_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server under a path, as Binder and JupyterHub serve."""
    with Lab(tmp_path_factory.mktemp("prefixed"), base_url="/user/x/") as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, chromium(playwright) as running:
        yield running


@pytest.fixture
def page(lab: Lab, browser: Browser) -> Iterator[LabPage]:
    yield from _page(lab, browser)


@pytest.fixture
def prefixed_page(prefixed_lab: Lab, browser: Browser) -> Iterator[LabPage]:
    yield from _page(prefixed_lab, browser)


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where screenshots go, for people to look at."""
    SHOTS.mkdir(exist_ok=True)
    return SHOTS


def _page(lab: Lab, browser: Browser) -> Iterator[LabPage]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    opened = LabPage(context.new_page(), lab)
    try:
        yield opened
        opened.shut_kernels()
    finally:
        context.close()
