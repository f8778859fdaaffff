"""Reductions over whole dimensions, and softmax."""

from __future__ import annotations

from typing import Any

from nbkit.build.importing.atoms import Atom, same
from nbkit.build.importing.cells import Unsuitable, Value
from nbkit.build.importing.reader import Reader, rule
from nbkit.build.importing.rules.pieces import sliced
from nbkit.build.importing.rules.pointwise import added, joined
from nbkit.build.importing.rules.views import place


def reduced(r: Reader, x: Any, how: str, dim: Any, keepdim: bool) -> Value:
    """A reduction over whole dimensions."""
    value = r.value(x)
    if value.wire.bound is not None:
        raise Unsuitable("a reduction of indices")
    rank = len(value.dims)
    asked = list(range(rank)) if dim in (None, [], ()) else [dim] if isinstance(dim, int) else list(dim)
    places = sorted(place(d, rank) for d in asked)
    atoms: list[Atom] = [a for d in places for a in value.dims[d]]
    if how in ("sum", "prod", "logsumexp"):
        value = r.solid(value, atoms)
    real = [a for a in atoms if value.wire.has(a)]
    wire = value.wire
    if real:
        out = [a for a in wire.atoms if not any(same(a, b) for b in real)]
        wire = r.cell("reduce", [wire], out, {"axes": real}, how=how)
    dims = [() if d in places else dim_ for d, dim_ in enumerate(value.dims)]
    return Value(wire, tuple(d for i, d in enumerate(dims) if keepdim or i not in places))


def _reduction(name: str, how: str) -> None:
    @rule(name)
    def _apply(r: Reader, x: Any, dim: Any = None, keepdim: bool = False, **_: Any) -> Value:
        return reduced(r, x, how, dim, keepdim)


for _name, _how in (("sum", "sum"), ("mean", "mean"), ("amax", "max"), ("amin", "min"),
                    ("logsumexp", "logsumexp"), ("prod", "prod")):  # fmt: skip
    _reduction(_name, _how)


@rule("log_softmax", "_log_softmax")
def _log_softmax(r: Reader, x: Any, dim: int, **_: Any) -> Value:
    value = r.value(x)
    total = reduced(r, value, "logsumexp", dim, keepdim=True)
    return added(r, value, r.like("elementwise", total, function="neg"))


@rule("linalg_vector_norm")
def _vector_norm(r: Reader, x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, **_: Any) -> Value:  # noqa: A002  # aten's name
    if ord != 2:
        raise Unsuitable(f"a norm of order {ord}")
    squares = r.like("elementwise", r.value(x), function="square")
    return r.like("elementwise", reduced(r, squares, "sum", dim, keepdim), function="sqrt")


@rule("glu")
def _glu(r: Reader, x: Any, dim: int = -1) -> Value:
    value = r.value(x)
    at = place(dim, len(value.dims))
    half = int(value.sizes[at]) // 2
    left, right = sliced(r, value, at, 0, half), sliced(r, value, at, half, None)
    return joined(r, "multiply", [left, r.like("elementwise", right, function="sigmoid")])


@rule("softmax", "_softmax")
def _softmax(r: Reader, x: Any, dim: int, **_: Any) -> Value:
    value = r.value(x)
    atoms = value.dims[place(dim, len(value.dims))]
    value = r.solid(value, atoms)
    if not atoms:
        value, one = r.whole(value, place(dim, len(value.dims)))
        atoms = (one,)
    wire = r.cell("softmax", [value.wire], value.wire.atoms, {"axes": atoms})
    return Value(wire, value.dims)
