"""The diagram: an immutable open hypergraph in SSA form with named axes. Everything else is derived from it.

A wire carries one array; a node applies one op to wires and makes new ones; copying is using a wire twice, deleting is
not using it. Nodes stand in topological order and have ids that are unique in their scope, so every node has a stable
path (`"block.3.attention.softmax"`) by which probes, weights, folds and edits find it. Two ops are themselves
diagrams: `Block` (a named part) and `Repeat` (n copies in a row, tied or not).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from sympy import Expr, Integer

from nbkit.language.axes import Array, Sizes
from nbkit.language.errors import BindingError, DiagramError, Mismatch, nearest
from nbkit.language.ops import Op
from nbkit.language.sizes import check_name, format_size, is_possible, symbol

if TYPE_CHECKING:
    from pathlib import Path

Style = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wire:
    """One array on its way: its type, and the name it was given, if any (`q`)."""

    type: Array
    name: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One application of an op: `ins` and `outs` are wire numbers; `id` is unique in its scope."""

    id: str
    op: Op
    ins: tuple[int, ...]
    outs: tuple[int, ...]


@dataclass(frozen=True)
class Diagram:
    """A typed diagram. Build one with `fn.on("x m=64")`, `Diagram.from_json(text)` or `parse(listing)`.

    `wires[i]` is the wire number i; `ins` and `outs` are wire numbers; `style` holds looks keyed by path and never
    meaning (equality ignores it).
    """

    name: str
    wires: tuple[Wire, ...]
    ins: tuple[int, ...]
    outs: tuple[int, ...]
    nodes: tuple[Node, ...]
    style: Style = field(default_factory=lambda: MappingProxyType({}), compare=False, repr=False, hash=False)

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> tuple[Array, ...]:
        return tuple(self.wires[i].type for i in self.ins)

    @property
    def outputs(self) -> tuple[Array, ...]:
        return tuple(self.wires[i].type for i in self.outs)

    def __str__(self) -> str:
        return f"{self.name}: {', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))}"

    def __repr__(self) -> str:
        return f"<Diagram {self}>"

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Node]]:
        """All nodes with their paths, outer before inner; the inside of a repetition stands at `path.*`."""
        for node in self.nodes:
            path = f"{prefix}{node.id}"
            yield path, node
            if isinstance(node.op, Block):
                yield from node.op.body.walk(f"{path}.")
            elif isinstance(node.op, Repeat):
                yield from node.op.body.walk(f"{path}.*.")

    def __getitem__(self, path: str) -> Diagram:
        """The part at a path: the body of a block or repetition, else the one node as a diagram of its own."""
        head, _, rest = path.partition(".")
        node = next((n for n in self.nodes if n.id == head), None)
        if node is None:
            known = [n.id for n in self.nodes]
            raise DiagramError(
                f"{self.name} has no part '{head[:60]}'; {nearest(head, known) or 'it has ' + ', '.join(known)}"
            )
        if isinstance(node.op, Block):
            return node.op.body[rest] if rest else node.op.body
        if isinstance(node.op, Repeat):
            index, _, deeper = rest.partition(".")
            if rest and index != "*" and not (index.isdecimal() and int(index) < node.op.n):
                raise DiagramError(
                    f"{self.name}.{head} is repeated {node.op.n} times; '{index[:20]}' is none of them"
                )
            return node.op.body[deeper] if deeper else node.op.body
        if rest:
            raise DiagramError(f"{self.name}.{head} is a {node.op.kind} and has no parts")
        used = tuple(dict.fromkeys(node.ins))
        at = {wire: i for i, wire in enumerate((*used, *node.outs))}
        return Diagram(
            node.id,
            tuple(self.wires[w] for w in at),
            tuple(range(len(used))),
            tuple(at[w] for w in node.outs),
            (replace(node, ins=tuple(at[w] for w in node.ins), outs=tuple(at[w] for w in node.outs)),),
        )

    def free(self) -> tuple[str, ...]:
        """Names of the sizes that are still open, sorted."""
        found: set[str] = set()
        for wire in self.wires:
            found |= wire.type.free()
        for _, node in self.walk():
            if isinstance(node.op, Block | Repeat):
                for wire in node.op.body.wires:
                    found |= wire.type.free()
        return tuple(sorted(found))

    # -- sizes --------------------------------------------------------------------------------------------------

    def at(self, **sizes: int) -> Diagram:
        """The same diagram with sizes given: `d.at(m=64, h=8)`. `BindingError` for unknown names or impossible sizes."""
        known = self.free()
        for name, value in sizes.items():
            if name not in known:
                free = (
                    f"the diagram has free sizes {', '.join(known)}"
                    if known
                    else "the diagram has no free sizes"
                )
                raise BindingError(f"there is no size {name} to set; {free}. {nearest(name, known)}".strip())
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BindingError(f"{name}={value!r} is not a size; sizes are positive integers")
        return (
            self._bind({name: Integer(value) for name, value in sizes.items()}, sizes, "") if sizes else self
        )

    def _bind(self, values: Mapping[str, Expr], given: Mapping[str, int], prefix: str) -> Diagram:
        def look(name: str) -> Expr:
            return values.get(name, symbol(name))

        def checked(array: Array, path: str) -> Array:
            bound = array.bind(values)
            for old, new in zip(array.axes, bound.axes, strict=True):
                if not is_possible(new.size):
                    which = ", ".join(
                        f"{n}={v}" for n, v in given.items() if symbol(n) in old.size.free_symbols
                    )
                    what = "an integer" if not new.size.is_Integer else "positive"
                    raise BindingError(f"{format_size(old.size)} is not {what} for {which} ({path})")
            return bound

        maker = {wire: node for node in self.nodes for wire in node.outs}
        wires = tuple(
            replace(
                w,
                type=checked(
                    w.type,
                    f"{maker[i].op.kind} at {prefix}{maker[i].id}" if i in maker else f"input of {self.name}",
                ),
            )
            for i, w in enumerate(self.wires)
        )
        nodes = []
        for node in self.nodes:
            op = node.op
            if isinstance(op, Block):
                op = Block(op.body._bind(values, given, f"{prefix}{node.id}."))
            elif isinstance(op, Repeat):
                op = replace(op, body=op.body._bind(values, given, f"{prefix}{node.id}.*."))
            else:
                op = op.resolve(look)
            nodes.append(replace(node, op=op))
        return replace(self, wires=wires, nodes=tuple(nodes))

    # -- rewriting that keeps the meaning -----------------------------------------------------------------------

    def styled(self, path: str, **looks: Any) -> Diagram:
        """The same diagram, `looks` recorded for the part at `path` (fold=True, title="…", fill="…")."""
        if path:
            self[path]
        style = dict(self.style)
        style[path] = {**style.get(path, {}), **looks}
        return replace(self, style=MappingProxyType(style))

    def expanded(self, *, blocks: bool = True, repeats: bool = True) -> Diagram:
        """One flat diagram: blocks dissolved, repetitions unrolled. Ids are the paths, with `.` kept."""
        wires = list(self.wires)
        nodes: list[Node] = []

        def inline(part: Diagram, at: dict[int, int], prefix: str) -> tuple[int, ...]:
            for node in part.nodes:
                ins = tuple(at[w] for w in node.ins)
                if isinstance(node.op, Block) and blocks:
                    outs = enter(node.op.body, ins, f"{prefix}{node.id}.")
                elif isinstance(node.op, Repeat) and repeats:
                    outs = ins
                    for i in range(node.op.n):
                        outs = enter(node.op.body, outs, f"{prefix}{node.id}.{i}.")
                else:
                    outs = tuple(claim(part.wires[w]) for w in node.outs) if prefix else node.outs
                    nodes.append(Node(f"{prefix}{node.id}", node.op, ins, outs))
                at.update(zip(node.outs, outs, strict=True))
            return tuple(at[w] for w in part.outs)

        def enter(body: Diagram, ins: tuple[int, ...], prefix: str) -> tuple[int, ...]:
            return inline(body, dict(zip(body.ins, ins, strict=True)), prefix)

        def claim(wire: Wire) -> int:
            wires.append(wire)
            return len(wires) - 1

        outs = inline(self, {i: i for i in self.ins}, "")
        return Diagram(self.name, tuple(wires), self.ins, outs, tuple(nodes), self.style)

    # -- ways out: each lives in a room of its own and is loaded when it is first asked for ----------------------

    def json(self, *, indent: int | None = None) -> str:
        """The diagram as JSON: versioned, deterministic, read back by `Diagram.from_json`."""
        text: str = _room("nbkit.language.json", "to_json")(self, indent=indent)
        return text

    @staticmethod
    def from_json(text: str) -> Diagram:
        """The diagram that a JSON text stands for. Nothing in the text is ever evaluated; `ParseError` if it is damaged."""
        diagram: Diagram = _room("nbkit.language.json", "from_json")(text)
        return diagram

    def listing(self) -> str:
        """The diagram as readable SSA text, read back by `nbkit.parse`."""
        text: str = _room("nbkit.language.listing", "to_listing")(self)
        return text

    def svg(self, **options: Any) -> str:
        """The neural circuit diagram as SVG text; options are those of `nbkit.draw.svg`."""
        text: str = _room("nbkit.draw", "svg")(self, **options)
        return text

    def save(self, path: str | Path, **options: Any) -> None:
        """Writes the picture to an .svg file."""
        _room("nbkit.draw", "save")(self, path, **options)

    def torch(self, seed: int | None = None, *, peepholes: bool = True, **sizes: int) -> Any:
        """A `torch.nn.Module` that is this diagram; submodules have the diagram's paths as names."""
        return _room("nbkit.build", "build_torch")(self, seed=seed, peepholes=peepholes, **sizes)

    def cost(self) -> Any:
        """Parameters and FLOPs, symbolic in the axis sizes."""
        return _room("nbkit.build", "cost")(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle: dict[str, str] = _room("nbkit.draw", "mimebundle")(self)
        return bundle


def _room(module: str, name: str) -> Any:
    """A function of a room further down the house: by name, so that the language depends on none of them."""
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Block(Op):
    """A named part of a diagram."""

    kind: ClassVar[str] = "block"
    arity: ClassVar[int | None] = None
    body: Diagram = field(default_factory=lambda: Diagram("empty", (), (), (), ()))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        _check_body(self.body, ins)
        return self.body.outputs

    def __str__(self) -> str:
        return self.body.name


@dataclass(frozen=True)
class Repeat(Op):
    """A part applied n times in a row; the copies have weights of their own unless `tied`."""

    kind: ClassVar[str] = "repeat"
    arity: ClassVar[int | None] = None
    body: Diagram = field(default_factory=lambda: Diagram("empty", (), (), (), ()))
    n: int = 1
    tied: bool = False

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        _check_body(self.body, ins)
        if self.body.inputs != self.body.outputs:
            became = " became ".join(
                ", ".join(map(str, side)) for side in (self.body.inputs, self.body.outputs)
            )
            raise Mismatch(
                f"repeat(×{self.n}) must preserve its type: {became}",
                "end the repeated part with a map back to the axes it received",
            )
        return self.body.outputs

    def __str__(self) -> str:
        return f"{self.body.name}(×{self.n})"


def _check_body(body: Diagram, ins: tuple[Array, ...]) -> None:
    if body.inputs != ins:
        raise Mismatch(
            f"{body.name} is built for {', '.join(map(str, body.inputs))}, but got {', '.join(map(str, ins))}"
        )


def free_name(wanted: str, taken: Mapping[str, object] | set[str]) -> str:
    """`wanted`, or `wanted_2`, `wanted_3` … if it is taken."""
    name, number = check_name(wanted, "node"), 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name
