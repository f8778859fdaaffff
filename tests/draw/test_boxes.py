"""Opaque boxes of several arrays: every axis that comes out has its wire."""

from __future__ import annotations

import re

import pytest
from torch import nn

import nbkit as nk


@pytest.mark.parametrize("inputs", ["a=4, d=3", "c a=4, d=3", "c a=4, c d=3"])
def test_what_a_box_makes_leaves_it(inputs: str) -> None:
    svg = nk.box(nn.Bilinear, "a=4, d=3 -> b=5", "bilinear", "4, 3, 5").on(inputs).svg()
    (edge,) = (
        float(x) + float(w)
        for x, w in re.findall(r'<rect x="([\d.]+)"[^>]* width="([\d.]+)"[^>]*data-node="bilinear"', svg)
    )
    starts = [float(x) for x in re.findall(r'<path d="M([\d.]+) [^>]*data-axis="b"', svg)]
    assert min(starts) == edge
