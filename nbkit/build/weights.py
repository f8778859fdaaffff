"""What each op learns: the kind of torch module that holds it, and the shapes, symbolic in the axis sizes.

One description serves two readers: `holders.py` makes torch modules of it, `costs.py` counts it; it needs no
torch. Canonical shapes are torch's own: a linear map holds (∏ produced, ∏ consumed), so `"m -> h k"` holds
(h·k, m); a linear map that consumes window axes is a convolution and holds (channels out, channels in /
groups, *kernel), whether or not a fused kernel will compute it; an embedding holds (v, ∏ m), positions (∏ x,
∏ m). Bias and norms follow torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sympy import Expr, Integer

from nbkit.language import ops
from nbkit.language.axes import Array, Axis, parse_spec
from nbkit.language.diagram import Diagram, Node
from nbkit.language.errors import DiagramError
from nbkit.language.parts import Block, Repeat
from nbkit.language.sizes import format_size

Shape = tuple[Expr, ...]


@dataclass(frozen=True)
class Weights:
    """What one op learns.

    `rows` and `cols` are the axes behind a weight's two sides, `key` names the weight that it shares.
    """

    module: str  # Linear | Grouped | Conv | Embedding | Positions | LayerNorm | RMSNorm | BatchNorm
    shapes: dict[str, Shape]  # parameter name -> shape
    rows: tuple[Axis, ...] = ()
    cols: tuple[Axis, ...] = ()
    key: str = ""
    groups: Expr = field(default_factory=lambda: Integer(1))
    spatial: int = 0  # image dimensions of a convolution or of a batch norm
    windows: tuple[ops.Window, ...] = ()
    ranks: tuple[int, ...] = ()  # how many image dimensions each window slides over
    eps: float = 1e-5

    def numel(self, name: str) -> Expr:
        return product(self.shapes[name])


def product(sizes: Iterable[Expr]) -> Expr:
    """The product of sizes; 1 of none."""
    total: Expr = Integer(1)
    for size in sizes:
        total = total * size
    return total


def numel(axes: Iterable[Axis]) -> Expr:
    """How many numbers an array over these axes holds."""
    return product(axis.numel for axis in axes)


def makers(diagram: Diagram) -> dict[int, Node]:
    """The node behind each wire; inputs have none."""
    return {wire: node for node in diagram.nodes for wire in node.outs}


def window_chain(
    diagram: Diagram, wire: int, consumed: Iterable[str], kept: Iterable[str] = ()
) -> tuple[Node, ...]:
    """The windows just before `wire` whose window axes are all consumed: together those of one kernel."""
    made, names, taken = makers(diagram), set(consumed), set(kept)
    chain: list[Node] = []
    rank = 0
    while (node := made.get(wire)) is not None and isinstance(op := node.op, ops.Window):
        rank += diagram.wires[node.ins[0]].type[op.axis].rank
        if op.name not in names or op.axis in names or op.axis in taken or rank > 3:
            break
        names.remove(op.name)
        taken |= {op.axis}
        chain.insert(0, node)
        (wire,) = node.ins
    return tuple(chain)


def weights(diagram: Diagram, node: Node) -> Weights | None:
    """What a node of the diagram learns; None if nothing."""
    ins = tuple(diagram.wires[w].type for w in node.ins)
    outs = tuple(diagram.wires[w].type for w in node.outs)
    match node.op:
        case ops.Linear() as op:
            return _linear(diagram, node, op, ins[0], outs[0])
        case ops.Embed() as op:
            ((token,),) = parse_spec(op.spec).ins
            vocabulary = (Axis(token.name, ins[0].bound or Integer(1)),)
            cols = tuple(outs[0][t.name] for t in parse_spec(op.spec).outs[0])
            shape = (numel(vocabulary), numel(cols))
            return Weights("Embedding", {"weight": shape}, vocabulary, cols, op.key)
        case ops.Positions() as op:
            spec = parse_spec(op.spec)
            rows, cols = (tuple(outs[0][t.name] for t in side[0]) for side in (spec.ins, spec.outs))
            return Weights("Positions", {"weight": (numel(rows), numel(cols))}, rows, cols, op.key)
        case ops.Norm() as op:
            return _norm(op, ins[0])
    return None


def _linear(diagram: Diagram, node: Node, op: ops.Linear, array: Array, out: Array) -> Weights:
    spec = parse_spec(op.spec)
    per = tuple(array[name] for name in op.per.split())
    cols = tuple(array[t.name] for t in spec.ins[0])
    rows = tuple(out[t.name] for t in spec.outs[0])
    chain = window_chain(diagram, node.ins[0], [axis.name for axis in cols], op.per.split())
    groups = numel(per)
    shapes: dict[str, Shape]
    if chain:
        windows = tuple(n.op for n in chain if isinstance(n.op, ops.Window))
        kernel = tuple(size for w in windows for size in [array[w.name].size] * array[w.name].rank)
        channels = tuple(axis for axis in cols if axis.name not in {w.name for w in windows})
        shapes = {"weight": (groups * numel(rows), numel(channels), *kernel)}
        if op.bias:
            shapes["bias"] = (groups * numel(rows),)
        ranks = tuple(array[w.name].rank for w in windows)
        return Weights("Conv", shapes, (*per, *rows), channels, op.key, groups, len(kernel), windows, ranks)
    if per:
        shapes = {"weight": (groups, numel(rows), numel(cols))}
        if op.bias:
            shapes["bias"] = (groups, numel(rows))
        return Weights("Grouped", shapes, (*per, *rows), cols, op.key, groups)
    shapes = {"weight": (numel(rows), numel(cols))}
    if op.bias:
        shapes["bias"] = (numel(rows),)
    return Weights("Linear", shapes, rows, cols, op.key)


def _norm(op: ops.Norm, array: Array) -> Weights | None:
    if op.how == "batch":
        per = tuple(array[name] for name in op.per.split())
        shape = (numel(per),)
        spatial = sum(axis.rank for axis in array.without((*op.per.split(), *op.axes.split())))
        shapes: dict[str, Shape] = {"weight": shape, "bias": shape} if op.affine else {}
        return Weights("BatchNorm", shapes, per, spatial=spatial, eps=op.eps)
    if not op.affine:
        return None
    axes = tuple(array[name] for name in op.axes.split())
    shape = tuple(size for axis in axes for size in [axis.size] * axis.rank)
    if op.how == "rms":
        return Weights("RMSNorm", {"weight": shape}, axes, eps=op.eps)
    return Weights("LayerNorm", {"weight": shape, "bias": shape}, axes, eps=op.eps)


def sizes_needed(diagram: Diagram) -> set[str]:
    """Names of the free sizes that some parameter needs."""
    found: set[str] = set()
    for node in diagram.nodes:
        if isinstance(node.op, Block | Repeat):
            found |= sizes_needed(node.op.body)
        elif (held := weights(diagram, node)) is not None:
            sizes = [size for shape in held.shapes.values() for size in shape] + [
                axis.size for axis in held.rows
            ]
            found |= {str(s) for size in sizes for s in size.free_symbols}
    return found


class Keys:
    """Which weights are shared, by key: the first user holds it, the others are checked against it."""

    def __init__(self) -> None:
        self.first: dict[str, tuple[str, Weights]] = {}

    def claim(self, path: str, held: Weights) -> str:
        """'own' for a weight of its own, 'same' for a shared one, 'transposed' for one shared turned round.

        A linear map that swaps the axes of the weight's first user (`"m -> n"`, then `"n -> m"`) is its
        transpose. `DiagramError` if the shapes do not fit.
        """
        if not held.key:
            return "own"
        if held.key not in self.first:
            self.first[held.key] = (path, held)
            return "own"
        first_path, first = self.first[held.key]
        mine, theirs = held.shapes["weight"], first.shapes["weight"]
        names = [[axis.name for axis in side] for side in (held.rows, held.cols)]
        swapped = [[axis.name for axis in side] for side in (first.cols, first.rows)] == names != names[::-1]
        if mine == theirs and not swapped:
            return "same"
        turnable = held.module == "Linear" and first.module in ("Linear", "Embedding", "Positions")
        if turnable and mine == theirs[::-1]:
            return "transposed"
        raise DiagramError(
            f"key '{held.key}' at {path}: the weight would be {_shown(held)}, "
            f"but {first_path} shares it as {_shown(first)}\n"
            "  give both maps the same axis sizes, or different keys"
        )


def _shown(held: Weights) -> str:
    sides = " × ".join(" ".join(axis.name for axis in side) or "1" for side in (held.rows, held.cols))
    return f"({', '.join(map(format_size, held.shapes['weight']))}) [{sides}]"
