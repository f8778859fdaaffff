"""One scope on its way to its backward pass: the forward diagram with its tape, the backward one as a sketch.

Both passes are made by two functions that dispatch on the op: `prepare` runs first, node by node, and gives
the op that stands in the forward diagram (with keys on weights, further outputs for what parts put on the
tape); `pull` runs last to first, and turns the gradients at an op's results into those at its inputs. What a
rule needs of the forward pass it asks for by wire: that puts the wire on the tape, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

from nbkit.language import ops
from nbkit.language.axes import Array
from nbkit.language.diagram import Diagram, Node, Wire, free_name
from nbkit.language.errors import DiagramError
from nbkit.language.reverse.sketch import Ids, Sketch
from nbkit.language.sizes import LONGEST_NAME


@dataclass(frozen=True)
class Slot:
    """A value on the tape: its wire in the forward diagram, and which input of the scope it is, if one.

    `shown` is the wire beside which a picture shows it.
    """

    wire: int
    array: Array
    given: int | None = None
    shown: int = -1


@dataclass(frozen=True)
class Grad:
    """The gradient of a parameter: `name` as in the module's state dict, its array in the parameter's order.

    Contributions with equal `share` are to one parameter.
    """

    name: str
    array: Array
    share: str


@dataclass(frozen=True)
class Reversed:
    """Both passes of a scope.

    forward: inputs -> outputs, then the slots that are no inputs. backward: slots, gradients at real outputs
    -> gradients at real inputs, then those of parameters.
    """

    forward: Diagram
    backward: Diagram
    slots: tuple[Slot, ...]
    grads: tuple[Grad, ...]


@dataclass
class Book:
    """What the whole reversal knows: keys by the name of what they tie, and which are taken."""

    keys: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    holders: dict[str, str] = field(default_factory=dict)  # of shared parameters: the first who has it

    def key(self, name: str) -> str:
        """The key that ties the weight of the node called `name` to its transpose."""
        if name not in self.keys:
            wanted = name.replace(".", "_").replace("*", "any")[-(LONGEST_NAME - 4) :].lstrip("_0123456789")
            self.keys[name] = free_name(wanted or "weight", self.taken)
            self.taken.add(self.keys[name])
        return self.keys[name]


class Scope:
    """Forward and backward pass of one diagram."""

    def __init__(self, diagram: Diagram, prefix: str, name: str, book: Book, *, inside: bool) -> None:
        self.source, self.prefix, self.name, self.book, self.inside = diagram, prefix, name, book, inside
        self.wires: list[Wire] = list(diagram.wires)
        self.nodes: list[Node] = []
        self.made = diagram.makers
        self.own = {node.id for node in diagram.nodes}
        self.ids = Ids(self.own)
        self.kept: dict[str, Any] = {}  # what `prepare` leaves for `pull`, by node
        self.back = Sketch(diagram.name)
        self.values: dict[int, int] = {}
        self.slots: dict[int, int] = {}  # wires on the tape, and where they enter the backward pass
        self.shown: dict[int, int] = {}
        self.gradients: dict[int, list[int]] = {}
        self.grads: dict[str, list[tuple[Grad, int]]] = {}

    # -- forward -------------------------------------------------------------------------------------------

    def wire(self, array: Array) -> int:
        """A new wire of the forward diagram."""
        self.wires.append(Wire(array))
        return len(self.wires) - 1

    def add(self, op: ops.Op, ins: Sequence[int], outs: Sequence[int], name: str) -> None:
        """A node of the forward diagram."""
        if name not in self.own:
            name = self.ids.fresh(name)
        self.nodes.append(Node(name, op, tuple(ins), tuple(outs)))

    # -- backward ------------------------------------------------------------------------------------------

    def type(self, wire: int) -> Array:
        """The type of a wire of the forward diagram."""
        return self.wires[wire].type

    def value(self, wire: int) -> int:
        """The wire of the backward pass that has the value; windows and repetitions are made again there."""
        if wire in self.values:
            return self.values[wire]
        maker = self.made.get(wire)
        if maker is not None and isinstance(maker.op, ops.Window | ops.Expand):
            made = self.back.one(maker.op, self.value(maker.ins[0]), name=maker.id)
        else:
            made = self.slots[wire] = self.back.wire(self.type(wire))
        self.values[wire] = made
        return made

    def gradient(self, wire: int) -> int | None:
        """The gradient at a wire: the sum over all who used it; None if nobody did."""
        found = self.gradients.get(wire)
        if not found:
            return None
        total = self.back.added(found)
        self.gradients[wire] = [total]
        return total

    def push(self, wire: int, gradient: int | None) -> None:
        """One more contribution to the gradient at a wire."""
        if gradient is not None:
            self.gradients.setdefault(wire, []).append(gradient)

    def zeros(self, array: Array) -> int:
        """The gradient at what nothing depends on."""
        return self.back.constant(0.0, array.axes, self.anything)

    def learned(self, grad: Grad, gradient: int) -> None:
        """One more contribution to the gradient of a parameter."""
        self.grads.setdefault(grad.share, []).append((grad, gradient))

    def collected(self, share: str) -> tuple[Grad, int]:
        """The gradient of a parameter: the sum of all contributions, as the one who holds it has its axes."""
        found = self.grads[share]
        holder = self.book.holders.get(share, "")
        first = next((grad for grad, _ in found if grad.name == holder), found[0][0])
        return first, self.back.added([self.aligned(wire, grad, first) for grad, wire in found])

    def aligned(self, gradient: int, grad: Grad, first: Grad) -> int:
        """A contribution as an array of the type that the first one has."""
        wanted, here = first.array, grad.array
        if here == wanted:
            return gradient
        if sorted(here.names) == sorted(wanted.names) and set(here) == set(wanted):
            return self.back.arranged(gradient, wanted.names)
        for order in (here.axes, here.axes[::-1]):  # as it is, or the matrix turned round
            sizes = [(axis.size, axis.rank) for axis in order]
            if sizes == [(axis.size, axis.rank) for axis in wanted]:
                table = {a.name: b.name for a, b in zip(order, wanted, strict=True) if a.name != b.name}
                renamed = self.back.one(
                    ops.Rename(f"{' '.join(table)} -> {' '.join(table.values())}"), gradient
                )
                return self.back.arranged(renamed, wanted.names)
        raise DiagramError(
            f"{grad.name} and {first.name} share one weight, as {here} and as {wanted}; "
            "their gradients cannot be added axis by axis\n  give both maps the same axes"
        )

    # -- the whole -----------------------------------------------------------------------------------------

    def run(self) -> Reversed:
        """Both passes."""
        diagram, back = self.source, self.back
        for node in diagram.nodes:
            enter(node.op, self, node)
        results = [w for w in diagram.outs if real(self.type(w))]
        given = [back.wire(self.type(w)) for w in results]
        if not given:
            raise DiagramError(f"{diagram.name} gives no real numbers, so nothing has a gradient")
        self.anything = given[0]
        for wire, gradient in zip(results, given, strict=True):
            self.push(wire, gradient)
        for node in reversed(diagram.nodes):
            found = [self.gradient(w) if real(self.type(w)) else None for w in node.outs]
            if any(gradient is not None for gradient in found):
                pull(node.op, self, node, found)
        outs = [self.result(w) for w in diagram.ins if real(self.type(w))]
        parameters = [self.collected(share) for share in self.grads]
        outs += [wire for _, wire in parameters]
        backward = back.finish(given, outs, tuple(self.slots.values()))
        return self.whole(*backward, [grad for grad, _ in parameters])

    def result(self, wire: int) -> int:
        """The gradient at an input."""
        gradient = self.gradient(wire)
        if gradient is None:
            return self.zeros(self.type(wire))
        return self.back.arranged(gradient, self.type(wire).names)

    def whole(self, backward: Diagram, read: tuple[int, ...], grads: list[Grad]) -> Reversed:
        """The forward diagram with exactly the tape that the backward one reads."""
        by_place = {place: wire for wire, place in self.slots.items()}
        slots = []
        for place in read:
            wire = by_place[place]
            at = self.source.ins.index(wire) if wire in self.source.ins and not self.inside else None
            slots.append(Slot(wire, self.type(wire), at, self.shown.get(wire, wire)))
        extra = tuple(slot.wire for slot in slots if slot.given is None)
        forward = Diagram(
            self.source.name,
            tuple(self.wires),
            self.source.ins,
            (*self.source.outs, *extra),
            tuple(self.nodes),
        )
        return Reversed(forward, backward, tuple(slots), tuple(grads))


def real(array: Array) -> bool:
    """Whether an array holds real numbers, so that it has a gradient."""
    return array.bound is None


def parameter(scope: Scope, node: Node, name: str = "weight") -> tuple[str, str]:
    """The name of a node's parameter in the state dict, and what all who share it call it."""
    full = f"{scope.name}{node.id}.{name}"
    key = str(getattr(node.op, "key", "")) if name == "weight" else ""
    return full, f"key {key}" if key else full


def enter(op: ops.Op, scope: Scope, node: Node) -> None:
    """Runs `prepare`, and books who is the first to have a shared weight."""
    if op.learned:
        name, share = parameter(scope, node)
        scope.book.holders.setdefault(share, name)
    prepare(op, scope, node)


@singledispatch
def prepare(op: ops.Op, scope: Scope, node: Node) -> None:
    """Adds the node to the forward diagram, changed where the backward pass needs it."""
    scope.nodes.append(Node(node.id, op, node.ins, node.outs))


@singledispatch
def pull(op: ops.Op, scope: Scope, node: Node, _found: list[int | None]) -> None:
    """Pushes the gradients at a node's inputs, given those at its results."""
    raise DiagramError(
        f"{op} at {scope.prefix}{node.id} cannot be reversed: there is no rule for its gradient\n"
        "  write it in other operations, or keep it out of what is reversed"
    )
