"""The glyphs: one function per kind of step, drawing between the lanes that enter and those that leave.

Shapes and sizes follow the grammar of Abbott's figures (dots r 3.35, softmax triangle 20 × 28, plates with a bold
letter, trapezoid for windows, circle for norms, thick bars for views). A glyph sees its own strip [x0, x1] and the
heights of its lanes; everything that runs past it is drawn by the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nbkit.draw import labels
from nbkit.draw.canvas import Canvas, curve, data, number, span
from nbkit.draw.columns import NATURAL, NOTHING, Bundle, Placed, targets
from nbkit.draw.flow import contraction
from nbkit.draw.labels import Label, Run
from nbkit.language import ops
from nbkit.language.axes import parse_spec

Heights = Callable[[Bundle, str], float]


@dataclass(frozen=True)
class Pen:
    """What a glyph draws with: its step, its strip, the heights of lanes, and the canvas."""

    placed: Placed
    x0: float
    x1: float
    y: Heights
    canvas: Canvas

    @property
    def x(self) -> float:
        return (self.x0 + self.x1) / 2

    def at(self, bundle: Bundle, lane: str) -> float:
        return self.y(bundle, lane)

    def wire(self, bundle: Bundle, lane: str, x0: float, y0: float, x1: float, y1: float) -> None:
        """A lane's wire from one point to another."""
        if lane == NOTHING:
            return
        double = lane != NATURAL and bundle.axis(lane).rank > 1
        self.canvas.wire(
            curve(x0, y0, x1, y1),
            span(x0, y0, x1, y1),
            double=double,
            natural=lane == NATURAL,
            wire=bundle.value.wire,
            axis="" if lane == NATURAL else lane,
        )

    def through(self) -> None:
        """All lanes that run through the step, straight or bent."""
        for a, lane, b, other in (*self.placed.links, *self.placed.loose):
            if lane in a.lanes and other in b.lanes and self.continues(a, lane, b, other):
                self.wire(b, other, self.x0, self.at(a, lane), self.x1, self.at(b, other))

    def continues(self, a: Bundle, lane: str, b: Bundle, other: str) -> bool:
        """Whether a link is one wire (and not two ports of a box that stand level)."""
        if self.placed.step.glyph in (
            "copy",
            "enter",
            "leave",
            "cross",
            "transpose",
            "rename",
            "add",
            "multiply",
            "concat",
            "einsum",
        ):
            return True
        own = set(touched(self.placed))
        return lane == other and lane not in own

    def ports(self) -> tuple[list[tuple[Bundle, str]], list[tuple[Bundle, str]]]:
        """The lanes that end at this glyph and those that begin at it."""
        running = {(id(a), la) for a, la, b, lb in self._links() if self.continues(a, la, b, lb)}
        onward = {(id(b), lb) for a, la, b, lb in self._links() if self.continues(a, la, b, lb)}
        left = [
            (b, lane)
            for b in self.placed.ins
            for lane in b.lanes
            if (id(b), lane) not in running and lane != NOTHING
        ]
        right = [
            (b, lane)
            for b in self.placed.outs
            for lane in b.lanes
            if (id(b), lane) not in onward and lane != NOTHING
        ]
        return left, right

    def _links(self) -> list[tuple[Bundle, str, Bundle, str]]:
        return [*self.placed.links, *self.placed.loose]

    def stubs(
        self,
        left_edge: float,
        right_edge: float,
        ports: tuple[list[tuple[Bundle, str]], list[tuple[Bundle, str]]],
    ) -> None:
        """Wires from the strip's borders to the glyph."""
        for bundle, lane in ports[0]:
            self.wire(bundle, lane, self.x0, self.at(bundle, lane), left_edge, self.at(bundle, lane))
        for bundle, lane in ports[1]:
            self.wire(bundle, lane, right_edge, self.at(bundle, lane), self.x1, self.at(bundle, lane))

    def extent(self, ports: tuple[list[tuple[Bundle, str]], list[tuple[Bundle, str]]]) -> tuple[float, float]:
        """Top and bottom of a glyph's ports."""
        heights = [self.at(bundle, lane) for side in ports for bundle, lane in side]
        if not heights:
            heights = [
                self.at(b, lane) for b in (*self.placed.ins, *self.placed.outs) for lane in b.lanes[:1]
            ] or [0.0]
        return min(heights), max(heights)


