"""Surgery on one scope of a diagram: nodes are dropped and added, wires are replaced, and the rest stays.

Wires keep their numbers while an edit runs and are numbered anew when it is finished; nodes are then sorted
so that each stands after what it reads, as near as possible to where it stood. What replaces a wire has its
type; where only the order of the axes differs, a transpose is put in between, so that nothing behind the edit
changes.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from nbkit.language.axes import Array, parse_spec
from nbkit.language.diagram import Diagram, Node, Wire, free_name
from nbkit.language.errors import DiagramError, Mismatch
from nbkit.language.ops import Einsum, Op, Transpose
from nbkit.language.rewrite.formulas import Formula
from nbkit.language.sizes import NAME


def in_order(op: Einsum, arrays: Sequence[Array], out: Sequence[str]) -> Einsum:
    """The einsum with its result's axes in another order; it names all axes if it must."""
    spec = parse_spec(op.spec)
    named = {token.name for bundle in spec.ins for token in bundle}
    for keep in (named, {name for array in arrays for name in array.names}):
        ins = (" ".join(name for name in array.names if name in keep) for array in arrays)
        short = Einsum(f"{', '.join(ins)} -> {' '.join(name for name in out if name in keep)}")
        if short.infer(tuple(arrays))[0].names == tuple(out):
            break
    return short


@dataclass(frozen=True)
class Scope:
    """One diagram in a larger one: where it stands, and which keys the whole uses how often."""

    diagram: Diagram
    path: str = ""  # "" or "block.repeat.*."
    keys: Mapping[str, int] = field(default_factory=Counter)
    repeated: bool = False  # stands in a repetition whose copies have weights of their own

    @cached_property
    def makers(self) -> dict[int, Node]:
        """The node behind each wire; inputs have none."""
        return {wire: node for node in self.diagram.nodes for wire in node.outs}

    @cached_property
    def readers(self) -> dict[int, list[Node]]:
        """The nodes that read each wire, once for each time that they read it."""
        found: dict[int, list[Node]] = {}
        for node in self.diagram.nodes:
            for wire in node.ins:
                found.setdefault(wire, []).append(node)
        return found

    @cached_property
    def ids(self) -> dict[str, set[str]]:
        """The names of nodes, by the part of an expanded diagram that they stand in (empty: none)."""
        found: dict[str, set[str]] = {}
        for node in self.diagram.nodes:
            prefix, _, last = node.id.rpartition(".")
            found.setdefault(prefix, set()).add(last)
        return found

    @cached_property
    def place(self) -> dict[str, int]:
        """Where each node stands."""
        return {node.id: number for number, node in enumerate(self.diagram.nodes)}


