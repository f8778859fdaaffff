"""Parameters, constants, casts and gradients that are stopped."""

from __future__ import annotations

from nbkit.build.emit.base import emit, only, sizes
from nbkit.build.forward import Forward, dims
from nbkit.build.plan import Step
from nbkit.language import ops


@emit.register
def _(_op: ops.Parameter, f: Forward, step: Step) -> None:
    f.assign(step, f"{f.module(step)}()", dims(f.type(step.outs[0])), batched=False)


@emit.register
def _(op: ops.Constant, f: Forward, step: Step) -> None:
    (target,) = step.outs
    order = dims(f.type(target))
    shape = ", ".join(sizes(f, target, order))
    code = f"{f.like()}.new_full(({shape}{',' * (len(order) == 1)}), {float(op.value)!r})"
    f.assign(step, code, order, batched=False)


@emit.register
def _(_op: ops.StopGradient, f: Forward, step: Step) -> None:
    x = only(f, step)
    f.assign(step, f"{x.text}.detach()", x.dims, batched=x.batched)


@emit.register
def _(op: ops.Cast, f: Forward, step: Step) -> None:
    x = only(f, step)
    code = f"{x.text}.to({f.like()})" if op.to == "R" else f"{x.text}.long()"
    f.assign(step, code, x.dims, batched=x.batched)
