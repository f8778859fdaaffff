"""Learned maps and arrays: plates with a letter, bold where a gradient flows into it."""

from __future__ import annotations

from nbkit.draw import labels
from nbkit.draw.glyphs.pen import Pen, clear, glyph
from nbkit.draw.labels import Label, Run
from nbkit.draw.lanes import NATURAL, Placed
from nbkit.language import ops

_LONGEST = 3  # letters of a name that fits on a plate


def _plate(pen: Pen, letter: str, *, bold: bool = True, bias: bool = False, chip: str = "right") -> None:
    """A letter on a plate with a chipped corner, `+` below it for a bias, its name and its tag above."""
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    pad = 13 if bottom - top < 1 else 11
    base, sub, sup = (Run(letter, bold=bold),), (Run("+", bold=bold),), _superscript(pen.placed)
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
    if sup:
        pen.canvas.math(sup, left + wide, foot - 8, 13.3, anchor="start", role="letter", what="inside")


def _title(placed: Placed) -> str:
    """The last part of a path where the author gave it, without a counter: `attention.Q` → Q."""
    last, default = placed.step.path.rpartition(".")[2], placed.step.op.kind
    turned = "ᵀ" if last.endswith("_T") else ""  # what the rewrite rule "transpose" makes of a map
    last = last.removesuffix("_T")
    title = "" if last == default or last.startswith(f"{default}_") else last
    return f"{title if len(title) <= _LONGEST else ''}{turned}"


def _superscript(placed: Placed) -> Label:
    """The name of a linear map, and the tag of those that share their weights."""
    title = _title(placed) if isinstance(placed.step.op, ops.Linear) else ""
    tag = placed.step.tag
    return (*(labels.name(title) if title else ()), *((Run(tag),) if tag else ()))


def _width(placed: Placed) -> float:
    return 46.0 + max(labels.width(_superscript(placed), 13.3) - 9.0, 0.0)


@glyph("linear", width=_width)
def _linear(pen: Pen) -> None:
    op = pen.placed.step.op_as(ops.Linear)
    _plate(pen, "L", bold=not op.frozen, bias=op.bias)


@glyph("embed", width=_width)
def _embed(pen: Pen) -> None:
    _plate(pen, "E", bold=not pen.placed.step.op_as(ops.Embed).frozen)
    for bundle in pen.placed.ins:
        if NATURAL in bundle.lanes:
            pen.canvas.arrow(pen.x - 19, pen.at(bundle, NATURAL))


@glyph("positions", width=_width)
def _positions(pen: Pen) -> None:
    _plate(pen, "P", chip="left")


@glyph("parameter", width=lambda p: _width(p) + 10.0 * (len(_title(p) or "W") - 1))
def _parameter(pen: Pen) -> None:
    """A learned array: nothing goes in. Its own name where that is short, else W."""
    op = pen.placed.step.op_as(ops.Parameter)
    _plate(pen, _title(pen.placed) or "W", bold=op.trainable, chip="left")
