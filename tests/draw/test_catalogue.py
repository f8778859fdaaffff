"""Every component of the palette, drawn in every style: no overlaps, and within the budget of elements."""

from __future__ import annotations

import pytest

from nbkit.components import catalogue, models
from nbkit.draw.budget import LIMIT
from nbkit.draw.show import layout
from tests.draw.invariants import violations

COMPONENTS = {**catalogue(), **models()}
WAYS = {
    "open": {},
    "narrow": {"width": 600},
    "closed": {"depth": 0},
    "whole": {"limit": None},
    "convolutions expanded": {"conv": "expanded"},
    "tutorial": {"style": "tutorial"},
    "compact": {"style": "compact"},
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_component(name):
    diagram = COMPONENTS[name]()
    for way, options in WAYS.items():
        picture = layout(diagram, **options)
        assert (way, violations(picture)) == (way, [])
        if way in ("open", "narrow", "tutorial", "compact"):
            assert picture.elements <= LIMIT
