"""Softmax, written out: exp, the sum along the axis, its reciprocal, the product."""

from __future__ import annotations

from nbkit.language import ops
from nbkit.language.diagram import Node
from nbkit.language.rewrite.edit import Edit
from nbkit.language.rewrite.rule import Inapplicable, op_as, require, rule


@rule(
    "softmax-expand",
    "A softmax is exp, divided by its sum: exp(x) · 1/Σ exp(x).",
    ops.Softmax,
    inverse="softmax-collapse",
)
def softmax_expand(edit: Edit, node: Node) -> None:
    """Equal as functions of real numbers; torch's softmax first takes the largest element away, so that exp
    does not overflow (from 710 on in float64, 89 in float32), and the expanded form does not.
    """
    axes = op_as(node, ops.Softmax).axes
    edit.drop(node)
    powers = edit.add_one(ops.Elementwise("exp"), node.ins, "exp", node)
    total = edit.add_one(ops.Reduce("sum", axes), (powers,), "sum", node)
    inverse = edit.add_one(ops.Elementwise("reciprocal"), (total,), "reciprocal", node)
    edit.replace(node.outs[0], edit.add_one(ops.Multiply(), (powers, inverse), node.id, node))


@rule(
    "softmax-collapse",
    "exp, divided by its sum, is a softmax.",
    ops.Multiply,
    inverse="softmax-expand",
)
def softmax_collapse(edit: Edit, node: Node) -> None:
    """At the product of exp(x) with the reciprocal of its sum."""
    needs = "exp times the reciprocal of its sum, each read only here"
    made = [edit.maker(w) for w in node.ins]
    require(len(made) == 2, needs, f"a product of {len(made)} arrays")
    for power, inverse in (made, made[::-1]):
        if not (
            power is not None
            and inverse is not None
            and power.op == ops.Elementwise("exp")
            and inverse.op == ops.Elementwise("reciprocal")
        ):
            continue
        total = edit.maker(inverse.ins[0])
        if (
            total is not None
            and isinstance(total.op, ops.Reduce)
            and total.op.how == "sum"
            and total.ins == power.outs
            and edit.uses(power.outs[0]) == 2
            and edit.uses(total.outs[0]) == edit.uses(inverse.outs[0]) == 1
        ):
            edit.drop(node, power, inverse, total)
            op = ops.Softmax(total.op.axes)
            name = "softmax" if node.id.startswith("multiply") else node.id
            edit.replace(node.outs[0], edit.add_one(op, power.ins, name, node))
            return
    shown = " and ".join(str(n.op) if n else "an input" for n in made)
    raise Inapplicable(needs, f"a product of {shown}")