def touched(placed: Placed) -> tuple[str, ...]:
    """Lanes whose wires meet the glyph itself."""
    step = placed.step
    names = targets(step)
    if step.glyph == "conv":
        names = (*names, *(t.name for t in parse_spec(step.extra["linear"].spec).ins[0]))
    if step.glyph == "cuboid":
        names = tuple({lane for b in (*placed.ins, *placed.outs) for lane in b.lanes})
    return names


Width = Callable[[Placed], float]
Draw = Callable[[Pen], None]
_GLYPHS: dict[str, tuple[Width, Draw]] = {}


def glyph(*kinds: str, width: float | Width) -> Callable[[Draw], Draw]:
    def register(draw: Draw) -> Draw:
        for kind in kinds:
            _GLYPHS[kind] = (width if callable(width) else (lambda placed, w=width: w), draw)  # type: ignore[misc]
        return draw

    return register


def width_of(placed: Placed) -> float:
    """The width of a step's strip, in user units."""
    return _GLYPHS.get(placed.step.glyph, _GLYPHS["box"])[0](placed)


def draw(pen: Pen) -> None:
    """Draws one step; an op without a glyph of its own becomes a labelled box."""
    _GLYPHS.get(pen.placed.step.glyph, _GLYPHS["box"])[1](pen)


# -- structure ----------------------------------------------------------------------------------------------------


@glyph("enter", "leave", width=lambda p: 34.0 if p.step.extra["frame"].kind == "repeat" else 10.0)
def _frame(pen: Pen) -> None:
    pen.through()


@glyph("rename", width=6.0)
def _rename(pen: Pen) -> None:
    pen.through()


@glyph("cross", "transpose", width=46.0)
def _cross(pen: Pen) -> None:
    pen.through()


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


@glyph("cuboid", width=lambda p: max(58.0, 7.0 * len(p.step.extra["title"]) + 26))
def _cuboid(pen: Pen) -> None:
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    if bottom - top < 24:
        bottom = top + 24
    x0, x1, y0, y1 = pen.x0 + 3, pen.x1 - 11, top - 12, bottom + 12
    e = 8.3
    pen.stubs(x0, x1, ports)
    more = data(node=pen.placed.step.path)
    canvas = pen.canvas
    canvas.polygon(
        [(x0, y0), (x0 + e, y0 - e), (x1 + e, y0 - e), (x1, y0)], fill="block", layer="glyph", more=more
    )
    canvas.polygon(
        [(x1, y0), (x1 + e, y0 - e), (x1 + e, y1 - e), (x1, y1)], fill="block", layer="glyph", more=more
    )
    canvas.rect(x0, y0, x1, y1, fill="block", stroke="ink", layer="glyph", more=more, what="box")
    title, count = pen.placed.step.extra["title"], pen.placed.step.extra["count"]
    middle = (y0 + y1) / 2 + 4
    canvas.text(title, (x0 + x1) / 2, middle - (8 if count else 0), 12.5, what="inside")
    if count:
        canvas.text(count, (x0 + x1) / 2, middle + 9, 12.5, what="inside")


# -- learned maps -------------------------------------------------------------------------------------------------


def _plate(pen: Pen, letter: str, *, bias: bool = False, title: str = "", chip: str = "right") -> None:
    """A learned map: a bold letter on a plate with a chipped corner, `+` below it for a bias, its name above."""
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
    pen.canvas.polygon(
        points, fill="linear", stroke=outline, more=data(node=pen.placed.step.path), what="box"
    )
    left, foot = pen.x - (wide + scripts) / 2, (y0 + y1) / 2 + 6
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
    op = placed.step.op
    assert isinstance(op, ops.Linear)
    title = _named(placed.step.path, "linear") or op.key
    return title if len(title) <= 3 else ""


@glyph("linear", width=lambda p: 46.0 + 6.0 * max(len(_linear_title(p)) - 1, 0))
def _linear(pen: Pen) -> None:
    op = pen.placed.step.op
    assert isinstance(op, ops.Linear)
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
    """The collapsed convolution: a box whose top edge lies on the image wire and whose bottom edge on the channels."""
    op = pen.placed.step.op
    assert isinstance(op, ops.Window)
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
        more=data(node=pen.placed.step.path),
        what="box",
    )
    pen.canvas.math(label, pen.x, (top + bottom) / 2 + 5, 14, what="inside")


