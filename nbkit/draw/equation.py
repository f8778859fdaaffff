"""Equations between diagrams: two pictures and a sign between them, as the papers state their identities.

Sides stand beside each other, in the middle of the line's height, as long as they fit; a side that does not
starts a new line with its sign in front, as aligned formulas do. Each side is the picture that `svg` draws.
`nk.equation(d, d.rewrite(…))` shows two whole diagrams; what `d.rewriting(…)` shows is the equation of the
parts that change. A diagram and not a picture is what `rewrite` gives, because the next step starts from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from nbkit.draw.canvas import Canvas, number
from nbkit.draw.labels import FONT, Run
from nbkit.draw.labels import width as label_width
from nbkit.draw.picture import MARGIN, Picture
from nbkit.draw.show import WIDTH, layout
from nbkit.language.diagram import Diagram
from nbkit.language.errors import DiagramError
from nbkit.language.functions import Fn

SIGN = 30.0  # size of the sign
_OVER = 15.0  # size of what stands over it
_LINE_GAP = 22.0
_LONGEST = 12
_ENDLESS = 1e9

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Equation:
    """Diagrams that are equal; shown in a notebook as one picture that follows its theme."""

    sides: tuple[Diagram, ...]
    sign: str = "="
    over: str = ""
    looks: tuple[Options, ...] = field(default=(), repr=False)
    options: Options = field(default_factory=dict, repr=False)

    def svg(self, **options: Any) -> str:
        """The equation as SVG text; options are those of `nbkit.draw.svg`."""
        chosen = {**self.options, **options}
        width = float(chosen.pop("width", WIDTH))
        looks = [*self.looks, *[{}] * len(self.sides)][: len(self.sides)]
        wide = [
            _drawn(side, {**chosen, **look, "width": _ENDLESS})
            for side, look in zip(self.sides, looks, strict=True)
        ]
        sign = _sign_width(self.sign, self.over)
        zoom = wide[0].zoom
        lines = _lines(wide, sign, width / zoom)
        drawn = [
            picture
            if picture.width + 2 * sign <= width / zoom or len(line) > 1
            else _drawn(side, {**chosen, **look, "width": width - (sign + MARGIN) * zoom})
            for line in lines
            for picture, side, look in ((wide[i], self.sides[i], looks[i]) for i in line)
        ]
        return _composed(drawn, lines, self.sign, self.over, " = ".join(map(str, self.sides)))

    def save(self, path: str | Path, **options: Any) -> None:
        """Writes the picture to a file."""
        Path(path).write_text(self.svg(**options), encoding="utf-8")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {
            "text/plain": f" {self.sign} ".join(map(str, self.sides)),
            "text/html": f'<div style="overflow-x:auto">{self.svg(theme="auto")}</div>',
            "image/svg+xml": self.svg(theme="light"),
        }


def equation(
    *sides: Diagram | Fn, sign: str = "=", over: str = "", looks: Sequence[Options] = (), **options: Any
) -> Equation:
    """Diagrams side by side with a sign between them: `equation(before, after)`.

    `sign` is a short text such as "=" or "≈", `over` one above it ("def"). `looks` are options of
    `nbkit.draw.svg` for each side, `options` those for all. `DiagramError` for fewer than two sides.

    >>> from nbkit import linear
    >>> two = (linear("m -> f") >> linear("f -> n")).on("x m")
    >>> equation(two, two.rewrite("merge-linears")).svg()[:4]
    '<svg'
    """
    if len(sides) < 2:
        raise DiagramError(f"an equation has at least two sides, got {len(sides)}")
    for text in (sign, over):
        if len(text) > _LONGEST or not text.isprintable():
            raise DiagramError(f"a sign is a text of at most {_LONGEST} characters, found {text!r}"[:120])
    diagrams = tuple(side.diagram() if isinstance(side, Fn) else side for side in sides)
    for diagram in diagrams:
        if not isinstance(diagram, Diagram):
            raise DiagramError(f"the sides of an equation are diagrams, found {type(diagram).__name__}")
    return Equation(diagrams, sign, over, tuple(looks), options)


def _drawn(diagram: Diagram, options: Options) -> Picture:
    return layout(diagram, **options)


def _sign_width(sign: str, over: str) -> float:
    return max(label_width((Run(sign),), SIGN), label_width((Run(over),), _OVER)) + 2 * MARGIN


def _lines(pictures: Sequence[Picture], sign: float, width: float) -> list[list[int]]:
    """Which sides stand on which line: all on one, or each on a line of its own."""
    inner = sum(p.width - 2 * MARGIN for p in pictures)
    if inner + sign * (len(pictures) - 1) + 2 * MARGIN <= width:
        return [list(range(len(pictures)))]
    return [[i] for i in range(len(pictures))]


def _composed(
    pictures: Sequence[Picture], lines: Sequence[Sequence[int]], sign: str, over: str, words: str
) -> str:
    """One SVG of all pictures; where there are several lines, signs stand in front of all but the first."""
    theme, zoom = pictures[0].theme, pictures[0].zoom
    space = _sign_width(sign, over)
    indent = 0.0 if len(lines) == 1 else space - MARGIN
    parts: list[str] = []
    top, widest = MARGIN, 0.0
    for line in lines:
        tall = max(pictures[i].height - 2 * MARGIN for i in line)
        at = MARGIN + indent
        for i in line:
            picture = pictures[i]
            inside = picture.height - 2 * MARGIN
            if i:
                x = at + space / 2 if len(lines) == 1 else MARGIN + (space - 2 * MARGIN) / 2
                parts.append(_signed(picture, sign, over, x, top + tall / 2))
                at += space if len(lines) == 1 else 0.0
            parts.append(_placed(picture, at, top + (tall - inside) / 2))
            at += picture.width - 2 * MARGIN
        widest = max(widest, at + MARGIN)
        top += tall + _LINE_GAP
    w, h = number(widest), number(top - _LINE_GAP + MARGIN)
    wide, high = number(widest * zoom), number((top - _LINE_GAP + MARGIN) * zoom)
    paper = "" if theme.transparent else f'<rect width="{w}" height="{h}" rx="6" fill="{theme["paper"]}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="nbkit-diagram" width="{wide}" height="{high}" '
        f'viewBox="0 0 {w} {h}" font-family={quoteattr(FONT)} role="img" aria-label={quoteattr(words)} '
        f'style="max-width:100%;height:auto"><title>{escape(words)}</title>'
        f"{theme.sheet()}{paper}{''.join(parts)}</svg>"
    )


def _placed(picture: Picture, x: float, y: float) -> str:
    """The rows of a picture, its first shape's corner at (x, y)."""
    return "".join(
        f'<g transform="translate({number(x)} {number(y + dy - MARGIN)})">{row.canvas.svg()}</g>'
        for row, dy in zip(picture.rows, picture.offsets(), strict=True)
    )


def _signed(picture: Picture, sign: str, over: str, x: float, y: float) -> str:
    canvas = Canvas(replace(picture.theme))
    canvas.math((Run(sign),), x, y + 0.33 * SIGN, SIGN, what="sign")
    if over:
        canvas.math((Run(over),), x, y - 0.36 * SIGN, _OVER, what="sign")
    return canvas.svg()
