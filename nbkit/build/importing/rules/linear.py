"""Linear maps, products of arrays, embeddings."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from sympy import Integer

from nbkit.build.importing.atoms import fresh, keep_apart, same
from nbkit.build.importing.cells import Carry, Const, Unsuitable, Value, Weight, settled
from nbkit.build.importing.reader import Reader, rule
from nbkit.build.importing.rules.pointwise import joined, scaled


def learned(r: Reader, x: Any, weight: Carry, outputs: int, bias: Carry | None, **named: Any) -> Value:
    """A linear map of the last dimension; the weight is (outputs, inputs)."""
    value = r.value(x)
    if not value.dims or value.wire.bound is not None:
        raise Unsuitable("a linear map of a number")
    consumed = value.dims[-1]
    if not consumed:
        value, one = r.whole(value, len(value.dims) - 1)
        consumed = (one,)
    value = r.solid(value, consumed)
    for atom in consumed:
        atom.hint("m")
    produced = fresh(outputs).hint("m")
    out = [a for a in value.wire.atoms if not any(same(a, b) for b in consumed)]
    weights = {"weight": weight} | ({} if bias is None else {"bias": bias})
    wire = r.cell(
        "linear", [value.wire], [*out, produced], {"ins": consumed, "outs": [produced], "per": []}, weights,
        bias=bias is not None, **named,
    )  # fmt: skip
    keep_apart([produced, *(a for dim in value.dims[:-1] for a in dim)])
    return Value(wire, (*value.dims[:-1], (produced,)))


@rule("linear")
def _linear(r: Reader, x: Any, weight: Any = None, bias: Any = None) -> Value:
    if isinstance(weight, Weight) and len(weight.shape) == 2 and isinstance(bias, Weight | None):
        return learned(r, x, weight.carry, weight.shape[0], None if bias is None else bias.carry)
    near = x.wire if isinstance(x, Value) else None
    w = r.value(weight, near)
    product_ = _matmul(r, x, replace(w, dims=w.dims[::-1]))
    return product_ if bias is None else joined(r, "add", [product_, bias])


@rule("addmm")
def _addmm(r: Reader, x: Any, mat1: Any, mat2: Any, beta: Any = 1, alpha: Any = 1) -> Value:
    if isinstance(mat2, Weight) and isinstance(x, Weight) and len(x.shape) == 1 and beta == alpha == 1:
        turned = mat2.carry.then("t", lambda t: t.t())
        return learned(r, mat1, turned, mat2.shape[1], x.carry)
    return joined(r, "add", [scaled(r, r.value(x), beta), scaled(r, _matmul(r, mat1, mat2), alpha)])


@rule("matmul", "mm", "bmm", "mv", "dot", "__matmul__")
def _matmul(r: Reader, x: Any, other: Any = None, **named: Any) -> Value:
    other = next((named[key] for key in ("mat2", "vec", "tensor") if key in named), other)
    if isinstance(other, Weight) and len(other.shape) == 2 and isinstance(x, Value):
        return learned(r, x, other.carry.then("t", lambda t: t.t()), other.shape[1], None)
    near = next((t.wire for t in (x, other) if isinstance(t, Value)), None)
    a, b = r.value(x, near), r.value(other, near)
    left = [*(("batch", i) for i in range(2 - len(a.dims), 0)), "N", "K"]
    right = [*(("batch", i) for i in range(2 - len(b.dims), 0)), "K", "M"]
    left = left[-len(a.dims) :] if len(a.dims) > 1 else ["K"]
    right = right if len(b.dims) > 1 else ["K"]
    batch = sorted({s for s in (*left, *right) if isinstance(s, tuple)}, key=lambda s: s[1])
    out: list[Hashable] = [*batch, *(["N"] if "N" in left else []), *(["M"] if "M" in right else [])]
    return contracted(r, [a, b], [left, right], out)


def contracted(
    r: Reader, values: Sequence[Value], slots: Sequence[Sequence[Hashable]], out: Sequence[Hashable],
    settle: Sequence[Hashable] = (), name: str = "",
) -> Value:  # fmt: skip
    """A sum of products: slots that `out` lacks are summed. Later operands' own axes keep their names."""
    if any(v.wire.bound is not None for v in values):
        raise Unsuitable("a product of indices")
    own = [s for row in reversed(slots) for s in row]
    order = list(dict.fromkeys([*settle, *(s for s in own if sum(s in row for row in slots) > 1), *own]))
    aligned, found = r.align(values, slots, order)
    summed = [a for s in order if s not in out for a in found[s]]
    ready = []
    for value in aligned:  # what is summed must be real on some operand
        lonely = [a for a in summed if not any(v.wire.has(a) for v in aligned)]
        ready.append(r.solid(value, lonely) if lonely and value is aligned[0] else value)
    atoms = [a for s in out for a in found[s] if any(v.wire.has(a) for v in ready)]
    keep_apart([*atoms, *summed])
    wire = r.cell("einsum", [v.wire for v in ready], atoms, {"out": atoms, "sum": summed}, name=name)
    return Value(wire, tuple(found[s] for s in out))


@rule("baddbmm")
def _baddbmm(r: Reader, x: Any, batch1: Any, batch2: Any, beta: Any = 1, alpha: Any = 1) -> Value:
    product_ = scaled(r, _matmul(r, batch1, batch2), alpha)
    return product_ if beta == 0 else joined(r, "add", [scaled(r, r.value(x), beta), product_])


