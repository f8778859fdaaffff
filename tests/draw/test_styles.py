"""Styles and themes: what each adds to the picture or leaves out of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

import nbkit as nk
from nbkit import linear, relu, softmax
from nbkit.draw import svg
from nbkit.draw.show import layout
from nbkit.draw.styles import STYLES
from nbkit.draw.themes import THEMES
from tests.draw.gallery import GALLERY, attention, grouped, multi_head
from tests.draw.test_grammar import shapes, texts


def test_paper_is_the_style_that_nobody_asks_for():
    assert svg(multi_head.diagram(), style="paper") == svg(multi_head.diagram())


def test_tutorial_alternates_types_and_operations():
    d = (linear("m -> f") >> softmax("f")).on("x m")
    row = layout(d, style="tutorial").rows[0]
    plates = sorted((s.box[0], s.what) for s in row.canvas.shapes if s.what in ("type", "function"))
    assert [what for _, what in plates] == ["type", "function", "type", "function", "type"]
    labelled = [t for t in texts(d, style="tutorial") if t in ("x", "m", "f")]
    assert sorted(labelled) == sorted([*"xm", *"xf", *"xf"])
    fills = {THEMES["light"][role] for role in ("type", "function")}
    assert all(fill in svg(d, style="tutorial") and fill not in svg(d) for fill in fills)


def test_tutorial_says_how_often_an_operation_is_done():
    d = linear("m -> f").on("b=8 x m")
    assert [t for t in texts(d, style="tutorial") if t.startswith("×")] == ["×x", "×8"]
    assert not any(t.startswith("×") for t in texts(d))
    assert shapes(relu.on("x m"), "tag", style="tutorial") == []  # every number by itself
    assert shapes(softmax("x").on("x"), "tag", style="tutorial") == []
    assert THEMES["light"]["weave"] in svg(d, style="tutorial")


def test_tutorial_tells_inner_broadcasting_from_outer():
    """Heads are on both operands of a product, groups on the queries alone: keys are used again for each."""
    both, some = svg(multi_head.diagram(), style="tutorial"), svg(grouped.diagram(), style="tutorial")
    assert THEMES["light"]["weave"] in both
    assert THEMES["light"]["reuse"] not in both
    assert THEMES["light"]["reuse"] in some


def test_compact_has_labels_at_the_ends_only_and_is_smaller():
    d = multi_head.diagram()
    small, usual = layout(d, style="compact"), layout(d)
    assert [t for t in texts(d, style="compact") if t in "yxmkh"] == [*"ymxm", *"ym"]
    assert small.elements < usual.elements
    root = ET.fromstring(small.svg())
    assert float(root.attrib["width"]) < 0.7 * usual.width + 1
    assert float(root.attrib["width"]) == pytest.approx(0.7 * small.width, abs=0.01)
    assert root.attrib["viewBox"].split()[2] == f"{small.width:.2f}".rstrip("0").rstrip(".")


def test_compact_rows_keep_to_the_width_in_pixels():
    assert layout(GALLERY["u-net"](), style="compact", width=500).width * 0.7 < 540


def test_print_is_black_on_white_whatever_the_theme():
    d = GALLERY["resnet"]()
    assert svg(d, style="print", theme="dark") == svg(d, theme="print")
    painted = {e.get("fill") for e in ET.fromstring(svg(d, style="print")).iter()} - {None, "none"}
    assert painted <= {"#ffffff", "#000000", "#777777"}


@pytest.mark.parametrize("name", THEMES)
def test_every_theme_has_every_colour(name):
    theme = THEMES[name]
    assert set(theme.colours) == set(THEMES["light"].colours)
    assert all(len(c) == 7 and int(c[1:], 16) >= 0 for c in theme.colours.values())


def contrast(one: str, two: str) -> float:
    """WCAG 2's contrast ratio of two colours."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear_ = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear_[0] + 0.7152 * linear_[1] + 0.0722 * linear_[2]

    high, low = sorted((light(one), light(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


INK_ON = {
    "letter": ("linear",),
    "ink": (
        "paper", "region", "outer", "inner", "attention", "mha", "softmax", "norm", "residual", "ffn", "conv",
        "window", "pool", "embed", "block", "big", "circle", "glyph", "note", "type", "function", "woven",
        "reused",
    ),
    "onindex": ("index",),
    "onweave": ("weave", "reuse"),
}  # fmt: skip


@pytest.mark.parametrize("name", THEMES)
def test_texts_can_be_read_on_what_they_stand_on(name):
    """WCAG AA for texts: 4.5 : 1."""
    theme = THEMES[name]
    bad = [
        (ink, ground, round(contrast(theme[ink], theme[ground]), 2))
        for ink, grounds in INK_ON.items()
        for ground in grounds
        if contrast(theme[ink], theme[ground]) < 4.5
    ]
    assert bad == []


def test_refused_styles():
    with pytest.raises(nk.DiagramError, match=r"^there is no style 'tutorail'; did you mean 'tutorial'\?$"):
        svg(attention.diagram(), style="tutorail")
    with pytest.raises(
        nk.DiagramError, match=r"^there is no style 'x'; choose one of paper, tutorial, compact, print$"
    ):
        svg(attention.diagram(), style="x")
    assert set(STYLES) == {"paper", "tutorial", "compact", "print"}
