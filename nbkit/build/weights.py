"""What each op learns: the kind of torch module that holds it, and the shapes, symbolic in the axis sizes.

One description serves two readers: `holders.py` makes torch modules of it, `costs.py` counts it; it needs no
torch. Canonical shapes are torch's own: a linear map holds (∏ produced, ∏ consumed), so `"m -> h k"` holds
(h·k, m); a linear map that consumes window axes is a convolution and holds (channels out, channels in /
groups, *kernel), whether or not a fused kernel will compute it; one without bias that makes windows for folds
is a transposed convolution and holds (channels in, channels out / groups, *kernel); an embedding holds (v, ∏
m), positions (∏ x, ∏ m), a parameter its own axes. Bias and norms follow torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sympy import Expr, Integer

from nbkit.language import ops
from nbkit.language.axes import Array, Axis, parse_spec
from nbkit.language.diagram import Diagram, Node
from nbkit.language.errors import DiagramError
from nbkit.language.sizes import format_size

Shape = tuple[Expr, ...]


@dataclass(frozen=True)
class Weights:
    """What one op learns.

    `rows` and `cols` are the axes behind a weight's two sides, `key` names the weight that it shares.
    """

    module: str  # a key of `holders.MAKERS`
    shapes: dict[str, Shape]  # parameter name -> shape
    rows: tuple[Axis, ...] = ()
    cols: tuple[Axis, ...] = ()
    key: str = ""
    groups: Expr = field(default_factory=lambda: Integer(1))
    spatial: int = 0  # image dimensions of a convolution or of a batch norm
    windows: tuple[ops.Window, ...] = ()
    folds: tuple[ops.Fold, ...] = ()
    ranks: tuple[int, ...] = ()  # how many image dimensions each window or fold slides over
    eps: float = 1e-5
    init: str = ""  # of a parameter
    frozen: bool = False  # not trained
    buffer: bool = False  # no parameter of the module at all, though in its state dict

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


def window_chain(
    diagram: Diagram, wire: int, consumed: Iterable[str], kept: Iterable[str] = ()
) -> tuple[Node, ...]:
    """The windows just before `wire` whose window axes are all consumed: together those of one kernel."""
    made, names, taken = diagram.makers, set(consumed), set(kept)
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


def fold_chain(
    diagram: Diagram, wire: int, produced: Iterable[str], kept: Iterable[str] = ()
) -> tuple[Node, ...]:
    """The folds just behind `wire` that end window axes of it; each alone reads what it folds."""
    names, taken = set(produced), set(kept)
    chain: list[Node] = []
    rank = 0
    while wire not in diagram.outs:
        users = diagram.readers.get(wire, ())
        if len(users) != 1 or not isinstance(op := users[0].op, ops.Fold):
            break
        rank += diagram.wires[wire].type[op.axis].rank
        if op.name not in names or op.axis in names or op.axis in taken or rank > 3:
            break
        names.remove(op.name)
        taken |= {op.axis}
        chain.append(users[0])
        (wire,) = users[0].outs
    return tuple(chain)


def margins(fold: ops.Fold, size: int) -> tuple[int, int]:
    """What is cut off the sum of a fold's windows of a size, before and after (less than 0: zeros added)."""
    before, after = fold.ends(size)
    if fold.padding == "same":  # as long as the windows are many, times the stride
        return before, fold.dilation * (size - 1) + 1 - fold.stride - before
    return before, after - fold.extra


def kernel_crop(fold: ops.Fold, size: int) -> tuple[int | None, int]:
    """`padding` and `output_padding` by which torch's kernel cuts that off; no padding if it cannot."""
    before, after = margins(fold, size)
    more = before - after
    fits = before >= 0 and 0 <= more < max(fold.stride, fold.dilation)
    return (before, more) if fits else (None, 0)