class Edit:
    """A change to one scope, in the making."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.before = scope.diagram
        self.wires: list[Wire] = list(scope.diagram.wires)
        self.dropped: dict[str, Node] = {}
        self.added: dict[str, tuple[Node, int]] = {}
        self.replaced: dict[int, int] = {}
        self.rewired: dict[tuple[str, int], tuple[int, int]] = {}  # (reader, place): old wire, new wire
        self.moves: dict[str, str] = {}  # path in the scope afterwards: path before whose weights it keeps
        self.formulas: list[Formula] = []

    # -- reading -------------------------------------------------------------------------------------------

    def type(self, wire: int) -> Array:
        """The array on a wire."""
        return self.wires[wire].type

    def types(self, wires: Iterable[int]) -> tuple[Array, ...]:
        """The arrays on wires."""
        return tuple(self.wires[w].type for w in wires)

    def maker(self, wire: int) -> Node | None:
        """The node behind a wire of the diagram before."""
        return self.scope.makers.get(wire)

    def readers(self, wire: int) -> list[Node]:
        """The nodes that read a wire of the diagram before."""
        return self.scope.readers.get(wire, [])

    def uses(self, wire: int) -> int:
        """How often a wire is read, coming out of the scope included."""
        return len(self.readers(wire)) + self.before.outs.count(wire)

    def only_reader(self, wire: int) -> Node | None:
        """The node that alone reads the wire, if there is one."""
        return self.readers(wire)[0] if self.uses(wire) == 1 and self.readers(wire) else None

    # -- changing ------------------------------------------------------------------------------------------

    def drop(self, *nodes: Node) -> None:
        """Takes nodes away; what they made must be replaced where anything reads it."""
        self.dropped |= {node.id: node for node in nodes}

    def free_id(self, wanted: str, beside: Node) -> str:
        """An id that is free, in the part of an expanded diagram that `beside` stands in."""
        prefix, dot, _ = beside.id.rpartition(".")
        wanted = wanted.rpartition(".")[2]
        near = self.scope.ids.get(prefix, set())
        gone = {i.rpartition(".")[2] for i in self.dropped if i.rpartition(".")[0] == prefix}
        kept = {i.rpartition(".")[2] for i in self.added if i.rpartition(".")[0] == prefix}
        return f"{prefix}{dot}{free_name(wanted, near - gone | kept)}"

    def add(
        self, op: Op, ins: Sequence[int], name: str, near: Node, keeps: Node | str | None = None
    ) -> tuple[int, ...]:
        """Adds a node near another and gives its wires; with `keeps` it has the weights of an old one."""
        outs = op.infer(self.types(ins))
        first = len(self.wires)
        numbers = tuple(range(first, first + len(outs)))
        self.wires += [Wire(array) for array in outs]
        node = Node(self.free_id(name, near), op, tuple(ins), numbers)
        self.added[node.id] = (node, self.scope.place[near.id])
        if keeps is not None:
            self.moves[node.id] = keeps if isinstance(keeps, str) else keeps.id
        return numbers

    def add_one(
        self, op: Op, ins: Sequence[int], name: str, near: Node, keeps: Node | str | None = None
    ) -> int:
        """Adds a node that makes one array."""
        (wire,) = self.add(op, ins, name, near, keeps)
        return wire

    def id_of(self, wire: int) -> str:
        """The id of the added node behind a wire."""
        return next(node.id for node, _ in self.added.values() if wire in node.outs)

    def replace(self, old: int, new: int) -> None:
        """Lets everything that read `old` read `new`, with its axes in the right order.

        A transpose that alone reads the old wire is part of that order, and goes with it.
        """
        near = self.maker(old)
        after = self.only_reader(old)
        if after is not None and isinstance(after.op, Transpose) and after.id not in self.dropped:
            self.drop(after)
            (old,) = after.outs
        if near is not None:
            new = self.ordered(new, self.type(old), near)
        if self.type(old) != self.type(new):
            raise Mismatch(f"{self.type(old)} would become {self.type(new)}")
        if self.wires[old].name and not self.wires[new].name and new >= len(self.before.wires):
            self.wires[new] = replace(self.wires[new], name=self.wires[old].name)
        self.replaced[old] = new

    def wanted(self, old: int) -> Array:
        """What is to replace a wire: its own type, or that of the transpose which alone reads it."""
        after = self.only_reader(old)
        return self.type(after.outs[0] if after and isinstance(after.op, Transpose) else old)

    def rewire(self, reader: Node | None, place: int, new: int) -> None:
        """Lets one reader (None: the end of the scope) read `new` at one place."""
        old = reader.ins[place] if reader else self.before.outs[place]
        self.rewired[reader.id if reader else "", place] = old, new

    def ordered(self, wire: int, wanted: Array, near: Node) -> int:
        """The wire with its axes in the order of `wanted`: a new einsum gives it, others get a transpose."""
        if self.type(wire).names == wanted.names or set(self.type(wire).names) != set(wanted.names):
            return wire
        for key, (node, place) in self.added.items():
            if node.outs == (wire,) and isinstance(node.op, Einsum):
                op = in_order(node.op, self.types(node.ins), wanted.names)
                self.added[key] = replace(node, op=op), place
                self.wires[wire] = replace(self.wires[wire], type=op.infer(self.types(node.ins))[0])
                return wire
        return self.add_one(Transpose(" ".join(wanted.names)), (wire,), "transpose", near)

    # -- finishing -----------------------------------------------------------------------------------------

    def finish(self) -> Diagram:
        """The scope with the change made, each node checked against its wires."""
        kept = {n.id: (n, self.scope.place[n.id]) for n in self.before.nodes if n.id not in self.dropped}
        renewed = {
            key: (replace(node, ins=self._read(key, node.ins)), place)
            for key, (node, place) in (kept | self.added).items()
        }
        nodes = _sorted(self.before.ins, renewed)
        number = {wire: i for i, wire in enumerate((*self.before.ins, *(w for n in nodes for w in n.outs)))}
        self.number = number
        for node in nodes:
            if node.op.infer(self.types(node.ins)) != self.types(node.outs):
                raise DiagramError(f"a rewrite broke {node.id}")
        return replace(
            self.before,
            wires=tuple(self.wires[w] for w in number),
            ins=tuple(number[w] for w in self.before.ins),
            outs=tuple(number[w] for w in self._read("", self.before.outs)),
            nodes=tuple(
                replace(n, ins=tuple(number[w] for w in n.ins), outs=tuple(number[w] for w in n.outs))
                for n in nodes
            ),
        )

    def _read(self, reader: str, wires: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.now(self.rewired.get((reader, i), (w, w))[1]) for i, w in enumerate(wires))

    def now(self, wire: int) -> int:
        """What is read where `wire` was read."""
        while wire in self.replaced:
            wire = self.replaced[wire]
        return wire

    def sides(self) -> tuple[Diagram, Diagram]:
        """What was there and what is there now, as diagrams between the same wires."""
        left = [n for n in self.before.nodes if n.id in self.dropped]
        right = [node for node, _ in self.added.values()]
        made = {w for n in (*left, *right) for w in n.outs}
        inner = {w for n in left for w in n.outs if all(r.id in self.dropped for r in self.readers(w))}
        inner -= set(self.before.outs)
        shown = [(old, self.now(new)) for old, new in self.replaced.items() if old not in inner]
        shown += [(old, self.now(new)) for old, new in self.rewired.values()]
        ends = [*(w for n in left for w in n.ins), *(self.now(w) for n in right for w in n.ins)]
        ends += [new for _, new in shown]
        ins = tuple(dict.fromkeys(w for w in sorted(ends) if w not in made))
        sorted_right = _sorted(
            ins, {n.id: (replace(n, ins=tuple(map(self.now, n.ins))), self.added[n.id][1]) for n in right}
        )
        return (
            self._side(left, ins, tuple(old for old, _ in shown)),
            self._side(sorted_right, ins, tuple(new for _, new in shown)),
        )

    def _side(self, nodes: Sequence[Node], ins: tuple[int, ...], outs: tuple[int, ...]) -> Diagram:
        number = {wire: i for i, wire in enumerate((*ins, *(w for n in nodes for w in n.outs)))}
        return Diagram(
            self.before.name,
            tuple(self.wires[w] for w in number),
            tuple(number[w] for w in ins),
            tuple(number[w] for w in outs),
            tuple(
                Node(i, n.op, tuple(number[w] for w in n.ins), tuple(number[w] for w in n.outs))
                for i, n in zip(_short([n.id for n in nodes]), nodes, strict=True)
            ),
        )


def _short(paths: Iterable[str]) -> list[str]:
    """Ids for nodes of an expanded diagram in a picture of their own: the last parts of their paths."""
    found: dict[str, None] = {}
    for path in paths:
        last = path.rpartition(".")[2]
        found[free_name(last if NAME.match(last) else "node", found)] = None
    return list(found)


def _sorted(ins: Iterable[int], nodes: Mapping[str, tuple[Node, int]]) -> list[Node]:
    """The nodes, each after what it reads, otherwise in the order of their places."""
    known = set(ins)
    makers = {wire: key for key, (node, _) in nodes.items() for wire in node.outs}
    rank = {key: (place, number) for number, (key, (_, place)) in enumerate(nodes.items())}
    waiting: dict[str, int] = {}
    behind: dict[str, list[str]] = {}
    for key, (node, _) in nodes.items():
        needed = {makers[w] for w in node.ins if w not in known}
        waiting[key] = len(needed)
        for other in needed:
            behind.setdefault(other, []).append(key)
    ready = [(rank[key], key) for key, count in waiting.items() if not count]
    heapq.heapify(ready)
    order: list[Node] = []
    while ready:
        _, key = heapq.heappop(ready)
        order.append(nodes[key][0])
        for other in behind.get(key, ()):
            waiting[other] -= 1
            if not waiting[other]:
                heapq.heappush(ready, (rank[other], other))
    if len(order) < len(nodes):
        raise DiagramError("a rewrite made a diagram that feeds itself")
    return order
