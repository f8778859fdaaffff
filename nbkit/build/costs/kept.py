"""What autograd keeps of one operation for the backward pass.

The rules are those of torch's own derivatives: linear maps, contractions and products keep the factors that
another factor's gradient needs; functions keep what their derivative is written in (their result, where that
is enough); norms keep their input and two numbers (RMS: one) per group; maxima keep where they were; masks
keep one byte for each position (once for all who hide the same), dropout the factors that it drew. Sums,
copies, shifts and scales keep nothing, nor does what no gradient flows through. Weights are kept too but are
not counted: they are there anyway.

Known differences from `torch.autograd.graph.saved_tensors_hooks` without peepholes, all in torch's
disfavour: a window that meets a linear map is copied (here it is a view, as in the fused kernel); an einsum
or merge over dimensions that are not neighbours keeps a rearranged copy; an RMS norm with weights keeps, on a
CPU, its normalised input too; scans keep slices that were copied, look-ups by index their indices as large as
the values. With peepholes, fused attention keeps queries, keys, values and result instead of the scores,
which this account, op by op, still counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from sympy import Expr, S

from nbkit.build.weights import product
from nbkit.language import ops, relations
from nbkit.language.axes import Array
from nbkit.language.diagram import Diagram, Node
from nbkit.language.ops.pullback import BY_RESULT

NOTHING = frozenset({"neg", "sign"})


@dataclass(frozen=True)
class Kept:
    """Wires of the scope that are kept, and what is kept besides: reals, indices and bytes, by number.

    `mask` says which mask the bytes are: those who hide the same share it.
    """

    wires: tuple[int, ...] = ()
    reals: Expr = S.Zero
    indices: Expr = S.Zero
    flags: Expr = S.Zero
    mask: tuple[object, ...] = ()


@singledispatch
def kept(_op: ops.Op, _diagram: Diagram, _node: Node, _wants: tuple[bool, ...]) -> Kept:
    """What is kept of a node; `wants` says through which of its inputs gradients flow back."""
    return Kept()


@kept.register
def _(op: ops.Linear, _diagram: Diagram, node: Node, _wants: tuple[bool, ...]) -> Kept:
    return Kept() if op.frozen else Kept(node.ins)


@kept.register
def _(op: ops.Embed, _diagram: Diagram, node: Node, _wants: tuple[bool, ...]) -> Kept:
    return Kept() if op.frozen else Kept(node.ins)


@kept.register(ops.Einsum)
@kept.register(ops.Multiply)
def _(_op: ops.Op, _diagram: Diagram, node: Node, wants: tuple[bool, ...]) -> Kept:
    wanting = [i for i, w in enumerate(wants) if w]
    return Kept(tuple(w for i, w in enumerate(node.ins) if any(j != i for j in wanting)))


@kept.register
def _(op: ops.Elementwise, _diagram: Diagram, node: Node, _wants: tuple[bool, ...]) -> Kept:
    if op.function in NOTHING:
        return Kept()
    return Kept(node.outs if op.function in BY_RESULT else node.ins)


@kept.register
def _(_op: ops.Softmax, _diagram: Diagram, node: Node, _wants: tuple[bool, ...]) -> Kept:
    return Kept(node.outs)


@kept.register
def _(op: ops.Norm, diagram: Diagram, node: Node, _wants: tuple[bool, ...]) -> Kept:
    array = diagram.wires[node.ins[0]].type
    names = op.axes.split()
    if op.how == "batch":
        groups = product(array[name].numel for name in op.per.split())
    else:
        groups = product(axis.numel for axis in array.without(names))
    return Kept(node.ins, reals=groups * (1 if op.how == "rms" else 2))


@kept.register
def _(op: ops.Reduce, diagram: Diagram, node: Node, _wants: tuple[bool, ...]) -> Kept:
    match op.how:
        case "max" | "min":
            return Kept(indices=diagram.wires[node.outs[0]].type.numel)
        case "logsumexp" | "prod":
            return Kept((*node.ins, *node.outs))
    return Kept()


@kept.register
def _(op: ops.Mask, diagram: Diagram, node: Node, _wants: tuple[bool, ...]) -> Kept:
    array: Array = diagram.wires[node.ins[0]].type
    axes = tuple(array[name] for name in relations.names(op.relation))
    return Kept(flags=product(axis.numel for axis in axes), mask=(op.relation, *axes))


@kept.register
def _(op: ops.Dropout, diagram: Diagram, node: Node, _wants: tuple[bool, ...]) -> Kept:
    return Kept(reals=diagram.wires[node.ins[0]].type.numel) if op.p else Kept()
