"""Columns → rows: widths of columns and gaps, where lines are broken, then one row of shapes at a time."""

from __future__ import annotations

from dataclasses import dataclass

from nbkit.draw import captions, glyphs, labels, tutorial
from nbkit.draw.borders import COUNTED, Borders
from nbkit.draw.canvas import LABEL, Canvas, number
from nbkit.draw.columns import Columns
from nbkit.draw.frames import FOOT, HEAD, TURN, Sides, boxes, draw_frame, draw_turns
from nbkit.draw.labels import Label
from nbkit.draw.lanes import FRAMES, Bundle, Lane, Placed
from nbkit.draw.separators import Span, separators
from nbkit.draw.steps import Region, chain
from nbkit.draw.strokes import NAME, draw_names, draw_run, draw_separator
from nbkit.draw.styles import PAPER, Style
from nbkit.draw.themes import Theme
from nbkit.draw.tracks import heights
from nbkit.language import ops

_GAP = 9.0
_ALONE = 60.0  # wires with nothing on them
_QUIET_GAP = 2.0  # beside nothing but frames


@dataclass(frozen=True)
class Gap:
    """The space between two columns: its strip, and the heights of its lanes from top to bottom."""

    x0: float
    x1: float
    lanes: tuple[tuple[Lane, float], ...]
    inside: dict[int, tuple[str, ...]]  # paths of the regions around each array (by id)
    wires: dict[int, str]  # the wire that each array is on (by id)


@dataclass(frozen=True)
class Row:
    """One line of a picture: its shapes and gaps, and how far they reach."""

    canvas: Canvas
    gaps: tuple[Gap, ...]
    top: float
    bottom: float
    width: float


