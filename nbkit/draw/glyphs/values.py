"""Values and indices: arrays that come from nowhere, casts, choices, and gradients that stop."""

from __future__ import annotations

from nbkit.draw import labels
from nbkit.draw.canvas import number
from nbkit.draw.glyphs.pen import Pen, glyph
from nbkit.draw.labels import Label, Run
from nbkit.draw.lanes import NATURAL, NOTHING, Placed
from nbkit.language import ops

_SIZE = 14.0
_POINT = 8.0  # of a pentagon


def _source(pen: Pen, label: Label, fill: str, role: str) -> None:
    """A pentagon from which wires leave; its point is on the side that nothing enters."""
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    half = labels.width(label, _SIZE) / 2 + 5
    x0, x1, y0, y1 = pen.x - half, pen.x + half, top - 11, bottom + 11
    pen.stubs(x0, x1, ports)
    middle = (y0 + y1) / 2
    points = [(x0 - _POINT, middle), (x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    outline = "ink" if fill == "glyph" else None
    pen.canvas.polygon(points, fill=fill, stroke=outline, more=pen.node, tip=pen.tip, what="box")
    pen.canvas.math(label, pen.x, middle + 5, _SIZE, role=role, what="inside")


def _source_width(label: Label) -> float:
    return labels.width(label, _SIZE) + 2 * _POINT + 18


def _value(placed: Placed) -> Label:
    return (Run(f"{placed.step.op_as(ops.Constant).value:.4g}".replace("-", "−").replace("inf", "∞")),)


@glyph("constant", width=lambda p: _source_width(_value(p)))
def _constant(pen: Pen) -> None:
    _source(pen, _value(pen.placed), "glyph", "ink")


def _running(placed: Placed) -> Label:
    axis = placed.step.op_as(ops.Indices).axis
    return (Run("i", italic=True), *(Run(r.text, r.italic, shift=-1) for r in labels.name(axis)))


@glyph("indices", width=lambda p: _source_width(_running(p)))
def _indices(pen: Pen) -> None:
    """The index that runs over an axis."""
    _source(pen, _running(pen.placed), "index", "onindex")


@glyph("stop_gradient", width=28.0)
def _stop_gradient(pen: Pen) -> None:
    """⊣ on every wire: values pass, gradients do not."""
    (source,), (out,) = pen.placed.ins, pen.placed.outs
    for lane in source.lanes:
        y0, y1 = pen.at(source, lane), pen.at(out, lane)
        pen.wire(source, lane, pen.x0, y0, pen.x - 1, y0)
        pen.wire(out, lane, pen.x + 4, y1, pen.x1, y1)
    heights = [pen.at(source, lane) for lane in source.lanes if lane != NOTHING] or [pen.at(source, NOTHING)]
    for y in heights:
        pen.canvas.rect(pen.x - 2, y - 7, pen.x, y + 7, fill="ink", more=pen.node, tip=pen.tip, what="box")


@glyph("one_hot", width=44.0)
def _one_hot(pen: Pen) -> None:
    """Indices become unit vectors: Kronecker's δ."""
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    pen.through()
    x0, x1, y0, y1 = pen.x - 11, pen.x + 11, top - 12, bottom + 12
    pen.stubs(x0, x1, ports)
    pen.canvas.rect(x0, y0, x1, y1, fill="glyph", stroke="ink", more=pen.node, tip=pen.tip, what="box")
    pen.canvas.math((Run("δ", italic=True),), pen.x, (top + bottom) / 2 + 5, 16, what="inside")
    for bundle, lane in ports[0]:
        pen.canvas.arrow(x0, pen.at(bundle, lane))


@glyph("unit", width=lambda p: 22.0 + 10.0 * (len(p.outs[0].lanes) - 1))
def _unit(pen: Pen) -> None:
    """The identity: one wire that comes back, a bend open to the right (Abbott 2024, figure 18)."""
    (out,) = pen.placed.outs
    upper, lower = (pen.at(out, lane) for lane in out.lanes)
    r = (lower - upper) / 2
    x = pen.x1 - 2
    for lane, y in zip(out.lanes, (upper, lower), strict=True):
        pen.wire(out, lane, x, y, pen.x1, y)
    d = f"M{number(x)} {number(upper)}A{number(r)} {number(r)} 0 0 0 {number(x)} {number(lower)}"
    pen.canvas.path(
        d, (x - r, upper, x, lower), width=1.1, layer="wire", more=pen.node, tip=pen.tip, what="bend"
    )


@glyph("topk", width=74.0)
def _topk(pen: Pen) -> None:
    """A diamond lets the k largest pass; their places leave as indices, woven axes are copied to them."""
    op = pen.placed.step.op_as(ops.TopK)
    (source,), (values, places) = pen.placed.ins, pen.placed.outs
    y = pen.at(source, op.axis)
    x, right, half = pen.x0 + 24, pen.x0 + 38, 14.0
    for lane in source.lanes:
        level = pen.at(source, lane)
        if lane == op.axis:
            pen.wire(source, lane, pen.x0, level, x - half, level)
            pen.wire(values, op.name, right, level, pen.x1, pen.at(values, op.name))
            pen.wire(places, op.name, right, level, pen.x1, pen.at(places, op.name))
        else:
            pen.wire(source, lane, pen.x0, level, right, level)
            pen.wire(values, lane, right, level, pen.x1, pen.at(values, lane))
            pen.wire(places, lane, right, level, pen.x1, pen.at(places, lane))
            pen.canvas.dot(right, level)
    pen.wire(places, NATURAL, right, y, pen.x1, pen.at(places, NATURAL))
    pen.canvas.polygon(
        [(x - half, y), (x, y - half), (x + half, y), (x, y + half)],
        fill="glyph",
        more=pen.node,
        tip=pen.tip,
        what="box",
    )
    pen.canvas.math((Run(str(op.k)),), x, y + 5, 14 if op.k < 100 else 10, what="inside")


@glyph("cast", width=58.0)
def _cast(pen: Pen) -> None:
    """➤ℝ➤ or ➤ℕ➤ above the wires; the wire of the indices ends in an arrow or begins at a dot."""
    real = pen.placed.step.op_as(ops.Cast).to == "R"
    (source,), (out,) = pen.placed.ins, pen.placed.outs
    pen.through()
    bundle = source if real else out
    y = pen.at(bundle, NATURAL)
    if real:
        pen.wire(source, NATURAL, pen.x0, y, pen.x - 8, y)
        pen.canvas.arrow(pen.x, y)
    else:
        pen.canvas.dot(pen.x, y)
        pen.wire(out, NATURAL, pen.x, y, pen.x1, y)
    pen.floating((Run("ℝ" if real else "ℕ"),))


@glyph("torch", width=lambda p: max(76.0, labels.sans_width(_name(p), 12) + 34))
def _torch(pen: Pen) -> None:
    """An opaque module: a box with a double rule, and its name."""
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    pen.through()
    x0, x1, y0, y1 = pen.x0 + 6, pen.x1 - 6, top - 13, bottom + 13
    pen.stubs(x0, x1, ports)
    canvas = pen.canvas
    canvas.rect(x0, y0, x1, y1, fill="glyph", stroke="ink", more=pen.node, tip=pen.tip, what="box")
    canvas.rect(x0 + 3, y0 + 3, x1 - 3, y1 - 3, fill=None, stroke="ink", width=0.8)
    canvas.text(_name(pen.placed), pen.x, (y0 + y1) / 2 + 4, 12, what="inside")


def _name(placed: Placed) -> str:
    name = placed.step.op_as(ops.Torch).name
    return name if len(name) <= 24 else f"{name[:23]}…"
