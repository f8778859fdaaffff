"""Learned maps: plates with a bold letter, and the collapsed convolution."""

from __future__ import annotations

from nbkit.draw import labels
from nbkit.draw.glyphs.pen import Pen, clear, glyph
from nbkit.draw.labels import Run
from nbkit.draw.lanes import NATURAL, Placed
from nbkit.language import ops


def _plate(pen: Pen, letter: str, *, bias: bool = False, title: str = "", chip: str = "right") -> None:
    """A bold letter on a plate with a chipped corner, `+` below it for a bias, its name above."""
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    pad = 13 if bottom - top < 1 else 11
    base, sub, sup = (Run(letter, bold=True),), (Run("+", bold=True),), (Run(title, italic=True),)
    wide, scripts = labels.width(base, 19), max(labels.width(sub, 13) * bias, labels.width(sup, 13.3))
    half = max(19.0, (wide + scripts) / 2 + 6)
    x0, x1, y0, y1 = pen.x - half, pen.x + half, top - pad, bottom + pad
    pen.through()
    pen.stubs(x0, x1, ports)
    c = 7.0
    if chip == "left":
        points = [(x0 + c, y0), (x1, y0), (x1, y1), (x0 + c, y1), (x0, y1 - c), (x0, y0 + c)]
    else:
        points = [(x0, y0), (x1 - c, y0), (x1, y0 + c), (x1, y1), (x0, y1)]
    outline = "ink" if pen.canvas.theme.outline else None
    pen.canvas.polygon(points, fill="linear", stroke=outline, more=pen.node, tip=pen.tip, what="box")
    left, foot = pen.x - (wide + scripts) / 2, clear(y0, y1, pen.weave(x0, x1)) + 6
    pen.canvas.math(base, left, foot, 19, anchor="start", role="letter", what="inside")
    if bias:
        pen.canvas.math(sub, left + wide, foot + 5, 13, anchor="start", role="letter", what="inside")
    if title:
        pen.canvas.math(sup, left + wide, foot - 8, 13.3, anchor="start", role="letter", what="inside")


def _named(path: str, default: str) -> str:
    """The last part of a path where the author gave it, without a counter: `attention.Q` → Q."""
    last = path.rpartition(".")[2]
    return "" if last == default or last.startswith(f"{default}_") else last


def _linear_title(placed: Placed) -> str:
    op = placed.step.op_as(ops.Linear)
    title = _named(placed.step.path, "linear") or op.key
    return title if len(title) <= 3 else ""


@glyph("linear", width=lambda p: 46.0 + 6.0 * max(len(_linear_title(p)) - 1, 0))
def _linear(pen: Pen) -> None:
    op = pen.placed.step.op_as(ops.Linear)
    _plate(pen, "L", bias=op.bias, title=_linear_title(pen.placed))


@glyph("embed", width=46.0)
def _embed(pen: Pen) -> None:
    _plate(pen, "E")
    for bundle in pen.placed.ins:
        if NATURAL in bundle.lanes:
            pen.canvas.arrow(pen.x - 19, pen.at(bundle, NATURAL))


@glyph("positions", width=46.0)
def _positions(pen: Pen) -> None:
    _plate(pen, "P", chip="left")


@glyph("conv", width=48.0)
def _conv(pen: Pen) -> None:
    """The collapsed convolution: a box from the image wire (top edge) to the channels (bottom edge)."""
    op = pen.placed.step.op_as(ops.Window)
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    pen.through()
    parts = [Run("★"), Run(f" {op.size}")]
    if op.stride > 1:
        parts.append(Run(f" ↓{op.stride}"))
    if op.dilation > 1:
        parts.append(Run(f"·{op.dilation}"))
    label = tuple(parts)
    half = max(17.0, labels.width(label, 14) / 2 + 4)
    pen.stubs(pen.x - half, pen.x + half, ports)
    pen.canvas.rect(
        pen.x - half,
        top - 1,
        pen.x + half,
        bottom + 1,
        fill="conv",
        stroke="ink",
        width=2,
        more=pen.node,
        tip=pen.tip,
        what="box",
    )
    middle = clear(top, bottom, pen.weave(pen.x - half, pen.x + half))
    pen.canvas.math(label, pen.x, middle + 5, 14, what="inside")
