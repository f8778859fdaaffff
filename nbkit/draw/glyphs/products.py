"""Einstein sums, and look-ups by index: cups for contracted axes, dots for diagonalised ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from nbkit.draw import labels
from nbkit.draw.canvas import number
from nbkit.draw.glyphs.pen import Pen, glyph
from nbkit.draw.labels import Label, Run
from nbkit.draw.lanes import NATURAL, NOTHING, Bundle, Placed, Port, ends
from nbkit.draw.steps import contraction
from nbkit.language import ops

_APART = 26.0  # from one cup to the next where there are three operands or more


def _scale_label(placed: Placed) -> Label:
    return labels.factor(placed.step.scale) if placed.step.scale else ()


def _cups(placed: Placed) -> list[str]:
    """The axes that several operands have and that end."""
    (out,) = placed.outs
    lanes = [lane for bundle in placed.ins for lane in bundle.lanes if lane != NOTHING]
    return [lane for lane in dict.fromkeys(lanes) if lane not in out.lanes and lanes.count(lane) > 1]


def _room(placed: Placed) -> float:
    """Three or more operands: each cup after the first stands further to the right."""
    return _APART * max(len(_cups(placed)) - 1, 0) if len(placed.ins) > 2 else 0.0


def _einsum_width(placed: Placed) -> float:
    if not contraction(placed.step):
        return 74.0 + _room(placed)
    return 74.0 + labels.width(_scale_label(placed), 14) + 16 if placed.step.scale else 122.0


@glyph("einsum", width=_einsum_width)
def _einsum(pen: Pen) -> None:
    """Cups for contracted axes, dots for diagonalised ones; everything else runs through."""
    placed = pen.placed
    (out,) = placed.outs
    room = _room(placed)
    bend = pen.x0 + 66 + room
    drawn: dict[str, list[Bundle]] = {}
    for bundle in placed.ins:
        for lane in bundle.lanes:
            drawn.setdefault(lane, []).append(bundle)
    gone = [lane for lane in drawn if lane not in out.lanes and lane != NOTHING]
    for lane, bundles in drawn.items():
        if lane in out.lanes and lane != NOTHING:
            _kept(pen, lane, bundles, out, bend, late=46.0 + room)
        elif lane in gone and len(bundles) == 1:
            height = pen.at(bundles[0], lane)
            pen.wire(bundles[0], lane, pen.x0, height, pen.x0 + 30, height)
            pen.canvas.dot(pen.x0 + 30, height)
    cups = _cups(placed)
    if len(placed.ins) > 2:
        cups.sort(key=lambda lane: pen.at(drawn[lane][-1], lane) - pen.at(drawn[lane][0], lane))
    for i, lane in enumerate(cups):
        ports = [(bundle, lane) for bundle in drawn[lane]]
        if room:
            _cup(pen, ports, 9.0, shift=_APART * i)
        else:
            _cup(pen, ports, 9.0 + 6.0 * i)
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


def _cup(pen: Pen, ports: list[Port], radius: float, *, shift: float = 0.0) -> None:
    """Wires of one axis close in a cup to the right: the sum over it; with a shift, further to the right."""
    left, x = pen.x0 + shift, pen.x0 + 44 + shift
    for (upper, lane), (lower, other) in pairwise(ports):
        top, bottom = pen.at(upper, lane), pen.at(lower, other)
        middle = _meeting(pen) if len(pen.placed.ins) == 2 else (top + bottom) / 2
        for bundle, name, y, turn in (
            (upper, lane, top, middle - radius),
            (lower, other, bottom, middle + radius),
        ):
            if shift:
                pen.wire(bundle, name, pen.x0, y, left, y)
            pen.wire(bundle, name, left, y, x, turn)
        if (lower, other) != ports[-1]:
            pen.canvas.dot(pen.x0 + 1, bottom)
        pen.canvas.wire(
            _arc(x, middle, radius),
            (x, middle - radius, x + radius, middle + radius),
            double=lane != NATURAL and upper.double(lane),
            wire=upper.value.wire,
            axis="" if lane == NATURAL else lane,
        )


def _arc(x: float, middle: float, radius: float) -> Callable[[float], str]:
    """A half circle to the right; a double line has a smaller and a larger one."""

    def draw(dy: float) -> str:
        r, top, bottom = number(radius - dy), number(middle - radius + dy), number(middle + radius - dy)
        return f"M{number(x)} {top}A{r} {r} 0 0 1 {number(x)} {bottom}"

    return draw


def _kept(
    pen: Pen, lane: str, bundles: list[Bundle], out: Bundle, bend: float, *, late: float = 46.0
) -> None:
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
        turn = pen.x0 if pen.placed.step.scale or target < start else pen.x0 + late
        pen.wire(out, lane, pen.x0, start, turn, start)
        pen.wire(out, lane, turn, start, pen.x1, target)
    for other in others:
        pen.wire(other, lane, pen.x0 + 6, pen.at(other, lane), bend, start)
        pen.wire(other, lane, pen.x0, pen.at(other, lane), pen.x0 + 6, pen.at(other, lane))
    if others:
        pen.canvas.dot(bend, start)


@glyph("gather", width=96.0)
def _gather(pen: Pen) -> None:
    """The arrowed wire of the indices curls into the axis that it looks up."""
    op = pen.placed.step.op_as(ops.Gather)
    index = pen.placed.operand(1)
    _runs(pen)
    _cup(pen, [(b, NATURAL if b is index else op.axis) for b in pen.placed.ins], 9.0)
    _arrow(pen, pen.x0 + 50, "")
    pen.canvas.arrow(pen.x0 + 47, _meeting(pen) + (-9.0 if index is pen.placed.ins[0] else 9.0))


_COLLECTED = {"sum": "", "mean": "𝔼", "max": "Max"}


def _word(placed: Placed) -> float:
    """The room for the word that says how what has one index is collected."""
    word = _COLLECTED[placed.step.op_as(ops.Scatter).how]
    return labels.width((Run(word),), 13) + 20.0 if word else 0.0


@glyph("scatter", width=lambda p: 104.0 + _word(p))
def _scatter(pen: Pen) -> None:
    """The mirror of gathering: what ends is summed over, and the wire of the indices becomes an axis."""
    op = pen.placed.step.op_as(ops.Scatter)
    index, (out,) = pen.placed.operand(1), pen.placed.outs
    _runs(pen, _word(pen.placed))
    _cup(pen, [(bundle, op.over) for bundle in pen.placed.ins], 9.0)
    _arrow(pen, pen.x0 + 53, _COLLECTED[op.how])
    y0, y1 = pen.at(index, NATURAL), pen.at(out, op.axis)
    turn = pen.x0 + 20
    pen.wire(index, NATURAL, pen.x0, y0, turn, y0)
    pen.canvas.arrow(turn + 8, y0)
    pen.wire(out, op.axis, turn + 4, y0, pen.x1, y1)


def _runs(pen: Pen, word: float = 0.0) -> None:
    """Axes of the operands that go on, alone or diagonally with a dot; they bend behind the arrow's word."""
    (out,) = pen.placed.outs
    gone = [ends(pen.placed.step, bundle) for bundle in pen.placed.ins]
    for lane in out.lanes:
        pairs = zip(pen.placed.ins, gone, strict=True)
        have = [bundle for bundle, ended in pairs if lane in bundle.lanes and lane not in ended]
        if have and lane != NOTHING:
            _kept(pen, lane, have, out, pen.x0 + 66 + word, late=46 + word)


def _arrow(pen: Pen, start: float, word: str) -> None:
    """What leaves the apex of a cup, and the word for how it is collected."""
    y, end = _meeting(pen), start + 20 + (labels.width((Run(word),), 13) + 4 if word else 0.0)
    pen.canvas.path(
        f"M{number(start)} {number(y)}H{number(end - 7)}", (start, y, end, y), more=pen.node, tip=pen.tip
    )
    pen.canvas.arrow(end, y)
    if word:
        pen.canvas.math((Run(word),), (start + end) / 2 - 4, y - 5, 13, what="factor")
