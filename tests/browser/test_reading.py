"""The chapter on reading diagrams in a real JupyterLab: pictures, formulas, sliders, errors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.lab import LabPage
from tests.browser.test_course import ALL_CELLS_RUN, COURSE

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.browser
NAME = "03-reading-diagrams.ipynb"
LOOK_AT = (
    "import torch",
    "attention.equations()",
    "def as_loops(depth",
    "backward = c.attention",
    "skip + (norm",
)
HEIGHT = 26_000  # JupyterLab takes cells that are scrolled away out of the page


def cell(page: LabPage, code: str) -> Locator:
    """The cell that contains the code."""
    return page.page.locator(".jp-CodeCell").filter(has_text=code).first


def test_reading_diagrams(page: LabPage, shots: Path) -> None:
    page.page.set_viewport_size({"width": 1280, "height": HEIGHT})
    shutil.copy(COURSE / NAME, page.lab.root / NAME)
    page.open_nb(NAME)
    page.kexec("import os; os.environ['NBKIT_BUDGET'] = 'quick'")
    page.run_all()
    page.page.wait_for_function(ALL_CELLS_RUN, timeout=240_000)

    heads = cell(page, "def multi_head(heads")
    heads.scroll_into_view_if_needed()
    picture = heads.locator(".nbkit-diagram")
    picture.wait_for()
    assert "h=8" in picture.text_content()
    slider = heads.locator(".noUi-handle, input[type=range]").first
    slider.focus()
    slider.press("ArrowRight")
    heads.locator(".nbkit-diagram", has_text="h=16").wait_for()

    equations = cell(page, "attention.equations()")
    equations.locator("mjx-container").first.wait_for()

    end = "p => p.scrollTo(0, p.scrollHeight)"  # cells beyond the window are not on the page until then
    page.page.locator(".jp-WindowedPanel-outer").first.evaluate(end)
    page.page.locator('.nbkit-diagram [stroke="#c8102e"]').first.wait_for(state="attached")

    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        page.theme(theme)
        for number, code in enumerate(LOOK_AT):
            panel = page.page.locator(".jp-WindowedPanel-outer").first
            panel.evaluate(end if code == LOOK_AT[-1] else "p => p.scrollTo(0, 0)")
            page.page.wait_for_timeout(300)  # the page follows the scrolling
            cell(page, code).wait_for(state="attached")
            page.page.set_viewport_size({"width": 1280, "height": 1400})
            cell(page, code).evaluate("cell => cell.scrollIntoView({block: 'start'})")
            page.page.wait_for_timeout(700)
            page.page.screenshot(path=str(shots / f"reading-{theme.split()[1].lower()}-{number}.png"))
            page.page.set_viewport_size({"width": 1280, "height": HEIGHT})
    page.check_clean()
