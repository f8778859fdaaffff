"""Windows: the trapezoids that open and close them, and the convolution collapsed into one box."""

from __future__ import annotations

from nbkit.draw import labels
from nbkit.draw.canvas import number
from nbkit.draw.glyphs.pen import Pen, clear, glyph, moving
from nbkit.draw.labels import Label, Run
from nbkit.draw.lanes import Placed
from nbkit.language import ops
from nbkit.language.axes import parse_spec


@glyph("window", width=lambda p: 48.0 + moving(p))
def _window(pen: Pen) -> None:
    """The trapezoid: an axis becomes window positions (top) and the inside of the window (bottom)."""
    op = pen.placed.step.op_as(ops.Window)
    (source,), (out,) = pen.placed.ins, pen.placed.outs
    y, y1, yw = pen.at(source, op.axis), pen.at(out, op.axis), pen.at(out, op.name)
    pen.through(end=pen.x0 + moving(pen.placed) if moving(pen.placed) else None)
    x0, x1 = pen.x1 - 39, pen.x1 - 9
    top = min(y, y1) - 12
    foot = max(yw + 7, top + 40)
    pen.wire(source, op.axis, pen.x0, y, x0, y)
    pen.wire(out, op.axis, x1, y1, pen.x1, y1)
    pen.wire(out, op.name, x1, yw, pen.x1, yw)
    _trapezoid(pen, [(x0, top), (x1, top), (x1, foot), (x0, foot - 12)])
    reach = x1 if op.stride == 1 else x0 + 19
    rise = (foot - 12) - (reach - x0) * 0.62
    pen.canvas.path(
        f"M{number(x0)} {number(foot - 12)}L{number(reach)} {number(rise)}", (x0, rise, reach, foot - 12)
    )
    pen.canvas.math((Run("★"),), x0 + 10, top + 15, 13, what="inside")
    if op.stride > 1:
        pen.canvas.math((Run(str(op.stride)),), x1 - 6, rise + 5, 13, what="inside")


@glyph("fold", width=lambda p: 52.0 + moving(p))
def _fold(pen: Pen) -> None:
    """The trapezoid the other way round: windows are laid over each other and added up."""
    op = pen.placed.step.op_as(ops.Fold)
    (source,), (out,) = pen.placed.ins, pen.placed.outs
    y, yw, y1 = pen.at(source, op.axis), pen.at(source, op.name), pen.at(out, op.axis)
    pen.through(start=pen.x1 - moving(pen.placed) if moving(pen.placed) else None)
    x0, x1 = pen.x0 + 9, pen.x0 + 43
    top = min(y, y1) - 12
    foot = max(yw + 7, top + 40)
    pen.wire(source, op.axis, pen.x0, y, x0, y)
    pen.wire(source, op.name, pen.x0, yw, x0, yw)
    pen.wire(out, op.axis, x1, y1, pen.x1, y1)
    _trapezoid(pen, [(x0, top), (x1, top), (x1, foot - 12), (x0, foot)])
    reach = x0 if op.stride == 1 else x0 + 15
    rise = (foot - 12) - (x1 - reach) * 0.62
    pen.canvas.path(
        f"M{number(reach)} {number(rise)}L{number(x1)} {number(foot - 12)}", (reach, rise, x1, foot - 12)
    )
    pen.canvas.math((Run("★"), Run("T", italic=True, shift=1)), x0 + 19, top + 15, 13, what="inside")
    if op.stride > 1:
        pen.canvas.math((Run(str(op.stride)),), x0 + 8, foot - 10, 13, what="inside")


def _trapezoid(pen: Pen, points: list[tuple[float, float]]) -> None:
    pen.canvas.polygon(points, fill="window", more=pen.node, tip=pen.tip, what="box")


def _settings(placed: Placed) -> Label:
    """★ 3, stride ↓2, dilation ·2, padding +1 where it is not "same"; ★ᵀ 3 ↑2 for a transposed one."""
    op = placed.step.op
    if isinstance(op, ops.Fold):
        made = parse_spec(placed.step.linear.spec).outs[0] if placed.step.linear else ()
        size = next((str(token.size) for token in made if token.name == op.name), "")
        parts = [Run("★"), Run("T", italic=True, shift=1), Run(f" {size}")]
        stride = f" ↑{op.stride}"
    else:
        op = placed.step.op_as(ops.Window)
        parts = [Run("★"), Run(f" {op.size}")]
        stride = f" ↓{op.stride}"
    if op.stride > 1:
        parts.append(Run(stride))
    if op.dilation > 1:
        parts.append(Run(f"·{op.dilation}"))
    if op.padding != "same":
        parts.append(Run(f" +{op.padding}"))
    return tuple(parts)


@glyph("conv", width=lambda p: max(48.0, labels.width(_settings(p), 14) + 22))
def _conv(pen: Pen) -> None:
    """The collapsed convolution: a box from the image wire (top edge) to the channels (bottom edge)."""
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    pen.through()
    label = _settings(pen.placed)
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