@rule("einsum")
def _einsum(r: Reader, equation: str, tensors: Sequence[Any], **_: Any) -> Value:
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    if "..." in text or not arrow:
        raise Unsuitable("an einsum with an ellipsis or an implicit result")
    rows = left.split(",")
    if any(len(set(row)) != len(row) for row in rows):
        raise Unsuitable("an einsum that takes a diagonal")
    near = next((t.wire for t in tensors if isinstance(t, Value)), None)
    return contracted(r, [r.value(t, near) for t in tensors], [list(row) for row in rows], list(right))


@rule("embedding")
def _embedding(r: Reader, weight: Any, indices: Any, **_: Any) -> Value:
    if not isinstance(weight, Weight):
        raise Unsuitable("a table that is computed")
    rows, columns = weight.shape
    produced = fresh(columns).hint("m", 2)
    if isinstance(indices, Const):
        return _looked_up(r, weight, indices)
    value = r.value(indices)
    _bounded(r, value, rows)
    wire = r.cell(
        "embed", [value.wire], [*value.wire.atoms, produced], {"outs": [produced]}, {"weight": weight.carry},
        rows=rows,
    )  # fmt: skip
    keep_apart([produced, *(a for dim in value.dims for a in dim)])
    return Value(wire, (*value.dims, (produced,)))


_PASSED = ("slice", "split", "merge", "rename", "expand")


def _bounded(r: Reader, value: Value, rows: int) -> Value:
    """Indices that go into a table are below its number of rows."""
    if value.wire.bound is None:
        raise Unsuitable("a look-up by real numbers")
    wire = value.wire
    makers = {id(cell.outs[0]): cell for cell in r.cells if cell.kind in _PASSED}
    while (maker := makers.get(id(wire))) is not None:
        (wire,) = maker.ins
    if wire.bound is not None and (wire.bound - rows).is_positive:
        known = any(v.wire is wire for v in r.inputs) or any(
            cell.kind == "torch" and any(out is wire for out in cell.outs) for cell in r.cells
        )
        if not known:
            raise Unsuitable("indices that may lie outside the table")
        wire.bound = Integer(rows)
    return value


def _looked_up(r: Reader, weight: Weight, indices: Const) -> Value:
    """Rows of a table that are known at import: learned positions, or a table of which rows are taken."""
    chosen = settled(indices.tensor)
    if indices.open and chosen.numel() > 1:
        return _counted(r, weight, indices)
    rows = weight.carry.then(("rows", indices.order), lambda t: t[chosen])
    distinct = len(set(chosen.reshape(-1).tolist())) == chosen.numel()
    if distinct:
        if chosen.numel() < weight.shape[0]:
            r.notes.append(f"{weight.carry.source}: {chosen.numel()} of {weight.shape[0]} rows are read")
        line = sum(n != 1 for n in chosen.shape) == 1
        place = line and chosen.reshape(-1).tolist() == list(range(chosen.numel()))
        found = r.parameter(rows, (*chosen.shape, weight.shape[1]), places=place, name="")
    else:
        found = _table(r, weight, chosen)
    found.dims[-1][0].hint("m", 2) if found.dims[-1] else None
    virtual = [() if n == 1 else (fresh(n),) for n in indices.sizes]
    dims = [mine or theirs for mine, theirs in zip(found.dims[:-1], virtual, strict=True)]
    return Value(found.wire, (*dims, found.dims[-1]))


def _counted(r: Reader, weight: Weight, indices: Const) -> Value:
    """Rows 0 … x-1 for an open x: the table is looked up by the positions themselves."""
    count = [n for n in indices.sizes if n != 1]
    chosen = settled(indices.tensor).reshape(-1)
    beside = next(
        ((v.wire, a) for v in r.inputs for a in v.wire.atoms if len(count) == 1 and a.size == count[0]), None
    )
    if beside is None or chosen.tolist() != list(range(chosen.numel())):
        raise Unsuitable("rows of a table that depend on an open size")
    wire, x = beside
    places = r.cell("indices", [wire], [x], {"axis": [x]}, bound=x.size)
    produced = fresh(weight.shape[1]).hint("m", 2)
    out = r.cell(
        "embed", [places], [x, produced], {"outs": [produced]}, {"weight": weight.carry},
        rows=weight.shape[0],
    )  # fmt: skip
    return Value(out, (*((x,) if n == count[0] else () for n in indices.sizes), (produced,)))


def _table(r: Reader, weight: Weight, chosen: Any) -> Value:
    """The same row in several places: the whole table, looked up by a buffer of indices."""
    carry = Carry(f"indices_{r.order[0]}", chosen.float())
    numbers = r.parameter(carry, chosen.shape)
    cast = r.cell(
        "cast", [numbers.wire], numbers.wire.atoms, to=f"N({weight.shape[0]})", bound=Integer(weight.shape[0])
    )
    produced = fresh(weight.shape[1])
    wire = r.cell(
        "embed", [cast], [*cast.atoms, produced], {"outs": [produced]}, {"weight": weight.carry},
        rows=weight.shape[0],
    )  # fmt: skip
    return Value(wire, (*numbers.dims, (produced,)))
