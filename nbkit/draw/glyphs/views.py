"""Views: thick bars that merge, split and join axes, pentagons and hexagons for slices, dots for new axes."""

from __future__ import annotations

from nbkit.draw.glyphs.pen import Pen, glyph
from nbkit.draw.labels import Run
from nbkit.language import ops


def _bar(pen: Pen, x: float, heights: list[float]) -> None:
    pen.canvas.rect(
        x - 2,
        min(heights) - 6,
        x + 2,
        max(heights) + 6,
        fill="ink",
        more=pen.node,
        tip=pen.tip,
        what="box",
    )


@glyph("merge", "split", width=40.0)
def _view(pen: Pen) -> None:
    """The thick bar: many axes are one, in row-major order."""
    ports = pen.ports()
    pen.through()
    many, one = ports if pen.placed.step.glyph == "merge" else (ports[1], ports[0])
    heights = [pen.at(b, lane) for b, lane in many]
    middle = (min(heights) + max(heights)) / 2
    outer, inner = (pen.x0, pen.x1) if pen.placed.step.glyph == "merge" else (pen.x1, pen.x0)
    for bundle, lane in many:
        pen.wire(bundle, lane, *_sorted(outer, pen.at(bundle, lane), pen.x, pen.at(bundle, lane)))
    for bundle, lane in one:
        pen.wire(bundle, lane, *_sorted(pen.x, middle, inner, pen.at(bundle, lane)))
    _bar(pen, pen.x, heights)


def _sorted(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
    return (x0, y0, x1, y1) if x0 <= x1 else (x1, y1, x0, y0)


@glyph("concat", width=60.0)
def _concat(pen: Pen) -> None:
    """A view over a tuple: a bar joins the concatenated axis, dots join all others."""
    op = pen.placed.step.op_as(ops.Concat)
    (out,) = pen.placed.outs
    x = pen.x1 - 12
    target = pen.at(out, op.axis)
    apart = min(
        9.0, 20.0 / max(len(pen.placed.ins) - 1, 1)
    )  # many ends stay clear of the dots beside the bar
    ends = []
    for i, bundle in enumerate(pen.placed.ins):
        for lane in bundle.lanes:
            y = pen.at(bundle, lane)
            if lane == op.axis:
                end = target + apart * (i - (len(pen.placed.ins) - 1) / 2)
                ends.append(end)
                pen.wire(bundle, lane, pen.x0, y, x, end)
            else:
                pen.wire(bundle, lane, pen.x0, y, x, pen.at(out, lane))
    for lane in out.lanes:
        pen.wire(out, lane, x, pen.at(out, lane), pen.x1, pen.at(out, lane))
        if lane != op.axis:
            pen.canvas.dot(x, pen.at(out, lane))
    _bar(pen, x, ends)


@glyph("slice", width=46.0)
def _slice(pen: Pen) -> None:
    """One position: a pentagon that ends the axis. A range: a hexagon on the wire."""
    op = pen.placed.step.op_as(ops.Slice)
    ports = pen.ports()
    pen.through()
    y = pen.at(pen.placed.ins[0], op.axis)
    more = pen.node
    text = (
        str(op.start).replace("-", "−")
        if op.drop
        else f"{op.start}:{'' if op.stop is None else op.stop}".replace("-", "−")
    )
    if op.drop:
        x = pen.x - 14
        pen.stubs(x, pen.x, (ports[0], []))
        pen.canvas.polygon(
            [(x, y - 10), (x + 20, y - 10), (x + 29, y), (x + 20, y + 10), (x, y + 10)],
            fill="index",
            stroke=None,
            more=more,
            tip=pen.tip,
            what="box",
        )
        pen.canvas.math((Run(text),), x + 12, y + 5, 14, role="onindex", what="inside")
    else:
        pen.stubs(pen.x - 18, pen.x + 18, ports)
        x = pen.x
        pen.canvas.polygon(
            [
                (x - 18, y),
                (x - 10, y - 10),
                (x + 10, y - 10),
                (x + 18, y),
                (x + 10, y + 10),
                (x - 10, y + 10),
            ],
            fill="glyph",
            more=more,
            tip=pen.tip,
            what="box",
        )
        pen.canvas.math((Run(text),), x, y + 4.5, 12, what="inside")


@glyph("expand", width=24.0)
def _expand(pen: Pen) -> None:
    """New axes along which nothing changes: wires that begin at dots."""
    pen.through()
    _, begins = pen.ports()
    for bundle, lane in begins:
        y = pen.at(bundle, lane)
        pen.wire(bundle, lane, pen.x, y, pen.x1, y)
        pen.canvas.circle(
            pen.x, y, 3.35, fill="ink", stroke=None, layer="dot", more=pen.node, tip=pen.tip, what="dot"
        )


@glyph("box", width=76.0)
def _box(pen: Pen) -> None:
    """Anything else: a plain box with its name, across all of its axes."""
    heights = [pen.at(b, lane) for b in (*pen.placed.ins, *pen.placed.outs) for lane in b.lanes]
    x0, x1 = pen.x0 + 6, pen.x1 - 6
    for edge, side in ((x0, pen.placed.ins), (x1, pen.placed.outs)):
        for bundle in side:
            for lane in bundle.lanes:
                y = pen.at(bundle, lane)
                pen.wire(bundle, lane, *_sorted(pen.x0 if edge == x0 else pen.x1, y, edge, y))
    pen.canvas.rect(
        x0,
        min(heights) - 10,
        x1,
        max(heights) + 10,
        fill="glyph",
        stroke="ink",
        more=pen.node,
        tip=pen.tip,
        what="box",
    )
    pen.canvas.text(pen.placed.step.op.kind, pen.x, (min(heights) + max(heights)) / 2 + 4, 12, what="inside")
