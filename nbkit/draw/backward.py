"""A backward pass as it is drawn: what it reads off the tape is grabbed where it is used, gradients of
parameters leave where they arise.

The backward diagram takes its tape as inputs and gives the gradients of parameters as outputs, through all
parts around. In the picture these wires would run across everything; arrows take their place. Copies of a
part that differ in their weights only are one part in parentheses again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from nbkit.language import ops
from nbkit.language.axes import Array
from nbkit.language.diagram import Diagram, Node, Wire
from nbkit.language.parts import Block, Repeat, Scan, Stages
from nbkit.language.reverse.sketch import Ids

HUES = 8


@dataclass(frozen=True)
class Slot:
    """A value on the tape: its name and the role of its colour."""

    name: str
    role: str


@dataclass(frozen=True)
class Grab(ops.Op):
    """A value off the tape."""

    kind: ClassVar[str] = ""  # not in the table of ops: it exists in pictures only
    array: Array = field(default_factory=lambda: Array(()))
    slot: Slot = field(default_factory=lambda: Slot("", "ink"))

    @property
    def role(self) -> str:
        """Its colour."""
        return self.slot.role

    @property
    def shown(self) -> str:
        """Its name."""
        return self.slot.name

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        """The value's type."""
        return (self.array,)

    def __str__(self) -> str:
        return f"{self.slot.name}, off the tape: {self.array}"


@dataclass(frozen=True)
class Drop(ops.Op):
    """The gradient of a parameter, which leaves."""

    kind: ClassVar[str] = ""
    name: str = ""
    shown: str = ""
    number: int = 0
    role: str = "ink"

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        """Nothing comes out."""
        return ()

    def __str__(self) -> str:
        return f"gradient of {self.name}: its type is that of the parameter"


Grab.kind, Drop.kind = "grab", "drop"


def seen(forward: Diagram, wire: int) -> tuple[str, ...]:
    """The names that pictures give to a wire: inside of the parts that make it, one for all copies."""
    return _seen(forward, wire, "")


def _seen(diagram: Diagram, wire: int, prefix: str) -> tuple[str, ...]:
    here = f"{prefix}{wire}"
    maker = diagram.makers.get(wire)
    if maker is None:
        return (here,)
    op, place = maker.op, maker.outs.index(wire)
    if isinstance(op, ops.Transpose) and maker.id.startswith("layout"):
        return _seen(diagram, maker.ins[0], prefix)
    if isinstance(op, Stages):
        carry, further = op.carry, place - op.carry
        for body in op.bodies:
            count = len(body.outs) - carry
            if further < count:
                inner = op.body.outs[place if further < 0 else carry + further]
                return _seen(op.body, inner, f"{prefix}{maker.id}.*.")
            further -= count
    if op.insides():  # inside where the part is open, on the wire behind it where it is closed
        segment, body = op.insides()[0]
        return (*_seen(body, body.outs[place], f"{prefix}{maker.id}{segment}"), here)
    return (here,)


def drawable(backward: Diagram, taped: dict[int, Slot], drops: dict[int, Drop]) -> Diagram:
    """The diagram without its tape among the inputs (`taped`, by place) and without the outputs `drops`."""
    wires: list[Wire] = list(backward.wires)
    nodes: list[Node] = []
    ids = Ids(node.id for node in backward.nodes)
    grabbed = {backward.ins[place]: slot for place, slot in taped.items()}
    dropped = {_origin(backward, backward.outs[place]): drop for place, drop in drops.items()}

    def add(op: ops.Op, name: str, ins: tuple[int, ...], outs: tuple[int, ...]) -> None:
        nodes.append(Node(ids.fresh(name), op, ins, outs))

    def grab(wire: int, slot: Slot) -> int:
        wires.append(Wire(wires[wire].type))
        made = len(wires) - 1
        add(Grab(wires[wire].type, slot), "grab", (), (made,))
        return made

    unused = {backward.outs[place] for place in drops} - set(dropped)
    kept = tuple(w for place, w in enumerate(backward.outs) if place not in drops)
    used = {w for node in backward.nodes if unused.isdisjoint(node.outs) for w in node.ins} | set(kept)
    for node in backward.nodes:
        if not unused.isdisjoint(
            node.outs
        ):  # the sum over the positions of a scan, whose gradients leave inside
            continue
        inner = {place: grabbed[w] for place, w in enumerate(node.ins) if w in grabbed}
        leaving = {place: dropped[w] for place, w in enumerate(node.outs) if w in dropped}
        if node.op.insides():
            shared = {place: drop for place, drop in leaving.items() if node.outs[place] in used}
            for place in shared:
                del leaving[place]
            op, ins, outs = _part(backward, node, inner, leaving)
            if outs or not isinstance(op, Block):
                nodes.append(Node(node.id, op, ins, outs))
            else:  # nothing leaves to the left: its contents end here, on no plate
                nodes += _contents(node.id, op.body, ins, wires)
            for place, drop in shared.items():
                add(drop, "drop", (node.outs[place],), ())
            continue
        ins = tuple(grab(w, grabbed[w]) if w in grabbed else w for w in node.ins)
        nodes.append(replace(node, op=_untied(node.op), ins=ins))
        for place, drop in leaving.items():
            add(drop, "drop", (node.outs[place],), ())
    for wire, drop in dropped.items():
        if wire in backward.ins:  # the gradient of the result is that of a parameter
            add(drop, "drop", (wire,), ())
    given = tuple(w for place, w in enumerate(backward.ins) if place not in taped)
    return Diagram(backward.name, tuple(wires), given, kept, tuple(nodes))


