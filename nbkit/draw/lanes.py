"""Lanes: the order, top to bottom, in which an array's axes are drawn, and which of them run through a step.

That order is looks, not layout: positions, then features, then heads and batch (the paper's ȳ k h), kept
stable through each operation so that wires cross only where the mathematics does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nbkit.draw.steps import Region, Step, Value
from nbkit.language import ops
from nbkit.language.axes import Array, Axis, parse_bundle, parse_spec

NATURAL = "#"  # the lane of a datatype wire (an index below a bound), below the axes
NOTHING = "@"  # the lane that keeps a scalar's place
LABELLED = 46.0  # room between wires for an arrow with a label

POSITIONS = frozenset("xyzt")
_HEADS = frozenset("hg")
_BATCH = frozenset({"b", "batch"})

FRAMES = frozenset({"enter", "leave"})
JOINS = frozenset({"add", "multiply", "concat", "pullback"})
PRODUCTS = frozenset({"einsum", "gather", "scatter"})  # cups and dots between operands
PASSING = (
    FRAMES | JOINS | PRODUCTS | {"copy", "cross", "transpose", "rename", "topk"}
)  # their links are wires
BARS = frozenset({"merge", "split"})
_BOXED = frozenset(
    {
        "linear",
        "embed",
        "conv",
        "cuboid",
        "slice",
        "softmax",
        "norm",
        "mask",
        "window",
        "fold",
        "one_hot",
        "torch",
    }
)
_SPANNING = frozenset(
    {"linear", "merge", "mask", "norm", "softmax", "conv", "fold", "torch"}
)  # need neighbours


@dataclass(eq=False, repr=False)
class Bundle:
    """An array on the picture, from the step that makes it to the step that uses it."""

    value: Value
    lanes: tuple[str, ...]
    region: Region | None
    birth: int = 0  # the cut in which it first appears
    maker: Placed | None = None
    user: Placed | None = None
    room: dict[str, float] = field(default_factory=dict)  # the distance above a lane, where not the usual

    def axis(self, lane: str) -> Axis:
        """The axis that runs on a lane."""
        return self.value.array[lane]

    def double(self, lane: str) -> bool:
        """Whether the lane is drawn as a double line: image axes."""
        return lane not in (NATURAL, NOTHING) and self.axis(lane).rank > 1


Port = tuple[Bundle, str]
Lane = tuple[int, str]  # id of a bundle, lane: what has a height
Link = tuple[Bundle, str, Bundle, str]


@dataclass(eq=False, repr=False)
class Placed:
    """A step in its column. Links are lanes that run through: (from, lane, to, lane)."""

    step: Step
    column: int
    ins: list[Bundle]
    outs: list[Bundle]
    links: list[Link] = field(default_factory=list)  # straight where they can be
    loose: list[Link] = field(default_factory=list)  # bent where they must be
    offsets: list[tuple[Port, Port, float]] = field(default_factory=list)  # to stand so many lanes lower
    under: Bundle | None = None  # the array before the column that a step without inputs stands below

    def operand(self, number: int) -> Bundle:
        """The array that the step calls so; `ins` are in the order in which they are stacked."""
        return next(bundle for bundle in self.ins if bundle.value is self.step.ins[number])


def role(axis: Axis) -> int:
    """Position axes on top, then features, then heads, then batch."""
    name = axis.name
    if axis.rank > 1 or name[0] in POSITIONS:
        return 0
    return 2 if name in _HEADS else 3 if name in _BATCH else 1


def by_role(array: Array) -> tuple[str, ...]:
    """The lanes of an array that nothing came before."""
    return _close(tuple(axis.name for axis in sorted(array.axes, key=role)), array)


def _close(names: tuple[str, ...], array: Array) -> tuple[str, ...]:
    lanes = names if array.bound is None else (*names, NATURAL)
    return lanes or (NOTHING,)


def out_lanes(step: Step, ins: list[Bundle]) -> list[tuple[str, ...]]:
    """The drawing order of the axes that come out, following the order in which they went in."""
    arrays = [value.array for value in step.outs]
    if step.glyph == "copy":
        return [ins[0].lanes] * len(arrays)
    if step.glyph in FRAMES:
        by_value = {id(b.value): b.lanes for b in ins}
        return [_framed(by_value[id(v)], array) for v, array in zip(step.ins, arrays, strict=True)]
    if isinstance(step.op, ops.TopK):
        lanes = tuple(step.op.name if lane == step.op.axis else lane for lane in ins[0].lanes)
        return [_close(lanes, array) for array in arrays]
    if len(arrays) != 1 or not ins or step.glyph == "cuboid":
        return [by_role(array) for array in arrays]
    (array,) = arrays
    order = list(_order(step, ins, array))
    return [_close(tuple(n for n in dict.fromkeys(order) if n in array), array)]


def _framed(lanes: tuple[str, ...], array: Array) -> tuple[str, ...]:
    """The lanes of an array that enters or leaves a loop: the axis of a scan ends or begins there, on top."""
    made = [name for name in array.names if name not in lanes]
    return _close((*made, *(name for name in lanes if name in array)), array)


def _order(step: Step, ins: list[Bundle], array: Array) -> list[str]:
    op, lanes = step.op, ins[0].lanes
    if isinstance(op, ops.Rename):
        spec = parse_spec(op.spec)
        table = {a.name: b.name for a, b in zip(spec.ins[0], spec.outs[0], strict=True)}
        return [table.get(lane, lane) for lane in lanes]
    if isinstance(op, ops.Transpose):
        moved = op.axes.split()
        wanted = iter(moved)
        return [next(wanted) if lane in moved else lane for lane in lanes]
    if len(ins) == 1:
        order = _replaced(step, lanes, array)
        if isinstance(op, ops.Expand):  # a new image axis runs below the one that it may be merged with
            fresh = [n for n in order if n not in lanes and array[n].rank > 1]
            like = [n for n in order if n in lanes and n in array and array[n].rank > 1]
            kept = [n for n in order if n not in fresh]
            at = kept.index(like[-1]) + 1 if like else len(kept)
            return [*kept[:at], *fresh, *kept[at:]]
        if not isinstance(op, ops.Window):
            return order
        made = [op.name] if step.linear is None else [n for n in order if n not in lanes]
        kept = [n for n in order if n not in made]
        at = kept.index(op.axis) + 1  # the window or the channels run directly below the axis it slides over
        return [*kept[:at], *made, *kept[at:]]
    if step.glyph not in PRODUCTS:
        return [lane for bundle in ins for lane in bundle.lanes]
    if isinstance(op, ops.Gather | ops.Scatter):
        upper, lower = ([n for n in bundle.lanes if n not in ends(step, bundle)] for bundle in ins)
        made = [op.axis] if isinstance(op, ops.Scatter) else []  # where the indices were
        first, last = (made, []) if ins[0].value is step.ins[1] else ([], made)
        return [*(n for n in upper if n not in lower), *first, *lower, *last]
    shared = set.intersection(
        *(set(b.lanes) for b in ins)
    )  # a diagonalised axis runs on the last operand's wire
    kept = [lane for bundle in ins[:-1] for lane in bundle.lanes if lane not in shared]
    return [*kept, *ins[-1].lanes]


def _replaced(step: Step, lanes: tuple[str, ...], array: Array) -> list[str]:
    """Lanes of a unary op: new axes stand where the first axis that ended was."""
    remaking = isinstance(step.op, ops.Linear | ops.Merge | ops.Split | ops.Torch)
    remade = set(targets(step)) if remaking else set()
    remade -= set(woven(step))
    kept = [lane for lane in lanes if lane in array and lane not in remade]
    new = [name for name in by_role(array) if name not in kept and name in array]
    if isinstance(step.op, ops.Split):  # from the slowest axis to the fastest
        new = [t.name for t in parse_spec(step.op.spec).outs[0]]
    gone = [lane for lane in lanes if lane not in kept]
    if not gone:
        return [*kept, *new]
    first = new[0] if len(new) == 1 and new[0] in gone else gone[0]
    at = sum(lane in kept for lane in lanes[: lanes.index(first)])
    return [*kept[:at], *new, *kept[at:]]


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
        case ops.Window() if step.linear is not None:
            return (op.axis, *woven(step), *(t.name for t in parse_spec(step.linear.spec).ins[0]))
        case ops.Fold() if step.linear is not None:
            return (op.axis, *woven(step), *(t.name for t in parse_spec(step.linear.spec).ins[0]))
        case ops.Fold():
            return (op.axis, op.name)
        case ops.Slice() | ops.Concat() | ops.Window() | ops.TopK():
            return (op.axis,)
        case ops.Embed() | ops.OneHot():
            return (NATURAL,)
        case ops.Torch() if len(step.ins) == 1 == len(step.outs):
            (array,) = op.sides()[0]
            return (*array.names, *((NATURAL,) if array.bound is not None else ()))
    return ()


def ends(step: Step, bundle: Bundle) -> tuple[str, ...]:
    """Lanes of an operand of a gather or scatter that do not go on under their names."""
    indices = bundle.value is step.ins[1]
    match step.op:
        case ops.Gather():
            return (NATURAL,) if indices else (step.op.axis,)
        case ops.Scatter():
            return (step.op.over, NATURAL) if indices else (step.op.over,)
    return ()


def woven(step: Step) -> tuple[str, ...]:
    """Axes with weights of their own: they run through the glyph, with a dot."""
    if isinstance(step.op, ops.Norm) and step.op.how == "layer":
        return tuple(name for name in step.op.per.split() if name not in step.op.axes.split())
    linear = step.op if isinstance(step.op, ops.Linear) else step.linear
    return tuple(linear.per.split()) if linear is not None else ()


def continues(step: Step, lane: str, other: str) -> bool:
    """Whether a link is one wire (and not two ports of a box that stand level)."""
    if step.glyph in PASSING:
        return True
    several = step.glyph == "torch" and (len(step.ins), len(step.outs)) != (1, 1)
    return step.glyph != "cuboid" and not several and lane == other and lane not in targets(step)


def contiguous(step: Step, lanes: tuple[str, ...]) -> tuple[str, ...]:
    """The lanes with those that the glyph spans brought together, at the first of them."""
    batch = isinstance(step.op, ops.Norm) and step.op.how == "batch"  # its wires bend to the circle
    spanned = targets(step) if step.glyph in _SPANNING and not batch else ()
    held = [i for i, lane in enumerate(lanes) if lane in spanned]
    together = [lanes[i] for i in held]
    if step.glyph in ("merge", "fold"):  # from the slowest axis to the fastest
        together = [lane for lane in spanned if lane in lanes]
    if not held or (held == list(range(held[0], held[-1] + 1)) and together == [lanes[i] for i in held]):
        return lanes
    rest = [lane for lane in lanes if lane not in spanned]
    return (*rest[: held[0]], *together, *rest[held[0] :])


def link(placed: Placed) -> None:
    """Which lanes run through the step: straight where they can (`links`), bent where they must (`loose`)."""
    step, ins, outs = placed.step, placed.ins, placed.outs
    if not outs:
        return
    out = outs[0]
    if step.glyph in FRAMES:
        pairs = zip(ins, outs, strict=True)
        placed.links += [(a, lane, b, lane) for a, b in pairs for lane in a.lanes if lane in b.lanes]
    elif step.glyph == "copy":
        placed.links += [(ins[0], lane, out, lane) for lane in ins[0].lanes]
        placed.loose += [(ins[0], lane, other, lane) for other in outs[1:] for lane in ins[0].lanes]
    elif step.glyph == "rename":
        placed.links += [(ins[0], a, out, b) for a, b in zip(ins[0].lanes, out.lanes, strict=True)]
    elif step.glyph == "transpose":
        placed.loose += [(ins[0], lane, out, lane) for lane in ins[0].lanes]
    elif isinstance(step.op, ops.TopK):
        table = {step.op.axis: step.op.name}
        ports = [(lane, table.get(lane, lane)) for lane in ins[0].lanes]
        placed.links += [(ins[0], a, out, b) for a, b in ports]
        placed.loose += [(ins[0], a, other, b) for other in outs[1:] for a, b in ports]
    elif isinstance(step.op, ops.Gather | ops.Scatter):
        for bundle, found in zip(ins, (placed.loose, placed.links), strict=True):
            gone = ends(step, bundle)
            found += [(bundle, n, out, n) for n in bundle.lanes if n not in gone and n in out.lanes]
        if isinstance(step.op, ops.Scatter):
            placed.links.append((placed.operand(1), NATURAL, out, step.op.axis))
    elif step.glyph in JOINS or step.glyph == "einsum":
        widest = max(ins, key=lambda b: len(b.lanes)) if step.glyph in JOINS else ins[-1]
        for bundle in ins:
            kept = (lane for lane in bundle.lanes if lane in out.lanes)
            if step.glyph == "einsum":
                kept = (lane for lane in bundle.lanes if lane in out.lanes and lane != NOTHING)
            (placed.links if bundle is widest else placed.loose).extend((bundle, n, out, n) for n in kept)
        if step.scale and len(ins) == 2:  # the arrow and its label lie between the operands
            rest = [lane for lane in out.lanes if lane in ins[1].lanes]
            if rest and rest != list(out.lanes):
                above = ins[1].lanes.index(
                    rest[0]
                )  # contracted lanes of the lower operand, above the kept ones
                out.room[rest[0]] = LABELLED + 20.0 * above
    elif ins:
        _link_box(placed)


def _link_box(placed: Placed) -> None:
    """Lanes that pass a box, and its ports: these stand level, first to first, at a bar on average."""
    source, out, own = placed.ins[0], placed.outs[0], set(targets(placed.step)) - set(woven(placed.step))
    produced = [lane for lane in out.lanes if lane not in source.lanes or lane in own]
    ended = [lane for lane in source.lanes if lane not in out.lanes or lane in own]
    for lane in (n for n in source.lanes if n in out.lanes and n not in own):
        (placed.loose if moves(placed, lane) else placed.links).append((source, lane, out, lane))
    if placed.step.glyph in BARS:
        shift = (len(ended) - len(produced)) / 2
        for i, a in enumerate(ended):
            placed.offsets += [((source, a), (out, b), j - i + shift) for j, b in enumerate(produced)]
    elif placed.step.glyph in _BOXED:
        placed.links += [(source, a, out, b) for a, b in zip(ended, produced, strict=False)]


def moves(placed: Placed, lane: str) -> bool:
    """Whether a lane runs below one that a window makes or a reduction ends: it makes or takes room."""
    glyph, (source, *_) = placed.step.glyph, placed.ins
    own = targets(placed.step)
    if glyph not in ("reduce", "window", "fold") or lane in own:
        return False
    above = source.lanes[: source.lanes.index(lane)]
    if glyph == "fold":
        return own[-1] in above
    return any(name in own for name in (above[1:] if glyph == "reduce" else above))