# -- contraction --------------------------------------------------------------------------------------------------


def _scale_label(placed: Placed) -> Label:
    return labels.factor(placed.step.extra["scale"]) if "scale" in placed.step.extra else ()


def _einsum_width(placed: Placed) -> float:
    if not contraction(placed.step):
        return 74.0
    return 74.0 + labels.width(_scale_label(placed), 14) + 16 if "scale" in placed.step.extra else 122.0


@glyph("einsum", width=_einsum_width)
def _einsum(pen: Pen) -> None:
    """Cups for contracted axes, dots for diagonalised ones; everything else runs through."""
    placed = pen.placed
    (out,) = placed.outs
    bend = pen.x0 + 66
    drawn: dict[str, list[Bundle]] = {}
    for bundle in placed.ins:
        for lane in bundle.lanes:
            drawn.setdefault(lane, []).append(bundle)
    ended = [lane for lane in drawn if lane not in out.lanes and lane != NOTHING]
    for lane, bundles in drawn.items():
        if lane in out.lanes and lane != NOTHING:
            _kept(pen, lane, bundles, out, bend)
        elif lane in ended and len(bundles) == 1:
            height = pen.at(bundles[0], lane)
            pen.wire(bundles[0], lane, pen.x0, height, pen.x0 + 30, height)
            pen.canvas.dot(pen.x0 + 30, height)
    cups = [lane for lane in ended if len(drawn[lane]) > 1]
    for i, lane in enumerate(cups):
        _cup(pen, lane, drawn[lane], 9.0 + 6.0 * i)
    if cups and len(placed.ins) == 2:
        middle = _meeting(pen)
        start = pen.x0 + 44 + 9.0 + 6.0 * (len(cups) - 1)
        label = _scale_label(placed)
        end = pen.x1 - 4 if label else start + 20
        pen.canvas.path(
            f"M{number(start)} {number(middle)}H{number(end - 7)}",
            (start, middle, end, middle),
            more=data(node=placed.step.path),
        )
        pen.canvas.arrow(end, middle)
        if label:
            pen.canvas.math(label, (start + end) / 2 - 3, middle - 5, 14, what="factor")


def _meeting(pen: Pen) -> float:
    """Half way between the two operands: where the separator ends and the cup turns."""
    upper, lower = pen.placed.ins[0], pen.placed.ins[1]
    return (pen.at(upper, upper.lanes[-1]) + pen.at(lower, lower.lanes[0])) / 2


def _cup(pen: Pen, lane: str, bundles: list[Bundle], radius: float) -> None:
    """Two wires of one axis close in a cup to the right: the sum over it."""
    for upper, lower in zip(bundles, bundles[1:], strict=False):
        middle = (
            _meeting(pen) if len(pen.placed.ins) == 2 else (pen.at(upper, lane) + pen.at(lower, lane)) / 2
        )
        x = pen.x0 + 44
        top, bottom = pen.at(upper, lane), pen.at(lower, lane)
        pen.wire(upper, lane, pen.x0, top, x, middle - radius)
        pen.wire(lower, lane, pen.x0, bottom, x, middle + radius)

        def arc(dy: float, middle: float = middle) -> str:
            r = radius - dy
            return f"M{number(x)} {number(middle - r)}A{number(r)} {number(r)} 0 0 1 {number(x)} {number(middle + r)}"

        if lower is not bundles[-1]:
            pen.canvas.dot(pen.x0 + 1, bottom)
        box = (x, middle - radius, x + radius, middle + radius)
        pen.canvas.wire(arc, box, double=upper.axis(lane).rank > 1, wire=upper.value.wire, axis=lane)


def _kept(pen: Pen, lane: str, bundles: list[Bundle], out: Bundle, bend: float) -> None:
    """An axis that survives: it runs through; where several operands have it, the others bend into dots on its wire."""
    *others, last = bundles
    target = pen.at(out, lane)
    start = pen.at(last, lane)
    if others and abs(start - target) < 0.01:
        pen.wire(out, lane, pen.x0, start, pen.x1, target)
    elif others:
        pen.wire(out, lane, pen.x0, start, bend, start)
        pen.wire(out, lane, bend, start, pen.x1, target)
    else:
        late = pen.x0 if "scale" in pen.placed.step.extra or target < start else pen.x0 + 46
        pen.wire(out, lane, pen.x0, start, late, start)
        pen.wire(out, lane, late, start, pen.x1, target)
    for other in others:
        pen.wire(other, lane, pen.x0 + 6, pen.at(other, lane), bend, start)
        pen.wire(other, lane, pen.x0, pen.at(other, lane), pen.x0 + 6, pen.at(other, lane))
        pen.canvas.dot(bend, start)


