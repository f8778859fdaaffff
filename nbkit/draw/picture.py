"""A laid-out diagram: rows of shapes, their text as SVG, and what a test can measure.

The picture is a pure function of the diagram, the fold and the theme: the same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from xml.sax.saxutils import escape, quoteattr

from nbkit.draw.budget import Budget
from nbkit.draw.canvas import Shape, number
from nbkit.draw.columns import columns
from nbkit.draw.flow import flow
from nbkit.draw.labels import FONT
from nbkit.draw.rows import Row, Sheet, legend
from nbkit.draw.steps import Fold
from nbkit.draw.styles import PAPER, Style
from nbkit.draw.themes import Theme
from nbkit.language.diagram import Diagram

MARGIN = 14.0
ROW_GAP = 30.0
_TRIES = 8  # at most, to keep to a budget


@dataclass(frozen=True)
class Picture:
    """Rows of shapes; `shapes()` gives them with the number of their row."""

    description: str
    rows: tuple[Row, ...]
    theme: Theme
    zoom: float = 1.0

    @property
    def width(self) -> float:
        """Width in user units, with margins."""
        return max(row.width for row in self.rows) + 2 * MARGIN

    @property
    def height(self) -> float:
        """Height in user units, with margins."""
        return sum(row.bottom - row.top for row in self.rows) + ROW_GAP * (len(self.rows) - 1) + 2 * MARGIN

    def offsets(self) -> list[float]:
        """How far down each row's origin lies."""
        at, result = MARGIN, []
        for row in self.rows:
            result.append(at - row.top)
            at += row.bottom - row.top + ROW_GAP
        return result

    def shapes(self) -> list[tuple[int, Shape]]:
        """All shapes, each with the number of its row."""
        return [(i, shape) for i, row in enumerate(self.rows) for shape in row.canvas.shapes]

    @property
    def elements(self) -> int:
        """How many elements the SVG text has."""
        text = self.svg()
        return text.count("<") - text.count("</")

    @cached_property
    def _svg(self) -> str:
        w, h = number(self.width), number(self.height)
        wide, high = number(self.width * self.zoom), number(self.height * self.zoom)
        paper = f'<rect width="{w}" height="{h}" rx="6" fill="{self.theme["paper"]}"/>'
        body = "".join(
            f'<g transform="translate({number(MARGIN)} {number(dy)})">{row.canvas.svg()}</g>'
            for row, dy in zip(self.rows, self.offsets(), strict=True)
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="nbkit-diagram" width="{wide}" height="{high}" '
            f'viewBox="0 0 {w} {h}" font-family={quoteattr(FONT)} '
            f'role="img" aria-label={quoteattr(self.description)} '
            f'style="max-width:100%;height:auto"><title>{escape(self.description)}</title>'
            f"{self.theme.sheet()}{'' if self.theme.transparent else paper}{body}</svg>"
        )

    def svg(self) -> str:
        """The SVG text."""
        return self._svg


def picture(
    diagram: Diagram,
    fold: Fold,
    theme: Theme,
    width: float,
    wrong: frozenset[str] = frozenset(),
    style: Style = PAPER,
) -> Picture:
    """Lays a diagram out in rows of at most `width` pixels; wires named in `wrong` are red."""
    steps = flow(diagram, fold)
    sheet = Sheet(columns(steps), theme, wrong, style)
    rows = tuple(sheet.row(first, last) for first, last in sheet.breaks(width / style.zoom))
    if steps.legend:
        rows += (legend(steps.legend, theme),)
    return Picture(str(diagram), rows, theme, style.zoom)


def within(
    diagram: Diagram,
    fold: Fold,
    limit: int | None,
    draw: Callable[[Diagram, Fold], Picture],
) -> Picture:
    """The picture with parts folded until it has at most `limit` elements (None: as many as there are)."""
    if limit is None:
        return draw(diagram, fold)
    budget, aim = Budget(diagram, fold), float(limit)
    for _ in range(_TRIES):
        found = draw(*budget.within(aim))
        if found.elements <= limit:
            break
        aim = min(aim, budget.spent) * min(0.9, 0.95 * limit / found.elements)
    return found
