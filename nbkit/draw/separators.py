"""Separators: dashed lines between neighbouring arrays, straight as far as they can be, with bends of 45°
where not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from nbkit.draw.borders import ALL, Borders
from nbkit.draw.lanes import FRAMES, PASSING, Bundle, Lane, Placed

Span = tuple[float, float]
Point = tuple[float, float]
_BELOW = 13.0  # least distance from the last wire above; clearances of frames come on top
_ABOVE = 20.0  # least distance to the first wire below: its labels stand there


def separators(
    cuts: list[list[Bundle]],
    columns: list[list[Placed]],
    y: Mapping[Lane, float],
    gaps: list[Span],
    edges: list[Span],
    narrow: Borders,
) -> list[list[Point]]:
    """One polyline for each pair of neighbours, while they are; `gaps` and `edges` (columns) are x ranges.

    They keep clear of all frames where they can, else of those that are `narrow`: counted ones.
    """
    wide = Borders(cuts, ALL)
    going: dict[tuple[int, int], _Chain] = {}
    done: list[_Chain] = []
    for i, cut in enumerate(cuts):
        chains: dict[tuple[int, int], _Chain] = {}
        before = _Before(columns[i - 1]) if i else None
        for upper, lower in pairwise(cut):
            low, high = _room(wide, i, upper, lower, y)  # bends before a plate if it can
            if low > high:
                low, high = _room(narrow, i, upper, lower, y)
            low, high = _clear(
                upper, lower, y, low, high
            )  # and before a glyph that is taller on its other side
            line = going.pop((before.above(upper), before.below(lower)), None) if before else None
            if line is None:
                line = _Chain(_start(upper, lower, columns[i - 1], edges[i - 1]) if i else gaps[0][0])
            line.pieces.append((gaps[i], low, high))
            chains[id(upper), id(lower)] = line
        done += [line.ended(_end(pair, columns[i - 1], edges[i - 1])) for pair, line in going.items()]
        going = chains
    done += [line.ended(gaps[-1][1]) for line in going.values()]
    return [line.points() for line in done]


def _room(borders: Borders, cut: int, upper: Bundle, lower: Bundle, y: Mapping[Lane, float]) -> Span:
    """The heights that a separator may take between two neighbours."""
    ends, begins = borders.between(cut, upper, lower)
    low = max(y[lane] + _BELOW + room for lane, room in ends.items())
    return low, min(y[lane] - _ABOVE - room for lane, room in begins.items())


def _clear(upper: Bundle, lower: Bundle, y: Mapping[Lane, float], low: float, high: float) -> Span:
    """The heights between two neighbours that also clear both sides of the glyphs at their ends."""
    below, above = low, high
    for here, there in _glyphs(upper):
        if here[-1] is upper and there and (id(there[-1]), there[-1].lanes[-1]) in y:
            below = max(below, y[id(there[-1]), there[-1].lanes[-1]] + _BELOW)
    for here, there in _glyphs(lower):
        if here[0] is lower and there and (id(there[0]), there[0].lanes[0]) in y:
            above = min(above, y[id(there[0]), there[0].lanes[0]] - _ABOVE)
    return (below, above) if below <= above else (low, high)


def _glyphs(bundle: Bundle) -> list[tuple[list[Bundle], list[Bundle]]]:
    """The boxes at the ends of an array: the arrays on its side of each, and those on the other side."""
    ends = ((bundle.maker, False), (bundle.user, True))
    found = [(p, into) for p, into in ends if p is not None and p.step.glyph not in PASSING]
    return [(p.ins, p.outs) if into else (p.outs, p.ins) for p, into in found]


@dataclass
class _Chain:
    """One separator through several cuts: its ends, and the heights that it may take in each gap."""

    start: float
    end: float = 0.0
    pieces: list[tuple[Span, float, float]] = field(default_factory=list)

    def ended(self, x: float) -> _Chain:
        self.end = max(x, self.start + 4)
        return self

    def points(self) -> list[Point]:
        """A polyline: level while the intervals meet; it bends by 45° in the column where they do not."""
        runs: list[tuple[float, float, float, float]] = []  # x0, x1, low, high
        for (x0, x1), low, high in self.pieces:
            if runs and max(runs[-1][2], low) <= min(runs[-1][3], high) + 0.01:
                left, _, lowest, highest = runs[-1]
                runs[-1] = (left, x1, max(lowest, low), min(highest, high))
            else:
                runs.append((x0, x1, low, high))
        points = [(self.start, runs[0][2])]
        level = runs[0][2]
        for previous, now in pairwise(runs):
            fresh = min(max(level, now[2]), now[3])
            rise = abs(fresh - level)
            turn = max(now[0] - rise, previous[1], points[-1][0])
            points += [(turn, level), (now[0], fresh)]
            level = fresh
        points.append((max(self.end, points[-1][0]), level))
        return points


class _Before:
    """Which arrays before a column those after it continue, seen from the separators above and below."""

    def __init__(self, column: list[Placed]) -> None:
        self.last = {id(p.outs[-1]): id(p.ins[-1]) for p in column if p.outs and p.ins}
        self.first = {id(p.outs[0]): id(p.ins[0]) for p in column if p.outs and p.ins}
        for p in column:
            if p.step.glyph in FRAMES:
                for a, b in zip(p.ins, p.outs, strict=True):
                    self.last[id(b)] = self.first[id(b)] = id(a)

    def above(self, upper: Bundle) -> int:
        return self.last.get(id(upper), id(upper))

    def below(self, lower: Bundle) -> int:
        return self.first.get(id(lower), id(lower))


def _start(upper: Bundle, lower: Bundle, column: list[Placed], edge: Span) -> float:
    """A separator starts right after the dots of the copy that made it, else behind the step."""
    maker = next((p for p in column if lower in p.outs or upper in p.outs), None)
    return edge[0] + 34 if maker is not None and maker.step.glyph == "copy" else edge[1]


def _end(pair: tuple[int, int], column: list[Placed], edge: Span) -> float:
    """A separator ends in the middle of the step that makes one array of two, but before a box, also one that
    comes between the two.
    """
    user = next((p for p in column if any(id(b) in pair for b in p.ins)), None)
    boxed = any(not p.ins for p in column) if user is None else user.step.glyph not in PASSING
    return edge[0] + (0 if boxed else 30)
