"""Functions: elementwise ones float over the wires, the others touch the axes that they work on."""

from __future__ import annotations

from nbkit.draw import labels
from nbkit.draw.canvas import number
from nbkit.draw.glyphs.pen import Pen, glyph, moving
from nbkit.draw.labels import Label, Run
from nbkit.draw.lanes import Placed, woven
from nbkit.language import ops


def _function_label(placed: Placed) -> Label:
    op = placed.step.op
    if isinstance(op, ops.Scale):
        return labels.factor(op.factor)
    if isinstance(op, ops.Dropout):
        return (Run("↯"), Run(f"{op.p:g}", shift=-1))
    if isinstance(op, ops.Elementwise):
        text = ops.FUNCTIONS[op.function]
        return (Run("□"), Run("2", shift=1)) if text == "□²" else (Run(text, italic=len(text) == 1),)
    return (Run(placed.step.op.kind),)


@glyph("elementwise", "scale", "dropout", width=lambda p: labels.width(_function_label(p), 15) + 30)
def _elementwise(pen: Pen) -> None:
    pen.through()
    pen.floating(_function_label(pen.placed))


@glyph("softmax", width=34.0)
def _softmax(pen: Pen) -> None:
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    pen.through()
    y, half = (top + bottom) / 2, max(14.0, (bottom - top) / 2 + 8)
    pen.stubs(pen.x - 10, pen.x + 10, ports)
    pen.canvas.polygon(
        [(pen.x - 10, y), (pen.x + 10, y - half), (pen.x + 10, y + half)],
        fill="softmax",
        more=pen.node,
        tip=pen.tip,
        what="box",
    )


@glyph("norm", width=38.0)
def _norm(pen: Pen) -> None:
    op = pen.placed.step.op_as(ops.Norm)
    (source,), (out,) = pen.placed.ins, pen.placed.outs
    on = [lane for lane in source.lanes if lane in ((op.per,) if op.how == "batch" else op.axes.split())]
    heights = [pen.at(source, lane) for lane in on]
    r = 10.0
    top, bottom = min(heights), max(heights)
    over = set(op.axes.split()) - set(on) if op.how == "batch" else set()
    own = woven(pen.placed.step)
    if own:
        levels = [pen.at(source, lane) for lane in own]
        top, bottom = min([top, *levels]), max([bottom, *levels])
    for lane in source.lanes:
        y0, y1 = pen.at(source, lane), pen.at(out, lane)
        if lane in on or (lane in own and top - r < y0 < bottom + r):
            pen.wire(source, lane, pen.x0, y0, pen.x - r, y0)
            pen.wire(out, lane, pen.x + r, y1, pen.x1, y1)
        elif lane in over:  # the batch wire touches the circle: statistics over it
            edge = bottom + r if y0 > bottom else top - r
            pen.wire(source, lane, pen.x0, y0, pen.x, edge)
            pen.wire(out, lane, pen.x, edge, pen.x1, y1)
        else:
            pen.wire(out, lane, pen.x0, y0, pen.x1, y1)
    canvas = pen.canvas
    canvas.rect(
        pen.x - r,
        top - r,
        pen.x + r,
        bottom + r,
        fill="norm",
        stroke="ink",
        width=2,
        radius=r,
        more=pen.node,
        tip=pen.tip,
        what="box",
    )
    pen.weave(pen.x - r, pen.x + r)
    if op.how == "layer":
        canvas.path(
            f"M{number(pen.x)} {number(top - r)}V{number(bottom + r)}",
            (pen.x, top - r, pen.x, bottom + r),
            width=1.2,
        )
    elif op.how == "rms":
        middle = (top + bottom) / 2
        canvas.path(
            f"M{number(pen.x - 5)} {number(middle - 5)}l5 10 5 -10",
            (pen.x - 5, middle - 5, pen.x + 5, middle + 5),
            width=1.2,
        )


@glyph("mask", width=42.0)
def _mask(pen: Pen) -> None:
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    pen.through()
    middle = (top + bottom) / 2
    half = max(15.0, (bottom - top) / 2 + 5)
    x0, x1, y0, y1 = pen.x - 15, pen.x + 15, middle - half, middle + half
    pen.stubs(x0, x1, ports)
    pen.canvas.rect(x0, y0, x1, y1, fill="mask", stroke="ink", more=pen.node, tip=pen.tip, what="box")
    pen.canvas.polygon([(x0 + 4, y0 + 3), (x1 - 3, y0 + 3), (x1 - 3, y1 - 4)], fill="masked", stroke=None)


_WORDS = {"max": "Max", "min": "Min", "mean": "𝔼", "sum": "Σ", "prod": "Π", "logsumexp": "LSE"}
_REDUCE = 62.0  # room for the word and its arrow; lanes move up behind them


@glyph("reduce", width=lambda p: _REDUCE + moving(p))
def _reduce(pen: Pen) -> None:
    """Sum, mean or maximum: the word stands in the wire, which ends in an arrow."""
    op = pen.placed.step.op_as(ops.Reduce)
    ports = pen.ports()
    pen.through(start=pen.x1 - moving(pen.placed) if moving(pen.placed) else None)
    label = (Run(_WORDS[op.how]),)
    half, x = labels.width(label, 15) / 2, pen.x0 + _REDUCE / 2
    for bundle, lane in ports[0]:
        y = pen.at(bundle, lane)
        pen.wire(bundle, lane, pen.x0, y, x - half - 6, y)
        pen.canvas.math(label, x - 3, y + 5, 15, more=pen.node, tip=pen.tip, what="word")
        pen.canvas.path(f"M{number(x + half)} {number(y)}h7", (x + half, y, x + half + 7, y))
        pen.canvas.arrow(x + half + 14, y)
