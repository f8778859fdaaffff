r"""Pictures as TikZ: the same layout as the SVG, written with TikZ's primitives and LaTeX's own mathematics.

A fragment (a `tikzpicture`) is put into a document by `\input`; the document loads tikz, amsmath and amssymb.
A stand-alone document has a page as large as the picture. Sizes are those of the SVG, a pixel being 0.75 bp.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import singledispatch
from typing import Any

from nbkit.draw.canvas import LAYERS, number
from nbkit.draw.marks import Disc, Look, Mark, Outline, Rectangle, Words
from nbkit.draw.picture import MARGIN, Picture
from nbkit.draw.reverse import Passes, reverse_picture
from nbkit.draw.show import layout
from nbkit.draw.tex import mathematics, prose
from nbkit.language.diagram import Diagram

WIDTH = 620.0  # pixels: the text of a page of A4
_UNIT = 0.75  # bp a pixel
_LINE = 10.0  # bp: the size of the document's text, which labels are scaled from
_FIT = 0.94  # Computer Modern is wider than the Times that labels are measured by
PREAMBLE = r"\usepackage{tikz,amsmath,amssymb}"
_DROP = (
    r"\providecommand{\nbkitdrop}{\mathord{\vcenter{\hbox{\begin{pgfpicture}"
    r"\pgfsetlinewidth{0.09ex}\pgfpathmoveto{\pgfpoint{0.7ex}{2ex}}\pgfpathlineto{\pgfpoint{0.15ex}{1ex}}"
    r"\pgfpathlineto{\pgfpoint{0.95ex}{1.1ex}}\pgfpathlineto{\pgfpoint{0.4ex}{0ex}}\pgfusepath{stroke}"
    r"\pgfsetlinewidth{0.09ex}\pgfpathmoveto{\pgfpoint{0.25ex}{0.5ex}}\pgfpathlineto{\pgfpoint{0.4ex}{0ex}}"
    r"\pgfpathlineto{\pgfpoint{0.85ex}{0.3ex}}\pgfusepath{stroke}\end{pgfpicture}}}}}%"
)


def tikz(diagram: Diagram, *, standalone: bool = False, width: float = WIDTH, **options: Any) -> str:
    r"""The neural circuit diagram as TikZ: a tikzpicture, or a whole document if `standalone`.

    Other options are those of `svg` (theme, style, depth, …). A document that takes the tikzpicture by \input
    loads tikz, amsmath and amssymb.

    >>> from nbkit import linear, relu
    >>> text = tikz((linear("m -> f") >> relu).on("x m"))
    >>> print(text.splitlines()[0])
    % in the preamble: \usepackage{tikz,amsmath,amssymb}
    """
    return written(layout(diagram, width=width, **options), standalone=standalone)


def reverse_tikz(passes: Passes, *, standalone: bool = False, width: float = WIDTH, **options: Any) -> str:
    """The picture of a backward pass as TikZ; options are those of `tikz`."""
    return written(reverse_picture(passes, width=width, **options), standalone=standalone)


def written(picture: Picture, *, standalone: bool) -> str:
    """A picture that is laid out as TikZ, alone or with the document around it."""
    drawn = "\n".join(_picture(picture))
    if not standalone:
        return f"% in the preamble: {PREAMBLE}\n{drawn}\n"
    return f"{_BEGIN}{drawn}\n{_END}"  # a page as large as the picture


_BEGIN = rf"""\documentclass{{article}}
{PREAMBLE}
\ifdefined\pdfpagewidth\else % LuaLaTeX
  \let\pdfpagewidth\pagewidth
  \let\pdfpageheight\pageheight
