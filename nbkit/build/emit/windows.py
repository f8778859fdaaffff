"""Windows and folds, convolutions and transposed ones, pools."""

from __future__ import annotations

from collections.abc import Sequence

from nbkit.build.emit.base import emit, of, only, sizes
from nbkit.build.forward import Dim, Forward, Value, dims, permutation
from nbkit.build.plan import Convolution, Pool, Step, TransposedConvolution
from nbkit.build.weights import kernel_crop, margins
from nbkit.language import ops
from nbkit.language.axes import parse_spec


@emit.register
def _(op: Convolution, f: Forward, step: Step) -> None:
    held, spec = f.weights[step.node.id], parse_spec(op.linear.spec)
    (target,) = step.outs
    x, places = _padded(f, step, op.windows, [w.pads()[0] == w.pads()[1] for w in op.windows], "0")
    window = {w.name for w in op.windows}
    channels = [*op.linear.per.split(), *(t.name for t in spec.ins[0] if t.name not in window)]
    channel_dims = of(f, step.ins[0], channels)
    text, rest = f.trailing(x, [*channel_dims, *places])
    text = f.flatten(text, len(channel_dims), behind=len(places))
    code = f.images(f.module(step), text, len(places), plain=not rest)
    produced = list(dims(held.rows))
    code = f.unflatten(code, -1 - len(places), sizes(f, target, produced))
    f.assign(step, code, [*rest, *produced, *places], batched=x.batched)


def _padded(
    f: Forward, step: Step, windows: Sequence[ops.Window], by_kernel: Sequence[bool], fill: str
) -> tuple[Value, list[Dim]]:
    """The input with the padding that the kernel does not do itself, and the dimensions slid over."""
    x, (source,) = f.value(step.ins[0]), step.ins
    places: list[Dim] = []
    amounts: dict[Dim, tuple[int, int]] = {}
    for window, kernel_pads in zip(windows, by_kernel, strict=True):
        mine = of(f, source, [window.axis])
        places += mine
        amounts |= {dim: (0, 0) if kernel_pads else window.pads() for dim in mine}
        size = f.type(source)[window.axis].size
        if window.padding == "same" and window.stride > 1 and not size.is_Integer:
            for dim in mine:
                f.line(f"check_stride({f.extent(dim, x)}, {window.stride}, {window.axis!r})")
    if any(amount != (0, 0) for amount in amounts.values()):
        listed = [amounts.get(dim, (0, 0)) for dim in reversed(x.dims)]
        while listed[-1] == (0, 0):
            listed.pop()
        numbers = ", ".join(f"{before}, {after}" for before, after in listed)
        value = "" if fill == "0" else ", value=-inf"
        x = f.let("padded", f"F.pad({x.text}, ({numbers}){value})", x.dims, batched=x.batched)
    return x, places


@emit.register
def _(op: ops.Window, f: Forward, step: Step) -> None:
    x, places = _padded(f, step, (op,), (False,), op.fill)
    order, code = list(x.dims), x.text
    for dim in places:
        code += f".unfold({order.index(dim) - len(order)}, {op.dilation * (op.size - 1) + 1}, {op.stride})"
        code += f"[..., ::{op.dilation}]" if op.dilation > 1 else ""
        order.append((op.name, dim[1]))
    f.assign(step, code, order, batched=x.batched)


@emit.register
def _(op: ops.Fold, f: Forward, step: Step) -> None:
    x, (source,) = only(f, step), step.ins
    array = f.type(source)
    cut = ", ".join(map(str, (op.stride, op.dilation, *margins(op, int(array[op.name].size)))))
    order, code = list(x.dims), x.text
    for dim in of(f, source, [op.axis]):
        window = (op.name, dim[1])
        rest = [d for d in order if d not in (dim, window)]
        code = f"overlap({code}{permutation(tuple(order), (*rest, dim, window))}, {cut})"
        order = [*rest, dim]
    f.assign(step, code, order, batched=x.batched)


@emit.register
def _(op: TransposedConvolution, f: Forward, step: Step) -> None:
    node = step.nodes[0]
    held, spec = f.weights[node.id], parse_spec(op.linear.spec)
    x, (source,), (target,) = only(f, step), step.ins, step.outs
    places = of(f, source, [fold.axis for fold in op.folds])
    channels = of(f, source, [*op.linear.per.split(), *(t.name for t in spec.ins[0])])
    text, rest = f.trailing(x, [*channels, *places])
    text = f.flatten(text, len(channels), behind=len(places))
    code = f.images(f"self.{f.attributes[node.id]}", text, len(places), plain=not rest)
    cuts: list[tuple[int, int]] = []
    for fold, size in zip(
        [fold for fold, rank in zip(op.folds, held.ranks, strict=True) for _ in range(rank)],
        held.shapes["weight"][2:],
        strict=True,
    ):
        by_kernel = kernel_crop(fold, int(size))[0] is not None
        cuts.append((0, 0) if by_kernel else margins(fold, int(size)))
    if any(cut != (0, 0) for cut in cuts):
        amounts = ", ".join(f"{-before}, {-after}" for before, after in reversed(cuts))
        code = f"F.pad({code}, ({amounts}))"
    produced = list(dims(held.rows))
    code = f.unflatten(code, -1 - len(places), sizes(f, target, produced))
    f.assign(step, code, [*rest, *produced, *places], batched=x.batched)


@emit.register
def _(op: Pool, f: Forward, step: Step) -> None:
    fill = op.windows[0].fill
    symmetric = all(
        w.pads()[0] == w.pads()[1] <= w.size // 2
        and (w.fill == ("-inf" if op.how == "max" else "0") or not any(w.pads()))
        for w in op.windows
    )
    x, places = _padded(f, step, op.windows, [symmetric] * len(op.windows), fill)
    text, rest = f.trailing(x, places)
    each = [w for w in op.windows for _ in of(f, step.ins[0], [w.axis])]
    arguments = [
        [w.size for w in each],
        [w.stride for w in each],
        [w.pads()[0] if symmetric else 0 for w in each],
    ]
    if op.how == "max":
        arguments.append([w.dilation for w in each])
    listed = [str(a[0]) if len(set(a)) == 1 else str(tuple(a)) for a in arguments]
    kernel = f"{'torch' if op.how == 'max' else 'F'}.{op}"
    code = f.images(kernel, text, len(places), *listed, plain=len(rest) == 1)
    f.assign(step, code, [*rest, *places], batched=x.batched)
