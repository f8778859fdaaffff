"""The diagram: an immutable open hypergraph in SSA form with named axes. Everything else is derived from it.

A wire carries one array; a node applies one op to wires and makes new ones; copying is using a wire twice,
deleting is not using it. Nodes stand in topological order and have ids that are unique in their scope, so
every node has a stable path (`"block.3.attention.softmax"`) by which probes, weights, folds and edits find
it. Some ops are themselves made of diagrams (`parts.py`): blocks, repetitions, scans. In a diagram that was
expanded, ids are paths themselves (`"block.3.norm"`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sympy import Expr, Integer

from nbkit.language.axes import Array
from nbkit.language.errors import BindingError, DiagramError, Mismatch, ParseError, nearest
from nbkit.language.ops.base import Composite, Op
from nbkit.language.rooms import room
from nbkit.language.sizes import (
    LONGEST_NAME,
    check_name,
    format_size,
    is_count,
    is_possible,
    substitute,
    symbol,
)

Style = Mapping[str, Mapping[str, Any]]
MOST_COPIES = 10_000
MOST_OPERATIONS = 200_000
DEEPEST = 50
LONGEST_LOOK = 200


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

    `wires[i]` is the wire number i; `ins` and `outs` are wire numbers; `style` holds looks keyed by path and
    never meaning (equality ignores it).
    """

    name: str
    wires: tuple[Wire, ...]
    ins: tuple[int, ...]
    outs: tuple[int, ...]
    nodes: tuple[Node, ...]
    style: Style = field(default_factory=lambda: MappingProxyType({}), compare=False, repr=False, hash=False)

    # -- reading -------------------------------------------------------------------------------------------

    @cached_property
    def makers(self) -> Mapping[int, Node]:
        """The node behind each wire; inputs have none."""
        return MappingProxyType({wire: node for node in self.nodes for wire in node.outs})

    @cached_property
    def readers(self) -> Mapping[int, tuple[Node, ...]]:
        """The nodes that read each wire, in order; wires that nobody reads are not there."""
        found: dict[int, list[Node]] = {}
        for node in self.nodes:
            for wire in dict.fromkeys(node.ins):
                found.setdefault(wire, []).append(node)
        return MappingProxyType({wire: tuple(nodes) for wire, nodes in found.items()})

    @property
    def inputs(self) -> tuple[Array, ...]:
        """The types of the arrays that go in."""
        return tuple(self.wires[i].type for i in self.ins)

    @property
    def outputs(self) -> tuple[Array, ...]:
        """The types of the arrays that come out."""
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
            for segment, body in node.op.insides():
                yield from body.walk(f"{path}{segment}")

    @property
    def operations(self) -> int:
        """How many operations are applied, every repetition counted, a scan as one position."""
        total = 0
        for node in self.nodes:
            op = node.op
            inside = sum(body.operations for _, body in op.insides()) if isinstance(op, Composite) else 1
            total += inside * op.copies
        return total

    def __getitem__(self, path: str) -> Diagram:
        """The part at a path: the body of a block or repetition, else the one node as a diagram."""
        node, rest = self._find(path)
        op = node.op
        if isinstance(op, Composite):
            numbered = op.insides()[0][0] != "."
            index, _, deeper = rest.partition(".") if numbered else ("*", "", rest)
            inside: Diagram | None = op.inside(index or "*")
            if inside is None:
                copies = len(op.insides()) * op.copies
                which = f"0 to {copies - 1}, or * for any" if op.kind != "scan" else "* for any"
                times = f" {copies} times" if op.kind != "scan" else ""
                raise DiagramError(
                    f"{self.name}.{node.id} is repeated{times}, so '{index[:20]}' is no copy; "
                    f"they are called {which}"
                )
            return inside[deeper] if deeper else inside
        if rest:
            raise DiagramError(f"{self.name}.{node.id} is one {op.kind} and has no part '{rest[:60]}'")
        used = tuple(dict.fromkeys(node.ins))
        at = {wire: i for i, wire in enumerate((*used, *node.outs))}
        return Diagram(
            node.id.rpartition(".")[2],
            tuple(self.wires[w] for w in at),
            tuple(range(len(used))),
            tuple(at[w] for w in node.outs),
            (replace(node, ins=tuple(at[w] for w in node.ins), outs=tuple(at[w] for w in node.outs)),),
        )

    def _find(self, path: str) -> tuple[Node, str]:
        """The node whose id begins the path, and the rest of the path."""
        for node in self.nodes:
            if path == node.id or path.startswith(f"{node.id}."):
                return node, path[len(node.id) + 1 :]
        known = [node.id for node in self.nodes]
        head = path.partition(".")[0][:60]
        hint = nearest(head, known) or f"its parts are {', '.join(known[:20]) or 'none'}"
        raise DiagramError(f"{self.name} has no part '{head}'; {hint}")

    def free(self) -> tuple[str, ...]:
        """Names of the sizes that are still open, sorted."""
        found: set[str] = set()
        for part in self._scopes():
            for wire in part.wires:
                found |= wire.type.free()
            for node in part.nodes:
                found |= node.op.free()
        return tuple(sorted(found))

    def _scopes(self) -> Iterator[Diagram]:
        yield self
        for node in self.nodes:
            for _, body in node.op.insides():
                yield from body._scopes()

    # -- sizes ---------------------------------------------------------------------------------------------

    def at(self, **sizes: int) -> Diagram:
        """The same diagram with sizes given: `d.at(m=64, h=8)`.

        `BindingError` for unknown names or impossible sizes.
        """
        known = self.free()
        for name, value in sizes.items():
            if name not in known:
                free = f"has free sizes {', '.join(known)}" if known else "has no free sizes"
                hint = nearest(name, known) if len(name) > 1 else ""
                raise BindingError(
                    f"there is no size {name} to set; the diagram {free}{'; ' * bool(hint)}{hint}"
                )
            if not is_count(value) or value < 1:
                raise BindingError(f"{name}={value!r} is not a size; sizes are positive integers")
        return self._bind({name: Integer(value) for name, value in sizes.items()}, "") if sizes else self

    def _bind(self, values: Mapping[str, Expr], prefix: str) -> Diagram:
        wires = list(self.wires)

        def bind(numbers: tuple[int, ...], place: str) -> None:
            for w in numbers:
                try:
                    wires[w] = replace(wires[w], type=_bound(wires[w].type, values, place))
                except BindingError as error:
                    error.partial = (self, (w,))
                    raise

        bind(self.ins, f"input of {self.name}")
        nodes = []
        for node in self.nodes:
            op, path = node.op, f"{prefix}{node.id}"
            if isinstance(op, Composite):
                op = op.mapped(lambda segment, body: body._bind(values, f"{path}{segment}"))  # noqa: B023
            bind(node.outs, f"{op.kind} at {path}")
            try:
                op = op.resolve(lambda name: values.get(name, symbol(name)))
                op.infer(tuple(wires[w].type for w in node.ins))
            except (Mismatch, ParseError) as error:
                at = node.ins[error.wire if isinstance(error, Mismatch) else 0]
                names = node.op.free().union(*(self.wires[w].type.free() for w in node.ins))
                text = f"{error}, for {_given(values, names)} ({op.kind} at {path})"
                raise BindingError(text, partial=(self, (at,))) from None
            nodes.append(replace(node, op=op))
        return replace(self, wires=tuple(wires), nodes=tuple(nodes))

    # -- rewriting that keeps the meaning ------------------------------------------------------------------

    def styled(self, path: str, **looks: Any) -> Diagram:
        """The same diagram, `looks` recorded for the part at `path` (fold=True, title="…", fill="…")."""
        merged = {**self.style.get(path, {}), **looks}
        self.check_looks(path, merged)
        return replace(self, style=MappingProxyType({**self.style, path: MappingProxyType(merged)}))

    def check_looks(self, path: str, looks: Mapping[str, Any]) -> None:
        """Looks are plain values, and texts among them are short and printable; `path` must be a part."""
        if path:
            self[path]
        for name, value in looks.items():
            check_name(name, "look")
            if not isinstance(value, str | int | float | None):
                raise ParseError(
                    f"look '{name}' of '{path[:60]}' is a {type(value).__name__}; "
                    "looks are texts, numbers and booleans"
                )
            if isinstance(value, float) and not math.isfinite(value):
                raise ParseError(f"look '{name}' of '{path[:60]}' is {value}; looks are finite numbers")
            if isinstance(value, str) and not (len(value) <= LONGEST_LOOK and value.isprintable()):
                raise ParseError(
                    f"look '{name}' of '{path[:60]}' must be one line of at most {LONGEST_LOOK} printable "
                    f"characters, found {value[:40]!r} ({len(value)} characters)"
                )

    def expanded(self, *, blocks: bool = True, repeats: bool = True) -> Diagram:
        """One flat diagram: blocks dissolved, repetitions unrolled. Ids are the paths, with `.` kept."""
        wires = [self.wires[w] for w in self.ins]
        nodes: list[Node] = []

        def inline(part: Diagram, ins: tuple[int, ...], prefix: str) -> tuple[int, ...]:
            at = dict(zip(part.ins, ins, strict=True))
            for node in part.nodes:
                op, path = node.op, f"{prefix}{node.id}"
                given = tuple(at[w] for w in node.ins)
                if op.kind == "block" and blocks:
                    outs = inline(op.insides()[0][1], given, f"{path}.")
                elif op.kind in ("repeat", "stages") and repeats:
                    outs = unroll(op, given, path)
                else:
                    if isinstance(op, Composite):
                        op = op.mapped(lambda _, body: body.expanded(blocks=blocks, repeats=repeats))
                    outs = tuple(range(len(wires), len(wires) + len(node.outs)))
                    wires.extend(part.wires[w] for w in node.outs)
                    nodes.append(Node(path, op, given, outs))
                at.update(zip(node.outs, outs, strict=True))
            return tuple(at[w] for w in part.outs)

        def unroll(op: Op, ins: tuple[int, ...], path: str) -> tuple[int, ...]:
            bodies = [body for _, body in op.insides()] * op.copies
            carry = getattr(op, "carry", len(ins))
            running, further = ins[:carry], ins[carry:]
            kept: tuple[int, ...] = ()
            for i, body in enumerate(bodies):
                count = len(body.ins) - carry
                outs = inline(body, (*running, *further[:count]), f"{path}.{i}.")
                running, kept, further = outs[:carry], (*kept, *outs[carry:]), further[count:]
            return (*running, *kept)

        outs = inline(self, tuple(range(len(self.ins))), "")
        flat = Diagram(self.name, tuple(wires), tuple(range(len(self.ins))), outs, tuple(nodes))
        kept = {path: looks for path, looks in self.style.items() if path in {"", *(n.id for n in nodes)}}
        return replace(flat, style=MappingProxyType(kept))

    def rewrite(self, rule: str, at: str = "", **options: Any) -> Diagram:
        """The same function, drawn another way: `d.rewrite("merge-linears", at="mlp")`; see `nbkit.rewrites`.

        `at` is the path of a node, or of a part in which the rule applies at one place only. `RewriteError`
        where it does not apply, with the places where it does.
        """
        return self.rewriting(rule, at, **options).after  # type: ignore[no-any-return]  # of another room

    def rewriting(self, rule: str, at: str = "", **options: Any) -> Any:
        """A rewrite as a step (`nbkit.Rewriting`): both sides as an equation, and what becomes of weights."""
        return room("nbkit.language.rewrite", "rewriting")(self, rule, at, **options)

    def rewrites(self, rule: str = "") -> list[tuple[str, str]]:
        """The rules that apply somewhere in this diagram, as (rule, path)."""
        found: list[tuple[str, str]] = room("nbkit.language.rewrite", "places")(self, rule)
        return found

    # -- ways out: each lives in a room of its own and is loaded when it is first asked for ----------------

    def json(self, *, indent: int | None = None) -> str:
        """The diagram as JSON: versioned, deterministic, read back by `Diagram.from_json`."""
        text: str = room("nbkit.language.json", "to_json")(self, indent=indent)
        return text

    @staticmethod
    def from_json(text: str) -> Diagram:
        """The diagram that a JSON text stands for; `ParseError` if it is damaged. Nothing in it is ever
        evaluated.
        """
        diagram: Diagram = room("nbkit.language.json", "from_json")(text)
        return diagram

    def listing(self) -> str:
        """The diagram as readable SSA text, read back by `nbkit.parse`."""
        text: str = room("nbkit.language.listing", "to_listing")(self)
        return text

    def svg(self, **options: Any) -> str:
        """The neural circuit diagram as SVG text; options are those of `nbkit.draw.svg`.

        `tint` may also be "params", "flops", "bytes" or "memory": the parts in colours by what they cost,
        at the sizes given beside it (`d.svg(tint="flops", x=256)`).
        """
        if isinstance(measure := options.get("tint"), str):
            options["tint"] = self._cost_tint(measure, options)
        text: str = room("nbkit.draw", "svg")(self, **options)
        return text

    def _cost_tint(self, measure: str, options: dict[str, Any]) -> Any:
        """What the parts cost, for a picture; takes the sizes that are open out of the options."""
        drawing = inspect.signature(room("nbkit.draw", "svg")).parameters
        sizes = {name: options.pop(name) for name in self.free() if name in options and name not in drawing}
        unroll = bool(options.get("unroll", False))
        values, label = room("nbkit.build", "tints")(self.at(**sizes), measure, unroll=unroll)
        return room("nbkit.draw", "Tint")(values, label)

    def save(self, path: str | Path, **options: Any) -> None:
        """Writes the picture to an .svg file."""
        room("nbkit.draw", "save")(self, path, **options)

    def dot(self, **options: Any) -> str:
        """The diagram as hierarchical Graphviz DOT text; options are those of `nbkit.draw.dot`."""
        text: str = room("nbkit.draw", "dot")(self, **options)
        return text

    def equations(self, **options: Any) -> Any:
        """The diagram as aligned LaTeX in index notation; options are those of `nbkit.draw.equations`."""
        return room("nbkit.draw", "equations")(self, **options)

    def tikz(self, **options: Any) -> str:
        """The neural circuit diagram as TikZ; options are those of `nbkit.draw.tikz`."""
        text: str = room("nbkit.draw", "tikz")(self, **options)
        return text

    def torch(self, seed: int | None = None, *, peepholes: bool = True, **sizes: int) -> Any:
        """A `torch.nn.Module` that is this diagram; submodules have the diagram's paths as names."""
        return room("nbkit.build", "build_torch")(self, seed=seed, peepholes=peepholes, **sizes)

    def source(self, **sizes: int) -> str:
        """The text of a stand-alone PyTorch program that is this diagram; its last class is the whole."""
        text: str = room("nbkit.build.source", "source")(self, **sizes)
        return text

    def reverse(self) -> Any:
        """The backward pass as a diagram: `forward`, `backward`, both as one `diagram`, and their picture."""
        return room("nbkit.language.reverse", "reverse")(self)

    def cost(self, *, itemsize: int = 4) -> Any:
        """Parameters, FLOPs, bytes moved, memory kept and alive, symbolic in the axis sizes.

        `itemsize` is the bytes of a real number.
        """
        return room("nbkit.build", "cost")(self, itemsize=itemsize)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle: dict[str, str] = room("nbkit.draw", "mimebundle")(self)
        return bundle

    def __deepcopy__(self, memo: dict[int, Any]) -> Diagram:
        return self  # immutable; a module that keeps its diagram can be copied

    def __reduce__(self) -> tuple[Any, ...]:
        return Diagram.from_json, (self.json(),)  # to other processes the checked text is sent


def _bound(array: Array, values: Mapping[str, Expr], place: str) -> Array:
    """The array with sizes put in, each a possible size."""
    for old in (*(axis.size for axis in array), *(() if array.bound is None else (array.bound,))):
        new = substitute(old, values)
        if not is_possible(new):
            what = "positive" if new.is_integer else "an integer"
            given = _given(values, {str(s) for s in old.free_symbols})
            raise BindingError(f"{format_size(old)} is not {what} for {given} ({place})")
    return array.bind(values)


def _given(values: Mapping[str, Expr], names: set[str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items() if name in names)


def free_name(wanted: str, taken: Mapping[str, object] | set[str]) -> str:
    """`wanted`, or `wanted_2`, `wanted_3` … if it is taken."""
    name, number = check_name(wanted, "node"), 1
    while name in taken:
        number += 1
        name = f"{wanted[: LONGEST_NAME - len(str(number)) - 1]}_{number}"
    return name
