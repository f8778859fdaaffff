"""Rules for functions of elements and of whole axes."""

from __future__ import annotations

from nbkit.language import ops
from nbkit.language.diagram import Node
from nbkit.language.ops.pullback import BY_RESULT, Pullback
from nbkit.language.reverse.layout import Found, only
from nbkit.language.reverse.scope import Scope, prepare, pull


@pull.register
def _(op: ops.Elementwise, scope: Scope, node: Node, found: Found) -> None:
    if op.function == "sign":
        return
    if op.function == "neg":
        scope.push(node.ins[0], scope.back.one(op, only(found), name=node.id))
        return
    wire = node.outs[0] if op.function in BY_RESULT else node.ins[0]
    scope.shown.setdefault(wire, node.outs[0] if op.function in BY_RESULT else wire)
    rule = Pullback("elementwise", op.function)
    scope.push(node.ins[0], scope.back.one(rule, scope.value(wire), only(found), name=node.id))


@pull.register
def _(op: ops.Scale, scope: Scope, node: Node, found: Found) -> None:
    scope.push(node.ins[0], scope.back.one(op, only(found), name=node.id))


@pull.register
def _(op: ops.Mask, scope: Scope, node: Node, found: Found) -> None:
    scope.push(node.ins[0], scope.back.one(ops.Mask(op.relation, "0"), only(found), name=node.id))


@pull.register
def _(_op: ops.Add, scope: Scope, node: Node, found: Found) -> None:
    for wire in node.ins:
        scope.push(wire, scope.back.summed(only(found), scope.type(wire).names))


@pull.register
def _(_op: ops.Multiply, scope: Scope, node: Node, found: Found) -> None:
    gradient = only(found)
    for i, wire in enumerate(node.ins):
        others = [scope.value(w) for j, w in enumerate(node.ins) if j != i]
        names = scope.type(wire).names
        if len(names) == len(scope.back.type(gradient).names):
            product = scope.back.one(ops.Multiply(), gradient, *others, name=node.id)
        else:
            product = scope.back.contracted([gradient, *others], names, node.id)
        scope.push(wire, product)


@prepare.register
def _(op: ops.Dropout, scope: Scope, node: Node) -> None:
    """What was drawn goes on the tape: dropout of ones, times the input."""
    if op.p == 0:
        scope.nodes.append(Node(node.id, op, node.ins, node.outs))
        return
    array = scope.type(node.ins[0])
    ones, drawn = scope.wire(array), scope.wire(array)
    scope.add(ops.Constant(1.0, " ".join(map(str, array))), node.ins, [ones], "constant")
    scope.add(op, [ones], [drawn], node.id)
    scope.add(ops.Multiply(), [node.ins[0], drawn], node.outs, "multiply")
    scope.kept[node.id] = drawn
    scope.shown[drawn] = node.outs[0]


@pull.register
def _(_op: ops.Dropout, scope: Scope, node: Node, found: Found) -> None:
    gradient = only(found)
    if node.id in scope.kept:
        drawn = scope.value(scope.kept[node.id])
        gradient = scope.back.one(ops.Multiply(), gradient, drawn, name=node.id)
    scope.push(node.ins[0], gradient)


@pull.register
def _(op: ops.Softmax, scope: Scope, node: Node, found: Found) -> None:
    rule = Pullback("softmax", axes=op.axes)
    scope.push(node.ins[0], scope.back.one(rule, scope.value(node.outs[0]), only(found), name=node.id))


@pull.register
def _(op: ops.Reduce, scope: Scope, node: Node, found: Found) -> None:
    gradient, back = only(found), scope.back
    array = scope.type(node.ins[0])
    axes = [array[name] for name in op.axes.split()]
    match op.how:
        case "sum" | "mean":
            gradient = back.expanded(gradient, axes)
            if op.how == "mean":
                count = "*".join(f"({axis.numel})" for axis in axes)
                gradient = back.one(ops.Scale(f"1/({count})"), gradient)
        case "logsumexp":
            weights = back.one(ops.Softmax(op.axes), scope.value(node.ins[0]))
            gradient = back.one(ops.Multiply(), weights, gradient, name=node.id)
        case _:
            rule = Pullback("reduce", op.how, op.axes)
            gradient = back.one(rule, scope.value(node.ins[0]), gradient, name=node.id)
    scope.push(node.ins[0], gradient)


@pull.register(ops.Constant)
@pull.register(ops.Indices)
@pull.register(ops.OneHot)
@pull.register(ops.Cast)
@pull.register(ops.StopGradient)
def _(_op: ops.Op, _scope: Scope, _node: Node, _found: Found) -> None:
    """No gradient flows through."""
