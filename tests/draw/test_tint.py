"""Tints: where they go, what the legend says, that the ramps are even and letters stay readable."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from nbkit import BindingError, DiagramError, block, einsum, linear, relu, window
from nbkit.components import catalogue
from nbkit.draw import Tint, svg
from nbkit.draw.ramps import ENDS, oklab, ramp
from nbkit.draw.themes import THEMES

NET = (linear("m -> f=8", "up") >> relu >> linear("f -> m", "down")).named("net").on("x=3 m=4")


def fills(text: str, path: str) -> list[str]:
    """The classes of the insides of what stands for a path."""
    return re.findall(rf'class="f-([a-z0-9]+)[^>]*data-node="{re.escape(path)}"', text)


def test_the_largest_number_is_the_strongest_colour() -> None:
    text = svg(NET, tint={"up": 10.0, "down": 5.0})
    assert fills(text, "up") == ["tint11"]
    assert fills(text, "down") == ["tint6"]
    assert f'fill="{ramp("light")[11]}"' in text
    assert "> 10 = 66.7 % of 15<".replace("> ", ">") in text


def test_what_has_no_inside_gets_a_plate() -> None:
    d = einsum("y k, x k -> y x").on("y k, x k")
    assert svg(d, tint={"einsum": 1.0}).count('class="f-tint11"') == svg(d, tint={}).count("f-tint11") + 1
    assert 'rx="5"' in svg(NET, tint={"relu": 1.0})
    assert 'rx="5"' not in svg(NET, tint={"up": 1.0})


def test_nothing_moves() -> None:
    d = catalogue()["transformer-block"]()
    places = [re.sub(r'(fill|class)="[^"]*"', "", t) for t in (svg(d, tint={"mlp.up": 1.0}), svg(d))]
    tinted, plain = (set(re.findall(r' d="[^"]*"| x="[^"]*"', t)) for t in places)
    assert plain <= tinted


def test_a_convolution_shows_the_linear_map_in_it() -> None:
    d = (window("x", 3) >> linear("w c -> n=6")).on("c=4 x:2=8")
    assert set(fills(d.svg(tint="params"), "window")) == {"tint11"}


def test_a_folded_part_has_the_total_of_what_it_contains() -> None:
    d = (block("part", NET_FN) >> linear("m -> m", "last")).on("x=3 m=4")
    text = d.svg(tint="flops", depth=0)
    assert set(fills(text, "part")) == {"tint11"}
    assert set(fills(text, "last")) == {f"tint{round(11 * 16 / 64)}"}


NET_FN = linear("m -> f=8", "up") >> relu >> linear("f -> m", "down")


def test_copies_that_are_drawn_one_by_one_have_their_own_share() -> None:
    d = ((block("part", linear("m -> m", "only") >> relu) ** 4) >> linear("m -> m", "last")).on("x=3 m=4")
    assert set(fills(d.svg(tint="flops"), "last")) == {f"tint{round(11 / 4)}"}
    unrolled = d.svg(tint="flops", unroll=True)
    assert set(fills(unrolled, "last")) == set(fills(unrolled, "part.2.only")) == {"tint11"}


def test_sizes_are_given_beside_the_tint() -> None:
    d = catalogue()["attention"]()
    assert d.svg(tint="flops", x=3, y=5, k=4).endswith("</svg>")
    with pytest.raises(BindingError) as caught:
        d.svg(tint="flops", x=3)
    assert str(caught.value) == (
        "the FLOPs of attention are no numbers yet: sizes k, y are open\n"
        '  say how large: d.svg(tint="flops", k=64, y=64)'
    )
    assert d.svg(tint="params").count("f-tint11") == 1  # no parameters at any size: the legend only


def test_refusals() -> None:
    with pytest.raises(DiagramError) as caught:
        NET.svg(tint="flop")
    assert str(caught.value) == "a picture cannot be tinted by 'flop'; did you mean 'flops'?"
    with pytest.raises(DiagramError) as caught:
        svg(NET, tint={"up": -1.0})
    assert str(caught.value) == "a tint is a number ≥ 0, but 'up' has -1.0"


def test_a_dark_notebook_has_the_dark_ramp() -> None:
    text = svg(NET, theme="auto", tint=Tint({"up": 2.0}, "FLOPs"))
    assert f".f-tint11{{fill:{ramp('dark')[11]}}}" in text
    assert f'fill="{ramp("light")[11]}"' in text


@pytest.mark.parametrize("theme", ENDS)
def test_ramps_are_even_and_get_steadily_stronger(theme: str) -> None:
    colours = [oklab(colour) for colour in ramp(theme)]
    steps = [sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) ** 0.5 for p, q in pairwise(colours)]
    assert max(steps) / min(steps) < 1.2  # rounding to 256 levels a channel
    light = [colour[0] for colour in colours]
    assert light in (sorted(light), sorted(light, reverse=True))


@pytest.mark.parametrize("theme", ENDS)
def test_letters_are_readable_on_every_step(theme: str) -> None:
    assert min(contrast(c, THEMES[theme]["letter"]) for c in ramp(theme)) >= 4.5
    assert min(contrast(c, THEMES[theme]["ink"]) for c in ramp(theme)) >= 3.5


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    a, b = sorted(map(luminance, (one, other)))
    return (b + 0.05) / (a + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
