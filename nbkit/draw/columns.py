"""Flow → columns: which steps share a vertical strip, and how the arrays are stacked between strips.

The state between two columns (a *cut*, the paper's meridian) is the ordered list of live arrays. Steps run as soon as
their inputs are there and lie next to each other; their outputs take the place of the first input. Where inputs are
apart, a crossing column brings them together. Each array also gets its lanes here: the order, top to bottom, in which
its axes are drawn. That order is looks, not layout: positions, then features, then heads and batch (the paper's
ȳ k h), kept stable through each operation so that wires cross only where the mathematics does.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from nbkit.draw.flow import Flow, Nothing, Region, Step, Value
from nbkit.language import ops
from nbkit.language.axes import Array, Axis, parse_bundle, parse_spec

NATURAL = "#"  # the lane of a datatype wire (an index below a bound), below the axes
LABELLED = 46.0  # room between wires for an arrow with a label
NOTHING = "@"  # the lane that keeps a scalar's place

POSITIONS = frozenset("xyzt")
_HEADS = frozenset("hg")
_BATCH = frozenset({"b", "batch"})


@dataclass(eq=False, repr=False)
class Bundle:
    """An array on the picture, from the step that makes it to the step that uses it."""

    value: Value
    lanes: tuple[str, ...]
    region: Region | None
    birth: int = 0  # the cut in which it first appears
    death: int = 0  # the cut in which it last appears
    maker: Placed | None = None
    user: Placed | None = None
    room: dict[str, float] = field(default_factory=dict)  # extra distance above a lane

    def axis(self, lane: str) -> Axis:
        return self.value.array[lane]


@dataclass(eq=False, repr=False)
class Placed:
    """A step in its column. `links` are lanes that run through: (from, lane, to, lane)."""

    step: Step
    column: int
    ins: list[Bundle]
    outs: list[Bundle]
    links: list[tuple[Bundle, str, Bundle, str]] = field(default_factory=list)
    loose: list[tuple[Bundle, str, Bundle, str]] = field(
        default_factory=list
    )  # run through, but not straight


@dataclass(eq=False, repr=False)
class Columns:
    columns: list[list[Placed]]
    cuts: list[list[Bundle]]  # cuts[i] lies before column i; the last one after the last column


def role(axis: Axis) -> int:
    """Position axes on top, then features, then heads, then batch."""
    name = axis.name
    if axis.rank > 1 or name[0] in POSITIONS:
        return 0
    return 2 if name in _HEADS else 3 if name in _BATCH else 1


def by_role(array: Array) -> tuple[str, ...]:
    names = tuple(axis.name for axis in sorted(array.axes, key=role))
    return _close(names, array)


def _close(names: tuple[str, ...], array: Array) -> tuple[str, ...]:
    lanes = names if array.bound is None else (*names, NATURAL)
    return lanes or (NOTHING,)


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
        self.ready: list[tuple[int, Step]] = []

    def run(self) -> Columns:
        result = Columns([], [])
        for value in self.flow.inputs:
            self.state.append(self.admit(value, by_role(value.array), None, None, 0))
        if self.first:
            column = [self.source(step, 0, len(self.state)) for step in self.first]
            result.cuts.append([b for b in self.state if b.maker is None])
            result.columns.append(column)
        result.cuts.append(list(self.state))
        while self.ready:
            index = len(result.columns)
            column = self.next_column(index)
            for bundle in self.state:
                bundle.death = index + 1
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
        bundle = Bundle(value, lanes, region, cut, cut, maker)
        self.bundles[id(value)] = bundle
        user = value.user
        if user is not None:
            left = self.waiting.get(id(user), len(user.ins)) - 1
            self.waiting[id(user)] = left
            if left == 0:
                heapq.heappush(self.ready, (self.rank[id(user)], user))
        return bundle

    def next_column(self, index: int) -> list[Placed]:
        """Everything that can happen now; if nothing lies together, a crossing for the first in line."""
        before = set(map(id, self.state))
        batch = [heapq.heappop(self.ready)[1] for _ in range(len(self.ready))]
        column: list[Placed] = []
        late: list[Step] = []
        for step in batch:
            ins = [self.bundles[id(v)] for v in step.ins]
            places = sorted(self.state.index(b) for b in ins)
            together = places == list(range(places[0], places[0] + len(places)))
            lanes = _contiguous(step, ins) if together and all(id(b) in before for b in ins) else None
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
            new = Bundle(
                old.value, (lanes or {}).get(id(old), old.lanes), old.region, index + 1, index + 1, placed
            )
            old.user, old.death = placed, index
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
            bundle.user, bundle.death = placed, index
        for value, lanes in zip(step.outs, out_lanes(step, ins), strict=True):
            placed.outs.append(self.admit(value, lanes, step.out_region, placed, index + 1))
        if step.glyph in ("enter", "leave"):
            placed.outs = _matching(step, ins, placed.outs)
        self.state[places[0] : places[-1] + 1] = placed.outs
        _link(placed)
        column = [placed]
        at = places[0] + len(placed.outs)
        for guest in self.guests.get(id(step), []):
            column.append(self.source(guest, index, at))
            at += 1
        return column

    def source(self, step: Step, index: int, at: int) -> Placed:
        placed = Placed(step, index, [], [])
        placed.outs = [self.admit(v, by_role(v.array), step.out_region, placed, index + 1) for v in step.outs]
        self.state[at:at] = placed.outs
        return placed


def out_lanes(step: Step, ins: list[Bundle]) -> list[tuple[str, ...]]:
    """The drawing order of the axes that come out, following the order in which they went in."""
    arrays = [value.array for value in step.outs]
    if step.glyph in ("copy", "enter", "leave"):
        by_value = {id(b.value): b.lanes for b in ins}
        return [ins[0].lanes] * len(arrays) if step.glyph == "copy" else [by_value[id(v)] for v in step.ins]
    if len(arrays) != 1 or not ins or step.glyph == "cuboid":
        return [by_role(array) for array in arrays]
    (array,) = arrays
    names = set(array.names)
    if isinstance(step.op, ops.Rename):
        spec = parse_spec(step.op.spec)
        table = {a.name: b.name for a, b in zip(spec.ins[0], spec.outs[0], strict=True)}
        order = [table.get(lane, lane) for lane in ins[0].lanes]
    elif isinstance(step.op, ops.Transpose):
        wanted = iter(step.op.axes.split())
        moved = set(step.op.axes.split())
        order = [next(wanted) if lane in moved else lane for lane in ins[0].lanes]
    elif len(ins) == 1:
        order = _replaced(ins[0], array)
    else:
        order = []
        shared = set.intersection(*(set(b.lanes) for b in ins))
        keep_last = isinstance(step.op, ops.Einsum)
        for i, bundle in enumerate(ins):
            for lane in bundle.lanes:
                if keep_last and lane in shared and i < len(ins) - 1:
                    continue  # a diagonalised axis runs on the last operand's wire
                if lane not in order:
                    order.append(lane)
    return [_close(tuple(n for n in dict.fromkeys(order) if n in names), array)]


def _replaced(source: Bundle, array: Array) -> list[str]:
    """Lanes of a unary op: new axes stand where the first axis that ended (or, for a window, its own axis) was."""
    op = source.value.user.op if source.value.user is not None else None
    remade = {t.name for t in parse_spec(op.spec).ins[0]} if isinstance(op, ops.Linear) else set()
    lanes = [lane for lane in source.lanes if lane in array and lane not in remade]
    new = [name for name in by_role(array) if name not in lanes and name in array]
    gone = [lane for lane in source.lanes if lane not in lanes]
    order: list[str] = []
    for lane in source.lanes:
        if gone and lane == gone[0]:
            order.extend(new)
        if lane in lanes:
            order.append(lane)
    if not gone:
        order.extend(new)
    return order


def windowed(lanes: tuple[str, ...], op: ops.Window) -> tuple[str, ...]:
    """The window axis runs directly below the axis that it slides over."""
    rest = [lane for lane in lanes if lane != op.name]
    at = rest.index(op.axis) + 1
    return (*rest[:at], op.name, *rest[at:])


def targets(step: Step) -> tuple[str, ...]:
    """Names of the input axes that the glyph itself touches."""
    op = step.op
    match op:
        case ops.Linear():
            return (*op.per.split(), *(t.name for t in parse_spec(op.spec).ins[0]))
        case ops.Merge() | ops.Split() | ops.Rename():
            return tuple(t.name for t in parse_spec(op.spec).ins[0])
        case ops.Softmax() | ops.Reduce():
            return tuple(t.name for t in parse_bundle(op.axes))
        case ops.Norm():
            return (*op.axes.split(), *op.per.split())
        case ops.Mask():
            return tuple(t.name for a in op.domain() for t in a.axes)
        case ops.Slice() | ops.Concat() | ops.Window():
            return (op.axis,)
        case ops.Embed():
            return (NATURAL,)
    return ()


def _align(result: Columns) -> None:
    """Moves a step that could wait to a later column where its like is drawn (Q beside K and V)."""
    for index in range(len(result.columns) - 1, -1, -1):
        for placed in list(result.columns[index]):
            if (
                len(placed.ins) != 1
                or len(placed.outs) != 1
                or placed.step.glyph in ("enter", "leave", "cross", "rename")
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
                    source.death, out.birth = column, column + 1
                    for cut in result.cuts[index + 1 : column + 1]:
                        cut[cut.index(out)] = source
                    break


def _contiguous(step: Step, ins: list[Bundle]) -> tuple[str, ...]:
    """The lanes of the first input, with those that the glyph spans brought together (at the first of them)."""
    lanes = ins[0].lanes
    spanned = (
        set(targets(step)) if step.glyph in ("linear", "merge", "mask", "norm", "softmax", "conv") else set()
    )
    if step.glyph == "norm" and isinstance(step.op, ops.Norm) and step.op.how == "batch":
        spanned = set()
    if step.glyph == "conv":
        linear = step.extra["linear"]
        spanned |= {t.name for t in parse_spec(linear.spec).ins[0]} & set(lanes)
    held = [i for i, lane in enumerate(lanes) if lane in spanned]
    if not held or held == list(range(held[0], held[-1] + 1)):
        return lanes
    together = [lanes[i] for i in held]
    rest = [lane for lane in lanes if lane not in spanned]
    return (*rest[: held[0]], *together, *rest[held[0] :])


def _link(placed: Placed) -> None:
    """Which lanes run through the step: straight where they can (`links`), bent where they must (`loose`)."""
    step, ins, outs = placed.step, placed.ins, placed.outs
    if step.glyph == "window" and isinstance(step.op, ops.Window):
        outs[0].lanes = windowed(outs[0].lanes, step.op)
    if step.glyph in ("enter", "leave"):
        for a, b in zip(ins, outs, strict=True):
            placed.links.extend((a, lane, b, lane) for lane in a.lanes)
    elif step.glyph == "copy":
        placed.links.extend((ins[0], lane, outs[0], lane) for lane in ins[0].lanes)
        placed.loose.extend((ins[0], lane, out, lane) for out in outs[1:] for lane in ins[0].lanes)
    elif step.glyph == "rename":
        placed.links.extend((ins[0], a, outs[0], b) for a, b in zip(ins[0].lanes, outs[0].lanes, strict=True))
    elif step.glyph == "transpose":
        placed.loose.extend((ins[0], lane, outs[0], lane) for lane in ins[0].lanes)
    elif step.glyph in ("add", "multiply", "concat"):
        widest = max(ins, key=lambda b: len(b.lanes))
        for bundle in ins:
            lanes = [(bundle, lane, outs[0], lane) for lane in bundle.lanes if lane in outs[0].lanes]
            (placed.links if bundle is widest else placed.loose).extend(lanes)
    elif step.glyph == "einsum":
        if "scale" in step.extra and len(ins) == 2:  # the arrow and its label lie between the operands
            kept = [lane for lane in outs[0].lanes if lane not in ins[1].lanes]
            rest = [lane for lane in outs[0].lanes if lane in ins[1].lanes]
            if kept and rest:
                outs[0].room[rest[0]] = LABELLED
        for i, bundle in enumerate(ins):
            lanes = [
                (bundle, lane, outs[0], lane)
                for lane in bundle.lanes
                if lane in outs[0].lanes and lane != NOTHING
            ]
            (placed.links if i == len(ins) - 1 else placed.loose).extend(lanes)
    elif outs:
        own = set(targets(step))
        produced = [lane for lane in outs[0].lanes if lane not in ins[0].lanes or lane in own]
        ended = [lane for lane in ins[0].lanes if lane not in outs[0].lanes or lane in own]
        for lane in ins[0].lanes:
            if lane in outs[0].lanes and lane not in own:
                placed.links.append((ins[0], lane, outs[0], lane))
        boxed = step.glyph in (
            "linear",
            "embed",
            "split",
            "merge",
            "conv",
            "cuboid",
            "slice",
            "softmax",
            "norm",
            "mask",
            "window",
        )
        if boxed:  # ports of a box stand level, first to first
            placed.links.extend((ins[0], a, outs[0], b) for a, b in zip(ended, produced, strict=False))


def _matching(step: Step, ins: list[Bundle], outs: list[Bundle]) -> list[Bundle]:
    """The outputs in the stacking order of the inputs (`enter` and `leave` pass each input to its own output)."""
    position = {id(value): i for i, value in enumerate(step.ins)}
    return [outs[position[id(b.value)]] for b in ins]
