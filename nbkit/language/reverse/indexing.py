"""Rules for look-ups: gather ↔ scatter, and what is looked up in a table ↔ what is collected into it."""

from __future__ import annotations

from collections.abc import Sequence

from nbkit.language import ops
from nbkit.language.diagram import Node
from nbkit.language.ops.pullback import Pullback
from nbkit.language.reverse.layout import Found
from nbkit.language.reverse.scope import Scope, pull


def collected(scope: Scope, gradient: int, index: int, over: Sequence[str], axis: str) -> int:
    """The gradient summed into the places of `axis` that indices point to, over these axes of the indices."""
    back = scope.back
    axes = [back.type(index)[name] for name in over]
    if over and all(a.rank == 1 for a in axes):
        place = over[0]
        if len(over) > 1:
            place = next(n for n in ("place", "places", "place_2") if n not in back.type(gradient))
            merge = ops.Merge(f"{' '.join(over)} -> {place}")
            gradient, index = back.one(merge, gradient), back.one(merge, index)
        return back.one(ops.Scatter(axis, place), gradient, index, name="scatter")
    chosen = back.one(ops.OneHot(axis), index)
    kept = [n for n in back.type(gradient).names if n not in over]
    return back.contracted([chosen, gradient], [axis, *kept])


@pull.register
def _(op: ops.Gather, scope: Scope, node: Node, found: Found) -> None:
    table, index = node.ins
    (gradient,) = found
    if gradient is None:
        return
    here = scope.type(table)
    over = [a.name for a in scope.type(index) if a.name == op.axis or a.name not in here]
    scope.push(table, collected(scope, gradient, scope.value(index), over, op.axis))


@pull.register
def _(op: ops.Scatter, scope: Scope, node: Node, found: Found) -> None:
    wire, index = node.ins
    (gradient,) = found
    if gradient is None:
        return
    back, places = scope.back, scope.value(index)
    gather = ops.Gather(op.axis)
    given = back.one(gather, gradient, places, name=node.id)
    if op.how == "mean":
        ones = back.constant(1.0, scope.type(index).axes, gradient)
        count = back.one(gather, back.one(ops.Scatter(op.axis, op.over), ones, places), places)
        given = back.one(ops.Multiply(), given, back.one(ops.Elementwise("reciprocal"), count))
    elif op.how == "max":  # shared among those that are equally large, as torch does
        value = scope.value(wire)
        largest = back.one(gather, scope.value(node.outs[0]), places)
        ones = back.constant(1.0, scope.type(wire).axes, gradient)
        winners = back.one(Pullback("where"), value, largest, ones)
        count = back.one(gather, back.one(ops.Scatter(op.axis, op.over), winners, places), places)
        share = back.one(ops.Multiply(), given, back.one(ops.Elementwise("reciprocal"), count))
        given = back.one(Pullback("where"), value, largest, share)
    scope.push(wire, given)


@pull.register
def _(op: ops.TopK, scope: Scope, node: Node, found: Found) -> None:
    gradient, _ = found
    if gradient is not None:
        scope.push(node.ins[0], collected(scope, gradient, scope.value(node.outs[1]), [op.name], op.axis))
