"""Copies, sums, crossings, closed blocks: how arrays run, meet and end."""

from __future__ import annotations

from nbkit.draw.glyphs.pen import Pen, glyph
from nbkit.draw.labels import Run
from nbkit.draw.lanes import NOTHING, Placed


def _frame_width(placed: Placed) -> float:
    frame = placed.step.frame
    return 34.0 if frame is not None and frame.kind == "repeat" else 10.0


@glyph("enter", "leave", width=_frame_width)
def _pass(pen: Pen) -> None:
    pen.through()


glyph("rename", width=6.0)(_pass)
glyph("cross", "transpose", width=46.0)(_pass)


@glyph("copy", width=52.0)
def _copy(pen: Pen) -> None:
    (source,) = pen.placed.ins
    dot = pen.x0 + 7
    for lane in source.lanes:
        height = pen.at(source, lane)
        pen.wire(source, lane, pen.x0, height, dot, height)
        for out in pen.placed.outs:
            pen.wire(out, lane, dot, height, pen.x1, pen.at(out, lane))
        if lane != NOTHING:
            pen.canvas.dot(dot, height)


@glyph("discard", width=14.0)
def _discard(pen: Pen) -> None:
    for bundle in pen.placed.ins:
        for lane in bundle.lanes:
            pen.wire(bundle, lane, pen.x0, pen.at(bundle, lane), pen.x, pen.at(bundle, lane))
            if lane != NOTHING:
                pen.canvas.dot(pen.x, pen.at(bundle, lane))


def _joined(pen: Pen, sign: str) -> None:
    """Bundles converge to dots on the widest operand; the sign stands over the top dot."""
    (out,) = pen.placed.outs
    dot = pen.x1 - 7
    for a, lane, _, other in (*pen.placed.links, *pen.placed.loose):
        pen.wire(a, lane, pen.x0, pen.at(a, lane), dot, pen.at(out, other))
    top = min(pen.at(out, lane) for lane in out.lanes)
    for lane in out.lanes:
        pen.wire(out, lane, dot, pen.at(out, lane), pen.x1, pen.at(out, lane))
        if lane != NOTHING:
            pen.canvas.dot(dot, pen.at(out, lane))
    pen.canvas.math((Run(sign, bold=True),), dot, top - 7, 17, what="sign")


@glyph("add", width=52.0)
def _add(pen: Pen) -> None:
    _joined(pen, "+")


@glyph("multiply", width=52.0)
def _multiply(pen: Pen) -> None:
    _joined(pen, "⊙")


@glyph("cuboid", width=lambda p: max(58.0, 7.0 * len(p.step.title) + 26))
def _cuboid(pen: Pen) -> None:
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    if bottom - top < 24:
        bottom = top + 24
    x0, x1, y0, y1 = pen.x0 + 3, pen.x1 - 11, top - 12, bottom + 12
    e = 8.3
    pen.stubs(x0, x1, ports)
    more = pen.node
    canvas = pen.canvas
    canvas.polygon([(x0, y0), (x0 + e, y0 - e), (x1 + e, y0 - e), (x1, y0)], fill="block", more=more)
    canvas.polygon([(x1, y0), (x1 + e, y0 - e), (x1 + e, y1 - e), (x1, y1)], fill="block", more=more)
    canvas.rect(x0, y0, x1, y1, fill="block", stroke="ink", more=more, what="box")
    title, count = pen.placed.step.title, pen.placed.step.count
    middle = (y0 + y1) / 2 + 4
    canvas.text(title, (x0 + x1) / 2, middle - (8 if count else 0), 12.5, what="inside")
    if count:
        canvas.text(count, (x0 + x1) / 2, middle + 9, 12.5, what="inside")
