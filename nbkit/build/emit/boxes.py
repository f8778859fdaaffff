"""Torch boxes: calls of modules of which nothing is known but what they take and give."""

from __future__ import annotations

from nbkit.build.emit.base import emit
from nbkit.build.forward import Forward, Value, dims, sequence, shape
from nbkit.build.plan import Step
from nbkit.language import ops


@emit.register
def _(op: ops.Torch, f: Forward, step: Step) -> None:
    takes, gives = op.sides()
    values = [f.value(wire) for wire in step.ins]
    own = [dims(array) for array in takes]
    front = dims(f.type(step.outs[0]))[: -len(dims(gives[0])) or None]
    inputs = [f.aligned(x, [*front, *target]) for x, target in zip(values, own, strict=True)]
    shapes = [sequence([f.size(a.size) for a in array for _ in range(a.rank)]) for array in gives]
    names = [f.variable(step, number) for number in range(len(step.outs))]
    orders = [(*front, *dims(array)) for array in gives]
    arguments = [
        f.module(step),
        sequence(inputs),
        sequence([str(len(target)) for target in own]),
        sequence(shapes),
        repr(f"{f.prefix}{step.node.id}"),
        repr(op.spec),
    ]
    f.line(f"{', '.join(names)} = boxed({', '.join(arguments)})", ", ".join(map(shape, orders)))
    batched = any(value.batched for value in values)
    for wire, name, order in zip(step.outs, names, orders, strict=True):
        f.values[wire] = Value(name, order, batched)
