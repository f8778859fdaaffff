"""Frames: plates behind blocks, parentheses around repetitions, and the arrows where a row is broken."""

from __future__ import annotations

from collections.abc import Mapping

from nbkit.draw import labels
from nbkit.draw.borders import BACK, COUNT, COUNTED, TITLE, Borders, foot
from nbkit.draw.canvas import Box, Canvas, data, fitted, number
from nbkit.draw.lanes import NOTHING, Bundle, Lane
from nbkit.draw.steps import Region, chain

HEAD = 19.0  # room above the top lane of an array: labels and floating functions
FOOT = 9.0
TURN = 34.0  # room for the arrows of a line break
_BRACKET = 14.0
_TITLE, _LEAST_TITLE = 12.5, 9.0  # sizes of titles
_COUNT = 12.0  # room for the count of a repetition, inside of another frame

Sides = tuple[float | None, float | None]  # x of the left and right border; None where it lies in another row


def boxes(
    cuts: list[list[Bundle]],
    y: Mapping[Lane, float],
    sides: Mapping[Region, Sides],
    extent: tuple[float, float],
    borders: Borders,
) -> dict[Region, Box]:
    """The rectangle of every region in a row, outer ones first; each encloses those inside it."""
    inside: dict[Region, list[float]] = {}
    for i, cut in enumerate(cuts):
        for bundle in cut:
            for region in chain(borders.regions[i][id(bundle)]):
                inside.setdefault(region, []).extend(y[id(bundle), lane] for lane in bundle.lanes)
    found: dict[Region, Box] = {}
    for region in sorted(inside, key=lambda r: -len(r.chain)):
        levels = inside[region]
        children = [(r, box) for r, box in found.items() if r.parent == region]
        room = {r: _COUNT if r.kind in COUNTED else 0.0 for r, _ in children}
        top = min([min(levels) - HEAD, *(box[1] - 6 - room[r] for r, box in children)])
        low = [box[3] + 7 + max(foot(r) - 2.0, 0.0) for r, box in children]
        bottom = max([max(levels) + FOOT + 3, *low])
        left, right = sides[region]
        found[region] = (
            extent[0] if left is None else left,
            top - (TITLE if region.kind == "plate" else 0.0),
            extent[1] if right is None else right,
            bottom,
        )
    return {region: found[region] for region in sorted(found, key=lambda r: len(r.chain))}


def draw_frame(canvas: Canvas, region: Region, box: Box, sides: Sides) -> None:
    """A plate with its title, or those parentheses that lie in this row."""
    if region.kind == "plate":
        _plate(canvas, region, box, titled=sides[0] is not None)
        return
    left, top, right, bottom = box
    first, last = region.marks
    if sides[0] is not None:
        _bracket(canvas, region, box, sides[0], -1)
        start = sides[0] + 4
        end = right - 6 - (labels.width(last, 14) if sides[1] is not None else 0.0)
        title, size = fitted(region.title, end - start, _TITLE, _LEAST_TITLE)
        if region.title and title != "…":
            wide = labels.sans_width(title, size)
            canvas.text(title, start + wide / 2, top - 4, round(size, 1), what="title")
        canvas.math(first, sides[0] - 7, bottom + 14, 14, anchor="start", what="count")
    if sides[1] is not None:
        _bracket(canvas, region, box, sides[1], 1)
        canvas.math(last, sides[1] + 7, top - 4, 14, anchor="end", what="count")
    if region.kind == "scan":
        _feedback(canvas, region, (left, right), bottom, sides)


def _feedback(canvas: Canvas, region: Region, span: tuple[float, float], y: float, sides: Sides) -> None:
    """The states arc back under the region, from the right parenthesis to the left one."""
    low, (left, right) = y + COUNT + BACK - 5, span
    x0, x1 = (left if sides[0] is None else left + 22), (right if sides[1] is None else right - 22)
    d, box = f"M{number(x0)} {number(low)}H{number(x1)}", (x0, low, x1, low)
    if sides[1] is not None:
        bend = number(right + 4)
        d += f"C{bend} {number(low)} {bend} {number(y + 10)} {number(right)} {number(y)}"
        box = (x0, y, right + 4, low)
    more = data(block=region.path)
    canvas.path(d, box, width=1.1, layer="wire", more=more, tip=region.tip, what="feedback")
    if sides[0] is not None:
        canvas.arrow(x0, low, right=False)
        if region.back:
            canvas.math(region.back, max((x0 + x1) / 2, x0 + 40), low - 4, 14, what="count")


def _plate(canvas: Canvas, region: Region, box: Box, *, titled: bool) -> None:
    x0, top, x1, bottom = box
    canvas.rect(
        x0,
        top,
        x1,
        bottom,
        fill=region.fill or "region",
        stroke="ink" if canvas.theme.outline else None,
        radius=3,
        layer="plate",
        more=data(block=region.path),
        tip=region.tip,
        what="plate",
    )
    told = region.title if titled else f"… {region.title}"  # goes on from the row above
    title, size = fitted(told, x1 - x0 - 6, _TITLE, _LEAST_TITLE)
    if title != "…":
        canvas.text(title, (x0 + x1) / 2, top + 13, round(size, 1), what="title")


def _bracket(canvas: Canvas, region: Region, box: Box, x: float, side: int) -> None:
    _, top, _, bottom = box
    lean, belly = side * _BRACKET, (bottom - top) * 0.28
    start, far = x - lean / 2, number(x + lean / 2)
    d = f"M{number(start)} {number(top)}C{far} {number(top + belly)} {far} {number(bottom - belly)}"
    reach = start + lean * 0.75
    canvas.path(
        f"{d} {number(start)} {number(bottom)}",
        (min(start, reach), top, max(start, reach), bottom),
        width=2.6,
        more=data(block=region.path),
        tip=region.tip,
        what="bracket",
    )


def draw_turns(
    canvas: Canvas, cut: list[Bundle], y: Mapping[Lane, float], x: float, *, incoming: bool
) -> None:
    """Curved arrows where a line is broken: out to the lower right, in from the upper left."""
    for level in (y[id(b), lane] for b in cut for lane in b.lanes if lane != NOTHING):
        if incoming:
            d, box = f"M{number(x - 30)} {number(level - 11)}q7 11 22 11h8", (x - 30, level - 11, x, level)
            canvas.arrow(x - 2, level)
        else:
            d, box = f"M{number(x)} {number(level)}h6q12 0 19 8", (x, level, x + 26, level + 8)
            head = f"M{number(x + 30)} {number(level + 12)}l-10.6 -2.6 4.2 -1.6 1.6 -4.4z"
            reach = (x + 19, level + 4, x + 30, level + 12)
            canvas.path(head, reach, fill="ink", stroke=None, what="arrow")
        canvas.path(d, box, stroke="faint", width=1.1, layer="wire", what="turn")
