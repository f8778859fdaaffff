"""Equations in a real JupyterLab: its MathJax understands everything that they are written with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.lab import LabPage, write_notebook

pytestmark = pytest.mark.browser

SHOW = """
from IPython.display import display
from nbkit.components.gallery import catalogue
for name in ("gpt", "resnet", "lstm", "mixture-of-experts", "message-passing", "causal-attention"):
    display(catalogue()[name]().equations())
"""


def test_equations_are_typeset_without_an_error(page: LabPage, shots: Path) -> None:
    write_notebook(page.lab.root / "equations.ipynb", SHOW)
    page.page.set_viewport_size({"width": 1280, "height": 6000})
    page.open_nb("equations.ipynb")
    page.run_all()
    outputs = page.page.locator(".jp-OutputArea-output")
    page.page.wait_for_function(
        """() => { const outputs = [...document.querySelectorAll('.jp-OutputArea-output')];
                   return outputs.length === 6 && outputs.every(o => o.querySelector('mjx-container')) }"""
    )
    assert page.page.locator("mjx-merror, [data-mjx-error], mjx-mtext[style*='red']").count() == 0
    assert "$$" not in " ".join(outputs.all_inner_texts())
    page.page.screenshot(path=str(shots / "equations-1280.png"), full_page=True)
    page.check_clean()