# -- functions ----------------------------------------------------------------------------------------------------


def _floating(pen: Pen, label: Label) -> None:
    """An elementwise function: between a tail and a head above the top wire, touching none."""
    pen.through()
    (out,) = pen.placed.outs
    y = pen.at(out, out.lanes[0]) - 9.5
    half = labels.width(label, 15) / 2
    pen.canvas.arrow(pen.x - half - 1, y)
    pen.canvas.arrow(pen.x + half + 11, y)
    pen.canvas.math(label, pen.x, y + 5, 15, what="factor")


def _function_label(placed: Placed) -> Label:
    op = placed.step.op
    if isinstance(op, ops.Scale):
        return labels.factor(op.factor)
    if isinstance(op, ops.Dropout):
        return (Run("↯"), Run(f"{op.p:g}", shift=-1))
    if isinstance(op, ops.Elementwise):
        text = ops.FUNCTIONS[op.function]
        return (Run("□"), Run("2", shift=1)) if text == "□²" else (Run(text, italic=len(text) == 1),)
    return (Run(placed.step.op.kind),)


@glyph("elementwise", "scale", "dropout", width=lambda p: labels.width(_function_label(p), 15) + 30)
def _elementwise(pen: Pen) -> None:
    _floating(pen, _function_label(pen.placed))


@glyph("softmax", width=34.0)
def _softmax(pen: Pen) -> None:
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    pen.through()
    y, half = (top + bottom) / 2, max(14.0, (bottom - top) / 2 + 8)
    pen.stubs(pen.x - 10, pen.x + 10, ports)
    pen.canvas.polygon(
        [(pen.x - 10, y), (pen.x + 10, y - half), (pen.x + 10, y + half)],
        fill="softmax",
        more=data(node=pen.placed.step.path),
        what="box",
    )


@glyph("norm", width=38.0)
def _norm(pen: Pen) -> None:
    op = pen.placed.step.op
    assert isinstance(op, ops.Norm)
    (source,), (out,) = pen.placed.ins, pen.placed.outs
    on = [lane for lane in source.lanes if lane in ((op.per,) if op.how == "batch" else op.axes.split())]
    heights = [pen.at(source, lane) for lane in on]
    r = 10.0
    top, bottom = min(heights), max(heights)
    over = set(op.axes.split()) - set(on) if op.how == "batch" else set()
    for lane in source.lanes:
        y0, y1 = pen.at(source, lane), pen.at(out, lane)
        if lane in on:
            pen.wire(source, lane, pen.x0, y0, pen.x - r, y0)
            pen.wire(out, lane, pen.x + r, y1, pen.x1, y1)
        elif lane in over:  # the batch wire touches the circle: statistics over it
            edge = bottom + r if y0 > bottom else top - r
            pen.wire(source, lane, pen.x0, y0, pen.x, edge)
            pen.wire(out, lane, pen.x, edge, pen.x1, y1)
        else:
            pen.wire(out, lane, pen.x0, y0, pen.x1, y1)
    canvas = pen.canvas
    canvas.rect(
        pen.x - r,
        top - r,
        pen.x + r,
        bottom + r,
        fill="norm",
        stroke="ink",
        width=2,
        radius=r,
        more=data(node=pen.placed.step.path),
        what="box",
    )
    if op.how == "layer":
        canvas.path(
            f"M{number(pen.x)} {number(top - r)}V{number(bottom + r)}",
            (pen.x, top - r, pen.x, bottom + r),
            width=1.2,
        )
    elif op.how == "rms":
        middle = (top + bottom) / 2
        canvas.path(
            f"M{number(pen.x - 5)} {number(middle - 5)}l5 10 5 -10",
            (pen.x - 5, middle - 5, pen.x + 5, middle + 5),
            width=1.2,
        )


