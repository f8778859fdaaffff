"""Layer, RMS, group and batch normalisation."""

from __future__ import annotations

from nbkit.build.emit.base import emit, of, only, sizes
from nbkit.build.forward import Forward, Value
from nbkit.build.plan import GroupNorm, Step
from nbkit.language import ops


@emit.register
def _(op: ops.Norm, f: Forward, step: Step) -> None:
    x, (source,) = only(f, step), step.ins
    if op.how == "batch":
        _batch_norm(op, f, step)
        return
    axes = of(f, source, op.axes.split())
    text, rest = f.trailing(x, axes)
    order = [*rest, *axes]
    if op.per and op.affine:
        if text != x.text:
            x = f.let(step.node.id, text, order, batched=x.batched)
        y = f"F.layer_norm({x.text}, {x.text}.shape[{-len(axes)}:], eps={float(op.eps)!r})"
        per = of(f, source, op.per.split())
        extents = sizes(f, source, per)
        weight, bias = (
            f.aligned(Value(f.unflatten(f"{f.module(step)}.{name}", -1, extents), tuple(per), False), order)
            for name in ("weight", "bias")
        )
        code = f"{y} * {weight} + {bias}"
    elif op.affine:
        code = f"{f.module(step)}({text})"
    else:
        if text != x.text:
            x = f.let(step.node.id, text, order, batched=x.batched)
        function = "F.layer_norm" if op.how == "layer" else "F.rms_norm"
        code = f"{function}({x.text}, {x.text}.shape[{-len(axes)}:], eps={float(op.eps)!r})"
    f.assign(step, code, order, batched=x.batched)


@emit.register
def _(op: GroupNorm, f: Forward, step: Step) -> None:
    x, (source,), (target,) = only(f, step), step.ins, step.outs
    channels = of(f, source, op.channels)
    image = of(f, source, [name for name in op.norm.axes.split() if name not in op.norm.per.split()])
    text, rest = f.trailing(x, [*channels, *image])
    text = f.flatten(text, len(channels), behind=len(image))
    (module,) = (f"self.{f.attributes[node.id]}" for node in step.nodes if node.id in f.weights)
    code = f.images(module, text, len(image), plain=not rest)
    made = of(f, target, [op.merged] if op.merged else op.channels)
    code = f.unflatten(code, -1 - len(image), sizes(f, target, made))
    f.assign(step, code, [*rest, *made, *image], batched=x.batched)


def _batch_norm(op: ops.Norm, f: Forward, step: Step) -> None:
    x, (source,) = only(f, step), step.ins
    channels, batch = of(f, source, op.per.split()), of(f, source, op.axes.split())
    rest = [dim for dim in x.dims if dim not in channels and dim not in batch]
    last = x.dims[len(x.dims) - len(channels) :] == tuple(channels)
    if len(rest) <= 1 and last:  # vectors: the channel may stay last
        text = f.flatten(x.text, len(channels))
        code, order = f.rows(f.module(step), text), list(x.dims)
        behind = 0
    else:
        order = [*batch, *channels, *rest]
        behind = len(rest) if len(rest) <= 3 else 1
        text = f.flatten(f.arrange(x, order), len(channels), behind=len(rest))
        if len(rest) > 3:
            text = f.flatten(text, len(rest))
        code = f.images(f.module(step), text, behind, plain=not batch)
        if len(rest) > 3:
            code = f.unflatten(code, -1, [f.extent(dim, x) for dim in rest])
            behind = len(rest)
    code = f.unflatten(code, -1 - behind, sizes(f, source, channels))
    f.assign(step, code, order, batched=x.batched)
