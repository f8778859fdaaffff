"""What runs past the glyphs: straight wires, separators, and the names of inputs."""

from __future__ import annotations

from collections.abc import Callable

from nbkit.draw import captions
from nbkit.draw.canvas import Canvas, number, waved
from nbkit.draw.lanes import NATURAL, NOTHING, Bundle, Lane
from nbkit.draw.separators import Point

NAME = 19.0  # size of the names of inputs


def draw_run(canvas: Canvas, bundle: Bundle, y: dict[Lane, float], x0: float, x1: float) -> None:
    """The straight part of an array's wires."""
    for lane in bundle.lanes:
        if lane == NOTHING or x1 - x0 < 0.01:
            continue
        level = y[id(bundle), lane]
        wavy = lane != NATURAL and bundle.axis(lane) in canvas.ragged
        canvas.wire(
            (waved if wavy else _level)(x0, x1, level),
            (x0, level, x1, level),
            double=bundle.double(lane),
            natural=lane == NATURAL,
            wire=bundle.value.wire,
            axis="" if lane == NATURAL else lane,
        )


def _level(x0: float, x1: float, y: float) -> Callable[[float], str]:
    return lambda dy: f"M{number(x0)} {number(y + dy)}H{number(x1)}"


def draw_separator(canvas: Canvas, points: list[Point]) -> None:
    """A dashed line between arrays."""
    xs, ys = zip(*points, strict=True)
    canvas.path(
        "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points),
        (min(xs), min(ys), max(xs), max(ys)),
        stroke="faint",
        width=1.4,
        layer="separator",
        dash="7.5 6",
        what="separator",
    )


def draw_names(canvas: Canvas, cut: list[Bundle], y: dict[Lane, float], x: float) -> None:
    """The names of the inputs, left of their wires."""
    for bundle in cut:
        if name := captions.input_name(bundle):
            levels = [y[id(bundle), lane] for lane in bundle.lanes]
            canvas.math(name, x, (min(levels) + max(levels)) / 2 + 6, NAME, anchor="end", what="name")