\fi
\begin{{document}}
\setbox0\hbox{{%
"""
_END = r"""}
\hoffset=-1in
\voffset=-1in
\pdfpagewidth=\wd0
\pdfpageheight=\dimexpr\ht0+\dp0\relax
\shipout\box0
\end{document}
"""


def _picture(picture: Picture) -> Iterator[str]:
    """The lines of a tikzpicture."""
    unit = _UNIT * picture.zoom
    pen = _Pen(unit)
    body = []
    for row, dy in zip(picture.rows, picture.offsets(), strict=True):
        at = rf"shift={{({number(MARGIN)},{number(dy)})}}"
        body.append(rf"\begin{{scope}}[{at}]")
        body += [draw(s.mark, pen) for layer in LAYERS for s in row.canvas.shapes if s.layer == layer]
        body.append(r"\end{scope}")
    theme = picture.theme
    paper = theme.name not in ("light", "print") and not theme.transparent
    for role in sorted({*pen.roles, *["paper"] * paper}):
        yield rf"\definecolor{{nbkit-{role}}}{{HTML}}{{{theme[role].lstrip('#').upper()}}}%"
    if any(r"\nbkitdrop" in line for line in body):
        yield _DROP
    font = r"every node/.style={inner sep=0pt, outer sep=0pt, font=\fontsize{10}{12}\selectfont}"
    yield rf"\begin{{tikzpicture}}[x={number(unit)}bp, y=-{number(unit)}bp, {font}]"
    corner = f"({number(picture.width)},{number(picture.height)})"
    yield rf"\path[use as bounding box] (0,0) rectangle {corner};"
    if paper:
        yield rf"\fill[nbkit-paper] (0,0) rectangle {corner};"
    yield from body
    yield r"\end{tikzpicture}%"


class _Pen:
    """What marks are drawn with: bp a user unit. It remembers the roles of colours."""

    def __init__(self, unit: float) -> None:
        self.unit = unit
        self.roles: set[str] = set()

    def colour(self, role: str) -> str:
        """The name of a role's colour."""
        self.roles.add(role)
        return f"nbkit-{role}"

    def look(self, look: Look) -> str:
        """The options of a path."""
        options = []
        if look.fill is not None:
            options.append(f"fill={self.colour(look.fill)}")
        if look.stroke is not None:
            options += [f"draw={self.colour(look.stroke)}", f"line width={number(look.width * self.unit)}bp"]
        if look.dash:
            on, off = (number(float(part) * self.unit) for part in look.dash.split())
            options.append(f"dash pattern=on {on}bp off {off}bp")
        return ", ".join(options)


@singledispatch
def draw(mark: Mark, pen: _Pen) -> str:
    """A mark as one command of TikZ."""
    raise TypeError(f"{mark!r} is no mark that {pen!r} draws")


@draw.register
def _(mark: Outline, pen: _Pen) -> str:
    return rf"\path[{pen.look(mark.look)}] {' '.join(path(mark.d, mark.mirror))};"


@draw.register
def _(mark: Rectangle, pen: _Pen) -> str:
    corner = f", rounded corners={number(mark.radius * pen.unit)}bp" if mark.radius else ""
    ends = f"({number(mark.x0)},{number(mark.y0)}) rectangle ({number(mark.x1)},{number(mark.y1)})"
    return rf"\path[{pen.look(mark.look)}{corner}] {ends};"


@draw.register
def _(mark: Disc, pen: _Pen) -> str:
    radius = number(mark.r * pen.unit)
    return rf"\path[{pen.look(mark.look)}] ({number(mark.x)},{number(mark.y)}) circle[radius={radius}bp];"


@draw.register
def _(mark: Words, pen: _Pen) -> str:
    anchor = {"middle": "base", "start": "base west", "end": "base east"}[mark.anchor]
    fit = 1.0 if isinstance(mark.text, str) else _FIT
    scale = number(fit * mark.size * pen.unit * 1.00375 / _LINE)
    text = rf"\textsf{{{prose(mark.text)}}}" if isinstance(mark.text, str) else f"${mathematics(mark.text)}$"
    options = f"anchor={anchor}, scale={scale}, text={pen.colour(mark.role)}"
    return rf"\node[{options}] at ({number(mark.x)},{number(mark.y)}) {{{text}}};"


# -- paths ---------------------------------------------------------------------------------------------------

Point = tuple[float, float]
_COMMAND = re.compile(r"[A-Za-z]|[-+]?(?:\d+\.?\d*|\.\d+)")
_COUNTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "Q": 4, "A": 7, "Z": 0}


