"""Flow → columns: which steps share a vertical strip, and how the arrays are stacked between strips.

The state between two columns (a *cut*, the paper's meridian) is the ordered list of live arrays. Steps run as
soon as their inputs are there and lie next to each other; their outputs take the place of the first input.
Where inputs are apart, a crossing column brings them together.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from nbkit.draw.lanes import FRAMES, PASSING, Bundle, Placed, by_role
from nbkit.draw.links import link
from nbkit.draw.order import contiguous, out_lanes
from nbkit.draw.steps import Flow, Nothing, Region, Step, Value, chain


@dataclass(eq=False, repr=False)
class Columns:
    """Steps by column, and the arrays between columns."""

    columns: list[list[Placed]]
    cuts: list[list[Bundle]]  # cuts[i] lies before column i; the last one after the last column


def columns(flow: Flow) -> Columns:
    """Places every step of a flow."""
    return _Scheduler(flow).run()


class _Scheduler:
    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.rank = {id(step): i for i, step in enumerate(flow.steps)}
        self.guests: dict[int, list[Step]] = {}
        self.first: list[Step] = []
        for step in flow.steps:
            if not step.ins:
                (self.guests.setdefault(id(step.host), []) if step.host else self.first).append(step)
        self.state: list[Bundle] = []
        self.bundles: dict[int, Bundle] = {}
        self.waiting: dict[int, int] = {}
        self.closers: dict[int, list[Step]] = {}  # by what ends in a region, the borders that wait for it
        for border in (step for step in flow.steps if step.glyph == "leave" and step.frame is not None):
            inside = [s for s in flow.steps if s.glyph == "drop" and border.frame in chain(s.region)]
            self.waiting[id(border)] = len(border.ins) + len(inside)
            for step in inside:
                self.closers.setdefault(id(step), []).append(border)
        self.ready: list[tuple[int, Step]] = []
        self.late: list[tuple[Step, Bundle]] = []  # steps without inputs, and the array that they stand below

    def run(self) -> Columns:
        result = Columns([], [])
        for value in self.flow.inputs:
            self.state.append(self.admit(value, by_role(value.array), None, None, 0))
        if self.first:
            column = [self.source(step, 0, len(self.state)) for step in self.first]
            result.cuts.append([b for b in self.state if b.maker is None])
            result.columns.append(column)
        result.cuts.append(list(self.state))
        while self.ready or self.late:
            index = len(result.columns)
            column = self.next_column(index)
            result.columns.append(column)
            result.cuts.append(list(self.state))
        _align(result)
        wanted = [self.bundles[id(v)] for v in self.flow.outputs]
        if self.state != wanted and len(wanted) > 1:
            index = len(result.columns)
            result.columns.append([self.cross(list(self.state), wanted, index)])
            result.cuts.append(list(self.state))
        return result

    def admit(
        self, value: Value, lanes: tuple[str, ...], region: Region | None, maker: Placed | None, cut: int
    ) -> Bundle:
        """A new array in the state; whoever waits for it may become ready."""
        bundle = Bundle(value, lanes, region, cut, maker)
        self.bundles[id(value)] = bundle
        if value.user is not None:
            self.served(value.user)
        return bundle

    def served(self, step: Step) -> None:
        """One thing less that the step waits for."""
        left = self.waiting.get(id(step), len(step.ins)) - 1
        self.waiting[id(step)] = left
        if left == 0:
            heapq.heappush(self.ready, (self.rank[id(step)], step))

    def next_column(self, index: int) -> list[Placed]:
        """Everything that can happen now; if nothing lies together, a crossing for the first in line."""
        before = set(map(id, self.state))
        late_guests, self.late = self.late, []
        guests = [self.source(step, index, self.state.index(after) + 1, after) for step, after in late_guests]
        batch = [heapq.heappop(self.ready)[1] for _ in range(len(self.ready))]
        column: list[Placed] = guests
        late: list[Step] = []
        for step in batch:
            ins = [self.bundles[id(v)] for v in step.ins]
            places = sorted(self.state.index(b) for b in ins)
            together = places == list(range(places[0], places[0] + len(places)))
            lanes = contiguous(step, ins[0].lanes) if together and all(id(b) in before for b in ins) else None
            if lanes is not None and lanes != ins[0].lanes:
                column.append(self.cross(ins, ins, index, {id(ins[0]): lanes}))
                late.append(step)
            elif lanes is not None:
                column.extend(self.apply(step, places, index))
            else:
                late.append(step)
        for step in late:
            heapq.heappush(self.ready, (self.rank[id(step)], step))
        if not column:
            wanted = [self.bundles[id(v)] for v in late[0].ins]
            first = min(self.state.index(b) for b in wanted)
            moved = sorted(wanted, key=self.state.index)
            head = [b for b in self.state[:first] if b not in moved]
            tail = [b for b in self.state[first:] if b not in moved]
            last = max(self.state.index(b) for b in wanted)
            order = [*head, *moved, *tail]
            column.append(self.cross(self.state[first : last + 1], order[first : last + 1], index))
        return column

    def cross(
        self,
        before: list[Bundle],
        after: list[Bundle],
        index: int,
        lanes: dict[int, tuple[str, ...]] | None = None,
    ) -> Placed:
        """Arrays (or the lanes in one) change places; each goes on as a new bundle of the same value."""
        first = self.state.index(before[0])
        region = after[0].region
        placed = Placed(Step("cross", "", Nothing(), [], [], region, region), index, before, [])
        fresh: dict[int, Bundle] = {}
        for old in before:
            new = Bundle(old.value, (lanes or {}).get(id(old), old.lanes), old.region, index + 1, placed)
            old.user = placed
            fresh[id(old)] = new
            self.bundles[id(old.value)] = new
            placed.loose.extend((old, lane, new, lane) for lane in old.lanes)
        placed.outs = [fresh[id(b)] for b in after]
        self.state[first : first + len(before)] = placed.outs
        return placed

    def apply(self, step: Step, places: list[int], index: int) -> list[Placed]:
        ins = [self.state[p] for p in places]
        placed = Placed(step, index, ins, [])
        for bundle in ins:
            bundle.user = placed
        for value, lanes in zip(step.outs, out_lanes(step, ins), strict=True):
            placed.outs.append(self.admit(value, lanes, step.out_region, placed, index + 1))
        if step.glyph in FRAMES:
            placed.outs = _matching(step, ins, placed.outs)
        self.state[places[0] : places[-1] + 1] = placed.outs
        link(placed)
        for border in self.closers.get(id(step), []):
            self.served(border)
        column = [placed]
        if step.glyph in PASSING and placed.outs:  # guests stand behind frames and wires that bend
            self.late += [(guest, placed.outs[-1]) for guest in self.guests.get(id(step), [])]
            return column
        at = places[0] + len(placed.outs)
        for guest in self.guests.get(id(step), []):
            column.append(self.source(guest, index, at, ins[-1] if ins else None))
            at += 1
        return column

    def source(self, step: Step, index: int, at: int, under: Bundle | None = None) -> Placed:
        placed = Placed(step, index, [], [], under=under)
        placed.outs = [self.admit(v, by_role(v.array), step.out_region, placed, index + 1) for v in step.outs]
        self.state[at:at] = placed.outs
        return placed


def _align(result: Columns) -> None:
    """Moves a step that could wait to a later column where its like is drawn (Q beside K and V)."""
    for index in range(len(result.columns) - 1, -1, -1):
        for placed in list(result.columns[index]):
            if (
                len(placed.ins) != 1
                or len(placed.outs) != 1
                or placed.step.glyph in FRAMES | {"cross", "rename"}
            ):
                continue
            source, out = placed.ins[0], placed.outs[0]
            latest = out.user.column if out.user is not None else len(result.columns)
            for column in range(index + 1, latest):
                like = [p for p in result.columns[column] if p.step.glyph == placed.step.glyph]
                if like and any(
                    p.step.region == placed.step.region or placed.step.glyph == "conv" for p in like
                ):
                    result.columns[index].remove(placed)
                    result.columns[column].append(placed)
                    placed.column = column
                    out.birth = column + 1
                    for cut in result.cuts[index + 1 : column + 1]:
                        cut[cut.index(out)] = source
                    break


def _matching(step: Step, ins: list[Bundle], outs: list[Bundle]) -> list[Bundle]:
    """The outputs in the stacking order of the inputs: frames pass each input to its own output."""
    position = {id(value): i for i, value in enumerate(step.ins)}
    return [outs[position[id(b.value)]] for b in ins]
