"""Rules for products and learned maps: linear ↔ its transpose, products ↔ products, gradients of weights."""

from __future__ import annotations

from dataclasses import replace

from nbkit.language import ops
from nbkit.language.axes import Array, Axis, parse_spec
from nbkit.language.diagram import Node
from nbkit.language.ops.pullback import Pullback
from nbkit.language.reverse.indexing import collected
from nbkit.language.reverse.layout import Found, only
from nbkit.language.reverse.scope import Grad, Scope, parameter, prepare, pull
from nbkit.language.rooms import room
from nbkit.language.sizes import LONGEST_NAME


@pull.register
def _(_op: ops.Einsum, scope: Scope, node: Node, found: Found) -> None:
    """The gradient times the other operands, summed to the axes of this one."""
    gradient = only(found)
    for i, wire in enumerate(node.ins):
        operands = [gradient, *(scope.value(w) for j, w in enumerate(node.ins) if j != i)]
        array = scope.type(wire)
        known = {name for w in operands for name in scope.back.type(w).names}
        product = scope.back.contracted(operands, [n for n in array.names if n in known], node.id)
        scope.push(wire, scope.back.expanded(product, array))


def _turned(name: str) -> str:
    """The id of a map's transpose, which pictures write with a ᵀ."""
    around, dot, last = name.rpartition(".")
    return f"{around}{dot}{last[: LONGEST_NAME - 2]}_T"


# -- weights -----------------------------------------------------------------------------------------------


def learned(scope: Scope, node: Node, which: str, gradient: int, axes: tuple[Axis, ...]) -> None:
    """Books the gradient of a node's parameter, with its axes in the parameter's own order."""
    name, share = parameter(scope, node, which)
    arranged = scope.back.arranged(gradient, tuple(axis.name for axis in axes))
    scope.learned(Grad(name, scope.back.type(arranged), share), arranged)


def keyed(scope: Scope, node: Node) -> str:
    """The key by which both passes share a node's weight: its own, or one made for it."""
    return str(getattr(node.op, "key", "")) or scope.book.key(f"{scope.name}{node.id}")


@prepare.register
def _(op: ops.Linear, scope: Scope, node: Node) -> None:
    """The weight gets a key. Axes that come out under the name under which they went in are renamed before,
    so that the two sides of the weight can be told apart in the transpose.
    """
    keyed_op = replace(op, key=keyed(scope, node))
    table = _apart(scope, node)
    if not table:
        scope.nodes.append(Node(node.id, keyed_op, node.ins, node.outs))
        return
    rename = ops.Rename(f"{' '.join(table)} -> {' '.join(table.values())}")
    (array,) = rename.infer((scope.type(node.ins[0]),))
    renamed = scope.wire(array)
    scope.add(rename, node.ins, [renamed], "rename")
    spec = parse_spec(op.spec)
    ins = " ".join(table.get(t.name, t.name) for t in spec.ins[0])
    outs = " ".join(map(str, (scope.type(node.outs[0])[t.name] for t in spec.outs[0])))
    scope.add(replace(keyed_op, spec=f"{ins} -> {outs}"), [renamed], node.outs, node.id)


def _apart(scope: Scope, node: Node) -> dict[str, str]:
    """New names for axes that a linear map consumes and produces again; a convolution needs none."""
    held = room("nbkit.build.weights", "weights")(scope.source, node)
    op = node.op
    if held.module not in ("Linear", "Grouped") or not isinstance(op, ops.Linear):
        return {}
    source, out = scope.type(node.ins[0]), scope.type(node.outs[0])
    spec = parse_spec(op.spec)
    made = {t.name for t in spec.outs[0]}
    return {t.name: _fresh(f"{t.name}_in", source, out) for t in spec.ins[0] if t.name in made}


@pull.register
def _(op: ops.Linear, scope: Scope, node: Node, found: Found) -> None:
    gradient, back = only(found), scope.back
    source, out = scope.type(node.ins[0]), scope.type(node.outs[0])
    outs, ins, windows, folds = _sides(scope, node, op)
    if folds != 1 and isinstance(back.maker(gradient), ops.Window):
        # no convolution, for its weight would lie in another order: two windows undo two folds from the last
        gradient = back.one(ops.Transpose(" ".join(back.type(gradient).names)), gradient, name="layout")
    per = tuple(source[name] for name in op.per.split())
    table = _apart(scope, node)
    turned = ops.Linear(
        f"{' '.join(a.name for a in outs)} -> {' '.join(map(str, _renamed(ins, table)))}",
        bias=False,
        per=op.per,
        key=keyed(scope, node),
        frozen=op.frozen,
    )
    pulled = back.one(turned, gradient, name=_turned(node.id))
    if windows > 1:
        pulled = back.one(ops.Transpose(" ".join(back.type(pulled).names)), pulled, name="layout")
    if table:
        pulled = back.one(ops.Rename(f"{' '.join(table.values())} -> {' '.join(table)}"), pulled)
    scope.push(node.ins[0], pulled)
    if op.frozen:
        return
    value = scope.value(node.ins[0])
    table = {a.name: _fresh(f"{a.name}_in", source, out) for a in ins if a.name in {b.name for b in outs}}
    if table:
        value = back.one(ops.Rename(f"{' '.join(table)} -> {' '.join(table.values())}"), value)
    columns = _renamed(ins, table)
    order = (*per, *columns, *outs) if folds else (*per, *outs, *columns)
    weight = back.contracted([gradient, value], [a.name for a in order], f"{node.id}_weight")
    learned(scope, node, "weight", weight, order)
    if op.bias:
        bias = back.summed(gradient, [a.name for a in (*per, *outs)])
        learned(scope, node, "bias", bias, (*per, *outs))