@glyph("mask", width=42.0)
def _mask(pen: Pen) -> None:
    ports = pen.ports()
    top, bottom = pen.extent(ports)
    pen.through()
    middle = (top + bottom) / 2
    half = max(15.0, (bottom - top) / 2 + 5)
    x0, x1, y0, y1 = pen.x - 15, pen.x + 15, middle - half, middle + half
    pen.stubs(x0, x1, ports)
    pen.canvas.rect(
        x0, y0, x1, y1, fill="mask", stroke="ink", more=data(node=pen.placed.step.path), what="box"
    )
    pen.canvas.polygon([(x0 + 4, y0 + 3), (x1 - 3, y0 + 3), (x1 - 3, y1 - 4)], fill="masked", stroke=None)


@glyph("reduce", width=62.0)
def _reduce(pen: Pen) -> None:
    """Sum, mean or maximum: the word stands in the wire, which ends in an arrow."""
    op = pen.placed.step.op
    assert isinstance(op, ops.Reduce)
    ports = pen.ports()
    pen.through()
    word = {"max": "Max", "mean": "𝔼", "sum": "Σ"}[op.how]
    label = (Run(word),)
    half = labels.width(label, 15) / 2
    for bundle, lane in ports[0]:
        y = pen.at(bundle, lane)
        pen.wire(bundle, lane, pen.x0, y, pen.x - half - 6, y)
        pen.canvas.math(label, pen.x - 3, y + 5, 15, what="inside")
        pen.canvas.path(f"M{number(pen.x + half)} {number(y)}h7", (pen.x + half, y, pen.x + half + 7, y))
        pen.canvas.arrow(pen.x + half + 14, y)


# -- views --------------------------------------------------------------------------------------------------------


def _bar(pen: Pen, x: float, heights: list[float]) -> None:
    pen.canvas.rect(
        x - 2,
        min(heights) - 6,
        x + 2,
        max(heights) + 6,
        fill="ink",
        more=data(node=pen.placed.step.path),
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
    op = pen.placed.step.op
    assert isinstance(op, ops.Concat)
    (out,) = pen.placed.outs
    x = pen.x1 - 12
    target = pen.at(out, op.axis)
    ends = []
    for i, bundle in enumerate(pen.placed.ins):
        for lane in bundle.lanes:
            y = pen.at(bundle, lane)
            if lane == op.axis:
                end = target + 9.0 * (i - (len(pen.placed.ins) - 1) / 2)
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
    op = pen.placed.step.op
    assert isinstance(op, ops.Slice)
    ports = pen.ports()
    pen.through()
    y = pen.at(pen.placed.ins[0], op.axis)
    more = data(node=pen.placed.step.path)
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
            what="box",
        )
        pen.canvas.math((Run(text),), x, y + 4.5, 12, what="inside")


@glyph("window", width=48.0)
def _window(pen: Pen) -> None:
    """The trapezoid: an axis becomes window positions (top) and the inside of the window (bottom)."""
    op = pen.placed.step.op
    assert isinstance(op, ops.Window)
    (source,), (out,) = pen.placed.ins, pen.placed.outs
    y, y1, yw = pen.at(source, op.axis), pen.at(out, op.axis), pen.at(out, op.name)
    pen.through()
    x0, x1 = pen.x - 15, pen.x + 15
    top = min(y, y1) - 12
    foot = max(yw + 7, top + 40)
    pen.wire(source, op.axis, pen.x0, y, x0, y)
    pen.wire(out, op.axis, x1, y1, pen.x1, y1)
    pen.wire(out, op.name, x1, yw, pen.x1, yw)
    pen.canvas.polygon(
        [(x0, top), (x1, top), (x1, foot), (x0, foot - 12)],
        fill="window",
        more=data(node=pen.placed.step.path),
        what="box",
    )
    reach = x1 if op.stride == 1 else x0 + 19
    rise = (foot - 12) - (reach - x0) * 0.62
    pen.canvas.path(
        f"M{number(x0)} {number(foot - 12)}L{number(reach)} {number(rise)}", (x0, rise, reach, foot - 12)
    )
    pen.canvas.math((Run("★"),), x0 + 10, top + 15, 13, what="inside")
    if op.stride > 1:
        pen.canvas.math((Run(str(op.stride)),), x1 - 6, rise + 5, 13, what="inside")


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
        more=data(node=pen.placed.step.path),
        what="box",
    )
    pen.canvas.text(pen.placed.step.op.kind, pen.x, (min(heights) + max(heights)) / 2 + 4, 12, what="inside")