def weights(diagram: Diagram, node: Node) -> Weights | None:
    """What a node of the diagram learns; None if nothing."""
    ins = tuple(diagram.wires[w].type for w in node.ins)
    outs = tuple(diagram.wires[w].type for w in node.outs)
    match node.op:
        case ops.Linear() as op:
            return _linear(diagram, node, op, ins[0], outs[0])
        case ops.Embed() as op:
            ((token,),) = parse_spec(op.spec).ins
            vocabulary = (Axis(token.name, token.size or ins[0].bound or Integer(1)),)
            cols = tuple(outs[0][t.name] for t in parse_spec(op.spec).outs[0])
            shape = (numel(vocabulary), numel(cols))
            return Weights("Embedding", {"weight": shape}, vocabulary, cols, op.key, frozen=op.frozen)
        case ops.Positions() as op:
            spec = parse_spec(op.spec)
            rows, cols = (tuple(outs[0][t.name] for t in side[0]) for side in (spec.ins, spec.outs))
            return Weights("Positions", {"weight": (numel(rows), numel(cols))}, rows, cols, op.key)
        case ops.Parameter() as op:
            axes = outs[0].axes
            shape = tuple(size for axis in axes for size in [axis.size] * axis.rank)
            fixed = not op.trainable
            return Weights(
                "Parameter", {"weight": shape}, axes[:-1], axes[-1:], op.key, init=op.init, buffer=fixed
            )
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
        return Weights(
            "Conv", shapes, (*per, *rows), channels, op.key, groups, len(kernel), windows, ranks=ranks,
            frozen=op.frozen,
        )  # fmt: skip
    folding = () if op.bias else fold_chain(diagram, node.outs[0], [a.name for a in rows], op.per.split())
    if folding:
        folds = tuple(n.op for n in folding if isinstance(n.op, ops.Fold))
        kernel = tuple(size for fold in folds for size in [out[fold.name].size] * out[fold.name].rank)
        channels = tuple(axis for axis in rows if axis.name not in {fold.name for fold in folds})
        shapes = {"weight": (groups * numel(cols), numel(channels), *kernel)}
        ranks = tuple(out[fold.name].rank for fold in folds)
        return Weights(
            "ConvTranspose", shapes, (*per, *channels), cols, op.key, groups, len(kernel), folds=folds,
            ranks=ranks, frozen=op.frozen,
        )  # fmt: skip
    if per:
        shapes = {"weight": (groups, numel(rows), numel(cols))}
        if op.bias:
            shapes["bias"] = (groups, numel(rows))
        return Weights("Grouped", shapes, (*per, *rows), cols, op.key, groups, frozen=op.frozen)
    shapes = {"weight": (numel(rows), numel(cols))}
    if op.bias:
        shapes["bias"] = (numel(rows),)
    return Weights("Linear", shapes, rows, cols, op.key, frozen=op.frozen)


def _norm(op: ops.Norm, array: Array) -> Weights | None:
    if op.how == "batch":
        per = tuple(array[name] for name in op.per.split())
        shape = (numel(per),)
        spatial = sum(axis.rank for axis in array.without((*op.per.split(), *op.axes.split())))
        shapes: dict[str, Shape] = {"weight": shape, "bias": shape} if op.affine else {}
        return Weights("BatchNorm", shapes, per, key=op.key, spatial=spatial, eps=op.eps)
    if not op.affine:
        return None
    if op.per:
        per = tuple(array[name] for name in op.per.split())
        shapes = {"weight": (numel(per),), "bias": (numel(per),)}
        inside = [axis.name in op.axes.split() for axis in per]
        if inside != sorted(inside):  # no group norm: the groups come before the channels in them
            return Weights("Affine", shapes, per, key=op.key, eps=op.eps)
        groups = numel(axis for axis, normed in zip(per, inside, strict=True) if not normed)
        return Weights("GroupNorm", shapes, per, key=op.key, groups=groups, eps=op.eps)
    axes = tuple(array[name] for name in op.axes.split())
    shape = tuple(size for axis in axes for size in [axis.size] * axis.rank)
    if op.how == "rms":
        return Weights("RMSNorm", {"weight": shape}, axes, key=op.key, eps=op.eps)
    return Weights("LayerNorm", {"weight": shape, "bias": shape}, axes, key=op.key, eps=op.eps)


