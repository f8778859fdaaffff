"""Columns → picture: widths, rows, heights, wires, separators, plates, labels; then the SVG text.

The picture is a pure function of the diagram, the fold and the theme: the same input gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from nbkit.draw import glyphs, labels
from nbkit.draw.canvas import LABEL, Box, Canvas, Shape, data, number
from nbkit.draw.columns import NATURAL, NOTHING, POSITIONS, Bundle, Columns, Placed, columns
from nbkit.draw.flow import Flow, Fold, Region, flow
from nbkit.draw.labels import Label, Run
from nbkit.draw.themes import Theme
from nbkit.draw.tracks import APART, PLATE_ABOVE, PLATE_BELOW, TITLE, clearance, heights
from nbkit.language.diagram import Diagram

MARGIN = 14.0
ROW_GAP = 30.0
_HEAD = 19.0  # room above the top lane of an array: labels and floating functions
_FOOT = 9.0
_GAP = 9.0
_TURN = 34.0  # room for the arrows of a line break
_BRACKET = 14.0

Labels = dict[tuple[int, str], Label]


@dataclass(frozen=True)
class Gap:
    """The space between two columns: its strip, and the heights of its lanes from top to bottom."""

    x0: float
    x1: float
    lanes: tuple[tuple[tuple[int, str], float], ...]


@dataclass(frozen=True)
class Row:
    """One line of a picture: its shapes and gaps, and how far they reach."""

    canvas: Canvas
    gaps: tuple[Gap, ...]
    top: float
    bottom: float
    width: float


@dataclass(frozen=True)
class Picture:
    """A laid-out diagram: rows of shapes. `shapes()` gives them in the coordinates of the whole."""

    name: str
    description: str
    rows: tuple[Row, ...]
    theme: Theme
    lifetimes: Columns

    @property
    def width(self) -> float:
        return max(row.width for row in self.rows) + 2 * MARGIN

    @property
    def height(self) -> float:
        return sum(row.bottom - row.top for row in self.rows) + ROW_GAP * (len(self.rows) - 1) + 2 * MARGIN

    def offsets(self) -> list[float]:
        at, result = MARGIN, []
        for row in self.rows:
            result.append(at - row.top)
            at += row.bottom - row.top + ROW_GAP
        return result

    def shapes(self) -> list[tuple[int, Shape]]:
        return [(i, shape) for i, row in enumerate(self.rows) for shape in row.canvas.shapes]

    def svg(self) -> str:
        """The SVG text."""
        w, h = number(self.width), number(self.height)
        paper = (
            ""
            if self.theme.transparent
            else f'<rect width="{w}" height="{h}" rx="6" fill="{self.theme["paper"]}"/>'
        )
        body = "".join(
            f'<g transform="translate({number(MARGIN)} {number(dy)})">{row.canvas.svg()}</g>'
            for row, dy in zip(self.rows, self.offsets(), strict=True)
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="nbkit-diagram" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" '
            f'aria-label={quoteattr(self.description)} style="max-width:100%;height:auto">'
            f"<title>{escape(self.description)}</title>{self.theme.sheet()}{paper}{body}</svg>"
        )


def picture(
    diagram: Diagram, fold: Fold, theme: Theme, width: float, wrong: frozenset[str] = frozenset()
) -> Picture:
    """Lays a diagram out in rows of at most `width` user units; wires named in `wrong` are red."""
    stream = flow(diagram, fold)
    placed = columns(stream)
    sheet = _Sheet(stream, placed, theme, wrong)
    rows = tuple(sheet.row(first, last) for first, last in sheet.breaks(width))
    return Picture(diagram.name, str(diagram), rows, theme, placed)


class _Sheet:
    """Widths of columns and gaps, and which labels stand where; then one row at a time."""

    def __init__(self, stream: Flow, placed: Columns, theme: Theme, wrong: frozenset[str]) -> None:
        self.wrong = wrong
        self.stream, self.columns, self.cuts, self.theme = stream, placed.columns, placed.cuts, theme
        self.widths = [max((glyphs.width_of(p) for p in column), default=0.0) for column in self.columns]
        self.titles = [self.labels(i) for i in range(len(self.cuts))]
        self.gaps = [self.gap(i) for i in range(len(self.cuts))]
        self.spans = self.regions()

    def labels(self, cut: int) -> Labels:
        """Label economy: inputs and outputs of the picture, and what an operation made or changed."""
        result: Labels = {}
        edge = cut in (0, len(self.cuts) - 1)
        for bundle in self.cuts[cut]:
            source = self.origin(bundle) if bundle.birth == cut else {}
            for lane in bundle.lanes:
                if lane == NOTHING:
                    continue
                fresh = bundle.birth == cut and bundle.maker is not None and self.fresh(bundle, lane, source)
                if edge or fresh:
                    known = not (cut == 0 or (fresh and not source.get(lane)))
                    result[id(bundle), lane] = _label(bundle, lane, known)
        return result

    def origin(self, bundle: Bundle) -> dict[str, Bundle]:
        """For each lane of a new bundle, the bundle that carried an axis of that name into the step."""
        if bundle.maker is None:
            return {}
        return {lane: source for source in bundle.maker.ins for lane in source.lanes if lane in bundle.lanes}

    def fresh(self, bundle: Bundle, lane: str, source: dict[str, Bundle]) -> bool:
        maker = bundle.maker
        assert maker is not None
        glyph = maker.step.glyph
        if glyph in ("enter", "leave", "copy", "cross", "add", "multiply"):
            return False
        before = source.get(lane)
        if lane == NATURAL:
            return before is None
        return (
            before is None
            or before.axis(lane) != bundle.axis(lane)
            or (glyph in ("linear", "conv", "cuboid") and lane in glyphs.touched(maker) and glyph != "cuboid")
        )

    def gap(self, cut: int) -> float:
        wide = _wide(self.titles[cut])
        if wide:
            return wide + 12
        quiet = {"enter", "leave"}
        around = [p.step.glyph for i in (cut - 1, cut) if 0 <= i < len(self.columns) for p in self.columns[i]]
        return 2.0 if around and set(around) <= quiet else _GAP

    def regions(self) -> dict[Region, list[int]]:
        """First and last column of every region."""
        spans: dict[Region, list[int]] = {}
        for i, column in enumerate(self.columns):
            for p in column:
                if p.step.glyph in ("enter", "leave"):
                    spans.setdefault(p.step.extra["frame"], [i, i])[1] = i
        return spans

    # -- rows ---------------------------------------------------------------------------------------------------

    def breaks(self, width: float) -> list[tuple[int, int]]:
        """Column ranges of the rows: as full as they can be, broken where regions and few wires make it cheap."""
        total = len(self.columns)
        rows: list[tuple[int, int]] = []
        first = 0
        while first < total or not rows:
            last, best, cheapest = first, total, 1e9
            at = _TURN + _wide(self.openers(first)) + 12 if first else self.gaps[first]
            while last < total:
                at += self.widths[last] + self.gaps[last + 1]
                limit = (
                    width - _TURN if last + 1 < total else 1.12 * width
                )  # rather a little wide than a last crumb
                if at > limit and last > first:
                    break
                last += 1
                if last < total and at > 0.38 * width:
                    cost = self.price(last) - 3.0 * at / width
                    if cost <= cheapest:
                        best, cheapest = last, cost
            end = total if last >= total else (best if best < total and best > first else last)
            rows.append((first, end))
            first = end
            if first >= total:
                break
        return rows

    def price(self, cut: int) -> float:
        """What it costs to break at a cut: wires that must be carried over, frames that must be cut."""
        wires = sum(len(bundle.lanes) for bundle in self.cuts[cut])
        cutting = sum(
            3 if region.kind == "plate" else 2 for region, (a, b) in self.spans.items() if a < cut <= b
        )
        return 0.5 * wires + cutting

    def row(self, first: int, last: int) -> Row:
        """Lays out columns first … last − 1."""
        cuts = self.cuts[first : last + 1]
        strip = self.columns[first:last]
        y = heights(cuts, strip)
        canvas = Canvas(self.theme, self.wrong)
        x = [0.0 if first == 0 else _TURN]
        if first == 0:
            x[0] = max((labels.width(_input_name(b), 19) + 8 for b in cuts[0] if _shows_name(b)), default=0.0)
        edges: list[tuple[float, float]] = []
        gaps: list[tuple[float, float]] = []
        at = x[0]
        openers = self.openers(first) if first else {}
        for i in range(first, last + 1):
            gap = self.gaps[i] if i > first or not first else _wide(openers) + 12
            gaps.append((at, at + gap))
            at += gap
            if i < last:
                edges.append((at, at + self.widths[i]))
                at += self.widths[i]
        right = at

        def strip_of(placed: Placed) -> tuple[float, float]:
            x0, x1 = edges[placed.column - first]
            middle, half = (x0 + x1) / 2, glyphs.width_of(placed) / 2
            return middle - half, middle + half

        def height(bundle: Bundle, lane: str) -> float:
            return y[id(bundle), lane]

        seen: set[int] = set()
        for bundle in (b for cut in cuts for b in cut):
            if id(bundle) in seen:
                continue
            seen.add(id(bundle))
            starts_here = bundle.maker is not None and first <= bundle.maker.column < last
            ends_here = bundle.user is not None and first <= bundle.user.column < last
            x0 = strip_of(bundle.maker)[1] if starts_here and bundle.maker else gaps[0][0]
            x1 = strip_of(bundle.user)[0] if ends_here and bundle.user else right
            self.run(canvas, bundle, y, x0, x1)
        for placed in (p for column in strip for p in column):
            x0, x1 = strip_of(placed)
            glyphs.draw(glyphs.Pen(placed, x0, x1, height, canvas))
        self.separators(canvas, cuts, strip, y, gaps, edges)
        self.titles_of(canvas, first, last, y, gaps, openers)
        self.frames(canvas, first, last, y, edges, right)
        if first > 0:
            self.turns(canvas, cuts[0], y, _TURN, incoming=True)
        if last < len(self.columns):
            self.turns(canvas, cuts[-1], y, right, incoming=False)
            right += _TURN
        top = min((shape.box[1] for shape in canvas.shapes), default=0.0)
        bottom = max((shape.box[3] for shape in canvas.shapes), default=0.0)
        spaces = tuple(
            Gap(x0, x1, tuple(((id(b), lane), y[id(b), lane]) for b in cut for lane in b.lanes))
            for (x0, x1), cut in zip(gaps, cuts, strict=True)
        )
        return Row(canvas, spaces, min(top, -_HEAD), max(bottom, _FOOT), right)

    def run(
        self, canvas: Canvas, bundle: Bundle, y: dict[tuple[int, str], float], x0: float, x1: float
    ) -> None:
        """The straight part of an array's wires."""
        for lane in bundle.lanes:
            if lane == NOTHING or x1 - x0 < 0.01:
                continue
            level = y[id(bundle), lane]
            double = lane != NATURAL and bundle.axis(lane).rank > 1
            canvas.wire(
                lambda dy, level=level: f"M{number(x0)} {number(level + dy)}H{number(x1)}",  # type: ignore[misc]
                (x0, level, x1, level),
                double=double,
                natural=lane == NATURAL,
                wire=bundle.value.wire,
                axis="" if lane == NATURAL else lane,
            )

    def openers(self, cut: int) -> Labels:
        """A new row begins with the names of all of its wires."""
        return {
            (id(b), lane): _label(b, lane, False)
            for b in self.cuts[cut]
            for lane in b.lanes
            if lane != NOTHING
        }

    def titles_of(
        self,
        canvas: Canvas,
        first: int,
        last: int,
        y: dict[tuple[int, str], float],
        gaps: list[tuple[float, float]],
        openers: Labels,
    ) -> None:
        for i in range(first, last + 1):
            x0, x1 = gaps[i - first]
            for key, label in (openers if i == first and first else self.titles[i]).items():
                canvas.math(label, (x0 + x1) / 2, y[key] - 5)
        if first == 0:
            for bundle in self.cuts[0]:
                if _shows_name(bundle):
                    levels = [y[id(bundle), lane] for lane in bundle.lanes]
                    canvas.math(
                        _input_name(bundle),
                        gaps[0][0] - 6,
                        (min(levels) + max(levels)) / 2 + 6,
                        19,
                        anchor="end",
                        what="name",
                    )

    # -- separators ---------------------------------------------------------------------------------------------

    def separators(
        self,
        canvas: Canvas,
        cuts: list[list[Bundle]],
        strip: list[list[Placed]],
        y: dict[tuple[int, str], float],
        gaps: list[tuple[float, float]],
        edges: list[tuple[float, float]],
    ) -> None:
        """Dashed lines between neighbouring arrays, straight as far as they can be, with 45° bends where not."""
        open_chains: dict[tuple[int, int], _Chain] = {}
        done: list[_Chain] = []
        for i, cut in enumerate(cuts):
            chains: dict[tuple[int, int], _Chain] = {}
            after = _successors(strip[i - 1]) if i else None
            for upper, lower in zip(cut, cut[1:], strict=False):
                low = y[id(upper), upper.lanes[-1]] + 13 + _ends(upper.region, lower.region)
                high = y[id(lower), lower.lanes[0]] - 20 - _begins(upper.region, lower.region)
                chain = None
                if after is not None:
                    chain = open_chains.pop((after.first(upper), after.second(lower)), None)
                if chain is None:
                    chain = _Chain(_start(upper, lower, strip[i - 1], edges[i - 1]) if i else gaps[0][0])
                chain.pieces.append((gaps[i], low, high))
                chains[id(upper), id(lower)] = chain
            done.extend(
                chain.ended(edges[i - 1][0] + 30 if i else gaps[i][1]) for chain in open_chains.values()
            )
            open_chains = chains
        done.extend(chain.ended(gaps[-1][1]) for chain in open_chains.values())
        for chain in done:
            points = chain.points()
            d = "M" + "L".join(f"{number(px)} {number(py)}" for px, py in points)
            xs, ys = zip(*points, strict=True)
            more = ' stroke-dasharray="7.5 6"'
            canvas.path(
                d,
                (min(xs), min(ys), max(xs), max(ys)),
                stroke="faint",
                width=1.4,
                layer="separator",
                more=more,
                what="separator",
            )

    # -- frames -------------------------------------------------------------------------------------------------

    def frames(
        self,
        canvas: Canvas,
        first: int,
        last: int,
        y: dict[tuple[int, str], float],
        edges: list[tuple[float, float]],
        right: float,
    ) -> None:
        """Plates of blocks and parentheses of repetitions, inner ones first so that outer ones enclose them."""
        inside: dict[Region, list[float]] = {}
        for cut in range(first, last + 1):
            for bundle in self.cuts[cut]:
                for region in bundle.region.chain() if bundle.region else ():
                    inside.setdefault(region, []).extend(y[id(bundle), lane] for lane in bundle.lanes)
        boxes: dict[Region, Box] = {}
        for region in sorted(inside, key=lambda r: -len(r.chain())):
            a, b = self.spans[region]
            levels = inside[region]
            children = [box for r, box in boxes.items() if r.parent == region]
            top = min([min(levels) - _HEAD, *(box[1] - 6 for box in children)])
            bottom = max([max(levels) + _FOOT + 3, *(box[3] + 7 for box in children)])
            x0 = sum(edges[a - first]) / 2 if a >= first else -4.0
            x1 = sum(edges[b - first]) / 2 if b < last else right + 4
            if region.kind == "plate":
                top -= TITLE
            boxes[region] = (x0, top, x1, bottom)
        for region in sorted(boxes, key=lambda r: len(r.chain())):
            a, b = self.spans[region]
            self.frame(canvas, region, boxes[region], opens=a >= first, closes=b < last)

    def frame(self, canvas: Canvas, region: Region, box: Box, *, opens: bool, closes: bool) -> None:
        x0, top, x1, bottom = box
        more = data(block=region.path)
        if region.kind == "plate":
            outline = "ink" if self.theme.outline else None
            canvas.rect(
                x0,
                top,
                x1,
                bottom,
                fill=region.fill or "region",
                stroke=outline,
                radius=3,
                layer="plate",
                more=more,
                what="plate",
            )
            size = min(12.5, (x1 - x0 - 6) / (0.54 * max(len(region.title), 1)))
            if opens and size >= 7:
                canvas.text(region.title, (x0 + x1) / 2, top + 13, round(size, 1), what="title")
            return
        for x, side, there in ((x0, -1, opens), (x1, 1, closes)):
            if there:
                lean = side * _BRACKET
                start = x - lean / 2
                d = f"M{number(start)} {number(top)}C{number(start + lean)} {number(top + (bottom - top) * 0.28)} {number(start + lean)} {number(bottom - (bottom - top) * 0.28)} {number(start)} {number(bottom)}"
                reach = start + lean * 0.75
                canvas.path(
                    d,
                    (min(start, reach), top, max(start, reach), bottom),
                    width=2.6,
                    more=more,
                    what="bracket",
                )
        if opens:
            canvas.math((Run("λ", italic=True), Run(" = "), Run("1")), x0 - 8, bottom + 14, 14, what="count")
        if closes:
            canvas.math((Run("×"), Run(region.count)), x1 + 4, top - 4, 14, what="count")

    def turns(
        self, canvas: Canvas, cut: list[Bundle], y: dict[tuple[int, str], float], x: float, *, incoming: bool
    ) -> None:
        """Curved arrows where a line is broken: out to the lower right, in from the upper left."""
        for bundle in cut:
            for lane in bundle.lanes:
                if lane == NOTHING:
                    continue
                level = y[id(bundle), lane]
                if incoming:
                    d = f"M{number(x - 30)} {number(level - 11)}q7 11 22 11h8"
                    canvas.path(
                        d,
                        (x - 30, level - 11, x, level),
                        stroke="faint",
                        width=1.1,
                        layer="wire",
                        what="turn",
                    )
                    canvas.arrow(x - 2, level)
                else:
                    d = f"M{number(x)} {number(level)}h6q12 0 19 8"
                    canvas.path(
                        d, (x, level, x + 26, level + 8), stroke="faint", width=1.1, layer="wire", what="turn"
                    )
                    head = f"M{number(x + 30)} {number(level + 12)}l-10.6 -2.6 4.2 -1.6 1.6 -4.4z"
                    canvas.path(
                        head, (x + 19, level + 4, x + 30, level + 12), fill="ink", stroke=None, what="arrow"
                    )


