"""Layer, RMS and batch normalisation."""

from __future__ import annotations

from nbkit.build.emit.base import emit, of, only, sizes
from nbkit.build.forward import Forward
from nbkit.build.plan import Step
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
    if op.affine:
        code = f"{f.module(step)}({text})"
    else:
        if text != x.text:
            x = f.let(step.node.id, text, order, batched=x.batched)
        function = "F.layer_norm" if op.how == "layer" else "F.rms_norm"
        code = f"{function}({x.text}, {x.text}.shape[{-len(axes)}:], eps={float(op.eps)!r})"
    f.assign(step, code, order, batched=x.batched)


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
