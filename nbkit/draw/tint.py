"""Tints: numbers by path laid over a finished picture as colours, with a legend. Nothing moves.

What stands for a part takes the colour of its number: plates, boxes, cuboids (which have the number of all
that they contain); behind what has no inside of its own (a cup, a floating function) a plate is laid. The
strongest colour is the largest number in the picture. An overlay knows nothing of what it shows: costs,
gradients and activations are all numbers by path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nbkit.draw import labels
from nbkit.draw.canvas import Box, Canvas, Shape
from nbkit.draw.marks import Disc, Outline, Rectangle
from nbkit.draw.picture import Picture
from nbkit.draw.ramps import STEPS, ramp
from nbkit.draw.rows import Row
from nbkit.draw.themes import Theme, dressed
from nbkit.language.errors import DiagramError

_SOLID = frozenset({"ink", "masked", "index", "note", "weave"})  # insides that say something themselves
_NODE = re.compile(r' data-node="([^"]*)"(?: data-also="([^"]*)")?')
_PREFIXES = ("", " k", " M", " G", " T", " P", " E")
_LEAST = 9.0  # half the height of a plate
_WIDE, _HIGH = 15.0, 11.0  # a swatch of the legend


@dataclass(frozen=True)
class Tint:
    """Numbers by path, what they count, and their sum (by default that of the outermost paths)."""

    values: Mapping[str, float]
    label: str = ""
    total: float | None = None


def tinted(picture: Picture, tint: Tint) -> Picture:
    """The picture in the colours of the numbers, and a legend below it."""
    for path, value in tint.values.items():
        if not (math.isfinite(value) and value >= 0):
            raise DiagramError(f"a tint is a number ≥ 0, but '{path[:60]}' has {value!r}")
    theme = _theme(picture.theme)
    marked = (_NODE.search(shape.svg) for _, shape in picture.shapes())
    shown = {match[1]: match[2] or "" for match in marked if match}
    sums = {path: tint.values.get(path, 0) + tint.values.get(also, 0) for path, also in shown.items()}
    known = {path: value for path, value in sums.items() if value}
    most = max(known.values(), default=0.0)
    role = {path: f"tint{round((STEPS - 1) * value / most)}" for path, value in known.items()}
    rows = tuple(replace(row, canvas=_canvas(row.canvas, theme, role)) for row in picture.rows)
    total = tint.total
    if total is None:
        total = sum(value for path, value in tint.values.items() if "." not in path)
    legend = _legend(theme, tint.label, most, total)
    return replace(picture, rows=(*rows, legend), theme=theme)


def _theme(theme: Theme) -> Theme:
    day = theme.name if theme.name in ("dark", "colourblind", "print") else "light"
    colours, night = ({f"tint{i}": c for i, c in enumerate(ramp(name))} for name in (day, "dark"))
    return dressed(theme, colours, night)


def _canvas(canvas: Canvas, theme: Theme, roles: Mapping[str, str]) -> Canvas:
    """The shapes of a row in their new colours; all others are grey, and what has no inside gets a plate."""
    plates = [shape for shape in canvas.shapes if shape.what == "plate"]
    bare: dict[str, list[Box]] = {}
    filled: set[str] = set()
    shapes: list[Shape] = []
    for shape in canvas.shapes:
        match = _NODE.search(shape.svg)
        fill = getattr(getattr(shape.mark, "look", None), "fill", None)
        if shape.what == "plate":
            depth = sum(_inside(shape.box, other.box) for other in plates)
            shapes.append(_filled(shape, theme, "paper" if depth % 2 else "outer"))
        elif fill is not None and fill not in _SOLID:
            path = match[1] if match else ""
            filled.add(path)
            shapes.append(_filled(shape, theme, roles.get(path, "tint0")))
        else:
            if match and match[1] in roles:
                bare.setdefault(match[1], []).append(shape.box)
            shapes.append(shape)
    laid = Canvas(theme, canvas.wrong)
    laid.shapes = [shape for shape in shapes if shape.layer == "plate"]
    for path, found in bare.items():
        if path not in filled:
            x0, y0, x1, y1 = _around(found)
            taller = max(5.0, _LEAST - (y1 - y0) / 2)
            laid.rect(
                x0 - 5,
                y0 - taller,
                x1 + 5,
                y1 + taller,
                fill=roles[path],
                radius=5,
                layer="plate",
                what="tint",
            )
    laid.shapes += [shape for shape in shapes if shape.layer != "plate"]
    return laid


def _inside(box: Box, other: Box) -> bool:
    """Whether a box lies in another one."""
    held = other[0] <= box[0] and other[1] <= box[1] and box[2] <= other[2] and box[3] <= other[3]
    return held and box != other


def _filled(shape: Shape, theme: Theme, role: str) -> Shape:
    """The shape with another inside."""
    svg = re.sub(r' fill="[^"]*"', f' fill="{theme[role]}"', shape.svg, count=1)
    svg = re.sub(r"\bf-[a-z]+", f"f-{role}", svg, count=1)
    mark = shape.mark
    if isinstance(mark, Outline | Rectangle | Disc):
        mark = replace(mark, look=replace(mark.look, fill=role))
    return replace(shape, svg=svg, mark=mark)


def _around(boxes: list[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _legend(theme: Theme, label: str, most: float, total: float) -> Row:
    """The ramp from nothing to the largest number, with what it counts and its share of all."""
    canvas = Canvas(theme)
    at = 0.0

    def say(text: str) -> None:
        nonlocal at
        wide = labels.sans_width(text, 12)
        canvas.text(text, at + wide / 2, _HIGH - 1.5, 12, what="legend")
        at += wide + 8

    if label:
        say(label)
    say("0")
    for i in range(STEPS):
        canvas.rect(at, 0, at + _WIDE, _HIGH, fill=f"tint{i}", what="legend")
        at += _WIDE
    canvas.rect(at - STEPS * _WIDE, 0, at, _HIGH, fill=None, stroke="faint", width=0.7, what="legend")
    at += 8
    share = f" = {100 * most / total:.3g} % of {amount(total)}" if total else ""
    say(f"{amount(most)}{share}")
    return Row(canvas, (), 0.0, _HIGH + 2, at)


def amount(value: float) -> str:
    """A number with three digits and a unit prefix: 12.3 k, 1.5 G.

    >>> amount(0), amount(512), amount(12_345), amount(2.5e9)
    ('0', '512', '12.3 k', '2.5 G')
    """
    step = 0
    while abs(value) >= 999.5 and step < len(_PREFIXES) - 1:
        value, step = value / 1000, step + 1
    return f"{value:.3g}{_PREFIXES[step]}"