def _wide(titles: Labels) -> float:
    return max((labels.width(label, LABEL) for label in titles.values()), default=0.0)


@dataclass
class _Chain:
    """One separator through several cuts: where it starts and ends, and the heights that it may take in each gap."""

    start: float
    end: float = 0.0
    pieces: list[tuple[tuple[float, float], float, float]] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.pieces = []

    def ended(self, x: float) -> _Chain:
        self.end = max(x, self.start + 4)
        return self

    def points(self) -> list[tuple[float, float]]:
        """The polyline: constant while the intervals meet; a bend of 45° in the column between where they do not."""
        runs: list[tuple[float, float, float, float]] = []  # x0, x1, low, high
        for (x0, x1), low, high in self.pieces:
            if runs and max(runs[-1][2], low) <= min(runs[-1][3], high) + 0.01:
                a, _, l, h = runs[-1]
                runs[-1] = (a, x1, max(l, low), min(h, high))
            else:
                runs.append((x0, x1, low, high))
        points = [(self.start, runs[0][2])]
        level = runs[0][2]
        for previous, now in zip(runs, runs[1:], strict=False):
            fresh = min(max(level, now[2]), now[3])
            rise = abs(fresh - level)
            turn = max(now[0] - rise, previous[1], points[-1][0])
            points += [(turn, level), (now[0], fresh)]
            level = fresh
        points.append((max(self.end, points[-1][0]), level))
        return points


