"""Lanes: the axes of an array as wires, one below the other.

Their order is looks, not layout: positions, then features, then heads and batch (the paper's ȳ k h), kept
stable through each operation (`order.py`) so that wires cross only where the mathematics does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nbkit.draw.steps import Region, Step, Value
from nbkit.language import ops
from nbkit.language.axes import Array, Axis, parse_bundle, parse_spec

NATURAL = "#"  # the lane of a datatype wire (an index below a bound), below the axes
NOTHING = "@"  # the lane that keeps a scalar's place

POSITIONS = frozenset("xyzt")
_PIXELS = frozenset("ij")  # rows and columns of an image
_HEADS = frozenset("hg")
_BATCH = frozenset({"b", "batch"})

FRAMES = frozenset({"enter", "leave"})
JOINS = frozenset({"add", "multiply", "concat", "pullback"})
PRODUCTS = frozenset({"einsum", "gather", "scatter"})  # cups and dots between operands
# Their links are wires:
PASSING = FRAMES | JOINS | PRODUCTS | {"copy", "cross", "transpose", "rename", "topk"}


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
    if axis.rank > 1 or name[0] in POSITIONS or name in _PIXELS:
        return 0
    return 2 if name in _HEADS else 3 if name in _BATCH else 1


def by_role(array: Array) -> tuple[str, ...]:
    """The lanes of an array that nothing came before."""
    return closed(tuple(axis.name for axis in sorted(array.axes, key=role)), array)


def closed(names: tuple[str, ...], array: Array) -> tuple[str, ...]:
    """The lanes of axes, with that of the indices below them; a scalar has a lane, too."""
    lanes = names if array.bound is None else (*names, NATURAL)
    return lanes or (NOTHING,)


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
