"""What must hold of every picture (diagram-language 1.15), over a gallery and over random diagrams."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, note, settings

from nbkit.draw import tracks
from nbkit.draw.show import layout
from tests.draw.gallery import GALLERY, gpt, multi_head
from tests.draw.invariants import violations
from tests.strategies import diagrams

WAYS = {
    "open": {},
    "closed": {"depth": 0},
    "one level": {"depth": 1},
    "narrow": {"width": 480},
    "one row": {"width": 1e6},
    "convolutions expanded": {"conv": "expanded"},
    "unrolled": {"unroll": True},
    "tutorial": {"style": "tutorial"},
    "tutorial, narrow": {"style": "tutorial", "width": 600},
    "compact": {"style": "compact"},
    "print": {"style": "print"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", GALLERY)
def test_gallery(name, way):
    assert violations(layout(GALLERY[name](), **WAYS[way])) == []


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(diagrams(new=True))
def test_random_diagrams(diagram):
    note(diagram.listing())
    for way in ("open", "narrow", "closed", "tutorial", "compact"):
        note(way)
        assert violations(layout(diagram, **WAYS[way])) == []


def test_the_invariants_can_fail(monkeypatch):
    """Arrays pushed together are noticed, so a picture without violations means something."""
    assert violations(layout(multi_head.diagram())) == []
    monkeypatch.setattr(tracks, "APART", 12.0)
    monkeypatch.setattr(tracks, "PITCH", 8.0)
    found = {line.split(":")[0] for line in violations(layout(multi_head.diagram()))}
    assert {"lanes_too_near", "texts_that_overlap", "glyphs_that_overlap", "separators_astray"} <= found


@pytest.mark.parametrize(("less", "more"), [("y m, x m", "b y m, x m"), ("b y m, x m", "b c y m, x m")])
def test_a_woven_axis_adds_one_pitch_to_each_array_that_has_it(less, more):
    plain = layout(multi_head.on(less), width=1e6)
    woven = layout(multi_head.on(more), width=1e6)
    assert len(plain.rows) == len(woven.rows) == 1
    assert woven.height - plain.height == pytest.approx(20.0)


def test_unrolled_height_grows_linearly():
    """Four times the layers: four times the shapes, within five per cent."""
    few, many = (len(layout(gpt(n), unroll=True).shapes()) for n in (6, 24))
    assert many / few == pytest.approx(4.0, rel=0.05)