def path(d: str, mirror: float | None = None) -> Iterator[str]:
    """The notation of `Outline` as TikZ's.

    >>> print(*path("M0 0h10C20 0 20 5 30 5z"))
    (0,0) -- (10,0) .. controls (20,0) and (20,5) .. (30,5) -- cycle
    """
    words = _COMMAND.findall(d)
    here: Point = (0.0, 0.0)
    command = ""
    while words:
        if words[0].isalpha():
            command = words.pop(0)
        kind, (dx, dy) = command.upper(), here if command.islower() else (0.0, 0.0)
        numbers = [float(words.pop(0)) for _ in range(_COUNTS[kind])]
        if kind == "Z":
            yield "-- cycle"
            continue
        if kind == "H":
            numbers = [numbers[0] + dx, here[1]]
        elif kind == "V":
            numbers = [here[0], numbers[0] + dy]
        elif kind == "A":
            numbers[5:] = [numbers[5] + dx, numbers[6] + dy]
        else:
            numbers = [n + (dy if i % 2 else dx) for i, n in enumerate(numbers)]
        end = (numbers[-2], numbers[-1])
        if kind == "M":
            yield _told([end], mirror)
            command = "l" if command == "m" else "L"
        elif kind == "C":
            yield _told([(numbers[0], numbers[1]), (numbers[2], numbers[3]), end], mirror)
        elif kind == "Q":
            bend = (numbers[0], numbers[1])
            yield _told([_toward(here, bend), _toward(end, bend), end], mirror)
        elif kind == "A":
            for curve in _arc(here, numbers[0], bool(numbers[3]), bool(numbers[4]), end):
                yield _told(curve, mirror)
        else:
            yield f"-- {_told([end], mirror)}"
        here = end


def _told(points: Sequence[Point], mirror: float | None) -> str:
    """A point, or a curve by its control points and its end."""
    shown = [f"({number(x if mirror is None else mirror - x)},{number(y)})" for x, y in points]
    return shown[0] if len(shown) == 1 else f".. controls {shown[0]} and {shown[1]} .. {shown[2]}"


def _toward(start: Point, bend: Point) -> Point:
    return (start[0] + 2 / 3 * (bend[0] - start[0]), start[1] + 2 / 3 * (bend[1] - start[1]))


def _arc(start: Point, radius: float, long: bool, clockwise: bool, end: Point) -> Iterator[list[Point]]:
    """An arc of a circle as curves of at most a quarter (SVG 1.1, appendix F.6.5, for one radius)."""
    (x0, y0), (x1, y1) = start, end
    chord = math.hypot(x1 - x0, y1 - y0)
    radius = max(radius, chord / 2)
    rise = math.sqrt(max(radius**2 - chord**2 / 4, 0.0)) / chord * (1 if long == clockwise else -1)
    cx, cy = (x0 + x1) / 2 + rise * (y1 - y0), (y0 + y1) / 2 - rise * (x1 - x0)
    first, last = math.atan2(y0 - cy, x0 - cx), math.atan2(y1 - cy, x1 - cx)
    turn = (last - first) % (2 * math.pi) if clockwise else -((first - last) % (2 * math.pi))
    pieces = math.ceil(abs(turn) / (math.pi / 2) - 1e-9)
    step = turn / pieces
    reach = 4 / 3 * math.tan(step / 4) * radius
    for i in range(pieces):
        a, b = first + i * step, first + (i + 1) * step
        one = (cx + radius * math.cos(a), cy + radius * math.sin(a))
        two = (cx + radius * math.cos(b), cy + radius * math.sin(b))
        yield [
            (one[0] - reach * math.sin(a), one[1] + reach * math.cos(a)),
            (two[0] + reach * math.sin(b), two[1] - reach * math.cos(b)),
            two,
        ]