def _renamed(axes: tuple[Axis, ...], table: dict[str, str]) -> tuple[Axis, ...]:
    return tuple(replace(axis, name=table.get(axis.name, axis.name)) for axis in axes)


def _sides(scope: Scope, node: Node, op: ops.Linear) -> tuple[tuple[Axis, ...], tuple[Axis, ...], int, int]:
    """What is produced and consumed, in the order of the weight (channels, then windows); how many windows of
    a convolution and folds of a transposed one (whose weight has what is consumed first) there are.
    """
    source, out = scope.type(node.ins[0]), scope.type(node.outs[0])
    spec = parse_spec(op.spec)
    held = room("nbkit.build.weights", "weights")(scope.source, node)
    outs = tuple(out[t.name] for t in spec.outs[0])
    ins = tuple(source[t.name] for t in spec.ins[0])
    return (
        _last(outs, [fold.name for fold in held.folds]),
        _last(ins, [window.name for window in held.windows]),
        len(held.windows),
        len(held.folds),
    )


def _last(axes: tuple[Axis, ...], names: list[str]) -> tuple[Axis, ...]:
    by_name = {axis.name: axis for axis in axes}
    return (*(a for a in axes if a.name not in names), *(by_name[name] for name in names))


def _fresh(wanted: str, *arrays: Array) -> str:
    name, number = wanted, 1
    while any(name in array for array in arrays):
        number += 1
        name = f"{wanted}{number}"
    return name


@pull.register
def _(op: ops.Embed, scope: Scope, node: Node, found: Found) -> None:
    if op.frozen:
        return
    gradient, back = only(found), scope.back
    index, spec = scope.type(node.ins[0]), parse_spec(op.spec)
    token = spec.ins[0][0]
    rows = _fresh(token.name, index, back.type(gradient))
    columns = tuple(scope.type(node.outs[0])[t.name] for t in spec.outs[0])
    table = collected(scope, gradient, scope.value(node.ins[0]), index.names, rows)
    bound = back.type(table)[rows]
    if token.size is not None and token.size != bound.size:  # rows that no index can reach
        rest = (Axis(rows, token.size - bound.size), *columns)
        table = back.arranged(table, (rows, *(a.name for a in columns)))
        table = back.one(ops.Concat(rows), table, back.constant(0.0, rest, gradient))
    learned(scope, node, "weight", table, (back.type(table)[rows], *columns))


@pull.register
def _(op: ops.Positions, scope: Scope, node: Node, found: Found) -> None:
    spec, array = parse_spec(op.spec), scope.type(node.outs[0])
    axes = tuple(array[t.name] for side in (spec.ins, spec.outs) for t in side[0])
    learned(scope, node, "weight", only(found), axes)


@pull.register
def _(op: ops.Parameter, scope: Scope, node: Node, found: Found) -> None:
    if op.trainable:
        learned(scope, node, "weight", only(found), scope.type(node.outs[0]).axes)


@prepare.register
def _(op: ops.Norm, scope: Scope, node: Node) -> None:
    changed = replace(op, key=keyed(scope, node)) if op.affine else op
    scope.nodes.append(Node(node.id, changed, node.ins, node.outs))


@pull.register
def _(op: ops.Norm, scope: Scope, node: Node, found: Found) -> None:
    gradient, back = only(found), scope.back
    source, value = scope.type(node.ins[0]), scope.value(node.ins[0])
    axes = tuple(source[name] for name in (op.per or op.axes).split()) if op.affine else ()
    scaled = gradient
    if op.affine:
        shared = ops.Parameter(" ".join(map(str, axes)), "ones", key=keyed(scope, node))
        scaled = back.one(ops.Multiply(), gradient, back.one(shared, gradient, name=node.id))
    rule = Pullback("norm", op.how, op.axes, op.per if op.how == "batch" else "", op.eps)
    scope.push(node.ins[0], back.one(rule, value, scaled, name=node.id))
    if not op.affine:
        return
    names = [axis.name for axis in axes]
    plain = back.one(replace(op, affine=False, key="", per=op.per if op.how == "batch" else ""), value)
    learned(scope, node, "weight", back.contracted([gradient, plain], names, f"{node.id}_weight"), axes)
    if op.how != "rms":
        learned(scope, node, "bias", back.summed(gradient, names), axes)
