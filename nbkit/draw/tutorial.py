"""The tutorial style: plates behind types and operations, and tags on the axes that an operation is broadcast
over.

Types (purple) and operations (blue) alternate, as in the figures that introduce the notation (Abbott 2024,
figures 7, 10 and 11). Where an axis runs past an operation that does not name it, the operation is done as
often as the axis is long: the wire is shaded and its tag says how often, purple where all operands have the
axis, coral where some are used again each time (inner broadcasting).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nbkit.draw import labels
from nbkit.draw.borders import PLATE_ABOVE
from nbkit.draw.canvas import Canvas
from nbkit.draw.frames import FOOT, HEAD
from nbkit.draw.labels import Label, Run
from nbkit.draw.lanes import FRAMES, JOINS, NATURAL, NOTHING, POSITIONS, Bundle, Lane, Placed, targets, woven
from nbkit.language import ops
from nbkit.language.axes import parse_spec

_SIZE = 11.0
_POINT = 5.0  # of a tag
_HALF = 7.0  # its half height
_WHOLE = (  # they act on whole arrays, or on every number by itself: nothing is lifted
    FRAMES
    | JOINS
    | {"copy", "cross", "rename", "transpose", "cuboid", "discard", "save", "load", "box", "torch", "expand"}
    | {"elementwise", "scale", "dropout", "cast", "stop_gradient", "topk"}
)

Span = tuple[float, float]


def lifted(placed: Placed) -> list[tuple[Bundle, str, bool]]:
    """The axes that a step is broadcast over, each on one operand; whether only some operands have it."""
    step = placed.step
    if step.glyph in _WHOLE:
        return []
    named = set(targets(step)) | set(woven(step)) | {NATURAL, NOTHING}
    if isinstance(step.op, ops.Einsum):
        named |= {token.name for bundle in parse_spec(step.op.spec).ins for token in bundle}
    if isinstance(step.op, ops.Gather | ops.Scatter):
        named |= {step.op.axis, *([step.op.over] if isinstance(step.op, ops.Scatter) else [])}
        named |= set(placed.operand(1).lanes) - set(placed.operand(0).lanes)
    found: dict[str, tuple[Bundle, str, bool]] = {}
    for bundle in placed.ins:
        for lane in bundle.lanes:
            if lane not in named:
                inner = any(lane not in other.lanes for other in placed.ins)
                found[lane] = (bundle, lane, inner)
    return list(found.values())


def _tag(bundle: Bundle, lane: str) -> Label:
    axis, shown = bundle.axis(lane), bundle.value.shown.get(lane, ())
    if not shown or any("=" in run.text for run in shown):
        shown = labels.axis_label(axis, position=axis.name[0] in POSITIONS, known=True)
    return (Run("×"), *shown)


def tag_room(placed: Placed) -> float:
    """The room that the tags of a step need beside it."""
    widths = [labels.width(_tag(bundle, lane), _SIZE) + 12 for bundle, lane, _ in lifted(placed)]
    return max(widths, default=0.0)


def draw_tags(canvas: Canvas, placed: Placed, edge: Span, at: Callable[[Bundle, str], float]) -> None:
    """The shaded wires that an operation is broadcast over, and how often it is done."""
    for bundle, lane, inner in lifted(placed):
        y, label = at(bundle, lane), _tag(bundle, lane)
        top, low = y - _HALF, y + _HALF
        dark, light = ("reuse", "reused") if inner else ("weave", "woven")
        x0, x1 = edge[0] + 2, edge[0] + labels.width(label, _SIZE) + 12
        end = edge[1] - 2 if _straight(placed, bundle, lane, at) else x1 + 6  # the shade does not bend
        canvas.rect(x0, top + 1, end, low - 1, fill=light, layer="plate", what="lifted")
        points = [
            (x0, y - _HALF),
            (x1 - _POINT, y - _HALF),
            (x1, y),
            (x1 - _POINT, y + _HALF),
            (x0, y + _HALF),
        ]
        tip = f"done {'' if inner else 'by itself '}for each {lane}"
        outline = "ink" if canvas.theme.outline else None
        canvas.polygon(points, fill=dark, stroke=outline, tip=tip, what="tag")
        canvas.math(label, (x0 + x1 - _POINT) / 2 + 1, y + 4, _SIZE, role="onweave", what="inside")


def _straight(placed: Placed, bundle: Bundle, lane: str, at: Callable[[Bundle, str], float]) -> bool:
    """Whether a lane goes on at its height."""
    ends = [
        at(b, other) for a, own, b, other in (*placed.links, *placed.loose) if a is bundle and own == lane
    ]
    return all(end == at(bundle, lane) for end in ends)


def draw_plates(
    canvas: Canvas,
    cuts: list[list[Bundle]],
    columns: list[list[Placed]],
    y: Mapping[Lane, float],
    gaps: list[Span],
    edges: list[Span],
    shown: list[bool],
) -> None:
    """Types and operations in turn: a plate behind every cut that has labels, and behind every column."""
    outline = "ink" if canvas.theme.outline else None
    reach = [_reach(cut, y) for cut in cuts]
    for (x0, x1), span, here in zip(gaps, reach, shown, strict=True):
        if here and span:
            canvas.rect(x0, span[0], x1, span[1], fill="type", stroke=outline, layer="plate", what="type")
    for i, ((x0, x1), column) in enumerate(zip(edges, columns, strict=True)):
        spans = [span for span in reach[i : i + 2] if span]
        if spans and any(p.step.glyph not in FRAMES for p in column):
            top, low = min(s[0] for s in spans) - 4, max(s[1] for s in spans) + 4
            canvas.rect(
                x0 + 1, top, x1 - 1, low, fill="function", stroke=outline, layer="plate", what="function"
            )


def _reach(cut: list[Bundle], y: Mapping[Lane, float]) -> Span | None:
    levels = [y[id(bundle), lane] for bundle in cut for lane in bundle.lanes]
    return (min(levels) - HEAD - PLATE_ABOVE / 4, max(levels) + FOOT) if levels else None
