"""Pullbacks: derivatives written out, and calls of the formulas in `nbkit.build.pullbacks`."""

from __future__ import annotations

import math

from nbkit.build.emit.base import emit, of
from nbkit.build.forward import Forward
from nbkit.build.plan import Step
from nbkit.language.ops.pullback import Pullback

# Of the result y where the language says so (`ops.pullback.BY_RESULT`), else of the argument x; times dy.
SLOPES = {
    "relu": "{dy} * ({x} > 0)",
    "tanh": "{dy} * (1 - {x} * {x})",
    "sigmoid": "{dy} * {x} * (1 - {x})",
    "exp": "{dy} * {x}",
    "sqrt": "{dy} * 0.5 / {x}",
    "reciprocal": "-{dy} * {x} * {x}",
    "rsqrt": "-0.5 * {dy} * {x} ** 3",
    "square": "{dy} * 2 * {x}",
    "abs": "{dy} * torch.sign({x})",
    "neg": "-{dy}",
    "sign": "torch.zeros_like({dy})",
    "sin": "{dy} * torch.cos({x})",
    "cos": "-{dy} * torch.sin({x})",
    "log": "{dy} / {x}",
    "log1p": "{dy} / (1 + {x})",
    "softplus": "{dy} * torch.where({x} > 20, 1.0, torch.sigmoid({x}))",
    "elu": "{dy} * torch.where({x} > 0, 1.0, torch.exp({x}))",
    "leaky_relu": "torch.where({x} > 0, {dy}, 0.01 * {dy})",
    "relu6": "{dy} * (({x} > 0) & ({x} < 6))",
    "erf": f"{{dy}} * {2 / math.sqrt(math.pi)!r} * torch.exp(-{{x}} * {{x}})",
    **{name: f"{{dy}} * {name}_slope({{x}})" for name in ("gelu", "gelu_tanh", "silu", "mish", "hardswish")},
}


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
            code = SLOPES[op.how].format(x=x.text, dy=texts[0])
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
