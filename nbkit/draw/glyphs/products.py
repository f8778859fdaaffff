"""Einstein sums: cups for contracted axes, dots for diagonalised ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from nbkit.draw import labels
from nbkit.draw.canvas import number
from nbkit.draw.glyphs.pen import Pen, glyph
from nbkit.draw.labels import Label
from nbkit.draw.lanes import NOTHING, Bundle, Placed
from nbkit.draw.steps import contraction


def _scale_label(placed: Placed) -> Label:
    return labels.factor(placed.step.scale) if placed.step.scale else ()


def _einsum_width(placed: Placed) -> float:
    if not contraction(placed.step):
        return 74.0
    return 74.0 + labels.width(_scale_label(placed), 14) + 16 if placed.step.scale else 122.0


@glyph("einsum", width=_einsum_width)
def _einsum(pen: Pen) -> None:
    """Cups for contracted axes, dots for diagonalised ones; everything else runs through."""
    placed = pen.placed
    (out,) = placed.outs
    bend = pen.x0 + 66
    drawn: dict[str, list[Bundle]] = {}
    for bundle in placed.ins:
        for lane in bundle.lanes:
            drawn.setdefault(lane, []).append(bundle)
    ended = [lane for lane in drawn if lane not in out.lanes and lane != NOTHING]
    for lane, bundles in drawn.items():
        if lane in out.lanes and lane != NOTHING:
            _kept(pen, lane, bundles, out, bend)
        elif lane in ended and len(bundles) == 1:
            height = pen.at(bundles[0], lane)
            pen.wire(bundles[0], lane, pen.x0, height, pen.x0 + 30, height)
            pen.canvas.dot(pen.x0 + 30, height)
    cups = [lane for lane in ended if len(drawn[lane]) > 1]
    for i, lane in enumerate(cups):
        _cup(pen, lane, drawn[lane], 9.0 + 6.0 * i)
    if cups and len(placed.ins) == 2:
        middle = _meeting(pen)
        start = pen.x0 + 44 + 9.0 + 6.0 * (len(cups) - 1)
        label = _scale_label(placed)
        end = pen.x1 - 4 if label else start + 20
        pen.canvas.path(
            f"M{number(start)} {number(middle)}H{number(end - 7)}",
            (start, middle, end, middle),
            more=pen.node,
            tip=pen.tip,
        )
        pen.canvas.arrow(end, middle)
        if label:
            pen.canvas.math(label, (start + end) / 2 - 3, middle - 5, 14, what="factor")


def _meeting(pen: Pen) -> float:
    """Half way between the two operands: where the separator ends and the cup turns."""
    upper, lower = pen.placed.ins[0], pen.placed.ins[1]
    below = pen.at(lower, lower.lanes[0])
    middle = (pen.at(upper, upper.lanes[-1]) + below) / 2
    return max(middle, below - 16.5) if pen.placed.step.scale else middle  # low, so that the factor has room


def _cup(pen: Pen, lane: str, bundles: list[Bundle], radius: float) -> None:
    """Wires of one axis close in a cup to the right: the sum over it."""
    x = pen.x0 + 44
    for upper, lower in pairwise(bundles):
        top, bottom = pen.at(upper, lane), pen.at(lower, lane)
        middle = _meeting(pen) if len(pen.placed.ins) == 2 else (top + bottom) / 2
        pen.wire(upper, lane, pen.x0, top, x, middle - radius)
        pen.wire(lower, lane, pen.x0, bottom, x, middle + radius)
        if lower is not bundles[-1]:
            pen.canvas.dot(pen.x0 + 1, bottom)
        pen.canvas.wire(
            _arc(x, middle, radius),
            (x, middle - radius, x + radius, middle + radius),
            double=upper.double(lane),
            wire=upper.value.wire,
            axis=lane,
        )


def _arc(x: float, middle: float, radius: float) -> Callable[[float], str]:
    """A half circle to the right; a double line has a smaller and a larger one."""

    def draw(dy: float) -> str:
        r, top, bottom = number(radius - dy), number(middle - radius + dy), number(middle + radius - dy)
        return f"M{number(x)} {top}A{r} {r} 0 0 1 {number(x)} {bottom}"

    return draw


def _kept(pen: Pen, lane: str, bundles: list[Bundle], out: Bundle, bend: float) -> None:
    """An axis that survives runs through; where several operands have it, the others bend into its dot."""
    *others, last = bundles
    target = pen.at(out, lane)
    start = pen.at(last, lane)
    if others and abs(start - target) < 0.01:
        pen.wire(out, lane, pen.x0, start, pen.x1, target)
    elif others:
        pen.wire(out, lane, pen.x0, start, bend, start)
        pen.wire(out, lane, bend, start, pen.x1, target)
    else:
        late = pen.x0 if pen.placed.step.scale or target < start else pen.x0 + 46
        pen.wire(out, lane, pen.x0, start, late, start)
        pen.wire(out, lane, late, start, pen.x1, target)
    for other in others:
        pen.wire(other, lane, pen.x0 + 6, pen.at(other, lane), bend, start)
        pen.wire(other, lane, pen.x0, pen.at(other, lane), pen.x0 + 6, pen.at(other, lane))
    if others:
        pen.canvas.dot(bend, start)
