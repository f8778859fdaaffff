"""Ops that read better in another way than the compiler writes them; all others are the compiler's."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import singledispatch

from nbkit.build.batches import batches
from nbkit.build.emit import emit
from nbkit.build.emit.parts import shape_of
from nbkit.build.forward import Value, dims, shape
from nbkit.build.plan import Attention, Step
from nbkit.build.source.boxes import aten
from nbkit.build.source.dressing import Dressed
from nbkit.language import ops
from nbkit.language.parts import Repeat, Scan
from nbkit.language.sizes import parse_size


@singledispatch
def plainly(op: object, f: Dressed, step: Step) -> None:
    """Writes the lines of one step, as the compiler does unless it is said otherwise here."""
    emit(op, f, step)


@plainly.register
def _(op: Attention, f: Dressed, step: Step) -> None:
    emit(op, f, step)
    query = step.ins[0]
    factor, features = parse_size("1"), parse_size("1")
    for text in op.factors:
        factor = factor * parse_size(text)
    for name in op.contracted:
        features = features * f.type(query)[name].numel
    last = f.statements[-1]
    if (factor**2 * features - 1).is_zero and factor.is_positive:  # the scale that torch takes by itself
        code = last.code.replace(f", scale={f.number(factor)}", "")
        f.statements[-1] = replace(last, code=code)


@plainly.register
def _(_op: ops.Positions, f: Dressed, step: Step) -> None:
    (target,) = step.outs
    order = dims(f.type(target))
    code = f"{f.module(step)}.weight"
    held = f.weights[step.node.id]
    if len(order) != 2 or len(held.rows) != 1:
        sizes = [f.axis(f.type(target), name) for name, _ in order]
        code += f".view({', '.join(sizes) or '()'})"
    f.assign(step, code, order, batched=False)


@plainly.register
def _(op: ops.Dropout, f: Dressed, step: Step) -> None:
    (wire,) = step.ins
    x = f.value(wire)
    f.assign(step, f"F.dropout({x.text}, {float(op.p)!r}, self.training)", x.dims, batched=x.batched)


@plainly.register
def _(op: ops.Slice, f: Dressed, step: Step) -> None:
    (wire,) = step.ins
    x = f.value(wire)
    places = [place for place, dim in enumerate(x.dims) if dim[0] == op.axis]
    start = str(op.start) if op.start else ""
    what = str(op.start) if op.drop else f"{start}:{'' if op.stop is None else op.stop}"
    indices = [what if place in places else ":" for place in range(places[0], len(x.dims))]
    order = [dim for dim in x.dims if not (op.drop and dim[0] == op.axis)]
    f.assign(step, f"{x.text}[..., {', '.join(indices)}]", order, batched=x.batched)


@plainly.register
def _(_op: ops.Parameter, f: Dressed, step: Step) -> None:
    f.assign(step, f"{f.module(step)}.weight", dims(f.type(step.outs[0])), batched=False)


@plainly.register
def _(op: ops.Torch, f: Dressed, step: Step) -> None:
    takes, gives = op.sides()
    values = [f.value(wire) for wire in step.ins]
    front = dims(f.type(step.outs[0]))[: -len(dims(gives[0])) or None]
    inputs = [f.aligned(x, [*front, *dims(array)]) for x, array in zip(values, takes, strict=True)]
    names = [f.variable(step, number) for number in range(len(step.outs))]
    orders = [(*front, *dims(array)) for array in gives]
    if op.name.startswith("aten."):
        call = aten(op, inputs, f"{f.prefix}{step.node.id}")
    else:
        call = f"{f.module(step)}({', '.join(inputs)})"
    f.line(f"{', '.join(names)} = {call}", ", ".join(map(shape, orders)))
    batched = any(value.batched for value in values)
    for wire, name, order in zip(step.outs, names, orders, strict=True):
        f.values[wire] = Value(name, order, batched)


@plainly.register
def _(op: Repeat, f: Dressed, step: Step) -> None:
    values = [f.value(wire) for wire in step.ins]
    if not all(f.conformed(wire) == f.value(wire).text and last_use(f, wire) for wire in step.ins):
        emit(op, f, step)
        return
    both = ", ".join(value.text for value in values)  # nobody else reads them: they run through the loop
    f.line(f"for _ in range({int(op.n)}):" if op.tied else f"for layer in {f.module(step)}:")
    f.line(
        f"    {both} = {f.module(step) if op.tied else 'layer'}({both})",
        ", ".join(shape_of(f, wire) for wire in step.outs),
    )
    for wire, value in zip(step.outs, values, strict=True):
        f.values[wire] = Value(value.text, dims(f.type(wire)))


@plainly.register
def _(op: Scan, f: Dressed, step: Step) -> None:
    start = len(f.statements)
    emit(op, f, step)
    given = tuple(f.batches[wire] for wire in step.ins)
    made = batches(op.body, given)
    every = frozenset[str]().union(*given)
    alike = all(made[wire] == every for wire in op.body.outs[op.states :])  # from the first position on
    for place in range(start, len(f.statements)):
        line = f.statements[place]
        code = re.sub(r"(for .* in zip\(.*)\):$", r"\1, strict=True):", line.code)
        if alike:  # all results have one shape
            code = re.sub(r"= pile\((\w+(?:\[::-1\])?), ", r"= torch.stack(\1, ", code)
        f.statements[place] = replace(line, code=code)


def last_use(f: Dressed, wire: int) -> bool:
    """Whether nothing but one step reads the variable of a wire, under whatever name."""
    text = f.value(wire).text
    same = {w for w, value in f.values.items() if value.text == text}
    readers = [n for n in f.diagram.nodes for w in n.ins if w in same]
    moved = sum(isinstance(n.op, ops.Rename | ops.Transpose) for n in readers)
    return len(readers) + sum(w in same for w in f.diagram.outs) - moved == 1
