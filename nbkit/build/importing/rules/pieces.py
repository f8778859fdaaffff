"""Parts of dimensions, and dimensions put together: slice, select, split, cat, stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from sympy import Expr, Integer

from nbkit.build.importing.atoms import Atom, fresh, keep_apart, merge, same
from nbkit.build.importing.cells import Const, Unsuitable, Value, is_tensor
from nbkit.build.importing.reader import Reader, rule
from nbkit.build.importing.rules.views import place


@rule("slice")
def _slice(r: Reader, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> Value:
    value = r.value(x)
    at = place(dim, len(value.dims))
    size = value.sizes[at]
    first = r.size(0 if start is None else start)
    last = size if end is None or (isinstance(end, int) and end > 2**31) else r.size(end)
    if first.is_negative:
        first = first + size
    if last.is_negative:
        last = last + size
    if size.is_Integer and last.is_Integer:
        last = min(last, size)
    if not first.is_Integer:
        raise Unsuitable("a slice from an open size")
    if step != 1:
        return _every(r, value, at, int(first), last, int(step))
    if first == 0 and last == size:
        return value
    if not last.is_Integer and last != size:
        raise Unsuitable("a slice up to an open size")
    return sliced(r, value, at, int(first), None if last == size else int(last))


def _every(r: Reader, value: Value, at: int, start: int, stop: Expr, step: int) -> Value:
    """Every `step`-th position: a split, and one position of the inner axis."""
    value, atom = r.whole(value, at)
    if start >= step or stop != atom.size or not (atom.size / step).is_integer:
        raise Unsuitable("a slice with a step that does not divide")
    value, (_, inside) = r.split(value, atom, (atom.size / step, Integer(step)))
    return r.index(value, inside, start)


@rule("roll")
def _roll(r: Reader, x: Any, shifts: Any, dims: Any = ()) -> Value:
    value = r.value(x)
    for shift, dim in zip(shifts, dims, strict=True):
        at = place(dim, len(value.dims))
        size = value.sizes[at]
        if not size.is_Integer:
            raise Unsuitable("a shift along an open size")
        cut = int(size) - int(shift) % int(size)
        if cut != size:
            parts = [sliced(r, value, at, cut, None), sliced(r, value, at, 0, cut)]
            value = joined_along(r, parts, at)
    return value


def sliced(r: Reader, value: Value, at: int, start: int, stop: int | None) -> Value:
    """Positions from start to stop of a dimension."""
    if not any(value.wire.has(a) for a in value.dims[at]):  # constant along it
        end = value.sizes[at] if stop is None else Integer(stop)
        kept = (fresh(end - start),) if end - start != 1 else ()
        return replace(value, dims=(*value.dims[:at], kept, *value.dims[at + 1 :]))
    value, atom = r.whole(value, at)
    end = atom.size if stop is None else Integer(stop)
    part = atom.resized(end - start)
    out = [part if same(a, atom) else a for a in value.wire.atoms]
    wire = r.cell(
        "slice", [value.wire], out, {"axis": [atom]}, start=start, stop=stop, bound=value.wire.bound
    )
    return Value(wire, (*value.dims[:at], (part,), *value.dims[at + 1 :]))


@rule("narrow")
def _narrow(r: Reader, x: Any, dim: int, start: Any, length: Any) -> Value:
    return _slice(r, x, dim, start, r.size(start) + r.size(length))


@rule("select")
def selected(r: Reader, x: Any, dim: int, index: Any) -> Value:
    """One position of a dimension, which ends."""
    value = r.value(x)
    at = place(dim, len(value.dims))
    position = r.size(index)
    if not position.is_Integer:
        raise Unsuitable("an index that is not a number")
    atoms = value.dims[at]
    if any(value.wire.has(a) for a in atoms):
        value, atom = r.whole(value, at)
        value = r.index(value, atom, int(position))
    return replace(value, dims=tuple(d for i, d in enumerate(value.dims) if i != at))


@rule("unbind")
def _unbind(r: Reader, x: Any, dim: int = 0) -> list[Value]:
    value = r.value(x)
    size = value.sizes[place(dim, len(value.dims))]
    return [selected(r, value, dim, i) for i in range(int(size))]


@rule("split", "split_with_sizes", "chunk", "tensor_split")
def _split(r: Reader, x: Any, split_size: Any = None, dim: int = 0, **named: Any) -> list[Value]:
    value = r.value(x)
    at = place(dim, len(value.dims))
    if not value.sizes[at].is_Integer:
        raise Unsuitable("a split of an open size")
    size = int(value.sizes[at])
    if "chunks" in named:
        split_size = -(-size // int(named["chunks"]))
    lengths = named.get("split_sizes", split_size)
    if isinstance(lengths, int):
        lengths = [min(lengths, size - i) for i in range(0, size, lengths)]
    bounds = [0]
    for n in lengths:
        bounds.append(bounds[-1] + int(n))
    return [sliced(r, value, at, a, None if b == size else b) for a, b in pairwise(bounds)]


@rule("cat", "concat", "concatenate")
def joined_along(r: Reader, tensors: Sequence[Any], dim: int = 0) -> Value:
    """Values one after the other along a dimension."""
    near = next((t.wire for t in tensors if isinstance(t, Value)), None)
    tensors = [t for t in tensors if not (is_tensor(t) and _empty(t))]
    values = [r.value(t, near) for t in tensors]
    rank = len(values[0].dims)
    at = place(dim, rank)
    axes: list[Atom] = []
    for i, value in enumerate(values):
        values[i], atom = r.whole(value, at)
        axes.append(atom)
    slots = [[("axis", i) if d == at else d for d in range(rank)] for i in range(len(values))]
    others = [d for d in range(rank) if d != at]
    values, found = r.align(values, slots, others)
    atoms = [a for d in others for a in found[d]]
    real = [a for a in atoms if any(v.wire.has(a) for v in values)]
    first = max(values, key=lambda v: len(v.wire.atoms)).dims[at][0]
    renamed = []
    for value in values:
        (mine,) = value.dims[at]
        target = first.resized(mine.size)
        keep_apart([target, *atoms])
        if merge(target.name, mine.name):
            renamed.append(value)
        else:
            renamed.append(r.rename(value, [(mine, target)]))
    values = [r.solid(value, real) for value in renamed]
    total = first.resized(sum((v.dims[at][0].size for v in values), Integer(0)))
    wire = r.cell("concat", [v.wire for v in values], [*real, total], {"axis": [total]})
    dims = [(total,) if d == at else found[d] for d in range(rank)]
    return Value(wire, tuple(dims))


def _empty(t: Any) -> bool:
    sizes = t.sizes if isinstance(t, Value | Const) else t.shape
    return any(n == 0 for n in sizes)


@rule("stack")
def stacked(r: Reader, tensors: Sequence[Any], dim: int = 0) -> Value:
    """Values along a new dimension."""
    values = [r.value(t) for t in tensors]
    at = dim + len(values[0].dims) + 1 if dim < 0 else dim
    return joined_along(r, [replace(v, dims=(*v.dims[:at], (), *v.dims[at:])) for v in values], at)
