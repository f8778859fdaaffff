"""Rules for what only moves elements: rearrangements are undone, what was repeated is summed."""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr, Integer

from nbkit.language import ops
from nbkit.language.axes import Axis, parse_bundle, parse_spec
from nbkit.language.diagram import Node
from nbkit.language.errors import DiagramError
from nbkit.language.reverse.scope import Scope, pull
from nbkit.language.sizes import canonical, format_size

Found = list[int | None]


def only(found: Found) -> int:
    """The gradient at the result of an op that has one."""
    (gradient,) = found
    if gradient is None:
        raise TypeError("a rule runs only where a gradient arrived")
    return gradient


@pull.register
def _(op: ops.Rename, scope: Scope, node: Node, found: Found) -> None:
    old, _, new = op.spec.partition("->")
    scope.push(node.ins[0], scope.back.one(ops.Rename(f"{new} -> {old}"), only(found), name=node.id))


@pull.register
def _(_op: ops.Transpose, scope: Scope, node: Node, found: Found) -> None:
    names = scope.type(node.ins[0]).names
    if node.id.startswith("layout"):
        scope.push(node.ins[0], only(found))
    else:
        scope.push(node.ins[0], scope.back.one(ops.Transpose(" ".join(names)), only(found), name=node.id))


@pull.register
def _(op: ops.Merge, scope: Scope, node: Node, found: Found) -> None:
    spec = parse_spec(op.spec)
    axes = [scope.type(node.ins[0])[t.name] for t in spec.ins[0]]
    split = ops.Split(f"{spec.outs[0][0].name} -> {' '.join(map(str, axes))}")
    scope.push(node.ins[0], scope.back.one(split, only(found), name=node.id))


@pull.register
def _(op: ops.Split, scope: Scope, node: Node, found: Found) -> None:
    spec = parse_spec(op.spec)
    merge = ops.Merge(f"{' '.join(t.name for t in spec.outs[0])} -> {spec.ins[0][0].name}")
    scope.push(node.ins[0], scope.back.one(merge, only(found), name=node.id))


@pull.register
def _(op: ops.Expand, scope: Scope, node: Node, found: Found) -> None:
    names = " ".join(t.name for t in parse_bundle(op.axes))
    scope.push(node.ins[0], scope.back.one(ops.Reduce("sum", names), only(found), name=node.id))


@pull.register
def _(op: ops.Window, scope: Scope, node: Node, found: Found) -> None:
    extra = 0
    source, out = scope.type(node.ins[0])[op.axis], scope.type(node.outs[0])[op.axis]
    if op.padding != "same":
        reach = op.dilation * (op.size - 1) + 1
        left = canonical(source.size - (out.size - 1) * op.stride - reach + sum(op.pads()))
        if not left.is_Integer:
            raise _open(scope, node, source, "how many elements the last window leaves over")
        extra = int(left)
    fold = ops.Fold(op.axis, op.name, op.stride, op.dilation, op.padding, extra)
    scope.push(node.ins[0], scope.back.one(fold, only(found), name=node.id))


@pull.register
def _(op: ops.Fold, scope: Scope, node: Node, found: Found) -> None:
    source = scope.type(node.ins[0])
    size = int(source[op.name].size)
    window = ops.Window(op.axis, size, op.stride, op.dilation, op.padding, op.name)
    gradient = scope.back.one(window, only(found), name=node.id)
    if scope.back.type(gradient)[op.axis] != source[op.axis]:  # elements beyond all windows
        gradient = scope.back.one(ops.Slice(op.axis, 0, int(source[op.axis].size)), gradient)
    scope.push(node.ins[0], gradient)


@pull.register
def _(op: ops.Concat, scope: Scope, node: Node, found: Found) -> None:
    gradient, back = only(found), scope.back
    parts = [scope.type(w)[op.axis] for w in node.ins]
    if len({part.size for part in parts}) == 1 and not parts[0].size.is_Integer:
        place = f"{op.axis}_part" if f"{op.axis}_part" not in back.type(gradient) else f"{op.axis}_joined"
        split = ops.Split(f"{op.axis} -> {place}={len(parts)} {parts[0]}")
        gradient = back.one(split, gradient, name=node.id)
        for i, wire in enumerate(node.ins):
            scope.push(wire, back.one(ops.Slice(place, i, drop=True), gradient))
        return
    start: Expr = Integer(0)
    for i, (wire, part) in enumerate(zip(node.ins, parts, strict=True)):
        stop = start + part.size
        last = i == len(parts) - 1
        if not start.is_Integer or not (last or stop.is_Integer):
            raise _open(scope, node, part, "where the joined parts begin")
        cut = ops.Slice(op.axis, int(start), None if last else int(stop))
        scope.push(wire, back.one(cut, gradient, name=node.id))
        start = stop


@pull.register
def _(op: ops.Slice, scope: Scope, node: Node, found: Found) -> None:
    gradient, back = only(found), scope.back
    axis = scope.type(node.ins[0])[op.axis]
    before = Integer(op.start) + (axis.size if op.start < 0 else 0)
    if op.drop:
        gradient = back.expanded(gradient, (replace(axis, size=Integer(1)),))
    kept = back.type(gradient)[op.axis].size
    after = canonical(axis.size - before - kept)
    if axis.rank == 1:
        ends = []
        for size in (canonical(before), after):
            zeros = (replace(a, size=size) if a.name == axis.name else a for a in back.type(gradient))
            ends.append([] if size == 0 else [back.constant(0.0, zeros, gradient)])
        if any(ends):
            gradient = back.one(ops.Concat(op.axis), *ends[0], gradient, *ends[1], name=node.id)
    else:
        if not (before.is_Integer and after.is_Integer):
            raise _open(scope, node, axis, "how much was cut off")
        name = next(n for n in ("pad", "padded", "pad_2") if n not in back.type(gradient))
        window = ops.Window(op.axis, 1, padding=f"{before},{after}", name=name)
        gradient = back.one(window, gradient, name=node.id)
        gradient = back.one(ops.Slice(name, 0, drop=True), gradient)
    scope.push(node.ins[0], gradient)


def _open(scope: Scope, node: Node, axis: Axis, what: str) -> DiagramError:
    names = sorted(str(s) for s in axis.size.free_symbols)
    given = ", ".join(f"{name}=64" for name in names) or f"{axis.name}=64"
    return DiagramError(
        f"{node.op} at {scope.prefix}{node.id} cannot be reversed while the size {format_size(axis.size)} of "
        f"axis '{axis.name}' is open: it says {what}\n  give it first: d.at({given}).reverse()"
    )
