"""Pullbacks: calls of the formulas in `nbkit.build.pullbacks`."""

from __future__ import annotations

from nbkit.build.emit.base import emit, of
from nbkit.build.forward import Forward
from nbkit.build.plan import Step
from nbkit.language.ops.pullback import Pullback


@emit.register
def _(op: Pullback, f: Forward, step: Step) -> None:
    x, *others = (f.value(wire) for wire in step.ins)
    batched = x.batched or any(value.batched for value in others)
    source = step.ins[0]
    over = of(f, source, op.axes.split())
    if op.of == "reduce":
        text, rest = f.trailing(x, over)
        dy = f.aligned(others[0], rest)
        code = f"reduce_pullback({op.how!r}, {f.flatten(text, len(over))}, {dy})"
        code = f.unflatten(code, -1, [f.extent(dim, x) for dim in over])
        f.assign(step, code, [*rest, *over], batched=batched)
        return
    texts = [f.aligned(value, x.dims) for value in others]
    match op.of:
        case "elementwise":
            code = f"{texts[0]} * slope({op.how!r}, {x.text})"
        case "softmax":
            places = ", ".join(str(x.at(dim)) for dim in over)
            code = f"softmax_pullback({x.text}, {texts[0]}, ({places},))"
        case "norm":
            named = op.per if op.how == "batch" else op.axes
            places = ", ".join(str(x.at(dim)) for dim in of(f, source, named.split()))
            code = f"norm_pullback({op.how!r}, {x.text}, {texts[0]}, ({places},), {float(op.eps)!r})"
        case _:
            code = f"where_pullback({x.text}, {', '.join(texts)})"
    f.assign(step, code, x.dims, batched=batched)