class Sheet:
    """What all rows share: widths of columns and gaps, captions of cuts, columns of regions."""

    def __init__(
        self, placed: Columns, theme: Theme, wrong: frozenset[str] = frozenset(), style: Style = PAPER
    ) -> None:
        self.columns, self.cuts, self.theme, self.wrong = placed.columns, placed.cuts, theme, wrong
        self.style = style
        room = tutorial.tag_room if style.plates else _no_room
        self.widths = [
            max((glyphs.width_of(p) + 2 * room(p) for p in column), default=0.0) for column in self.columns
        ]
        ends, changes = (0, len(self.cuts) - 1), style.labels != "ends"
        all_of = [i in ends or (style.labels == "every" and self.acts(i - 1)) for i in range(len(self.cuts))]
        self.captions = [
            captions.captions(cut, i, edge=edge, changes=changes)
            for i, (cut, edge) in enumerate(zip(self.cuts, all_of, strict=True))
        ]
        self.ragged = frozenset(
            p.step.ins[0].array[p.step.op.over]
            for column in self.columns
            for p in column
            if isinstance(p.step.op, ops.Scatter)
        )
        self.openings: dict[int, float] = {}
        self.gaps = [self.gap(i) for i in range(len(self.cuts))]
        self.spans: dict[Region, list[int]] = {}  # first and last column
        for i, column in enumerate(self.columns):
            for frame in (p.step.frame for p in column):
                if frame is not None:
                    self.spans.setdefault(frame, [i, i])[1] = i
        self.cutting = [0.0] * len(self.cuts)  # frames that a break at each cut would cut
        for region, (a, b) in self.spans.items():
            for cut in range(a + 1, b + 1):
                sliver = 4.0 / min(cut - a, b + 1 - cut)  # little of the frame is left on one side
                self.cutting[cut] += (7.0 if region.kind == "plate" else 2.0) + sliver

    def acts(self, column: int) -> bool:
        """Whether something happens in a column, beside frames."""
        return any(p.step.glyph not in FRAMES for p in self.columns[column])

    def gap(self, cut: int) -> float:
        """The width of the space at a cut."""
        wide = captions.widest(self.captions[cut])
        if not self.columns:
            return max(wide + 12, _ALONE)
        if wide:
            return wide + 12
        around = {p.step.glyph for i in (cut - 1, cut) if 0 <= i < len(self.columns) for p in self.columns[i]}
        return _QUIET_GAP if around and around <= FRAMES else _GAP

    # -- line breaks ----------------------------------------------------------------------------------

    def breaks(self, width: float) -> list[tuple[int, int]]:
        """Column ranges of the rows, broken where it is cheapest in total.

        The total fit of Knuth and Plass (Software: Practice and Experience 11, 1981), over columns instead of
        words: full rows, and few wires and frames that are cut.
        """
        total = len(self.columns)
        best = [(0.0, 0)]  # by cut: what the rows before it cost at least, and where the last of them begins
        for end in range(1, total + 1):
            options: list[tuple[float, int]] = []
            room = width if end == total else width - TURN
            used = self.widths[end - 1] + self.gaps[end]
            for first in range(end - 1, -1, -1):
                lead = TURN + self.opening(first) if first else self.gaps[0]
                if options and used + lead > room:
                    break
                options.append((best[first][0] + self.cost((room - used - lead) / room, first, end), first))
                used += self.widths[first - 1] + self.gaps[first]
            best.append(min(options))
        rows: list[tuple[int, int]] = []
        end = total
        while end or not rows:
            rows.append((best[end][1], end))
            end = best[end][1]
        return rows[::-1]

    def cost(self, left: float, first: int, end: int) -> float:
        """What a row costs: the share that is left empty (or too wide), and what is cut where it ends."""
        wide = 100.0 * max(-left, 0.0)
        if end == len(self.columns):  # the last row may be short, but no crumb
            return wide + (4.0 * max(left - 0.75, 0.0) if first else 0.0)
        return wide + 12.0 * left**2 + self.price(end)

    def opening(self, cut: int) -> float:
        """The width of the first gap of a row that begins at a cut."""
        if cut not in self.openings:
            self.openings[cut] = captions.widest(captions.openers(self.cuts[cut])) + 12
        return self.openings[cut]

    def price(self, cut: int) -> float:
        """What it costs to break at a cut: a row more, wires that are carried over, frames that are cut."""
        return 4.0 + 0.5 * sum(len(bundle.lanes) for bundle in self.cuts[cut]) + self.cutting[cut]

    # -- one row --------------------------------------------------------------------------------

    def row(self, first: int, last: int) -> Row:
        """Lays out columns first … last − 1."""
        cuts, columns = self.cuts[first : last + 1], self.columns[first:last]
        borders = Borders(cuts, COUNTED)
        y = heights(cuts, columns, borders)
        gaps, edges = self.strips(first, last)
        left, right = gaps[0][0], gaps[-1][1]
        canvas = Canvas(self.theme, self.wrong)
        canvas.ragged = self.ragged
        strip = {id(p): _strip(p, edge) for column, edge in zip(columns, edges, strict=True) for p in column}

        def at(bundle: Bundle, lane: str) -> float:
            return y[id(bundle), lane]

        for bundle in {id(b): b for cut in cuts for b in cut}.values():
            x0 = strip.get(id(bundle.maker), (left, left))[1]
            x1 = strip.get(id(bundle.user), (right, right))[0]
            draw_run(canvas, bundle, y, x0, x1)
        for placed in (p for column in columns for p in column):
            glyphs.draw(glyphs.Pen(placed, *strip[id(placed)], at, canvas))
        for points in separators(cuts, columns, y, gaps, edges, borders):
            draw_separator(canvas, points)
        shown = [
            captions.openers(cuts[0]) if first else self.captions[0],
            *self.captions[first + 1 : last + 1],
        ]
        for (x0, x1), titles in zip(gaps, shown, strict=True):
            for key, label in titles.items():
                canvas.math(label, (x0 + x1) / 2, y[key] - 5)
        if first == 0:
            draw_names(canvas, cuts[0], y, left - 6)
        sides = self.sides(first, last, edges)
        for region, box in boxes(cuts, y, sides, (-4.0, right + 4), borders).items():
            draw_frame(canvas, region, box, sides[region])
        if self.style.plates:
            labelled = [bool(titles) for titles in shown]
            tutorial.draw_plates(canvas, cuts, columns, y, gaps, edges, labelled)
            for column, edge in zip(columns, edges, strict=True):
                for placed in column:
                    tutorial.draw_tags(canvas, placed, edge, at)
        if first > 0:
            draw_turns(canvas, cuts[0], y, TURN, incoming=True)
        if last < len(self.columns):
            draw_turns(canvas, cuts[-1], y, right, incoming=False)
            right += TURN
        top = min((shape.box[1] for shape in canvas.shapes), default=0.0)
        bottom = max((shape.box[3] for shape in canvas.shapes), default=0.0)
        right = max([right, *(shape.box[2] - 6 for shape in canvas.shapes)])
        spaces = tuple(
            Gap(
                x0,
                x1,
                tuple(((id(b), lane), y[id(b), lane]) for b in cut for lane in b.lanes),
                {id(b): tuple(r.path for r in chain(b.region)) for b in cut},
                {id(b): b.value.wire for b in cut},
            )
            for (x0, x1), cut in zip(gaps, cuts, strict=True)
        )
        return Row(canvas, spaces, min(top, -HEAD), max(bottom, FOOT), right)

    def strips(self, first: int, last: int) -> tuple[list[Span], list[Span]]:
        """The x ranges of the gaps and of the columns of a row."""
        names = [labels.width(name, NAME) + 8 for b in self.cuts[0] if (name := captions.input_name(b))]
        at = TURN if first else max(names, default=0.0)
        gaps: list[Span] = []
        edges: list[Span] = []
        for i in range(first, last + 1):
            wide = self.opening(i) if i == first and first else self.gaps[i]
            gaps.append((at, at + wide))
            at += wide
            if i < last:
                edges.append((at, at + self.widths[i]))
                at += self.widths[i]
        return gaps, edges

    def sides(self, first: int, last: int, edges: list[Span]) -> dict[Region, Sides]:
        """Where the borders of each region lie in this row, in the middle of the columns of its frame."""
        found: dict[Region, Sides] = {}
        for region, (a, b) in self.spans.items():
            left = sum(edges[a - first]) / 2 if first <= a < last else None
            right = sum(edges[b - first]) / 2 if first <= b < last else None
            found[region] = (left, right)
        return found


def legend(lines: list[Label], theme: Theme) -> Row:
    """A plate that says what the letters of λ-indexed sizes stand for."""
    canvas = Canvas(theme)
    wide = max([60.0, *(labels.width(line, LABEL) for line in lines)]) + 24
    low = 34.0 + 24.0 * len(lines)
    canvas.rect(
        0,
        0,
        wide,
        low,
        fill="linear",
        stroke="ink" if theme.outline else None,
        radius=3,
        layer="plate",
        what="legend",
    )
    canvas.text("Legend", wide / 2, 16, 12.5)
    canvas.path(f"M10 22H{number(wide - 10)}", (10, 22, wide - 10, 22), width=1.0)
    for i, line in enumerate(lines):
        canvas.math(line, 12, 44 + 24.0 * i, LABEL, anchor="start")
    return Row(canvas, (), 0.0, low, wide)


def _no_room(_: Placed) -> float:
    return 0.0


def _strip(placed: Placed, edge: Span) -> Span:
    """A step stands in the middle of its column."""
    middle, half = sum(edge) / 2, glyphs.width_of(placed) / 2
    return middle - half, middle + half
