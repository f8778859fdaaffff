"""Sums, products, scales and scalar functions of every element; sums, means and maxima over axes; softmax."""

from __future__ import annotations

from nbkit.build.emit.base import emit, of, only
from nbkit.build.forward import Forward
from nbkit.build.plan import Step
from nbkit.language import ops
from nbkit.language.sizes import parse_size

FUNCTIONS = {
    "relu": "torch.relu", "gelu": "F.gelu", "tanh": "torch.tanh", "sigmoid": "torch.sigmoid",
    "silu": "F.silu", "square": "torch.square", "exp": "torch.exp", "abs": "torch.abs", "neg": "torch.neg",
    "sin": "torch.sin", "cos": "torch.cos", "log": "torch.log", "log1p": "torch.log1p", "sqrt": "torch.sqrt",
    "rsqrt": "torch.rsqrt", "reciprocal": "torch.reciprocal", "softplus": "F.softplus", "elu": "F.elu",
    "leaky_relu": "F.leaky_relu", "relu6": "F.relu6", "hardswish": "F.hardswish", "mish": "F.mish",
    "erf": "torch.erf", "sign": "torch.sign",
}  # fmt: skip


@emit.register
def _(_op: ops.Add, f: Forward, step: Step) -> None:
    _pointwise(f, step, " + ")


@emit.register
def _(_op: ops.Multiply, f: Forward, step: Step) -> None:
    _pointwise(f, step, " * ")


def _pointwise(f: Forward, step: Step, symbol: str) -> None:
    values = [f.value(wire) for wire in step.ins]
    order = max((value.dims for value in values), key=len)  # the first of those that have all axes
    code = symbol.join(f.aligned(value, order) for value in values)
    f.assign(step, code, order, batched=any(value.batched for value in values))


@emit.register
def _(op: ops.Scale, f: Forward, step: Step) -> None:
    x = only(f, step)
    f.assign(step, f"{x.text} * {f.number(parse_size(op.factor))}", x.dims, batched=x.batched)


@emit.register
def _(op: ops.Elementwise, f: Forward, step: Step) -> None:
    x = only(f, step)
    if op.function == "gelu_tanh":
        code = f'F.gelu({x.text}, approximate="tanh")'
    else:
        code = f"{FUNCTIONS[op.function]}({x.text})"
    f.assign(step, code, x.dims, batched=x.batched)


@emit.register
def _(op: ops.Dropout, f: Forward, step: Step) -> None:
    x = only(f, step)
    f.assign(step, f"torch.dropout({x.text}, {float(op.p)!r}, self.training)", x.dims, batched=x.batched)


@emit.register
def _(op: ops.Reduce, f: Forward, step: Step) -> None:
    x = only(f, step)
    gone = of(f, step.ins[0], op.axes.split())
    kept = [dim for dim in x.dims if dim not in gone]
    if op.how in ("max", "min", "prod"):  # of equal elements the first has the gradient, as in a max pool
        text, kept = f.trailing(x, gone)
        code = f"{f.flatten(text, len(gone))}.{op.how}(-1){'' if op.how == 'prod' else '.values'}"
    else:
        places = [str(x.at(dim)) for dim in gone]
        code = f"{x.text}.{op.how}({places[0] if len(places) == 1 else '(' + ', '.join(places) + ')'})"
    f.assign(step, code, kept, batched=x.batched)


@emit.register
def _(op: ops.Softmax, f: Forward, step: Step) -> None:
    x = only(f, step)
    axes = of(f, step.ins[0], op.axes.split())
    if len(axes) == 1:
        f.assign(step, f"torch.softmax({x.text}, {x.at(axes[0])})", x.dims, batched=x.batched)
        return
    text, rest = f.trailing(x, axes)
    code = f"torch.softmax({f.flatten(text, len(axes))}, -1)"
    code = f.unflatten(code, -1, [f.extent(dim, x) for dim in axes])
    f.assign(step, code, [*rest, *axes], batched=x.batched)
