"""The diagram beside its program in a real JupyterLab: pointing at one lights up the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.lab import LabPage, write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.browser

CELL = """
import nbkit as nk
from nbkit.components import multi_head_attention
nk.code(multi_head_attention(8).on("y m=512, x m=512"))
"""


def shadow(line: Locator) -> str:
    found: str = line.evaluate("e => getComputedStyle(e.lastElementChild).boxShadow")
    return found


def filtered(glyph: Locator) -> str:
    found: str = glyph.evaluate("e => getComputedStyle(e).filter")
    return found


def test_pointing_at_one_lights_up_the_other(page: LabPage, shots: Path) -> None:
    write_notebook(page.lab.root / "code.ipynb", CELL, CELL)
    page.open_nb("code.ipynb")
    page.run_all()
    first, second = (page.page.locator(".nbkit-code").nth(i) for i in range(2))
    second.wait_for()
    line = first.locator("tr", has_text="k = self.K(x)")
    glyph, other = first.locator('[data-node="K"]').first, first.locator('[data-node="V"]').first
    assert filtered(glyph) == "none"
    line.hover()
    assert "drop-shadow" in filtered(glyph)
    assert filtered(other) == "none"
    assert filtered(second.locator('[data-node="K"]').first) == "none"  # another cell is another view
    page.page.mouse.move(1, 1)
    assert filtered(glyph) == "none"
    line.focus()
    assert "drop-shadow" in filtered(glyph)
    line.blur()
    header = first.locator("tr", has_text="class Attention(nn.Module):")
    assert shadow(header) == "none"
    first.locator('rect[data-block="attention"]').first.hover(position={"x": 8, "y": 30})
    assert "inset" in shadow(header)
    assert shadow(second.locator("tr", has_text="class Attention(nn.Module):")) == "none"
    page.page.screenshot(path=shots / "code-view-light.png")
    plain = header.evaluate("e => getComputedStyle(e.lastElementChild).backgroundColor")
    page.theme("JupyterLab Dark")
    dark = header.evaluate("e => getComputedStyle(e.lastElementChild).backgroundColor")
    assert dark != plain
    page.page.wait_for_selector("#jupyterlab-splash", state="detached")
    page.page.screenshot(path=shots / "code-view-dark.png")
    page.check_clean()
