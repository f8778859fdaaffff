"""Blocks and repetitions: calls of submodules."""

from __future__ import annotations

from collections.abc import Sequence

from nbkit.build.emit.base import emit
from nbkit.build.forward import Forward, Value, dims, shape
from nbkit.build.plan import Step
from nbkit.language.parts import Block, Repeat


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


def shape_of(f: Forward, wire: int) -> str:
    """The shape of a wire as its type has it."""
    return shape(dims(f.type(wire)))


def _keep(f: Forward, step: Step, names: Sequence[str]) -> None:
    for wire, name in zip(step.outs, names, strict=True):
        f.values[wire] = Value(name, dims(f.type(wire)))
