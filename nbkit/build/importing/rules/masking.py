"""Masks: a constant that says where, as a relation of indices if it is one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from nbkit.build.importing.cells import Const, Unsuitable, Value, is_tensor
from nbkit.build.importing.masks import relation_of
from nbkit.build.importing.reader import Reader, rule
from nbkit.build.importing.rules.pointwise import Number, joined, number_of
from nbkit.build.importing.rules.views import expanded


def masked(r: Reader, x: Any, addend: Const) -> Value | None:
    """A constant of 0 and −∞ that is added is a mask."""
    t = addend.tensor
    low = -1e30 if t.dtype in (torch.float32, torch.float64, torch.bfloat16) else -6e4
    if not (t.is_floating_point() and t.numel() > 1 and bool(((t == 0) | (t < low)).all())):
        return None
    return keeping(r, r.value(x), replace(addend, tensor=t == 0), "-inf")


@rule("masked_fill")
def _masked_fill(r: Reader, x: Any, mask: Any, value: Any) -> Value:
    fill = number_of(value)
    if not isinstance(mask, Const):
        raise Unsuitable("a mask that is computed")
    return keeping(r, r.value(x), replace(mask, tensor=~mask.tensor.bool()), _fill(fill))


@rule("where")
def _where(r: Reader, condition: Any, x: Any = None, other: Any = None) -> Any:
    if not isinstance(condition, Const):
        raise Unsuitable("a condition that is computed")
    if bool(condition.tensor.all()) and is_tensor(x):
        return _spread(r, r.value(x))
    if number_of(other) is not None and is_tensor(x):
        return keeping(r, _spread(r, r.value(x)), condition, _fill(number_of(other)))
    if number_of(x) is not None and is_tensor(other):
        inverse = replace(condition, tensor=~condition.tensor)
        return keeping(r, _spread(r, r.value(other)), inverse, _fill(number_of(x)))
    raise Unsuitable("a choice between two arrays")


def _spread(r: Reader, value: Value) -> Value:
    """The value with the sizes that the call gives."""
    shape = r.node.meta["val"].shape if r.node is not None else ()
    return expanded(r, value, [r.size(n) for n in shape])


def _fill(fill: Number | None) -> str:
    if fill == 0:
        return "0"
    if fill is not None and fill < -1e30:
        return "-inf"
    raise Unsuitable(f"a mask that fills with {fill}")


def keeping(r: Reader, value: Value, kept: Const, fill: str) -> Value:
    """The value where a constant holds, `fill` elsewhere: a mask if a relation of indices says where."""
    shown = kept.tensor
    if bool(shown.all()):
        return value
    rank = len(value.dims)
    shown = shown.reshape((1,) * (rank - shown.dim()) + tuple(shown.shape))
    varying = [
        d for d in range(rank) if shown.shape[d] > 1 and not bool((shown == shown.narrow(d, 0, 1)).all())
    ]
    if len(varying) != 2:
        return _by_number(r, value, kept, fill)
    rows, cols = varying
    for d in range(rank):
        shown = shown if d in varying else shown.narrow(d, 0, 1)
    relation = relation_of(shown.reshape(shown.shape[rows], shown.shape[cols]))
    if relation is None:
        return _by_number(r, value, kept, fill)
    value, y = r.whole(value, rows)
    value, x = r.whole(value, cols)
    wire = r.cell("mask", [value.wire], value.wire.atoms, {"y": [y], "x": [x]}, relation=relation, fill=fill)
    return Value(wire, value.dims)


def _by_number(r: Reader, value: Value, kept: Const, fill: str) -> Value:
    """No relation says where: a buffer is added (−∞) or multiplied (0)."""
    if fill == "0":
        return joined(r, "multiply", [value, replace(kept, tensor=kept.tensor.float())])
    low = torch.finfo(torch.float32).min
    addend = torch.where(kept.tensor, 0.0, low)
    return joined(r, "add", [value, replace(kept, tensor=addend)])
