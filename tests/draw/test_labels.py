"""Labels: how factors are written, and that bars clear their letters."""

from __future__ import annotations

import re

import pytest

from nbkit.draw import labels
from nbkit.draw.labels import Run


@pytest.mark.parametrize(
    ("factor", "written"),
    [
        ("1/sqrt(k)", "×k^−1/2"),
        ("sqrt(2)/8", "×32^−1/2"),
        ("2*sqrt(2)/sqrt(m)", "×(m/8)^−1/2"),
        ("1/sqrt(h*k)", "×(h·k)^−1/2"),
        ("16*sqrt(2)", "×√512"),
        ("sqrt(m)", "×√m"),
        ("1/8", "×1/8"),
        ("-1/32", "×−1/32"),
        ("-1/sqrt(k)", "×−1/√k"),
        ("4", "×4"),
    ],
)
def test_a_factor_is_written_as_in_the_figures(factor: str, written: str) -> None:
    assert "".join(("^" if run.shift > 0 else "") + run.text for run in labels.factor(factor)) == written


@pytest.mark.parametrize(("letter", "least"), [("x", 0.5), ("y", 0.5), ("t", 0.65), ("h", 0.75), ("V", 0.7)])
def test_a_bar_clears_its_letter(letter: str, least: float) -> None:
    text = labels.svg_text((Run(letter, italic=True, bar=True),), 0, 0, 10, paint="", bar="")
    (height,) = re.findall(r'd="M[-\d.]+ (-[\d.]+)h', text)
    assert -float(height) / 10 >= least
