"""Equations: two pictures and a sign, in all themes, beside each other or below each other."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

import nbkit as nk
from nbkit.draw import equation, svg
from nbkit.draw.equation import _sign_width
from nbkit.draw.picture import MARGIN
from nbkit.draw.show import WIDTH, layout
from nbkit.draw.themes import THEMES
from tests.draw.invariants import violations
from tests.language.test_rewrite import PATTERNS

NS = "{http://www.w3.org/2000/svg}"


def both() -> nk.Diagram:
    return (nk.linear("m -> f") >> nk.linear("f -> n")).on("x m")


def long(n: int = 3) -> nk.Diagram:
    layer = nk.norm("m") >> nk.linear("m -> f") >> nk.gelu >> nk.linear("f -> m") >> nk.relu
    return (nk.block("layer", layer) ** n).on("x m")


def size(text: str) -> tuple[float, float]:
    root = ET.fromstring(text)
    return float(root.attrib["width"]), float(root.attrib["height"])


def signs(text: str) -> list[tuple[float, float]]:
    """Where the equality signs stand: x of the middle, y of the baseline."""
    found = re.findall(r'<text x="([-\d.]+)" y="([-\d.]+)" text-anchor="middle" font-size="30"[^>]*>=<', text)
    return [(float(x), float(y)) for x, y in found]


@pytest.mark.parametrize("theme", THEMES)
def test_it_is_one_picture_of_both_sides_in_every_theme(theme: str) -> None:
    d = both()
    text = equation(d, d.rewrite("merge-linears")).svg(theme=theme)
    assert text == equation(d, d.rewrite("merge-linears")).svg(theme=theme)
    root = ET.fromstring(text)
    assert root.attrib["aria-label"] == "diagram: R[x m] -> R[x n] = diagram: R[x m] -> R[x n]"
    nodes = [e.attrib["data-node"] for e in root.iter() if "data-node" in e.attrib]
    assert sorted(nodes) == ["linear", "linear", "linear_2"]
    assert len(signs(text)) == 1
    assert ("<style>" in text) == (theme == "auto")
    assert "<script" not in text
    assert len(root.findall(f"{NS}rect")) == (theme != "auto")


def test_beside_each_other_both_sides_stand_at_mid_height() -> None:
    one, two = layout(nk.softmax("x").on("h y x")), layout(nk.relu.on("m"))
    equal = equation(nk.softmax("x").on("h y x"), nk.relu.on("m"), sign="≠").svg()
    width, height = size(equal)
    assert width == pytest.approx(one.width + two.width - 2 * MARGIN + _sign_width("≠", ""), abs=0.02)
    assert height == pytest.approx(max(one.height, two.height), abs=0.02)
    places = [
        (float(x), float(y) - picture.offsets()[0] + MARGIN)
        for picture, (x, y) in zip(
            (one, two), re.findall(r'<g transform="translate\(([-\d.]+) ([-\d.]+)\)">', equal), strict=True
        )
    ]
    middles = [y + (p.height - 2 * MARGIN) / 2 for p, (_, y) in zip((one, two), places, strict=True)]
    assert middles == pytest.approx([height / 2, height / 2], abs=0.03)


def test_what_does_not_fit_starts_a_line_with_the_sign_in_front() -> None:
    d = long()
    text = equation(d, d.rewrite("repeat-unroll")).svg()
    ((x, y),) = signs(text)
    width, height = size(text)
    assert width <= 1.13 * WIDTH
    assert x < 40
    assert height / 3 < y < height
    left = [float(x) for x in re.findall(r'^<g transform="translate\(([-\d.]+)', text, re.MULTILINE)]
    assert len(set(left)) <= 1
    narrow = equation(d, d.rewrite("repeat-unroll"), width=500).svg()
    assert size(narrow)[0] <= 1.13 * 500
    assert size(narrow)[1] > height


def test_more_sides_and_words_over_the_sign() -> None:
    d = nk.rename(m="n").on("x m")
    bent = d.rewrite("bend")
    text = equation(d, bent, bent.rewrite("snake"), over="def").svg()
    assert len(signs(text)) == 2
    assert text.count(">def<") == 2
    assert equation(nk.relu, nk.relu).sides[0] == nk.relu.diagram()


def test_in_a_notebook_it_follows_the_theme() -> None:
    d = both()
    step = d.rewriting("merge-linears")
    for shown in (equation(d, step.after), step):
        bundle = shown._repr_mimebundle_()
        assert set(bundle) == {"text/plain", "text/html", "image/svg+xml"}
        assert '[data-jp-theme-light="false"] .nbkit-diagram' in bundle["text/html"]
        assert "<style>" not in bundle["image/svg+xml"]
    assert "linear.bias[n] = Σ_(f″) linear_2.weight[n f″] · linear.bias[f″]" in bundle["text/html"]
    assert bundle["text/plain"] == "<Rewriting merge-linears at linear: 2 → 1 ops>"


def test_it_is_saved(tmp_path) -> None:
    d = both()
    equation(d, d).save(tmp_path / "equation.svg", theme="dark")
    assert (tmp_path / "equation.svg").read_text(encoding="utf-8") == equation(d, d).svg(theme="dark")


def test_the_identity_is_drawn_as_a_bend() -> None:
    text = svg(nk.rename(m="n").on("x m").rewrite("bend"))
    root = ET.fromstring(text)
    (bend,) = [e for e in root.iter() if e.attrib.get("data-node") == "unit"]
    assert bend.tag == f"{NS}path"
    assert bend.attrib["data-also"] == "indices"


def test_a_transposed_map_says_so() -> None:
    d = ((nk.linear("a -> b c", "F", bias=False) * nk.skip) >> nk.einsum("b c, b -> c")).on("a, b")
    assert ">Fᵀ<" in svg(d.rewrite("transpose"))
    assert ">F<" in svg(d.rewrite("transpose").rewrite("transpose"))


@pytest.mark.parametrize("rule", PATTERNS)
def test_the_sides_of_every_rule_are_drawn_well(rule: str) -> None:
    options = {"flip-linear": {"ins": "n m", "outs": "g f"}, "fold-block": {"to": "linear_2"}}.get(rule, {})
    for fn, start in PATTERNS[rule]:
        before = fn.on(start)
        step = before.rewriting(rule, before.rewrites(rule)[0][1], **options)
        for way in ({}, {"conv": "expanded"}, {"width": 1e9}):
            for side in (step.left, step.right):
                assert violations(layout(side, **way)) == []
        ET.fromstring(step.equation().svg())
