"""A diagram under construction whose ops are already resolved: typed by `infer`, pruned when finished."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nbkit.language import ops
from nbkit.language.axes import Array, Axis
from nbkit.language.diagram import Diagram, Node, Wire
from nbkit.language.sizes import LONGEST_NAME


class Ids:
    """Ids of nodes, each given once. Those of flat diagrams are paths, of which the last part changes."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)
        self.numbers: dict[str, int] = {}

    def fresh(self, wanted: str) -> str:
        """The id itself, or a free one beside it."""
        around, dot, last = wanted.rpartition(".")
        first = name = f"{around}{dot}{last[:LONGEST_NAME]}"
        number = self.numbers.get(first, 1)
        while name in self.taken:
            number += 1
            name = f"{around}{dot}{last[: LONGEST_NAME - len(str(number)) - 1]}_{number}"
        self.numbers[first] = number
        self.taken.add(name)
        return name


class Sketch:
    """Wires and nodes of one scope; every op that is applied is typed at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.wires: list[Wire] = []
        self.nodes: list[Node] = []
        self.ids = Ids()

    def wire(self, array: Array, name: str = "") -> int:
        """A new wire, made by nobody yet."""
        self.wires.append(Wire(array, name))
        return len(self.wires) - 1

    def type(self, wire: int) -> Array:
        """The type of a wire."""
        return self.wires[wire].type

    def apply(self, op: ops.Op, ins: Sequence[int], name: str = "") -> tuple[int, ...]:
        """Adds a node; gives the wires that it makes."""
        outs = tuple(self.wire(array) for array in op.infer(tuple(self.type(w) for w in ins)))
        node = self.ids.fresh(name or op.kind)
        self.nodes.append(Node(node, op, tuple(ins), outs))
        return outs

    def maker(self, wire: int) -> ops.Op | None:
        """The op that made a wire."""
        return next((node.op for node in reversed(self.nodes) if wire in node.outs), None)

    def one(self, op: ops.Op, *ins: int, name: str = "") -> int:
        """Adds a node that makes one wire."""
        (out,) = self.apply(op, ins, name)
        return out

    # -- words that the rules are written in ---------------------------------------------------------------

    def arranged(self, wire: int, names: Iterable[str]) -> int:
        """The array with its axes in this order; no wire moves in a picture."""
        wanted = tuple(names)
        if self.type(wire).names == wanted:
            return wire
        return self.one(ops.Transpose(" ".join(wanted)), wire, name="layout")

    def contracted(self, operands: Sequence[int], names: Iterable[str], name: str = "") -> int:
        """The product of arrays, summed over all axes but those named."""
        bundles = ", ".join(" ".join(self.type(w).names) for w in operands)
        return self.one(ops.Einsum(f"{bundles} -> {' '.join(names)}"), *operands, name=name)

    def summed(self, wire: int, names: Iterable[str]) -> int:
        """The sum over all axes but those named, which stand in this order."""
        kept = tuple(names)
        gone = [axis.name for axis in self.type(wire) if axis.name not in kept]
        if gone:
            wire = self.one(ops.Reduce("sum", " ".join(gone)), wire, name="sum")
        return self.arranged(wire, kept)

    def added(self, wires: Sequence[int]) -> int:
        """The sum of arrays of one type."""
        return wires[0] if len(wires) == 1 else self.one(ops.Add(), *wires, name="add")

    def expanded(self, wire: int, axes: Iterable[Axis]) -> int:
        """The array repeated along those of the axes that it lacks."""
        new = [axis for axis in axes if axis.name not in self.type(wire)]
        return self.one(ops.Expand(" ".join(map(str, new))), wire) if new else wire

    def constant(self, value: float, axes: Iterable[Axis], near: int) -> int:
        """An array that is one number everywhere; `near` is a wire of the scope, which is not read."""
        return self.one(ops.Constant(value, " ".join(map(str, axes))), near)

    # -- the whole -----------------------------------------------------------------------------------------

    def finish(
        self, given: Sequence[int], outs: Sequence[int], tape: Sequence[int]
    ) -> tuple[Diagram, tuple[int, ...]]:
        """The diagram, without nodes that nothing depends on; and those of the tape's wires that it reads.

        Its inputs are these wires of the tape, then those that are given.
        """
        needed = set(outs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if needed & set(node.outs):
                kept.append(node)
                needed |= set(node.ins)
        read = tuple(w for w in tape if w in needed)
        nodes = tuple(reversed(kept))
        used = sorted({*read, *given, *outs, *(w for node in nodes for w in (*node.ins, *node.outs))})
        at = {wire: i for i, wire in enumerate(used)}

        def moved(wires: Sequence[int]) -> tuple[int, ...]:
            return tuple(at[w] for w in wires)

        diagram = Diagram(
            self.name,
            tuple(self.wires[w] for w in used),
            moved((*read, *given)),
            moved(outs),
            tuple(Node(n.id, n.op, moved(n.ins), moved(n.outs)) for n in nodes),
        )
        return diagram, read
