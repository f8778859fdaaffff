"""A canvas of shapes: each has a layer, a mark (what it is), an SVG text, a bounding box and a kind, so that
tests can measure a picture and other backends can write it down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from xml.sax.saxutils import escape, quoteattr

from nbkit.draw import labels
from nbkit.draw.labels import Label
from nbkit.draw.marks import Disc, Look, Mark, Outline, Rectangle, Words
from nbkit.draw.themes import Theme
from nbkit.language.axes import Axis

Box = tuple[float, float, float, float]
LAYERS = ("plate", "separator", "wire", "glyph", "dot", "label")
LABEL = 15.0
_DOUBLE = 1.6
_WAVE = 9.0  # length of a wave
_UNSEEN = ' pointer-events="none"'  # texts inside glyphs let the pointer reach the glyph, which has the tip


@dataclass(frozen=True, slots=True)
class Shape:
    """One thing on the canvas; `box` is (x0, y0, x1, y1)."""

    layer: str
    mark: Mark
    svg: str
    box: Box
    what: str = ""


def number(value: float) -> str:
    """Coordinates with at most two decimals, and no `-0`."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def data(**attributes: str) -> str:
    """` data-node="…" data-axis="…"`; empty values are left out."""
    return "".join([f" data-{key}={_quoted(value)}" for key, value in attributes.items() if value])


_quoted = lru_cache(maxsize=4096)(quoteattr)


def element(tag: str, attributes: str, tip: str = "") -> str:
    """An element; browsers show its tip when the pointer rests on it."""
    return f"<{tag}{attributes}><title>{escape(tip)}</title></{tag}>" if tip else f"<{tag}{attributes}/>"


class Canvas:
    """Collects the shapes of one row; `y` grows downwards."""

    def __init__(self, theme: Theme, wrong: frozenset[str] = frozenset()) -> None:
        self.theme = theme
        self.wrong = wrong  # wires to paint red
        self.shapes: list[Shape] = []
        self.ragged: frozenset[Axis] = frozenset()  # axes that are drawn as waves

    def add(self, layer: str, mark: Mark, svg: str, box: Box, what: str = "") -> None:
        self.shapes.append(Shape(layer, mark, svg, box, what))

    def paint(self, fill: str | None, stroke: str | None, width: float = 1.0) -> str:
        classes = [f"f-{fill}"] * (fill is not None) + [f"s-{stroke}"] * (stroke is not None)
        return (
            f' fill="{self.theme[fill] if fill else "none"}"'
            + (f' stroke="{self.theme[stroke]}" stroke-width="{width:g}"' if stroke else "")
            + (f' class="{" ".join(classes)}"' if classes else "")
        )

    def wire(
        self,
        draw: Callable[[float], str],
        box: Box,
        *,
        double: bool = False,
        natural: bool = False,
        wire: str = "",
        axis: str = "",
    ) -> None:
        """A wire; `draw(dy)` gives its path, dy lower. Image axes are double lines, index wires are thick."""
        colour, width = ("wrong", 2.4) if wire in self.wrong else ("ink", 2.0 if natural else 1.1)
        attributes = data(wire=wire, axis=axis)
        offsets = (-_DOUBLE, _DOUBLE) if double else (0.0,)
        path = "".join(draw(dy) for dy in offsets)
        mark = Outline(path, Look(None, colour, width))
        self.add(
            "wire", mark, f'<path d="{path}"{self.paint(None, colour, width)}{attributes}/>', box, "wire"
        )

    def path(
        self,
        d: str,
        box: Box,
        *,
        fill: str | None = None,
        stroke: str | None = "ink",
        width: float = 1.0,
        dash: str = "",
        layer: str = "glyph",
        more: str = "",
        tip: str = "",
        what: str = "",
    ) -> None:
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        svg = element("path", f' d="{d}"{self.paint(fill, stroke, width)}{dashes}{more}', tip)
        self.add(layer, Outline(d, Look(fill, stroke, width, dash)), svg, box, what)

    def polygon(
        self,
        points: Iterable[tuple[float, float]],
        *,
        fill: str | None,
        stroke: str | None = "ink",
        width: float = 1.0,
        layer: str = "glyph",
        more: str = "",
        tip: str = "",
        what: str = "",
    ) -> None:
        pairs = list(points)
        d = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in pairs) + "z"
        xs, ys = zip(*pairs, strict=True)
        self.path(
            d,
            (min(xs), min(ys), max(xs), max(ys)),
            fill=fill,
            stroke=stroke,
            width=width,
            layer=layer,
            more=more,
            tip=tip,
            what=what,
        )

    def rect(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        *,
        fill: str | None,
        stroke: str | None = None,
        width: float = 1.0,
        radius: float = 0.0,
        layer: str = "glyph",
        more: str = "",
        tip: str = "",
        what: str = "",
    ) -> None:
        corner = f' rx="{radius:g}"' if radius else ""
        place = f' x="{number(x0)}" y="{number(y0)}"'
        size = f' width="{number(x1 - x0)}" height="{number(y1 - y0)}"{corner}'
        svg = element("rect", f"{place}{size}{self.paint(fill, stroke, width)}{more}", tip)
        mark = Rectangle(x0, y0, x1, y1, radius, Look(fill, stroke, width))
        self.add(layer, mark, svg, (x0, y0, x1, y1), what)

    def circle(
        self,
        x: float,
        y: float,
        r: float,
        *,
        fill: str | None,
        stroke: str | None = "ink",
        width: float = 1.0,
        layer: str = "glyph",
        more: str = "",
        tip: str = "",
        what: str = "",
    ) -> None:
        place = f' cx="{number(x)}" cy="{number(y)}" r="{number(r)}"'
        svg = element("circle", f"{place}{self.paint(fill, stroke, width)}{more}", tip)
        mark = Disc(x, y, r, Look(fill, stroke, width))
        self.add(layer, mark, svg, (x - r, y - r, x + r, y + r), what)

    def dot(self, x: float, y: float) -> None:
        """Copying, addition, diagonalisation, deletion."""
        self.circle(x, y, 3.35, fill="ink", stroke=None, layer="dot", what="dot")

    def math(
        self,
        label: Label,
        x: float,
        y: float,
        size: float = LABEL,
        *,
        anchor: str = "middle",
        role: str = "ink",
        more: str = "",
        tip: str = "",
        what: str = "label",
    ) -> None:
        """A mathematical label; where it stands for a step, `more` names the node and `tip` tells of it."""
        width = labels.width(label, size)
        left = _left(x, width, anchor)
        text = labels.svg_text(
            label,
            round(x, 2),
            round(y, 2),
            size,
            anchor=anchor,
            paint=self.paint(role, None) + (_UNSEEN if what == "inside" else ""),
            bar=self.paint(None, role),
        )
        svg = f"<g{more}><title>{escape(tip)}</title>{text}</g>" if tip else text
        mark = Words(label, x, y, size, anchor, role)
        self.add("label", mark, svg, (left, y - 0.78 * size, left + width, y + 0.1 * size), what)

    def text(self, text: str, x: float, y: float, size: float, *, what: str = "title") -> None:
        """Upright sans-serif text, centred: titles."""
        width = labels.sans_width(text, size)
        left = x - width / 2
        attributes = (
            f' x="{number(x)}" y="{number(y)}" text-anchor="middle" font-family={quoteattr(labels.SANS)}'
            f' font-size="{size:g}"{self.paint("ink", None)}{_UNSEEN}'
        )
        svg = f"<text{attributes}>{escape(text)}</text>"
        mark = Words(text, x, y, size, "middle", "ink")
        self.add("label", mark, svg, (left, y - 0.78 * size, left + width, y + 0.2 * size), what)

    def arrow(self, x: float, y: float, *, right: bool = True) -> None:
        """The concave fishtail arrowhead, its point at (x, y)."""
        s = -1 if right else 1
        d = f"M{number(x)} {number(y)}l{number(s * 10.7)} -5.1 {number(-s * 3.6)} 5.1 {number(s * 3.6)} 5.1z"
        self.path(
            d,
            (min(x, x + s * 10.7), y - 5.2, max(x, x + s * 10.7), y + 5.2),
            fill="ink",
            stroke=None,
            what="arrow",
        )

    def svg(self, dy: float = 0.0) -> str:
        """All shapes, layer by layer."""
        body = "".join(shape.svg for layer in LAYERS for shape in self.shapes if shape.layer == layer)
        return f'<g transform="translate(0 {number(dy)})">{body}</g>' if dy else body


