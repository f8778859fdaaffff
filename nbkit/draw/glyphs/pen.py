"""What a glyph draws with, and the table of glyphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from nbkit.draw import labels
from nbkit.draw.canvas import Canvas, curve, data, number, span, waved
from nbkit.draw.labels import Label
from nbkit.draw.lanes import NATURAL, NOTHING, Bundle, Link, Placed, Port, woven
from nbkit.draw.links import continues, moves

Heights = Callable[[Bundle, str], float]
Ports = tuple[list[Port], list[Port]]  # lanes that end at a glyph, lanes that begin at it


@dataclass(frozen=True)
class Pen:
    """A step, its strip [x0, x1], the heights of lanes, and the canvas."""

    placed: Placed
    x0: float
    x1: float
    at: Heights
    canvas: Canvas

    @property
    def x(self) -> float:
        """The middle of the strip."""
        return (self.x0 + self.x1) / 2

    @property
    def node(self) -> str:
        """The attributes that say which node is drawn, and which other one its glyph stands for."""
        return data(node=self.placed.step.path, also=self.placed.step.also)

    @property
    def tip(self) -> str:
        """What the pointer is told."""
        return self.placed.step.tip

    def wire(self, bundle: Bundle, lane: str, x0: float, y0: float, x1: float, y1: float) -> None:
        """A lane's wire from one point to another, from left to right."""
        if lane == NOTHING:
            return
        wavy = y0 == y1 and x1 - x0 > 20 and lane != NATURAL and bundle.axis(lane) in self.canvas.ragged
        self.canvas.wire(
            waved(x0, x1, y0) if wavy else curve(x0, y0, x1, y1),
            span(x0, y0, x1, y1),
            double=bundle.double(lane),
            natural=lane == NATURAL,
            wire=bundle.value.wire,
            axis="" if lane == NATURAL else lane,
        )

    def through(self, start: float | None = None, end: float | None = None) -> None:
        """Draws all lanes that run through the step; those that bend do so between `start` and `end`."""
        x0, x1 = self.x0 if start is None else start, self.x1 if end is None else end
        for a, lane, b, other in self._running():
            y0, y1 = self.at(a, lane), self.at(b, other)
            if y0 == y1:
                self.wire(b, other, self.x0, y0, self.x1, y1)
                continue
            if x0 > self.x0:
                self.wire(b, other, self.x0, y0, x0, y0)
            self.wire(b, other, x0, y0, x1, y1)
            if x1 < self.x1:
                self.wire(b, other, x1, y1, self.x1, y1)

    def ports(self) -> Ports:
        """The lanes that end at this glyph and those that begin at it."""
        running = {(id(a), lane) for a, lane, _, _ in self._running()}
        onward = {(id(b), lane) for _, _, b, lane in self._running()}

        def ends(bundles: list[Bundle], passing: set[tuple[int, str]]) -> list[Port]:
            lanes = [(b, lane) for b in bundles for lane in b.lanes if lane != NOTHING]
            return [(b, lane) for b, lane in lanes if (id(b), lane) not in passing]

        return ends(self.placed.ins, running), ends(self.placed.outs, onward)

    def _running(self) -> list[Link]:
        links = [*self.placed.links, *self.placed.loose]
        return [link for link in links if continues(self.placed.step, link[1], link[3])]

    def stubs(self, left: float, right: float, ports: Ports) -> None:
        """Draws the wires from the strip's borders to a glyph that reaches from `left` to `right`."""
        for bundle, lane in ports[0]:
            self.wire(bundle, lane, self.x0, self.at(bundle, lane), left, self.at(bundle, lane))
        for bundle, lane in ports[1]:
            self.wire(bundle, lane, right, self.at(bundle, lane), self.x1, self.at(bundle, lane))

    def weave(self, left: float, right: float) -> list[float]:
        """Draws the axes with weights of their own over the glyph, each with a dot; gives their heights."""
        levels: list[float] = []
        for lane in woven(self.placed.step):
            source, out = self.placed.ins[0], self.placed.outs[0]
            y0, y1 = self.at(source, lane), self.at(out, lane)
            d = f"M{number(left)} {number(y0)}L{number(right)} {number(y1)}"
            self.canvas.path(d, span(left, y0, right, y1), width=1.1, layer="dot", what="woven")
            x, y = left + 7, y0 + 7 * (y1 - y0) / (right - left)
            self.canvas.circle(x, y, 3.35, fill="ink", stroke=None, layer="dot", what="pin")
            levels += [y0, y1]
        return levels

    def floating(self, label: Label) -> None:
        """An elementwise function: between a tail and a head above the top wire, touching none."""
        (out,) = self.placed.outs
        indices = any(b.lanes[0] == NATURAL for b in (*self.placed.ins, out))  # their wire has an arrowhead
        y = self.at(out, out.lanes[0]) - (14.0 if indices else 9.5)
        half = labels.width(label, 15) / 2
        self.canvas.arrow(self.x - half - 1, y)
        self.canvas.arrow(self.x + half + 11, y)
        self.canvas.math(label, self.x, y + 5, 15, more=self.node, tip=self.tip, what="factor")

    def extent(self, ports: Ports) -> tuple[float, float]:
        """Top and bottom of a glyph's ports; without ports, the top lanes."""
        arrays = (*self.placed.ins, *self.placed.outs)
        levels = [self.at(bundle, lane) for side in ports for bundle, lane in side]
        levels = levels or [self.at(b, b.lanes[0]) for b in arrays] or [0.0]
        return min(levels), max(levels)


def clear(top: float, bottom: float, lines: list[float]) -> float:
    """The middle of the widest gap that lines leave between two heights: a letter fits there."""
    stops = sorted([top, *(y for y in lines if top < y < bottom), bottom])
    upper, lower = max(pairwise(stops), key=lambda gap: round(gap[1] - gap[0], 2))
    return (upper + lower) / 2


MOVE = 34.0  # room for lanes that move beside a glyph


def moving(placed: Placed) -> float:
    """The room that a step needs for lanes that move."""
    return MOVE * any(moves(placed, lane) for lane in placed.ins[0].lanes)


Width = Callable[[Placed], float]
Draw = Callable[[Pen], None]
_GLYPHS: dict[str, tuple[Width, Draw]] = {}


def glyph(*kinds: str, width: float | Width) -> Callable[[Draw], Draw]:
    """Registers how steps of these kinds are drawn, in a strip of this width."""
    measure = width if callable(width) else _always(width)

    def register(draw: Draw) -> Draw:
        _GLYPHS.update(dict.fromkeys(kinds, (measure, draw)))
        return draw

    return register


def _always(width: float) -> Width:
    return lambda _: width


def width_of(placed: Placed) -> float:
    """The width of a step's strip, in user units."""
    return _GLYPHS.get(placed.step.glyph, _GLYPHS["box"])[0](placed)


def draw(pen: Pen) -> None:
    """Draws one step; an op without a glyph of its own becomes a labelled box."""
    _GLYPHS.get(pen.placed.step.glyph, _GLYPHS["box"])[1](pen)
