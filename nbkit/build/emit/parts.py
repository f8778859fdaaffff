"""Blocks, repetitions, stages and scans: calls of submodules."""

from __future__ import annotations

from collections.abc import Sequence

from nbkit.build.emit.base import emit
from nbkit.build.forward import Forward, Value, dims, shape
from nbkit.build.plan import Step
from nbkit.language.axes import Array
from nbkit.language.parts import Block, Repeat, Scan, Stages


@emit.register
def _(_op: Block, f: Forward, step: Step) -> None:
    arguments = ", ".join(f.conformed(wire) for wire in step.ins)
    names = [f.variable(step, number) for number in range(len(step.outs))]
    code = f"{', '.join(names)} = {f.module(step)}({arguments})"
    f.line(code, ", ".join(shape_of(f, wire) for wire in step.outs))
    _keep(f, step, names)


@emit.register
def _(op: Repeat, f: Forward, step: Step) -> None:
    names = [f.variable(step, number) for number in range(len(step.outs))]
    both = ", ".join(names)
    f.line(
        f"{both} = {', '.join(f.conformed(wire) for wire in step.ins)}",
        ", ".join(shape_of(f, wire) for wire in step.outs),
    )
    if op.tied:
        f.line(f"for _ in range({int(op.n)}):")
        f.line(f"    {both} = {f.module(step)}({both})")
    else:
        f.line(f"for layer in {f.module(step)}:")
        f.line(f"    {both} = layer({both})")
    _keep(f, step, names)


@emit.register
def _(op: Stages, f: Forward, step: Step) -> None:
    names = [f.variable(step, number) for number in range(len(step.outs))]
    carried, kept = names[: op.carry], names[op.carry :]
    running = [f.conformed(wire) for wire in step.ins[: op.carry]]
    further = [f.conformed(wire) for wire in step.ins[op.carry :]]
    for number, body in enumerate(op.bodies):
        more, gives = len(body.ins) - op.carry, len(body.outs) - op.carry
        left = ", ".join((*carried, *kept[:gives]))
        code = f"{left} = {f.module(step)}[{number}]({', '.join((*running, *further[:more]))})"
        f.line(code, ", ".join(map(_shape, body.outputs)))
        running, further, kept = carried, further[more:], kept[gives:]
    _keep(f, step, names)


@emit.register
def _(op: Scan, f: Forward, step: Step) -> None:
    names = [f.variable(step, number) for number in range(len(step.outs))]
    states, wholes = names[: op.states], names[op.states :]
    for name, wire in zip(states, step.ins, strict=False):
        f.line(f"{name} = {f.conformed(wire)}", shape_of(f, wire))
    lists = [f.fresh(f"{name}s") for name in wholes]
    for name in lists:
        f.line(f"{name} = []")
    sequences, elements = [], []
    for wire in step.ins[op.states :]:
        x, over = f.value(wire), (op.over, 0)
        order = [over, *(dim for dim in dims(f.type(wire)) if dim != over)]
        parts = f"{f.arrange(x, order)}.unbind({-len(order)})"
        sequences.append(f"reversed({parts})" if op.reverse else parts)
        elements.append(f.fresh(f"{x.text}_{op.over}" if x.text.isidentifier() else op.over))
    source = sequences[0] if len(sequences) == 1 else f"zip({', '.join(sequences)})"
    singles = [f.fresh("out" if len(lists) == 1 else f"out_{i + 1}") for i in range(len(lists))]
    f.line(f"for {', '.join(elements)} in {source}:")
    left, given = ", ".join((*states, *singles)), ", ".join((*states, *elements))
    f.line(f"    {left} = {f.module(step)}({given})", ", ".join(map(_shape, op.body.outputs)))
    for name, single in zip(lists, singles, strict=True):
        f.line(f"    {name}.append({single})")
    for name, whole, wire in zip(wholes, lists, step.outs[op.states :], strict=True):
        results = f"{whole}[::-1]" if op.reverse else whole
        f.line(f"{name} = pile({results}, {-len(dims(f.type(wire)))})", shape_of(f, wire))
    _keep(f, step, names)


def _shape(array: Array) -> str:
    return shape(dims(array))


def shape_of(f: Forward, wire: int) -> str:
    """The shape of a wire as its type has it."""
    return shape(dims(f.type(wire)))


def _keep(f: Forward, step: Step, names: Sequence[str]) -> None:
    for wire, name in zip(step.outs, names, strict=True):
        f.values[wire] = Value(name, dims(f.type(wire)))
