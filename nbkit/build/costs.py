"""What a diagram costs: parameters and floating-point operations, symbolic in the axis sizes.

`params` counts learned numbers: shared weights once, a tied repetition once; it equals Σ numel of the built
module. `flops` counts one forward pass over the *named* axes (unnamed batch dimensions multiply it): 2 per
multiply–add of linear maps, convolutions and contractions, as `torch.utils.flop_counter` does. Elementwise
functions, sums, norms, softmaxes and look-ups are not counted (nor does torch count a contraction over a
single element, which we do). Needs no torch and works on diagrams whose
sizes are still open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TypeAlias

from sympy import Expr, Integer

from nbkit.build.einsums import contractions
from nbkit.build.weights import Keys, Weights, numel, product, weights
from nbkit.language import ops
from nbkit.language.axes import Axis, parse_spec
from nbkit.language.diagram import Diagram, Node
from nbkit.language.errors import BindingError, nearest
from nbkit.language.parts import Block, Repeat
from nbkit.language.sizes import format_size, is_count, substitute

Number: TypeAlias = int | Expr


@dataclass(frozen=True)
class Entry:
    """The cost of the node at `path`; the inside of a repetition is at `path.*`, times its count."""

    path: str
    op: str
    params: Number
    flops: Number


@dataclass(frozen=True)
class Cost:
    """The cost of a diagram, node by node.

    >>> from nbkit import linear
    >>> cost = linear("m -> n").on("x m").cost()
    >>> cost.params, cost.flops
    (m*n + n, 2*m*n*x)
    >>> cost.at(m=64, n=32, x=10).flops
    40960
    """

    entries: tuple[Entry, ...]
    free: tuple[str, ...] = ()  # sizes of the diagram that are still open

    @property
    def params(self) -> Number:
        """Learned numbers."""
        return _plain(sum((_expr(entry.params) for entry in self.entries), Integer(0)))

    @property
    def flops(self) -> Number:
        """Floating-point operations of one forward pass, 2 per multiply–add."""
        return _plain(sum((_expr(entry.flops) for entry in self.entries), Integer(0)))

    def at(self, **sizes: int) -> Cost:
        """The cost with sizes given; numbers are plain integers once every size is.

        `BindingError` for unknown names and for sizes that are no positive integers.
        """
        for name, value in sizes.items():
            if name not in self.free:
                free = f"free sizes {', '.join(self.free)}" if self.free else "no free sizes"
                hint = nearest(name, self.free)
                raise BindingError(f"there is no size {name} to set; the diagram has {free}. {hint}".strip())
            if not (is_count(value) and value >= 1):
                raise BindingError(f"{name}={value!r} is not a size; sizes are positive integers")
        values = {name: Integer(value) for name, value in sizes.items()}

        def put(number: Number) -> Number:
            return _plain(substitute(_expr(number), values))

        left = tuple(name for name in self.free if name not in sizes)
        entries = (replace(e, params=put(e.params), flops=put(e.flops)) for e in self.entries)
        return Cost(tuple(entries), left)

    def by_path(self) -> dict[str, Entry]:
        """Every path, blocks included, with the total of what lies below it."""
        totals: dict[str, Entry] = {}
        for entry in self.entries:
            parts = entry.path.split(".")
            for depth in range(1, len(parts) + 1):
                path = ".".join(parts[:depth])
                before = totals.get(path, Entry(path, "", Integer(0), Integer(0)))
                totals[path] = Entry(
                    path,
                    entry.op if depth == len(parts) else before.op,
                    _plain(_expr(before.params) + _expr(entry.params)),
                    _plain(_expr(before.flops) + _expr(entry.flops)),
                )
        return totals

    def table(self) -> str:
        """Paths, parameters and FLOPs as text; nodes that cost nothing are left out."""
        rows = [("path", "operation", "parameters", "FLOPs")]
        for entry in self.by_path().values():
            if entry.params or entry.flops:
                indent = "  " * entry.path.count(".")
                rows.append(
                    (
                        indent + entry.path.rpartition(".")[2],
                        entry.op,
                        _shown(entry.params),
                        _shown(entry.flops),
                    )
                )
        rows.append(("total", "", _shown(self.params), _shown(self.flops)))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip()
            for a, b, c, d in rows
        ]
        rule = "─" * (sum(widths) + 6)
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __str__(self) -> str:
        return self.table()


def cost(diagram: Diagram) -> Cost:
    """Parameters and FLOPs of a diagram."""
    return Cost(tuple(_entries(diagram, "", Keys(), Integer(1), Integer(1))), diagram.free())


def _entries(diagram: Diagram, prefix: str, keys: Keys, copies: Expr, runs: Expr) -> list[Entry]:
    found: list[Entry] = []
    for node in diagram.nodes:
        path = f"{prefix}{node.id}"
        if isinstance(node.op, Block):
            found += _entries(node.op.body, f"{path}.", keys, copies, runs)
        elif isinstance(node.op, Repeat):
            n = Integer(node.op.n)
            found += _entries(
                node.op.body, f"{path}.*.", keys, copies if node.op.tied else copies * n, runs * n
            )
        else:
            held = weights(diagram, node)
            params = Integer(0) if held is None else _params(held, keys.claim(path, held), copies)
            found.append(
                Entry(path, str(node.op), _plain(params), _plain(flops(node.op, diagram, node) * runs))
            )
    return found


def _params(held: Weights, sharing: str, copies: Expr) -> Expr:
    total: Expr = Integer(0)
    for name in held.shapes:
        if name != "weight" or not held.key:
            total += held.numel(name) * copies
        elif sharing == "own":
            total += held.numel(name)
    return total


@singledispatch
def flops(_op: ops.Op, _diagram: Diagram, _node: Node) -> Expr:
    """FLOPs of one application of an op; 0 for all but linear maps and contractions."""
    return Integer(0)


@flops.register
def _(op: ops.Linear, diagram: Diagram, node: Node) -> Expr:
    array, out = diagram.wires[node.ins[0]].type, diagram.wires[node.outs[0]].type
    return 2 * out.numel * numel(array[t.name] for t in parse_spec(op.spec).ins[0])


@flops.register
def _(_op: ops.Einsum, diagram: Diagram, node: Node) -> Expr:
    axes: dict[str, Axis] = {a.name: a for w in node.ins for a in diagram.wires[w].type}
    operands = [diagram.wires[w].type.names for w in node.ins]
    steps = contractions(operands, diagram.wires[node.outs[0]].type.names)
    return sum(
        (2 * product(axes[name].numel for name in step.axes) for step in steps if step.contracted), Integer(0)
    )


def _expr(number: Number) -> Expr:
    return Integer(number) if isinstance(number, int) else number


def _plain(number: Expr) -> Number:
    return int(number) if number.is_Integer else number


def _shown(number: Number) -> str:
    return f"{number:,}" if isinstance(number, int) else format_size(number)
