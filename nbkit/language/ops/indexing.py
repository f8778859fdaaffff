"""Operations by index: gather, scatter, top-k, one-hot, indices.

Indices are arrays of natural numbers below a bound, `N(n)[e]`: which of the n each of the e is. Graphs are
two of them (the sources and the targets of edges), so message passing is gather, some map, scatter; the axis
of the edges is ragged, its sum over each target is not. (Gilmer et al. 2017, arXiv 1704.01212.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sympy import Integer

from nbkit.language.axes import Array, Axis, Token
from nbkit.language.errors import Mismatch, nearest
from nbkit.language.ops.base import Op, named, need, need_possible, need_real, refused, tokens_domain, union
from nbkit.language.ops.windows import LARGEST_INTEGER
from nbkit.language.sizes import check_name, format_size, symbol

AGGREGATIONS = ("sum", "mean", "max")


def _need_indices(array: Array, below: str, wire: int) -> None:
    if array.bound is None:
        raise Mismatch(
            f"takes indices on input {wire + 1}, but the wire holds real numbers  {array}",
            f'start from indices, as in .on("…, N({below})[e]")',
            wire=wire,
        )


@dataclass(frozen=True)
class Gather(Op):
    """Elements of an axis by index: (R[n m], N(n)[e]) -> R[e m], out[e, m] = in[index[e], m].

    The axes of the indices take the place of `axis`; axes that both arrays have are woven (taken at the same
    place on both).
    """

    kind: ClassVar[str] = "gather"
    arity: ClassVar[int | None] = 2
    axis: str = "n"

    def __post_init__(self) -> None:
        check_name(self.axis)

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain((Token(self.axis),)), Array((), symbol(self.axis)))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        array, index = ins
        need(array, (self.axis,), 0)
        _need_indices(index, self.axis, 1)
        axis = array[self.axis]
        if axis.rank != 1:
            raise Mismatch(f"looks up along axis '{axis.name}', which has rank {axis.rank} on  {array}",
                           "merge its dimensions first")  # fmt: skip
        if index.bound != axis.size:
            raise Mismatch(
                f"has {format_size(axis.size)} elements along '{axis.name}', "
                f"but the indices are below {format_size(index.bound or Integer(0))}",
                "indices into an axis are below its size",
                wire=1,
            )
        union((array.without((self.axis,)), index.axes))
        axes: list[Axis] = []
        fresh = [a for a in index.axes if a.name == self.axis or a.name not in array]
        for a in array.axes:
            axes.extend(fresh if a.name == self.axis else [a])
        return (Array(tuple(axes), array.bound),)


@dataclass(frozen=True)
class Scatter(Op):
    """Elements collected by index: (R[e m], N(n)[e]) -> R[n m], out[n, m] = Σ in[e, m] over e with index[e] =
    n.

    `how` "sum", "mean" or "max"; where no index points, the result is 0. `over` ends and `axis`, as long as
    the indices' bound, takes its place. Other axes of the indices are woven.
    """

    kind: ClassVar[str] = "scatter"
    arity: ClassVar[int | None] = 2
    axis: str = "n"
    over: str = "e"
    how: str = "sum"

    def __post_init__(self) -> None:
        check_name(self.axis)
        check_name(self.over)
        if self.how not in AGGREGATIONS:
            raise refused(
                self,
                f"knows no aggregation {self.how[:40]!r}",
                nearest(self.how, AGGREGATIONS) or "known: sum, mean, max",
            )

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain((Token(self.over),)), Array((Token(self.over).axis(),), symbol(self.axis)))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins[:1])
        array, index = ins
        need(array, (self.over,), 0)
        _need_indices(index, self.axis, 1)
        need(index, (self.over,), 1)
        union((array.axes, index.axes))
        lacking = [a.name for a in index.axes if a.name not in array]
        if lacking:
            raise Mismatch(
                f"input 1 lacks axis '{lacking[0]}' of the indices:  {array}",
                f'expand it there first: expand("{lacking[0]}")',
            )
        if self.axis != self.over and self.axis in array:
            raise Mismatch(
                f"produces axis '{self.axis}', "
                f"but the wire already carries a woven axis of that name:  {array}",
                "rename one of them",
            )
        if array[self.over].rank != 1:
            raise Mismatch(
                f"sums over axis '{self.over}', which has rank {array[self.over].rank} on  {array}",
                "merge its dimensions first",
            )
        target = Axis(self.axis, index.bound or Integer(1))
        return (Array(tuple(target if a.name == self.over else a for a in array.axes)),)

    def __str__(self) -> str:
        return f"scatter[{self.over} -> {self.axis}]"


@dataclass(frozen=True)
class TopK(Op):
    """The k largest along an axis and where they are: R[e] -> R[j=k], N(e)[j=k], largest first."""

    kind: ClassVar[str] = "topk"
    axis: str = "e"
    k: int = 1
    name: str = "j"

    def __post_init__(self) -> None:
        check_name(self.axis)
        check_name(self.name)
        if not 1 <= self.k <= LARGEST_INTEGER:
            raise refused(self, f"has k = {self.k}", "k is a positive integer")

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain((Token(self.axis),)),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        (array,) = ins
        need(array, (self.axis,))
        axis = array[self.axis]
        if axis.rank != 1 or (axis.size.is_Integer and int(axis.size) < self.k):
            raise Mismatch(
                f"wants the {self.k} largest of axis '{axis.name}' with {format_size(axis.size)} elements "
                f"(rank {axis.rank}) on  {array}",
                "k is at most the size of an axis of rank 1",
            )
        if self.name != self.axis and self.name in array:
            raise Mismatch(
                f"produces axis '{self.name}', "
                f"but the wire already carries a woven axis of that name:  {array}",
                'give the places another name: topk("e", 2, "j")',
            )
        axes = tuple(Axis(self.name, Integer(self.k)) if a.name == axis.name else a for a in array)
        return (Array(axes), Array(axes, axis.size))

    def source(self, name: str = "") -> str:
        return f"topk({', '.join([repr(self.axis), str(self.k), repr(self.name), *named(name)])})"

    def __str__(self) -> str:
        return f"topk[{self.axis} -> {self.name}={self.k}]"


@dataclass(frozen=True)
class OneHot(Op):
    """Indices as unit vectors: N(v)[x] -> R[x v], out[x, v] = 1 where index[x] = v, else 0."""

    kind: ClassVar[str] = "one_hot"
    axis: str = "v"

    def __post_init__(self) -> None:
        check_name(self.axis)

    def domain(self) -> tuple[Array, ...]:
        return (Array((), symbol(self.axis)),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        _need_indices(array, self.axis, 0)
        if self.axis in array:
            raise Mismatch(
                f"produces axis '{self.axis}', "
                f"but the wire already carries a woven axis of that name:  {array}",
                "rename one of them",
            )
        return (Array((*array.axes, Axis(self.axis, array.bound or Integer(1)))),)


@dataclass(frozen=True)
class Indices(Op):
    """The positions of an axis, 0 … x-1: N(x)[x]. The values of its input are not read."""

    kind: ClassVar[str] = "indices"
    reads: ClassVar[bool] = False
    axis: str = "x"

    def __post_init__(self) -> None:
        check_name(self.axis)

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain((Token(self.axis),)),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        need(array, (self.axis,))
        axis = array[self.axis]
        if axis.rank != 1:
            raise Mismatch(
                f"counts axis '{axis.name}', which has rank {axis.rank} on  {array}",
                "only axes of rank 1 have an order",
            )
        need_possible((axis,))
        return (Array((axis,), axis.size),)
