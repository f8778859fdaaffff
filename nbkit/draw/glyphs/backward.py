"""The backward pass: pullbacks, values grabbed off the tape, gradients of parameters that leave."""

from __future__ import annotations

from nbkit.draw import labels
from nbkit.draw.canvas import data, number
from nbkit.draw.glyphs.pen import Pen, glyph
from nbkit.draw.labels import Label, Run
from nbkit.draw.lanes import NOTHING, Placed
from nbkit.language import ops

_REDUCED = {"max": "Max", "min": "Min", "prod": "Π"}


def _label(placed: Placed) -> Label:
    """f′ of an elementwise function or a reduction, J of what mixes the elements of an axis."""
    op = placed.step.op
    if not isinstance(op, ops.Pullback):
        return ()
    match op.of:
        case "elementwise":
            text = ops.FUNCTIONS[op.how]
            return (Run(text, italic=len(text) == 1 and text.isalpha()), Run("′"))
        case "reduce":
            return (Run(_REDUCED[op.how]), Run("′"))
        case "where":
            return (Run("="),)
    return (Run("J", italic=True),)


@glyph("pullback", width=lambda p: max(44.0, labels.width(_label(p), 16) + 32))
def _pullback(pen: Pen) -> None:
    """A box into which the value and the gradient go, and out of which the gradient comes."""
    placed = pen.placed
    (out,) = placed.outs
    half = max(14.0, labels.width(_label(placed), 16) / 2 + 8)
    x0, x1 = pen.x - half, pen.x + half
    levels = [pen.at(b, lane) for b in (*placed.ins, out) for lane in b.lanes]
    for bundle in placed.ins:
        for lane in bundle.lanes:
            y = pen.at(bundle, lane)
            pen.wire(bundle, lane, pen.x0, y, x0, y)
    for lane in out.lanes:
        y = pen.at(out, lane)
        pen.wire(out, lane, x1, y, pen.x1, y)
    top, bottom = min(levels) - 10, max(levels) + 10
    softmax = isinstance(placed.step.op, ops.Pullback) and placed.step.op.of == "softmax"
    fill = "softmax" if softmax else "glyph"
    pen.canvas.rect(x0, top, x1, bottom, fill=fill, stroke="ink", more=pen.node, tip=pen.tip, what="box")
    pen.canvas.math(_label(placed), pen.x, (top + bottom) / 2 + 5.5, 16, what="inside")


@glyph("grab", width=78.0)
def _grab(pen: Pen) -> None:
    """A value off the tape: its wires begin at a bar, into which an arrow comes from above.

    The bar stands at the side of its column, so that the arrow passes plates; different values apart.
    """
    (out,) = pen.placed.outs
    number_ = str(getattr(pen.placed.step.op, "shown", "")).rpartition("_")[2]
    x = pen.x0 + 3 + 7 * ((int(number_) if number_.isdecimal() else 0) % 3)
    for lane in out.lanes:
        y = pen.at(out, lane)
        pen.wire(out, lane, x, y, pen.x1, y)
    _bar(pen, x, [pen.at(out, lane) for lane in out.lanes])


@glyph("drop", width=52.0)
def _drop(pen: Pen) -> None:
    """A gradient that leaves: its wires end at a bar, from which an arrow goes down; different ones apart."""
    (source,) = pen.placed.ins
    x = pen.x0 + 4 + 11 * (int(getattr(pen.placed.step.op, "number", 0)) // 2 % 4)
    for lane in source.lanes:
        y = pen.at(source, lane)
        pen.wire(source, lane, pen.x0, y, x, y)
    levels = [pen.at(source, lane) for lane in source.lanes if lane != NOTHING]
    _bar(pen, x, levels or [pen.at(source, NOTHING)])


def _bar(pen: Pen, x: float, levels: list[float]) -> None:
    """The bar; it says which slot it belongs to, whose colour the picture gives it."""
    op = pen.placed.step.op
    role, name = (str(getattr(op, what, "")) for what in ("role", "shown"))
    top, bottom = min(levels) - 5, max(levels) + 5
    d = f"M{number(x)} {number(top)}V{number(bottom)}"
    box = (x - 1.5, top, x + 1.5, bottom)
    more = pen.node + data(tape=name, hue=role)
    pen.canvas.path(d, box, width=3, more=more, tip=pen.tip, what=pen.placed.step.glyph)
