"""Copies, sums, crossings, closed blocks: how arrays run, meet and end."""

from __future__ import annotations

from nbkit.draw import labels
from nbkit.draw.borders import COUNTED
from nbkit.draw.glyphs.pen import Pen, glyph
from nbkit.draw.labels import Label, Run, sans_width
from nbkit.draw.lanes import NOTHING, Placed


def _frame_width(placed: Placed) -> float:
    frame = placed.step.frame
    return 34.0 if frame is not None and frame.kind in COUNTED else 10.0


@glyph("enter", "leave", width=_frame_width)
def _frame(pen: Pen) -> None:
    """Wires pass; the axis of a scan ends in an arrow at the first parenthesis, and begins at the last."""
    pen.through()
    ends, begins = pen.ports()
    pen.stubs(pen.x - 2, pen.x + 2, (ends, begins))
    for bundle, lane in ends:
        pen.canvas.arrow(pen.x + 1, pen.at(bundle, lane))


@glyph("rename", width=6.0)
def _pass(pen: Pen) -> None:
    pen.through()


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


@glyph("save", "load", width=lambda p: labels.width(_memory(p), 17) + 26)
def _note(pen: Pen) -> None:
    """A memory: what is saved ends in a note, what is loaded begins at one."""
    save = pen.placed.step.glyph == "save"
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    half = labels.width(_memory(pen.placed), 17) / 2 + 5
    x0, x1, y0, y1 = pen.x - half, pen.x + half, top - 12, bottom + 12
    pen.stubs(x0, x1, ports)
    outline = "ink" if pen.canvas.theme.outline else None
    tip = "saved to memory" if save else "loaded from memory"
    pen.canvas.rect(x0, y0, x1, y1, fill="note", stroke=outline, tip=tip, what="box")
    pen.canvas.math(_memory(pen.placed), pen.x, (y0 + y1) / 2 + 5, 17, what="inside")


def _memory(placed: Placed) -> Label:
    if placed.step.glyph == "save":
        return (Run("→ "), *placed.step.note)
    return (*placed.step.note, Run(" →"))


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
    pen.canvas.math((Run(sign, bold=True),), dot, top - 7, 17, more=pen.node, tip=pen.tip, what="sign")


@glyph("add", width=52.0)
def _add(pen: Pen) -> None:
    _joined(pen, "+")


@glyph("multiply", width=52.0)
def _multiply(pen: Pen) -> None:
    _joined(pen, "⊙")


_LONGEST_TITLE = 30  # letters; the tip has them all
_TITLE = 12.5
_DEPTH = 8.3  # of the cuboid


def _cuboid_texts(placed: Placed) -> list[str]:
    """Title and count in two lines, or in one where the cuboid has a single wire."""
    title, count = placed.step.title, placed.step.count
    title = title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1].rstrip()}…"
    lanes = [max(len(b.lanes) for b in side) for side in (placed.ins, placed.outs) if side]
    low = max(lanes, default=1) == 1 and max(len(placed.ins), len(placed.outs)) == 1
    return [f"{title} {count}".strip()] if low or not count else [title, count]


def _cuboid_width(placed: Placed) -> float:
    return max(58.0, max(sans_width(text, _TITLE) for text in _cuboid_texts(placed)) + 28)


@glyph("cuboid", width=_cuboid_width)
def _cuboid(pen: Pen) -> None:
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    x0, x1, y0, y1 = pen.x0 + 3, pen.x1 - 11, top - 12, bottom + 12
    e = _DEPTH
    pen.stubs(x0, x1, ports)
    canvas = pen.canvas
    lid = [(x0, y0), (x0 + e, y0 - e), (x1 + e, y0 - e), (x1, y0)]
    side = [(x1, y0), (x1 + e, y0 - e), (x1 + e, y1 - e), (x1, y1)]
    for face in (lid, side):
        canvas.polygon(face, fill="block", more=pen.node, tip=pen.tip)
    canvas.rect(x0, y0, x1, y1, fill="block", stroke="ink", more=pen.node, tip=pen.tip, what="box")
    lines = _cuboid_texts(pen.placed)
    for i, text in enumerate(lines):
        drop = 17.0 * (i - (len(lines) - 1) / 2)
        canvas.text(text, (x0 + x1) / 2, (y0 + y1) / 2 + 4.5 + drop, _TITLE, what="inside")
