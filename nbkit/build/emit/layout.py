"""Merging, splitting, joining, slicing, renaming and expanding axes."""

from __future__ import annotations

from nbkit.build.emit.base import emit, of, only, sizes
from nbkit.build.forward import Dim, Forward, Value, dims
from nbkit.build.plan import Step, Upsampling
from nbkit.language import ops
from nbkit.language.axes import parse_spec


@emit.register
def _(op: ops.Merge, f: Forward, step: Step) -> None:
    x, (target,) = only(f, step), step.outs
    spec = parse_spec(op.spec)
    (new,) = of(f, target, spec.outs[0])[:1]
    rank = f.type(target)[new[0]].rank
    groups = [[(t.name, i) for t in spec.ins[0]] for i in range(rank)]
    members = {dim for group in groups for dim in group}
    order: list[Dim] = []
    for dim in x.dims:
        if dim not in members:
            order.append(dim)
        elif dim not in order:
            order += next(group for group in groups if dim in group)
    code = f.arrange(x, order)
    for i, group in enumerate(groups):
        first = order.index(group[0])
        code = f.flatten(code, len(group), behind=len(order) - first - len(group))
        order[first : first + len(group)] = [(new[0], i)]
    f.assign(step, code, order, batched=x.batched)


@emit.register
def _(op: ops.Split, f: Forward, step: Step) -> None:
    x, (target,) = only(f, step), step.outs
    spec = parse_spec(op.spec)
    ((old,),), (new,) = spec.ins, spec.outs
    array = f.type(target)
    order, code = list(x.dims), x.text
    open_sizes = [t.name for t in new if not array[t.name].size.is_Integer]
    for dim in [d for d in x.dims if d[0] == old.name]:
        parts = [(token.name, dim[1]) for token in new]
        place = order.index(dim)
        numbers = ["-1" if [name] == open_sizes else f.axis(array, name) for name, _ in parts]
        code = f.unflatten(code, place - len(order), numbers)
        order[place : place + 1] = parts
    f.assign(step, code, order, batched=x.batched)


@emit.register
def _(op: ops.Concat, f: Forward, step: Step) -> None:
    values = [f.value(wire) for wire in step.ins]
    order = values[0].dims
    texts = [f.arrange(value, order) for value in values]
    code = f.joined(step.ins, texts, order.index((op.axis, 0)) - len(order))
    f.assign(step, code, order, batched=any(value.batched for value in values))


@emit.register
def _(op: ops.Slice, f: Forward, step: Step) -> None:
    x, code = only(f, step), ""
    order = list(x.dims)
    code = x.text
    for dim in [d for d in x.dims if d[0] == op.axis]:
        place = order.index(dim) - len(order)
        if op.drop:
            code += f".select({place}, {op.start})"
            order.remove(dim)
            continue
        whole = f.extent(dim, x)
        start = str(op.start) if op.start >= 0 else f"{whole} - {-op.start}"
        stop = whole if op.stop is None else str(op.stop) if op.stop >= 0 else f"{whole} - {-op.stop}"
        length = str(op.stop - op.start) if op.stop is not None and (op.start >= 0) == (op.stop >= 0) else ""
        if op.start < 0 and op.stop is None:
            length = str(-op.start)
        code += f".narrow({place}, {start}, {length or (stop if op.start == 0 else f'{stop} - ({start})')})"
    f.assign(step, code, order, batched=x.batched)


@emit.register
def _(op: ops.Rename, f: Forward, step: Step) -> None:
    x, spec = only(f, step), parse_spec(op.spec)
    table = {old.name: new.name for old, new in zip(spec.ins[0], spec.outs[0], strict=True)}
    f.values[step.outs[0]] = Value(x.text, tuple((table.get(name, name), i) for name, i in x.dims), x.batched)


@emit.register
def _(_op: ops.Transpose, f: Forward, step: Step) -> None:
    f.values[step.outs[0]] = only(f, step)  # the order of a type is no concern of the tensor


@emit.register
def _(_op: ops.Expand, f: Forward, step: Step) -> None:
    x, (target,) = only(f, step), step.outs
    new = [dim for dim in dims(f.type(target)) if dim not in x.dims]
    wide = ".unsqueeze(-1)" if len(new) == 1 else f"[..., {', '.join(['None'] * len(new))}]"
    code = f"{x.text}{wide}.expand(*{x.text}.shape, {', '.join(sizes(f, target, new))})"
    f.assign(step, code, [*x.dims, *new], batched=x.batched)


@emit.register
def _(op: Upsampling, f: Forward, step: Step) -> None:
    """Nearest-neighbour up-sampling: each element `factor` times."""
    x, (source,) = only(f, step), step.ins
    places = of(f, source, [op.axis])
    text, rest = f.trailing(x, places)
    code = f.images("F.interpolate", text, len(places), "None", f"{op.factor}.0", plain=len(rest) == 1)
    f.assign(step, code, [*rest, *[(op.name, i) for _, i in places]], batched=x.batched)
