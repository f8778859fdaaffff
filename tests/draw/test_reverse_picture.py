"""The picture of a backward pass: names above and below, nothing on top of anything, letters unmirrored."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from nbkit import Diagram, block, linear, relu, repeat, tanh
from nbkit.components import attention, catalogue
from nbkit.draw.canvas import Shape
from nbkit.draw.picture import Picture
from nbkit.draw.reverse import reverse_picture
from nbkit.draw.themes import THEMES
from tests.build.random_diagrams import diagrams
from tests.draw.invariants import overlap, texts_that_overlap

NAMES = [name for name in catalogue() if name != "sinusoidal-positions"]  # nothing in it has a gradient


def drawn(diagram: Diagram, **options: Any) -> Picture:
    return reverse_picture(diagram.reverse(), **options)


def rows(picture: Picture) -> tuple[list[Shape], list[Shape]]:
    """Shapes of the forward pass and of the backward pass."""
    line = next(i for i, row in enumerate(picture.rows) if row.canvas.shapes[0].what == "passes")
    return (
        [shape for row in picture.rows[:line] for shape in row.canvas.shapes],
        [shape for row in picture.rows[line + 1 :] for shape in row.canvas.shapes],
    )


def named(shapes: list[Shape]) -> set[str]:
    """The slots that are named: `s0`, `s1` …"""
    texts = ("".join(re.findall(r">([^<]+)<", s.svg)) for s in shapes if s.what == "slot")
    return {text for text in texts if text.startswith("s")}


@pytest.mark.parametrize("name", NAMES)
def test_every_component(name: str) -> None:
    picture = drawn(catalogue()[name]())
    assert texts_that_overlap(picture) == []
    for row in picture.rows:
        slots = [s for s in row.canvas.shapes if s.what == "slot"]
        others = [s for s in row.canvas.shapes if s.layer == "label" and s.what not in ("slot", "inside")]
        for one, two in [*combinations(slots, 2), *((a, b) for a in slots for b in others)]:
            assert not overlap(one.box, two.box), (one, two)


@pytest.mark.parametrize("name", ["attention", "mlp", "conv", "norm-activate", "lora", "rnn", "perceptron"])
def test_what_leaves_the_forward_row_enters_the_backward_row(name: str) -> None:
    ahead, back = rows(drawn(catalogue()[name](), limit=None))
    assert named(ahead) == named(back) != set()


def test_gradients_of_parameters_leave_the_backward_row() -> None:
    _, back = rows(drawn((linear("m -> f", "up") >> relu >> linear("f -> m")).on("x m")))
    texts = ["".join(re.findall(r">([^<]+)<", s.svg)) for s in back if s.what == "slot"]
    assert sorted(t for t in texts if t.startswith("∂")) == ["∂L", "∂Lup", "∂b", "∂b"]
    assert {s.what for s in back} >= {"grab", "drop"}


def test_the_backward_row_is_mirrored_and_its_letters_are_not() -> None:
    picture = drawn(linear("m -> f", "up").on("x m"))
    _, back = rows(picture)
    for shape in back:
        assert ("matrix(-1 0 0 1" in shape.svg) == (shape.layer != "label" and _of_the_row(shape))
    plate = next(s for s in back if 'data-node="up_T"' in s.svg)
    ends = [s for s in back if s.what == "label"]
    f = [s.box[0] for s in ends if ">f<" in s.svg]
    m = [s.box[0] for s in ends if ">m<" in s.svg]
    assert max(f) > plate.box[2]  # the gradient comes in at the right, where f is
    assert min(m) < plate.box[0]


def _of_the_row(shape: Shape) -> bool:
    """Arrows across the edge of the row are drawn after it was mirrored."""
    return shape.what not in ("tape", "head", "gradient")


def test_a_letter_its_sign_and_its_name_stay_together() -> None:
    d = linear("m -> f", "up").on("x m")
    ahead, back = rows(drawn(d))
    plate = next(s for s in back if 'data-node="up_T"' in s.svg)
    inside = [s for s in back if s.what == "inside"]
    assert [re.sub(r"<[^>]*>", "", s.svg) for s in inside] == ["L", "upᵀ"]
    assert plate.box[0] < inside[0].box[0] < inside[1].box[0] < inside[1].box[2] < plate.box[2]
    assert [re.sub(r"<[^>]*>", "", s.svg) for s in ahead if s.what == "inside"] == ["L", "+", "up"]


def test_a_slot_has_the_same_colour_on_both_sides() -> None:
    ahead, back = rows(drawn(attention.on("y k, x k, x k"), theme="dark"))
    hues = [
        {(re.sub(r"<[^>]*>", "", s.svg), s.svg.partition('class="')[2][:7]) for s in side if s.what == "slot"}
        for side in (ahead, back)
    ]
    assert hues[0] == hues[1]
    assert len({hue for _, hue in hues[0]}) == len(hues[0]) == 4


def test_closed_parts_show_what_goes_in_and_out_together() -> None:
    part = linear("m -> f") >> tanh >> linear("f -> f") >> tanh >> linear("f -> m")
    d = (block("part", part) >> linear("m -> m", "last")).on("x m")
    ahead, back = rows(drawn(d, depth=0))
    assert named(back) == {"s0…s2", "s3"}
    assert "∂L…∂b" in {re.sub(r"<[^>]*>", "", s.svg) for s in back if s.what == "slot"}
    assert named(ahead) == {"s0", "s1, s2", "s3"}


def test_copies_are_drawn_once() -> None:
    part = block("part", linear("m -> m") >> tanh)
    for d in ((part**12).on("x m"), repeat(part, 12, tied=True).on("x m")):
        ahead, back = rows(drawn(d))
        assert named(ahead) == named(back) == {"s0", "s1"}
        assert sum(s.what == "bracket" for s in back) == 2
        assert sum("×12" in re.sub(r"<[^>]*>", "", s.svg) for s in back if s.layer == "label") == 1


def test_the_same_bytes_every_time_and_colours_for_every_theme() -> None:
    r = attention.on("y k, x k, x k").reverse()
    assert r.svg() == r.svg() == attention.on("y k, x k, x k").reverse().svg()
    for theme in THEMES:
        assert "slot3" in r.svg(theme=theme)
    assert ".s-slot0{stroke:#56b4e9}" in r.svg(theme="auto")
    bundle = r._repr_mimebundle_()
    assert bundle["text/plain"] == "reverse of attention: R[y k], R[x k], R[x k] -> R[y k]"
    assert bundle["image/svg+xml"] == r.svg()


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(diagrams(steps=6))
def test_random_diagrams(diagram: Diagram) -> None:
    assert texts_that_overlap(drawn(diagram)) == []
