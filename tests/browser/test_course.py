"""The notebook of the course in a real JupyterLab: run it, then steer it as a lecturer would."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.lab import LabPage
from tests.browser.test_session_widget import (
    WATCH,
    field,
    ink,
    live,
    pause,
    play,
    steps,
    wait_state,
    wait_steps,
)

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.browser
COURSE = Path(__file__).parents[2] / "notebooks" / "course"

ALL_CELLS_RUN = """() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
    .every(prompt => /\\[\\d+\\]/.test(prompt.textContent))"""


def opened(page: LabPage, name: str) -> Locator:
    """A notebook of the course, all of its cells run with the small budget; its widgets.

    The window is as high as the notebook: JupyterLab takes cells that are scrolled away out of the page.
    """
    page.page.set_viewport_size({"width": 1280, "height": 6000})
    shutil.copy(COURSE / name, page.lab.root / name)
    page.open_nb(name)
    page.kexec("import os; os.environ['NBKIT_BUDGET'] = 'quick'")
    page.run_all()
    page.page.wait_for_function(ALL_CELLS_RUN, timeout=180_000)
    widgets = page.page.locator(".nbk")
    widgets.first.wait_for()
    live(widgets.first)
    return widgets


def shoot(page: LabPage, path: Path, width: int, theme: str) -> None:
    page.theme(theme)
    page.page.set_viewport_size({"width": width, "height": 1000})
    page.page.locator(".nbk").first.evaluate("widget => widget.scrollIntoView({block: 'center'})")
    page.page.wait_for_timeout(500)
    page.page.screenshot(path=str(path))


def steer(page: LabPage) -> None:
    """Play, see curves move, pause, step, change the learning rate, play on; another cell runs meanwhile."""
    widgets = opened(page, "02-grokking.ipynb")
    assert widgets.count() == 3
    assert page.page.locator(".nbkit-diagram").count() == 2
    widget = widgets.first
    page.kexec("import time\n" + WATCH.replace("session.", "by_heart."))
    widget.scroll_into_view_if_needed()
    before = ink(widget)
    start = steps(widget)

    play(widget)
    wait_steps(widget, start + 20)
    assert ink(widget) != before
    answer = page.kexec("6 * 7")
    assert answer.value == "42"
    assert page.ask("by_heart.state") == "running"

    click = widget.get_by_role("button", name="Pause").evaluate(
        "button => { const now = Date.now() / 1000; button.click(); return now }"
    )
    wait_state(widget, "paused")
    assert page.ask("last_step") - click <= 0.2, "the loop must have stopped 200 ms after the click"

    count = page.ask("by_heart.step_count")
    widget.get_by_role("button", name="Step", exact=True).click()
    wait_steps(widget, count + 1)
    assert page.ask("by_heart.step_count") == count + 1

    rate = field(widget, "Learning rate")
    rate.fill("0.005")
    rate.press("Enter")
    play(widget)
    wait_steps(widget, count + 20)
    assert page.ask("by_heart.knobs['lr']") == 0.005
    pause(widget)


def test_grokking(page: LabPage, shots: Path) -> None:
    steer(page)
    page.page.locator(".nbk").first.scroll_into_view_if_needed()
    for theme in ("JupyterLab Dark", "JupyterLab Light"):  # the setting stays with the server
        for width in (1280, 800):
            shoot(page, shots / f"grokking-{theme.split()[1].lower()}-{width}.png", width, theme)
    page.check_clean()


def test_grokking_under_a_prefix(prefixed_page: LabPage) -> None:
    steer(prefixed_page)
    prefixed_page.check_clean()


def test_first_diagram(page: LabPage, shots: Path) -> None:
    widgets = opened(page, "01-first-diagram.ipynb")
    assert widgets.count() == 1
    assert page.page.locator(".nbkit-diagram").count() == 7
    wrong = page.page.locator('.nbkit-diagram [stroke="#c8102e"]')
    assert wrong.count() > 0, "the wire that does not fit is red"
    for theme in ("JupyterLab Dark", "JupyterLab Light"):  # the setting stays with the server
        for width in (1280, 800):
            shoot(page, shots / f"first-{theme.split()[1].lower()}-{width}.png", width, theme)
    page.check_clean()
