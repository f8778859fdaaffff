"""Columns → heights: one y for every lane.

Each (bundle, lane) keeps one y for its whole life. Lanes that run straight through a step are united into
*tracks*, unless that would make the order of the tracks cyclic. In every cut neighbouring lanes keep their
distance (20 inside an array, 33 across a separator, more where plates or titles stand between them); the
longest path through these constraints is the lowest feasible layout. Alternating median moves inside the
slack then close gaps inside arrays and shorten bends. Linear in the number of columns, because rows are laid
out one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from nbkit.draw.borders import APART, Borders, above_of, below_of
from nbkit.draw.lanes import PASSING, Bundle, Lane, Placed
from nbkit.draw.steps import Region

PITCH = 20.0
_SWEEPS = 24

Wish = tuple[int, int, float, int]  # the second lane should lie so much below the first; weight
Pulls = dict[int, list[tuple[int, float, int]]]  # track -> (other track, wished offset from it, weight)


def heights(cuts: list[list[Bundle]], columns: list[list[Placed]], borders: Borders) -> dict[Lane, float]:
    """The y of every (bundle id, lane) in these cuts; the topmost is 0."""
    solver = _Solver(cuts, columns, borders)
    present = solver.index
    wishes: list[Wish] = []
    for placed in (p for column in columns for p in column):
        for a, lane, b, other in placed.links:
            one, two = present.get((id(a), lane)), present.get((id(b), other))
            if one is not None and two is not None and not solver.unite(one, two):
                wishes.append((one, two, 0.0, 1))
        for (a, lane), (b, other), lanes in placed.offsets:
            wishes.append((present[id(a), lane], present[id(b), other], lanes * PITCH, 4))
        for a, lane, b, other in placed.loose:
            one, two = present.get((id(a), lane)), present.get((id(b), other))
            if one is not None and two is not None:
                wishes.append((one, two, 0.0, 1))
    return solver.solve(wishes)


class _Solver:
    def __init__(self, cuts: list[list[Bundle]], columns: list[list[Placed]], borders: Borders) -> None:
        self.index: dict[Lane, int] = {}
        self.within: dict[tuple[int, int], float] = {}
        for bundle in (b for cut in cuts for b in cut):
            for lane in bundle.lanes:
                self.index.setdefault((id(bundle), lane), len(self.index))
            for one, two in pairwise(bundle.lanes):
                pair = self.index[id(bundle), one], self.index[id(bundle), two]
                self.within[pair] = bundle.room.get(two, PITCH)
        self.parent = list(range(len(self.index)))
        self.below: list[dict[int, float]] = [{} for _ in self.parent]
        self.above: list[dict[int, float]] = [{} for _ in self.parent]
        for (a, b), distance in self.within.items():
            self.keep(a, b, distance)
        self.keep_apart(cuts, columns, borders)

    def knows(self, *bundles: Bundle) -> bool:
        """Whether these arrays lie in this row."""
        return all((id(b), b.lanes[0]) in self.index for b in bundles)

    def keep(self, a: int, b: int, distance: float) -> None:
        """Lane b lies at least so far below lane a."""
        self.below[a][b] = self.above[b][a] = max(self.below[a].get(b, 0.0), distance)

    def keep_apart(self, cuts: list[list[Bundle]], columns: list[list[Placed]], borders: Borders) -> None:
        """Neighbouring arrays keep their distance, and so do whole regions unless arrays change places."""
        pairs = {
            (id(a), id(b), borders.regions[i][id(a)], borders.regions[i][id(b)]): (i, a, b)
            for i, cut in enumerate(cuts)
            for a, b in pairwise(cut)
        }
        beside = [pair for cut, column in zip(cuts, columns, strict=False) for pair in _beside(cut, column)]
        beside += [p for cut, column in zip(cuts[1:], columns, strict=False) for p in _leaving(cut, column)]
        beside += [pair for cut in cuts for pair in _across(cut) if self.knows(*pair[:2])]
        further: dict[tuple[int, int], float] = {}
        for cut_number, upper, lower in pairs.values():
            above, below = borders.between(cut_number, upper, lower)
            near = (id(upper), upper.lanes[-1]), (id(lower), lower.lanes[0])
            for one, room in above.items():
                for two, more in below.items():
                    a, b, distance = self.index[one], self.index[two], APART + room + more
                    if (one, two) == near:
                        self.keep(a, b, distance)
                    else:
                        further[a, b] = max(further.get((a, b), 0.0), distance)
        for upper, lower, room in beside:
            a, b = self.index[id(upper), upper.lanes[-1]], self.index[id(lower), lower.lanes[0]]
            further[a, b] = max(further.get((a, b), 0.0), APART + room)
        for (a, b), distance in further.items():
            if a != b and not self.reaches(b, a):
                self.keep(a, b, distance)

    def find(self, node: int) -> int:
        while self.parent[node] != node:
            self.parent[node] = self.parent[self.parent[node]]
            node = self.parent[node]
        return node

    def unite(self, one: int, two: int) -> bool:
        """Makes one track of two, unless one must lie above the other."""
        one, two = self.find(one), self.find(two)
        if one == two:
            return True
        if self.reaches(one, two) or self.reaches(two, one):
            return False
        for table, back in ((self.below, self.above), (self.above, self.below)):
            for other, distance in table[two].items():
                table[one][other] = max(table[one].get(other, 0.0), distance)
                back[other].pop(two, None)
                back[other][one] = max(back[other].get(one, 0.0), distance)
            table[two] = {}
        self.parent[two] = one
        return True

    def reaches(self, start: int, goal: int) -> bool:
        """Whether `goal` lies somewhere below `start`."""
        seen = {start}
        stack = [start]
        while stack:
            for other in self.below[stack.pop()]:
                if other == goal:
                    return True
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        return False

    def solve(self, wishes: Iterable[Wish]) -> dict[Lane, float]:
        """The lowest feasible layout, then moves inside its slack towards what is wished for."""
        roots = [node for node in range(len(self.parent)) if self.find(node) == node]
        order = self.sorted(roots)
        y = dict.fromkeys(roots, 0.0)
        for node in order:
            y[node] = max((y[a] + d for a, d in self.above[node].items()), default=0.0)
        pulls: Pulls = {node: [] for node in roots}
        for (a, b), distance in self.within.items():
            one, two = self.find(a), self.find(b)
            if one != two:
                pulls[one].append((two, -distance, 3))
                pulls[two].append((one, distance, 3))
        for a, b, distance, weight in wishes:
            one, two = self.find(a), self.find(b)
            if one != two:
                pulls[one].append((two, -distance, weight))
                pulls[two].append((one, distance, weight))
        for sweep in range(_SWEEPS):
            moved = False
            for node in reversed(order) if sweep % 2 == 0 else order:
                if not pulls[node]:
                    continue
                low = max((y[a] + d for a, d in self.above[node].items()), default=-1e9)
                high = min((y[b] - d for b, d in self.below[node].items()), default=1e9)
                wish = _median(
                    [(y[other] + offset, weight) for other, offset, weight in pulls[node]], y[node]
                )
                best = min(max(wish, low), high)
                if abs(best - y[node]) > 1e-6:
                    y[node], moved = best, True
            if not moved and not self.close_gaps(y, pulls):
                break
        top = min(y.values(), default=0.0)
        return {lane: round(y[self.find(node)] - top, 2) for lane, node in self.index.items()}

    def close_gaps(self, y: dict[int, float], pulls: Pulls) -> bool:
        """Single moves cannot bring several lanes down to the rest of their array: try them as wholes."""
        moved = False
        for (a, b), distance in self.within.items():
            lower = self.find(b)
            excess = y[lower] - y[self.find(a)] - distance
            if excess < 1:
                continue
            group = self.upper_part(a)
            if lower in group or len(group) < 2:
                continue
            slack = min(
                (y[o] - y[n] - d for n in group for o, d in self.below[n].items() if o not in group),
                default=excess,
            )
            step = min(excess, slack)
            if step < 1:
                continue
            outside = [(n, o, offset, w) for n in group for o, offset, w in pulls[n] if o not in group]
            gain = sum(
                w * (abs(y[n] - y[o] - offset) - abs(y[n] + step - y[o] - offset))
                for n, o, offset, w in outside
            )
            if gain > 0:
                for n in group:
                    y[n] += step
                moved = True
        return moved

    def upper_part(self, node: int) -> set[int]:
        """The track of a lane and those of the lanes above it in its array."""
        group = {self.find(node)}
        up = {b: a for a, b in self.within}
        while node in up:
            node = up[node]
            group.add(self.find(node))
        return group

    def sorted(self, roots: list[int]) -> list[int]:
        """Tracks from top to bottom (Kahn's algorithm, first come first served)."""
        degree = {node: len(self.above[node]) for node in roots}
        ready = [node for node in roots if degree[node] == 0]
        order = []
        while ready:
            node = ready.pop(0)
            order.append(node)
            for other in self.below[node]:
                degree[other] -= 1
                if degree[other] == 0:
                    ready.append(other)
        return order


Pair = tuple[Bundle, Bundle, float]  # the second lies below the first, with so much room between them


def _beside(cut: list[Bundle], column: list[Placed]) -> list[Pair]:
    """Arrays before and after steps that stand over each other: a glyph is as tall as both sides of it."""
    starts = {id(p.ins[0]): p for p in column if p.ins and p.outs}
    found: list[Pair] = []
    for upper, lower in pairwise(cut):
        above, below = upper.user, starts.get(id(lower))
        if above is None or below is None or above is below or not above.outs or above not in column:
            continue
        if above.step.glyph not in PASSING or above.step.glyph == "enter":
            found.append((above.outs[-1], lower, _frame(above, below_of)))
        if below.step.glyph not in PASSING or below.step.glyph == "enter":
            found.append((upper, below.outs[0], _frame(below, above_of)))
    following = {id(upper): lower for upper, lower in pairwise(cut)}
    for guest in column:
        if guest.under is not None and id(guest.under) in {id(b) for b in cut}:
            found.append((guest.under, guest.outs[0], 0.0))
            if id(guest.under) in following:
                found.append((guest.outs[-1], following[id(guest.under)], 0.0))
    return found


def _across(cut: list[Bundle]) -> list[Pair]:
    """The far sides of boxes, one of which ends where the other begins: a separator bends between them."""
    found: list[Pair] = []
    for upper, lower in pairwise(cut):
        for above, below, on in ((upper.user, lower.maker, True), (upper.maker, lower.user, False)):
            if above is None or below is None or {above.step.glyph, below.step.glyph} & PASSING:
                continue
            here, far = (above.ins, above.outs) if on else (above.outs, above.ins)
            there, near = (below.outs, below.ins) if on else (below.ins, below.outs)
            if (
                here[-1] is upper
                and there[0] is lower
                and lower not in here
                and upper not in there
                and far
                and near
            ):
                found.append((far[-1], near[0], 0.0))
    return found


def _leaving(cut: list[Bundle], column: list[Placed]) -> list[Pair]:
    """Arrays after a column in which a frame ends: they clear it, too."""
    found: list[Pair] = []
    for upper, lower in pairwise(cut):
        above, below = upper.maker, lower.maker
        if above is None or below is None or above is below or above not in column or below not in column:
            continue
        if above.step.glyph == "leave":
            found.append((above.ins[-1], lower, _frame(above, below_of)))
        if below.step.glyph == "leave":
            found.append((upper, below.ins[0], _frame(below, above_of)))
    return found


def _frame(placed: Placed, room: Callable[[Region], float]) -> float:
    """The room that a frame needs beyond its contents."""
    return room(placed.step.frame) if placed.step.frame is not None else 0.0


def _median(wishes: list[tuple[float, int]], now: float) -> float:
    """Weighted median; where a whole interval is best, the point of it nearest to `now`."""
    wishes.sort()
    half = sum(weight for _, weight in wishes) / 2
    passed = 0.0
    for i, (value, weight) in enumerate(wishes):
        passed += weight
        if passed > half:
            return value
        if passed == half:
            return min(max(now, value), wishes[i + 1][0])
    return now