def _left(x: float, width: float, anchor: str) -> float:
    return x - width / 2 if anchor == "middle" else x if anchor == "start" else x - width


def fitted(text: str, room: float, size: float, least: float) -> tuple[str, float]:
    """A title that fits into `room`: smaller, down to `least`, then cut with an ellipsis."""
    if labels.sans_width(text, least) <= room:
        return text, min(size, room / max(labels.sans_width(text, 1.0), 0.01))
    while text and labels.sans_width(f"{text}…", least) > room:
        text = text[:-1]
    return f"{text.rstrip()}…", least


def curve(x0: float, y0: float, x1: float, y1: float) -> Callable[[float], str]:
    """From left to right: straight where level, else an S with horizontal tangents."""

    def draw(dy: float) -> str:
        a, b = y0 + dy, y1 + dy
        if abs(y0 - y1) < 0.01:
            return f"M{number(x0)} {number(a)}H{number(x1)}"
        middle = number((x0 + x1) / 2)
        start, end = f"{number(x0)} {number(a)}", f"{number(x1)} {number(b)}"
        return f"M{start}C{middle} {number(a)} {middle} {number(b)} {end}"

    return draw


def waved(x0: float, x1: float, y: float) -> Callable[[float], str]:
    """A level wire of a ragged axis: how many elements there are depends on the data."""

    def draw(dy: float) -> str:
        count = max(round((x1 - x0) / _WAVE), 1)
        step = (x1 - x0) / count
        turn, half = number(step / 4), number(step / 2)
        wave = f"q{turn} -3 {half} 0q{turn} 3 {half} 0"
        return f"M{number(x0)} {number(y + dy)}{wave * count}"

    return draw


def span(x0: float, y0: float, x1: float, y1: float) -> Box:
    """The bounding box of two points."""
    return (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
