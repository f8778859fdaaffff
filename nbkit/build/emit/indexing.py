"""Gather, scatter, top-k, one-hot and indices."""

from __future__ import annotations

from nbkit.build.emit.base import emit, of, only
from nbkit.build.forward import Forward, Value, shape
from nbkit.build.plan import Step
from nbkit.language import ops


@emit.register
def _(op: ops.Gather, f: Forward, step: Step) -> None:
    x, index = (f.value(wire) for wire in step.ins)
    at = (op.axis, 0)
    shared = [dim for dim in x.dims if dim in index.dims and dim != at]
    fresh = [dim for dim in index.dims if dim not in shared]
    rest = [dim for dim in x.dims if dim not in shared and dim != at]
    order = [*shared, *fresh, *rest]
    table, places = f.arrange(x, [*shared, at, *rest]), f.arrange(index, [*shared, *fresh])
    code = f"take({table}, {places}, {len(fresh)}, {len(rest)})"
    f.assign(step, code, order, batched=x.batched or index.batched)


@emit.register
def _(op: ops.Scatter, f: Forward, step: Step) -> None:
    x, index = (f.value(wire) for wire in step.ins)
    over, at = (op.over, 0), (op.axis, 0)
    shared = [dim for dim in index.dims if dim != over]
    rest = [dim for dim in x.dims if dim not in shared and dim != over]
    number = f.axis(f.type(step.outs[0]), op.axis)
    text, places = f.arrange(x, [*shared, over, *rest]), f.arrange(index, [*shared, over])
    code = f"collect({text}, {places}, {number}, {op.how!r}, {len(rest)})"
    f.assign(step, code, [*shared, at, *rest], batched=x.batched or index.batched)


@emit.register
def _(op: ops.TopK, f: Forward, step: Step) -> None:
    x = only(f, step)
    (dim,) = of(f, step.ins[0], [op.axis])
    order = tuple((op.name, 0) if d == dim else d for d in x.dims)
    names = [f.variable(step, number) for number in range(2)]
    f.line(f"{', '.join(names)} = torch.topk({x.text}, {int(op.k)}, {x.at(dim)})", shape(order))
    for wire, name in zip(step.outs, names, strict=True):
        f.values[wire] = Value(name, order, x.batched)


@emit.register
def _(op: ops.OneHot, f: Forward, step: Step) -> None:
    x = only(f, step)
    number = f.axis(f.type(step.outs[0]), op.axis)
    code = f"F.one_hot({x.text}, {number}).to({f.like()})"
    f.assign(step, code, [*x.dims, (op.axis, 0)], batched=x.batched)


@emit.register
def _(op: ops.Indices, f: Forward, step: Step) -> None:
    x, dim = only(f, step), (op.axis, 0)
    f.assign(step, f"torch.arange({f.extent(dim, x)}, device={x.text}.device)", [dim], batched=False)