def sizes_needed(diagram: Diagram) -> set[str]:
    """Names of the free sizes that some parameter needs."""
    found: set[str] = set()
    for node in diagram.nodes:
        for _, body in node.op.insides():
            found |= sizes_needed(body)
        if (held := weights(diagram, node)) is not None:
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
        """'own' for a weight of its own, 'same' for a shared one, 'transposed' for a table that is
        shared turned round, 'turned' for a convolution's or grouped map's weight.

        A linear map that swaps the axes of the weight's first user (`"m -> n"`, then `"n -> m"`) is its
        transpose; a transposed convolution holds the very tensor of the convolution. `DiagramError` if the
        shapes do not fit.
        """
        if not held.key:
            return "own"
        if held.key not in self.first:
            self.first[held.key] = (path, held)
            return "own"
        first_path, first = self.first[held.key]
        if _training(held) != _training(first):
            raise DiagramError(
                f"key '{held.key}' at {path}: the weight would be {_training(held)}, "
                f"but {first_path} shares it as {_training(first)}\n"
                "  train both or neither, or give them different keys"
            )
        mine, theirs = held.shapes["weight"], first.shapes["weight"]
        names = [[axis.name for axis in side] for side in (held.rows, held.cols)]
        swapped = [[axis.name for axis in side] for side in (first.cols, first.rows)] == names != names[::-1]
        tables = held.module in _TABLES and first.module in _TABLES
        if held.module == "Parameter" and first.module in _NORMS and product(mine) == product(theirs):
            return "same"
        if mine == theirs and not (tables and swapped) and not _turned(held, first) and _aligned(held, first):
            return "same"
        turnable = held.module == "Linear" and first.module in _TABLES
        if turnable and mine == theirs[::-1]:
            return "transposed"
        if _turned(held, first):
            return "turned"
        raise DiagramError(
            f"key '{held.key}' at {path}: the weight would be {_shown(held)}, "
            f"but {first_path} shares it as {_shown(first)}\n"
            "  give both maps the same axis sizes, or different keys"
        )


_NORMS = ("LayerNorm", "RMSNorm", "GroupNorm", "Affine", "BatchNorm")  # a parameter may be their weight
_TABLES = ("Linear", "Embedding", "Positions", "Parameter")


def matrix(held: Weights) -> Shape:
    """The weight as groups of matrices: (groups, produced, consumed)."""
    shape = held.shapes["weight"]
    match held.module:
        case "Linear":
            return (Integer(1), *shape)
        case "Conv":
            return (held.groups, shape[0] / held.groups, product(shape[1:]))
        case "ConvTranspose":
            return (held.groups, product(shape[1:]), shape[0] / held.groups)
    return shape


def _aligned(held: Weights, first: Weights) -> bool:
    """Whether kernels have their windows in the same order."""
    kernels = [[w.name for w in (*one.windows, *one.folds)] for one in (held, first)]
    return kernels[0] == kernels[1]


def _turned(held: Weights, first: Weights) -> bool:
    """Whether a plain or grouped map is the transpose of a grouped one or of a convolution."""
    if held.module not in ("Linear", "Grouped") or first.module not in ("Grouped", "Conv", "ConvTranspose"):
        return False
    groups, produced, consumed = matrix(held)
    if matrix(first) != (groups, consumed, produced):
        return False
    if first.module != "Grouped":
        return True
    rows, cols = ([axis.name for axis in side] for side in (held.rows, held.cols))
    return (
        rows[-len(first.cols) :] == [a.name for a in first.cols]
        if first.cols
        else not cols or rows != [a.name for a in first.rows]
    )


def _training(held: Weights) -> str:
    return "a buffer" if held.buffer else "a frozen weight" if held.frozen else "a trained weight"


def _shown(held: Weights) -> str:
    sides = " × ".join(" ".join(axis.name for axis in side) or "1" for side in (held.rows, held.cols))
    return f"({', '.join(map(format_size, held.shapes['weight']))}) [{sides}]"
