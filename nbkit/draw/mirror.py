"""A row of a picture seen in a mirror: data flows from right to left, letters stay as they are.

Shapes are turned round as a whole; every label moves to the mirrored place unchanged. Labels that stand side
by side on one plate (a letter, its `+`, its name) move together.
"""

from __future__ import annotations

from dataclasses import replace

from nbkit.draw.canvas import Box, Canvas, Shape, number
from nbkit.draw.marks import Words
from nbkit.draw.marks import mirrored as turned
from nbkit.draw.rows import Row


def mirrored(row: Row, width: float) -> Row:
    """The row in a mirror, as wide as `width`."""
    canvas = Canvas(row.canvas.theme, row.canvas.wrong)
    group: list[Shape] = []
    for shape in [*row.canvas.shapes, None]:
        if group and not (shape is not None and _side_by_side(group[-1], shape)):
            canvas.shapes += _moved(group, width)
            group = []
        if shape is None:
            break
        if shape.layer == "label":
            group.append(shape)
        else:
            svg = f'<g transform="matrix(-1 0 0 1 {number(width)} 0)">{shape.svg}</g>'
            mark = turned(shape.mark, width)
            canvas.shapes.append(replace(shape, svg=svg, mark=mark, box=_flipped(shape.box, width)))
    return replace(row, canvas=canvas, gaps=(), width=width)


def _side_by_side(left: Shape, right: Shape) -> bool:
    """Whether the second label goes on where the first ends, or stands over it on the same glyph."""
    if not left.what == right.what == "inside" or right.layer != "label":
        return False
    return right.box[0] - left.box[2] < 1.0 and left.box[0] - right.box[2] < 1.0


def _flipped(box: Box, width: float) -> Box:
    return width - box[2], box[1], width - box[0], box[3]


def _moved(group: list[Shape], width: float) -> list[Shape]:
    left, right = min(s.box[0] for s in group), max(s.box[2] for s in group)
    by = width - left - right
    moved = []
    for shape in group:
        svg = f'<g transform="translate({number(by)} 0)">{shape.svg}</g>'
        x0, y0, x1, y1 = shape.box
        mark = replace(shape.mark, x=shape.mark.x + by) if isinstance(shape.mark, Words) else shape.mark
        moved.append(replace(shape, svg=svg, mark=mark, box=(x0 + by, y0, x1 + by, y1)))
    return moved