class _successors:
    """Which pair of neighbours a pair after the column continues."""

    def __init__(self, column: list[Placed]) -> None:
        self.last_of = {id(p.outs[-1]): id(p.ins[-1]) for p in column if p.outs and p.ins}
        self.first_of = {id(p.outs[0]): id(p.ins[0]) for p in column if p.outs and p.ins}
        for p in column:
            if p.step.glyph in ("enter", "leave"):
                for a, b in zip(p.ins, p.outs, strict=True):
                    self.last_of[id(b)] = self.first_of[id(b)] = id(a)

    def first(self, upper: Bundle) -> int:
        return self.last_of.get(id(upper), id(upper))

    def second(self, lower: Bundle) -> int:
        return self.first_of.get(id(lower), id(lower))


def _start(upper: Bundle, lower: Bundle, column: list[Placed], edge: tuple[float, float]) -> float:
    """A separator starts right after the dots of the copy that made it, else behind the step."""
    for p in column:
        if lower in p.outs or upper in p.outs:
            return edge[0] + 34 if p.step.glyph == "copy" else edge[1]
    return edge[1]


def _ends(above: Region | None, below: Region | None) -> float:
    """Room that the frames ending below the upper array need."""
    return clearance(above, _common(above, below))


def _begins(above: Region | None, below: Region | None) -> float:
    return clearance(_common(above, below), below)


def _common(one: Region | None, two: Region | None) -> Region | None:
    shared = None
    for a, b in zip(one.chain() if one else (), two.chain() if two else (), strict=False):
        if a != b:
            break
        shared = a
    return shared


def _label(bundle: Bundle, lane: str, known: bool) -> Label:
    if lane == NATURAL:
        bound = bundle.value.array.bound
        assert bound is not None
        return labels.expression(bound)
    axis = bundle.axis(lane)
    return labels.axis_label(axis, position=axis.name[0] in POSITIONS, known=known)


def _shows_name(bundle: Bundle) -> bool:
    """Inputs carry their parameter names (Q, K, V), unless that only repeats the name of their first axis."""
    return bool(bundle.value.label) and bundle.value.label != bundle.lanes[0]


def _input_name(bundle: Bundle) -> Label:
    return labels.name(bundle.value.label.upper() if len(bundle.value.label) == 1 else bundle.value.label)


__all__ = ["APART", "PLATE_ABOVE", "PLATE_BELOW", "Picture", "Row", "picture"]
