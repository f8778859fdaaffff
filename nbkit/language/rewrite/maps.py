"""What rules need to know of linear maps and einsums: their axes, by role, on the arrays at hand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from nbkit.language import ops
from nbkit.language.axes import Array, Axis, Spec, Token, parse_spec
from nbkit.language.diagram import Node
from nbkit.language.ops import Op
from nbkit.language.rewrite.edit import Edit, in_order
from nbkit.language.rewrite.formulas import Old
from nbkit.language.rewrite.rule import op_as, require


@dataclass(frozen=True)
class Map:
    """A linear map: axes with weights of their own, produced and consumed axes, as its weight has them."""

    node: Node
    op: ops.Linear
    per: tuple[Axis, ...]
    outs: tuple[Axis, ...]
    ins: tuple[Axis, ...]

    def weight(self, now: Mapping[str, str], mark: str = "@in") -> Old:
        """Its weight; indices are the axes' names as `now` says, those of consumed axes with a mark."""
        mine = [now.get(name, name) for name in names((*self.per, *self.outs))]
        return Old(self.node.id, "weight", (*mine, *(f"{a.name}{mark}" for a in self.ins)))

    def bias(self, now: Mapping[str, str]) -> Old:
        """Its bias."""
        return Old(self.node.id, "bias", tuple(now.get(n, n) for n in names((*self.per, *self.outs))))


def linear_map(edit: Edit, node: Node) -> Map:
    """The axes of a linear map on the arrays that it stands between."""
    op = op_as(node, ops.Linear)
    spec = parse_spec(op.spec)
    array, out = edit.type(node.ins[0]), edit.type(node.outs[0])
    return Map(
        node,
        op,
        tuple(array[name] for name in op.per.split()),
        tuple(out[t.name] for t in spec.outs[0]),
        tuple(array[t.name] for t in spec.ins[0]),
    )


def linear_op(like: ops.Linear, ins: Iterable[Axis], outs: Iterable[Axis], per: Iterable[Axis]) -> ops.Linear:
    """A linear map without bias between axes, as trainable as another."""
    spec = Spec((tuple(Token(a.name) for a in ins),), (tuple(map(token, outs)),))
    return ops.Linear(str(spec), bias=False, per=" ".join(a.name for a in per), frozen=like.frozen)


def token(axis: Axis) -> Token:
    """The axis as a specification states it."""
    return Token(axis.name, axis.rank if axis.rank > 1 else None, axis.size)


def names(axes: Iterable[Axis]) -> tuple[str, ...]:
    """The names of axes."""
    return tuple(axis.name for axis in axes)


def free_axis(name: str, taken: Collection[str]) -> str:
    """A name for an axis that is not taken, after another's."""
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def own_weight(map_: Map, what: str) -> None:
    """A rule that makes a new weight needs one that nothing else uses."""
    require(not map_.op.key, what, f"'{map_.node.id}', whose weight is shared by the key '{map_.op.key}'")


def no_bias(map_: Map, what: str) -> None:
    """Some rules hold for linear maps only, and a map with a bias is affine."""
    require(not map_.op.bias, what, f"'{map_.node.id}' with a bias; make it with bias=False")


def unshared(op: Op) -> str:
    """What of the op's weights a key cannot share: empty if it learns nothing, or its weight is all."""
    if isinstance(op, ops.Norm) and op.how == "batch":
        return "its running statistics"
    if not op.learned or not getattr(op, "affine", True):
        return "" if not isinstance(op, ops.Torch) else "what is inside of it"
    if isinstance(op, ops.Norm):
        return "" if op.how == "rms" and not op.per else "its bias"
    return "its bias" if getattr(op, "bias", False) else "" if hasattr(op, "key") else "its weight"


# -- sums of products --------------------------------------------------------------------------------------

PRODUCTS = (ops.Einsum, ops.Multiply, ops.Reduce, ops.Transpose)


@dataclass(frozen=True)
class Product:
    """An op as an einsum with every axis written out: `bundles -> out`; `named` are those that it names."""

    ins: tuple[int, ...]
    bundles: tuple[tuple[str, ...], ...]
    out: tuple[str, ...]
    named: frozenset[str]

    @property
    def summed(self) -> tuple[str, ...]:
        """The axes that end."""
        return tuple(dict.fromkeys(n for bundle in self.bundles for n in bundle if n not in self.out))


def product(edit: Edit, node: Node) -> Product | None:
    """The op as a product of its inputs, summed over axes; None for ops that are no such thing."""
    match node.op:
        case ops.Einsum() as op:
            named = {t.name for bundle in parse_spec(op.spec).ins for t in bundle}
        case ops.Multiply():
            named = set()
        case ops.Reduce(how="sum") as op:
            named = set(op.axes.split())
        case ops.Transpose() as op:
            named = set(op.axes.split())
        case _:
            return None
    arrays = edit.types(node.ins)
    if any(array.bound is not None for array in arrays):
        return None
    return Product(
        node.ins,
        tuple(array.names for array in arrays),
        edit.type(node.outs[0]).names,
        frozenset(named),
    )


def certain(edit: Edit, node: Node) -> Product:
    """The op as a product, which it is known to be."""
    form = product(edit, node)
    if form is None:
        raise TypeError(f"{node.op} is no product")
    return form


def einsum_for(arrays: Sequence[Array], out: Sequence[str], named: Iterable[str] = ()) -> ops.Einsum:
    """The einsum of arrays with this result: it names what it must, and what it is asked to.

    An axis stays woven if it is kept, and every operand that has it weaves it.
    """
    keep = {*named, *(n for array in arrays for n in array.names if n not in out)}
    ins = (" ".join(n for n in array.names if n in keep) for array in arrays)
    first = ops.Einsum(f"{', '.join(ins)} -> {' '.join(n for n in out if n in keep)}")
    return in_order(first, arrays, out)
