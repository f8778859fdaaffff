"""The hierarchy: cells of one module's call become a block, runs of equal blocks a repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from nbkit.build.importing.cells import Carry, Cell, Wire
from nbkit.build.importing.labels import snake, words
from nbkit.build.importing.lowering import Letters, default_name, lower
from nbkit.build.names import attributes
from nbkit.build.weights import weights
from nbkit.language import ops
from nbkit.language.axes import Array
from nbkit.language.diagram import Diagram, Node, free_name
from nbkit.language.diagram import Wire as DiagramWire
from nbkit.language.errors import DiagramError
from nbkit.language.parts import Block, Repeat

if TYPE_CHECKING:
    from torch import Tensor

Carries = dict[str, Carry]


@dataclass
class Item:
    """A cell of this scope itself, or the cells of one call inside it."""

    cells: list[Cell]
    name: str = ""  # as the parent calls it
    kind: str = ""
    key: str = ""

    @property
    def single(self) -> bool:
        return len(self.cells) == 1

    @property
    def base(self) -> str:
        """`h.0` → `h`; `0` → the class; `attn` → `attn`."""
        return ".".join(part for part in self.name.split(".") if not part.isdecimal())

    @property
    def numbered(self) -> bool:
        return self.name.rpartition(".")[2].isdecimal()


def items_of(cells: Sequence[Cell], depth: int) -> list[Item]:
    """The cells of a scope, those of one inner call together."""
    found: list[Item] = []
    for cell in cells:
        if len(cell.stack) <= depth:
            found.append(Item([cell]))
            continue
        scope = cell.stack[depth]
        if found and found[-1].key == scope.key:
            found[-1].cells.append(cell)
        else:
            found.append(Item([cell], scope.name, scope.kind, scope.key))
    return found


def runs_of(items: Sequence[Item]) -> list[list[Item]]:
    """Neighbours that may be copies of one part: of one list and one class."""
    found: list[list[Item]] = []
    for item in items:
        before = found[-1][-1] if found else None
        if (
            before is not None
            and item.numbered
            and not item.single
            and (before.base, before.kind, len(before.cells)) == (item.base, item.kind, len(item.cells))
        ):
            found[-1].append(item)
        else:
            found.append([item])
    return found


def boundary(cells: Sequence[Cell], used: set[int]) -> tuple[list[Wire], list[Wire]]:
    """The wires that go into some cells, and those that come out (`used` are read elsewhere)."""
    made = {id(w) for cell in cells for w in cell.outs}
    ins = list({id(w): w for cell in cells for w in cell.ins if id(w) not in made}.values())
    outs = [w for cell in cells for w in cell.outs if id(w) in used]
    return ins, outs


@dataclass
class Grower:
    """Builds one diagram out of the items of a scope."""

    letters: Letters
    name: str
    wires: list[DiagramWire] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    carried: list[tuple[str, str, Carries]] = field(default_factory=list)  # node, separator, inner carries

    def input(self, wire: Wire, array: Array, name: str) -> None:
        """A wire that comes in."""
        self.numbers[id(wire)] = len(self.wires)
        self.wires.append(DiagramWire(array, name))

    def type(self, wire: Wire) -> Array:
        """The type that a wire has here."""
        return self.wires[self.numbers[id(wire)]].type

    def node(
        self, wanted: str, op: ops.Op, ins: Sequence[Wire], outs: Sequence[Wire], carries: Carries
    ) -> None:
        """A node, and what it carries by the names of torch parameters."""
        given = tuple(self.numbers[id(w)] for w in ins)
        arrays = op.infer(tuple(self.wires[i].type for i in given))
        first = len(self.wires)
        for wire, array in zip(outs, arrays, strict=True):
            self._checked(wire, array, op)
            self.numbers[id(wire)] = len(self.wires)
            self.wires.append(DiagramWire(array))
        identity = free_name(wanted, self.taken)
        self.taken.add(identity)
        self.nodes.append(Node(identity, op, given, tuple(range(first, len(self.wires)))))
        self.carried.append((identity, ".", carries))

    def _checked(self, wire: Wire, array: Array, op: ops.Op) -> None:
        meant = {(a.name, a.size) for a in map(self.letters.axis, wire.atoms)}
        if meant != {(a.name, a.size) for a in array}:
            raise DiagramError(f"from_torch: {op} gives {array}, but the graph has {sorted(map(str, meant))}")

    def conformed(self, wire: Wire, array: Array) -> None:
        """Brings a wire to the order of a type."""
        if self.type(wire).names != array.names:
            op = ops.Transpose(" ".join(array.names))
            given = self.numbers[id(wire)]
            identity = free_name("layout", self.taken)
            self.taken.add(identity)
            self.nodes.append(Node(identity, op, (given,), (len(self.wires),)))
            self.numbers[id(wire)] = len(self.wires)
            self.wires.append(DiagramWire(array))

    def finish(self, outs: Sequence[Wire], count: int) -> tuple[Diagram, Carries]:
        """The diagram, and all that it carries by path."""
        numbers = tuple(self.numbers[id(w)] for w in outs)
        diagram = Diagram(self.name, tuple(self.wires), tuple(range(count)), numbers, tuple(self.nodes))
        names = attributes(diagram)
        nodes = {node.id: node for node in diagram.nodes}
        return diagram, {
            f"{names[node]}{between}{path}": held_as(carry, diagram, nodes[node])
            for node, between, inner in self.carried
            for path, carry in inner.items()
        }


def held_as(carry: Carry, diagram: Diagram, node: Node) -> Carry:
    """The weight of a transposed convolution, turned where the diagram holds a linear map instead."""
    if carry.layout != "transposed" or not isinstance(node.op, ops.Linear):
        return carry
    held = weights(diagram, node)
    if held is None or held.module == "ConvTranspose":
        return carry
    groups = int(held.groups)

    def turned(t: Tensor) -> Tensor:
        apart = t.reshape(groups, -1, *t.shape[1:]).movedim((1, 2), (-1, -2))
        whole = apart.reshape(groups, -1, apart.shape[-1])
        return whole if held.module == "Grouped" else whole[0]

    return carry.then("turned", turned)


def grow(
    name: str, cells: Sequence[Cell], depth: int, ins: Sequence[tuple[Wire, Array]],
    outs: Sequence[tuple[Wire, Array | None]], letters: Letters,
) -> tuple[Diagram, Carries]:  # fmt: skip
    """The diagram of a scope; an output with a type is brought to its order."""
    g = Grower(letters, name)
    for wire, array in ins:
        g.input(wire, array, "" if depth else wire.name)
    wanted = {id(w) for w, _ in outs}
    for run in runs_of(items_of(cells, depth)):
        if len(run) > 1 and _repeated(g, run, cells, depth, wanted):
            continue
        for item in run:
            _placed(g, item, cells, depth, wanted)
    for wire, wanted_type in outs:
        if wanted_type is not None:
            g.conformed(wire, wanted_type)
    return g.finish([w for w, _ in outs], len(ins))


def _used_outside(cells: Sequence[Cell], inside: Sequence[Cell]) -> set[int]:
    mine = {id(cell) for cell in inside}
    return {id(w) for cell in cells if id(cell) not in mine for w in cell.ins}


def _placed(g: Grower, item: Item, cells: Sequence[Cell], depth: int, wanted: set[int]) -> None:
    if item.single:
        (cell,) = item.cells
        scopes = [scope for scope in cell.stack[depth:] if scope.kind != "Attention"]
        label = words(scopes[-1].name, scopes[-1].kind) if scopes and not cell.name else default_name(cell)
        op = lower(cell, g.letters, [g.type(w) for w in cell.ins])
        g.node(label, op, cell.ins, cell.outs, dict(cell.weights))
        return
    used = _used_outside(cells, item.cells) | wanted
    ins, outs = boundary(item.cells, used)
    given = [(w, g.type(w)) for w in ins]
    inside = items_of(item.cells, depth + 1)
    label = words(item.name, item.kind)
    if len(inside) == 1 and not inside[0].single:  # a module that only calls another one
        inner = Item(item.cells, item.name, inside[0].kind, item.key)
        _placed(g, inner, cells, depth + 1, wanted)
        return
    runs = runs_of(inside)
    if len(runs) == 1 and len(runs[0]) > 1:  # a list that is called: the repetition itself, by its name
        renamed = [Item(i.cells, f"{label}.{n}", i.kind, i.key) for n, i in enumerate(runs[0])]
        if _repeated(g, renamed, cells, depth + 1, wanted):
            return
    body, carries = grow(label, item.cells, depth + 1, given, [(w, None) for w in outs], g.letters)
    g.node(label, Block(body), ins, outs, carries)


def _repeated(g: Grower, run: Sequence[Item], cells: Sequence[Cell], depth: int, wanted: set[int]) -> bool:
    """One repetition for the copies, if they are equal, each feeds the next, and nothing else reads them."""
    sides = [boundary(item.cells, _used_outside(cells, item.cells) | wanted) for item in run]
    first = sides[0][0]
    carried = _carried(sides)
    if carried is None:
        return False
    types = [g.type(w) for w in first]
    fits = all(
        {*map(g.letters.axis, w.atoms)} == {*t.axes}
        for ins, outs in sides
        for w, t in [*zip(ins, types, strict=True), *((outs[k], types[p]) for p, k in carried.items())]
    )
    if not fits:
        return False
    label = words(run[0].base or run[0].kind, run[0].kind)
    made: list[tuple[Diagram, Carries]] = []
    for item, (ins, outs) in zip(run, sides, strict=True):
        results = [
            (outs[carried[place]], types[place]) if place in carried else (ins[place], None)
            for place in range(len(ins))
        ]
        given = list(zip(ins, types, strict=True))
        made.append(grow(snake(item.kind), item.cells, depth + 1, given, results, g.letters))
        if made[-1][0] != made[0][0]:
            return False
    body = made[0][0]
    if body.inputs != body.outputs:
        return False
    last = sides[-1][1]
    outs = [last[carried[place]] if place in carried else Wire(first[place].atoms, first[place].bound)
            for place in range(len(first))]  # fmt: skip
    carries = [c for _, c in made]
    tied = (
        len(run) > 1
        and all(
            {p: c.identity for p, c in one.items()} == {p: c.identity for p, c in carries[0].items()}
            for one in carries
        )
        and bool(carries[0])
    )
    g.node(label, Repeat(body, len(run), tied), first, outs, {})
    node = g.nodes[-1].id
    if tied:
        g.carried.append((node, ".", carries[0]))
    else:
        for number, one in enumerate(carries):
            g.carried.append((node, f".{number}.", one))
    return True


def _carried(sides: Sequence[tuple[list[Wire], list[Wire]]]) -> dict[int, int] | None:
    """Which input place each output of a copy feeds in the next copy; None if the copies are no chain."""
    found: dict[int, int] | None = None
    for (before_in, before_out), (after_in, _) in pairwise(sides):
        if len(before_in) != len(after_in):
            return None
        places: dict[int, int] = {}
        for place, wire in enumerate(after_in):
            match = next((k for k, out in enumerate(before_out) if out is wire), None)
            if match is not None:
                places[place] = match
            elif before_in[place] is not wire:
                return None
        if sorted(places.values()) != list(range(len(before_out))) or (found is not None and places != found):
            return None
        found = places
    if found is None or len(sides[-1][1]) != len(found):
        return None
    for number, (_, outs) in enumerate(sides[:-1]):  # nothing later than the next copy reads them
        for later in sides[number + 2 :]:
            if any(out is w for out in outs for w in later[0]):
                return None
    return found
