"""Operations that only move elements: most cost nothing here, for they only regroup the dimensions of a
value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sympy import Expr, Integer

from nbkit.build.importing.atoms import Atom, fresh, product
from nbkit.build.importing.cells import Unsuitable, Value
from nbkit.build.importing.reader import Reader, rule


def place(dim: int, rank: int) -> int:
    """A dimension counted from the front."""
    return dim + rank if dim < 0 else dim


@rule("contiguous", "clone", "alias", "detach_", "lift_fresh_copy", "view_as_real_copy", "positive")
def _same(r: Reader, x: Any, **_: Any) -> Any:
    return r.value(x)


@rule("to", "_to_copy", "type_as")
def _cast(r: Reader, x: Any, **_: Any) -> Value:
    value = r.value(x)
    before, after = (n.meta["val"].dtype for n in (r.node.args[0], r.node))  # type: ignore[union-attr]
    if before == after or (before.is_floating_point and after.is_floating_point):
        return value
    if after.is_floating_point and value.wire.bound is not None:
        return Value(r.cell("cast", [value.wire], value.wire.atoms, to="R"), value.dims)
    raise Unsuitable(f"a cast from {before} to {after}")


@rule("detach")
def _detach(r: Reader, x: Any) -> Value:
    value = r.value(x)
    if value.wire.bound is not None:
        return value
    return r.like("stopgradient", value)


@rule("transpose", "swapaxes", "swapdims")
def _transpose(r: Reader, x: Any, dim0: int, dim1: int, **_: Any) -> Value:
    value = r.value(x)
    dims = list(value.dims)
    i, j = place(dim0, len(dims)), place(dim1, len(dims))
    dims[i], dims[j] = dims[j], dims[i]
    return replace(value, dims=tuple(dims))


@rule("t", "mT", "numpy_T")
def _t(r: Reader, x: Any) -> Value:
    value = r.value(x)
    return replace(value, dims=(*value.dims[:-2], *value.dims[-2:][::-1]))


@rule("permute", "movedim")
def _permute(r: Reader, x: Any, dims: Sequence[int] = (), **moved: Any) -> Value:
    value = r.value(x)
    rank = len(value.dims)
    if moved:
        source, target = (
            [v] if isinstance(v, int) else list(v) for v in (moved["source"], moved["destination"])
        )
        order = [d for d in range(rank) if d not in {place(s, rank) for s in source}]
        for t, s in sorted((place(t, rank), place(s, rank)) for s, t in zip(source, target, strict=True)):
            order.insert(t, s)
        dims = order
    return replace(value, dims=tuple(value.dims[place(d, rank)] for d in dims))


@rule("unsqueeze")
def _unsqueeze(r: Reader, x: Any, dim: int) -> Value:
    value = r.value(x)
    at = dim + len(value.dims) + 1 if dim < 0 else dim
    return replace(value, dims=(*value.dims[:at], (), *value.dims[at:]))


@rule("squeeze")
def _squeeze(r: Reader, x: Any, dim: int | Sequence[int] | None = None) -> Value:
    value = r.value(x)
    rank = len(value.dims)
    asked = range(rank) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = [d for d in (place(d, rank) for d in asked) if product(value.dims[d]) == 1]
    for d in gone:
        for atom in value.dims[d]:
            value = r.index(value, atom, 0)
    return replace(value, dims=tuple(dim for d, dim in enumerate(value.dims) if d not in gone))


@rule("expand", "expand_as", "broadcast_to")
def expanded(r: Reader, x: Any, size: Sequence[Any] | None = None, other: Any = None, **_: Any) -> Value:
    """New sizes where there was 1: no cell, until somebody needs the axis."""
    value = r.value(x)
    sizes = list(r.value(other).sizes if size is None else size)
    dims = [()] * (len(sizes) - len(value.dims)) + list(value.dims)
    for place_, wanted in enumerate(sizes):
        n = r.size(wanted)
        if n != -1 and product(dims[place_]) == 1 and n != 1:
            for atom in dims[place_]:
                value = r.index(value, atom, 0)
            dims[place_] = (fresh(n),)
    return replace(value, dims=tuple(dims))


@rule("repeat", "tile")
def _repeat(r: Reader, x: Any, repeats: Sequence[Any] = (), dims: Sequence[Any] = ()) -> Value:
    value = r.value(x)
    times = [r.size(n) for n in (repeats or dims)]
    found = [()] * (len(times) - len(value.dims)) + list(value.dims)
    times = [Integer(1)] * (len(found) - len(times)) + times
    return replace(
        value, dims=tuple(d if n == 1 else (fresh(n), *d) for n, d in zip(times, found, strict=True))
    )


@rule("view", "reshape", "_unsafe_view", "view_as", "reshape_as")
def _view(r: Reader, x: Any, size: Sequence[Any] | None = None, other: Any = None, **named: Any) -> Value:
    if other is not None:
        size = r.value(other).sizes
    wanted = list(size if size is not None else named["shape"])
    return regrouped(r, r.value(x), [r.size(n) for n in wanted])


@rule("flatten")
def _flatten(r: Reader, x: Any, start_dim: int = 0, end_dim: int = -1, **_: Any) -> Value:
    value = r.value(x)
    start, end = place(start_dim, len(value.dims)), place(end_dim, len(value.dims))
    if not value.dims:
        return replace(value, dims=((),))
    joined = tuple(a for dim in value.dims[start : end + 1] for a in dim)
    return replace(value, dims=(*value.dims[:start], joined, *value.dims[end + 1 :]))


@rule("unflatten")
def _unflatten(r: Reader, x: Any, dim: int, sizes: Sequence[Any], **_: Any) -> Value:
    value = r.value(x)
    at = place(dim, len(value.dims))
    whole = list(value.sizes)
    parts = [r.size(n) for n in sizes]
    if Integer(-1) in parts:
        rest = whole[at]
        for n in parts:
            rest = rest / n if n != -1 else rest
        parts[parts.index(Integer(-1))] = rest
    return regrouped(r, value, [*whole[:at], *parts, *whole[at + 1 :]])


def regrouped(r: Reader, value: Value, sizes: list[Expr]) -> Value:
    """A view: the axes in order, grouped into dimensions of these sizes, split where they must be."""
    total = product(a for dim in value.dims for a in dim)
    if Integer(-1) in sizes:
        for n in sizes:
            total = total / n if n != -1 else total
        sizes = [total if n == -1 else n for n in sizes]
    if value.sizes == tuple(sizes):
        return value
    queue: list[Atom] = [a for dim in value.dims for a in dim]
    dims: list[tuple[Atom, ...]] = []
    for wanted in sizes:
        if wanted == 1:
            dims.append((queue.pop(0),) if queue and queue[0].size == 1 else ())
            continue
        group: list[Atom] = []
        while (left := wanted / product(group)) != 1:
            if not queue:
                raise Unsuitable("a view that does not fit")
            atom = queue[0]
            fits, divides = left / atom.size, atom.size / left
            if fits.is_integer:
                group.append(queue.pop(0))
            elif divides.is_integer:
                value, parts = r.split(value, atom, (left, divides))
                queue[:1] = list(parts)
            else:
                return _remerged(r, value, sizes)
        dims.append(tuple(group))
    for atom in queue:  # sizes of 1 that are left over
        value = r.index(value, atom, 0)
    return replace(value, dims=tuple(dims))


def _remerged(r: Reader, value: Value, sizes: list[Expr]) -> Value:
    """A view across axes whose sizes do not divide: all merged, then split."""
    whole = replace(value, dims=(tuple(a for dim in value.dims for a in dim),))
    merged, atom = r.whole(whole, 0)
    split, parts = r.split(merged, atom, [n for n in sizes if n != 1])
    rest = iter(parts)
    return replace(split, dims=tuple(() if n == 1 else (next(rest),) for n in sizes))


@rule("pixel_shuffle")
def _pixel_shuffle(r: Reader, x: Any, upscale_factor: int) -> Value:
    value = r.value(x)
    *outer, c, i, j = value.sizes
    times = Integer(upscale_factor)
    apart = regrouped(r, value, [*outer, c / times**2, times, times, i, j])
    n = len(outer)
    first, a, b, rows, cols = apart.dims[n:]
    return replace(apart, dims=(*apart.dims[:n], first, (*rows, *a), (*cols, *b)))


@rule("pixel_unshuffle")
def _pixel_unshuffle(r: Reader, x: Any, downscale_factor: int) -> Value:
    value = r.value(x)
    *outer, c, i, j = value.sizes
    times = Integer(downscale_factor)
    apart = regrouped(r, value, [*outer, c, i / times, times, j / times, times])
    n = len(outer)
    first, rows, a, cols, b = apart.dims[n:]
    return replace(apart, dims=(*apart.dims[:n], (*first, *a, *b), rows, cols))