def _contents(name: str, body: Diagram, ins: tuple[int, ...], wires: list[Wire]) -> list[Node]:
    """The nodes of a block as nodes of the diagram around it, whose wires grow."""
    first = len(wires)
    wires.extend(body.wires)
    at = {wire: first + wire for wire in range(len(body.wires))} | dict(zip(body.ins, ins, strict=True))
    return [
        Node(f"{name}.{n.id}", n.op, tuple(at[w] for w in n.ins), tuple(at[w] for w in n.outs))
        for n in body.nodes
    ]


def _untied(op: ops.Op) -> ops.Op:
    """The op without its key: that it shares its weight with the forward pass needs no tag."""
    return replace(op, key="") if isinstance(op, ops.Linear | ops.Parameter) else op


def _origin(diagram: Diagram, wire: int) -> int:
    """Where the gradient of a parameter arises: inside a scan, if it is the sum over its positions."""
    maker = diagram.makers.get(wire)
    if maker is not None and isinstance(maker.op, ops.Reduce):
        before = diagram.makers.get(maker.ins[0])
        if before is not None and isinstance(before.op, Scan) and maker.op.axes == before.op.over:
            return maker.ins[0]
    return wire


def _part(
    diagram: Diagram, node: Node, taped: dict[int, Slot], drops: dict[int, Drop]
) -> tuple[ops.Op, tuple[int, ...], tuple[int, ...]]:
    """A part without its tape; what it still takes and gives."""
    op = node.op
    ins = tuple(w for place, w in enumerate(node.ins) if place not in taped)
    outs = tuple(w for place, w in enumerate(node.outs) if place not in drops)
    match op:
        case Block(body=body):
            return Block(drawable(body, taped, drops)), ins, outs
        case Stages(carry=carry):
            bodies = []
            first_in, first_out = carry, carry
            for body in op.bodies:
                mine_in = {p: s for p, s in taped.items() if p < carry}
                mine_out = {p: d for p, d in drops.items() if p < carry}
                for p in range(carry, len(body.ins)):
                    if first_in + p - carry in taped:
                        mine_in[p] = taped[first_in + p - carry]
                for p in range(carry, len(body.outs)):
                    if first_out + p - carry in drops:
                        mine_out[p] = drops[first_out + p - carry]
                first_in += len(body.ins) - carry
                first_out += len(body.outs) - carry
                bodies.append(drawable(body, mine_in, mine_out))
            if len(ins) == carry and len(outs) == carry and bodies[0].inputs == bodies[0].outputs:
                return Repeat(bodies[0], len(bodies)), ins, outs
            return replace(op, bodies=tuple(bodies)), ins, outs
        case Scan(body=body, states=states):
            inner = drawable(body, taped, drops)
            if len(inner.ins) == states == len(outs):
                times = diagram.wires[node.ins[states]].type[op.over].size
                return Repeat(inner, int(times) if times.is_Integer else 2, tied=True), ins, outs
            return replace(op, body=inner), ins, outs
    return op, node.ins, node.outs


def letters(forward: Diagram) -> dict[str, str]:
    """What the gradients of weights are called in a picture, by path without the numbers of copies: ∂ and the
    letter on the plate.
    """
    kinds = {ops.Linear: "L", ops.Embed: "E", ops.Positions: "P", ops.Parameter: "W", ops.Norm: "w"}
    found = {}
    for path, node in forward.walk():
        short = len(node.id) <= 3 and node.id != node.op.kind
        found[without_copies(path)] = f"∂{kinds.get(type(node.op), 'W')}{' ' + node.id if short else ''}"
    return found


def without_copies(path: str) -> str:
    """`block.3.linear` and `block.*.linear` as `block.linear`."""
    return ".".join(part for part in path.split(".") if part != "*" and not part.isdecimal())
