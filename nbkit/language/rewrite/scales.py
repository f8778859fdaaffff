"""Numbers slide along wires: a scale commutes with every linear operation."""

from __future__ import annotations

from nbkit.language import ops
from nbkit.language.diagram import Node
from nbkit.language.rewrite.edit import Edit
from nbkit.language.rewrite.formulas import Formula, Term
from nbkit.language.rewrite.maps import linear_map, own_weight
from nbkit.language.rewrite.rule import of_kind, op_as, require, rule, want
from nbkit.language.sizes import canonical, format_size, parse_size

_LINEAR = "a linear operation (linear without bias, einsum, sum, mean, view …)"


def is_linear(op: ops.Op) -> bool:
    """Whether the op is linear in each of its inputs."""
    match op:
        case ops.Linear(bias=bias):
            return not bias
        case ops.Reduce(how=how):
            return how in ("sum", "mean")
        case ops.Window(fill=fill):
            return fill == "0"
        case ops.Mask(fill=fill):
            return fill == "0"
        case ops.Elementwise(function=function):
            return function == "neg"
    return isinstance(
        op,
        ops.Einsum | ops.Multiply | ops.Merge | ops.Split | ops.Slice | ops.Rename | ops.Transpose | ops.Fold,
    )


@rule(
    "scale-slide",
    "A number may be multiplied before or after a linear operation: f(a·x) = a·f(x).",
    ops.Scale,
    inverse="scale-slide-back",
)
def scale_slide(edit: Edit, node: Node) -> None:
    """At the scale, which moves to behind the linear operation that reads it."""
    after = edit.only_reader(node.outs[0])
    needs = f"a scale that goes into {_LINEAR} and nowhere else"
    after = want(after, needs, f"{node.op}, whose result is read {edit.uses(node.outs[0])} times")
    require(is_linear(after.op), needs, f"{node.op}, and {after.op} after it")
    ins = [node.ins[0] if w == node.outs[0] else w for w in after.ins]
    edit.drop(node, after)
    wire = edit.add_one(after.op, ins, after.id, after, keeps=after)
    edit.replace(after.outs[0], edit.add_one(node.op, (wire,), node.id, after))


@rule(
    "scale-slide-back",
    "A number may be multiplied after or before a linear operation: a·f(x) = f(a·x).",
    ops.Scale,
    inverse="scale-slide",
)
def scale_slide_back(edit: Edit, node: Node) -> None:
    """At the scale, which moves to before the linear operation; of several inputs, to the first."""
    needs = f"a scale of what {_LINEAR} gives, which is read nowhere else"
    before = edit.maker(node.ins[0])
    before = want(before, needs, f"{node.op} of an input")
    require(is_linear(before.op), needs, f"{node.op} of what {before.op} gives")
    require(
        edit.uses(node.ins[0]) == 1,
        needs,
        f"'{before.id}', whose result is read {edit.uses(node.ins[0])} times",
    )
    edit.drop(node, before)
    wire = edit.add_one(node.op, before.ins[:1], node.id, before)
    wire = edit.add_one(before.op, (wire, *before.ins[1:]), before.id, before, keeps=before)
    edit.replace(node.outs[0], wire)


@rule("merge-scales", "Two numbers in a row are their product.", ops.Scale)
def merge_scales(edit: Edit, node: Node) -> None:
    """At the first of the two."""
    after = edit.only_reader(node.outs[0])
    needs = "a scale that goes into another scale and nowhere else"
    after = want(of_kind(after, ops.Scale), needs, f"{node.op}")
    one, two = (parse_size(op_as(n, ops.Scale).factor) for n in (node, after))
    factor = canonical(one * two)
    edit.drop(node, after)
    op = ops.Scale(format_size(factor))
    edit.replace(after.outs[0], edit.add_one(op, node.ins, node.id, node))


@rule("scale-absorb", "A number beside a linear map goes into its weight: a·W.", ops.Scale)
def scale_absorb(edit: Edit, node: Node) -> None:
    """At the scale, which ends in the map before it, or else in the map that alone reads it."""
    needs = "a scale just behind or just before a linear map without bias, with nothing else on the wire"
    factor = op_as(node, ops.Scale).factor
    before, after = edit.maker(node.ins[0]), edit.only_reader(node.outs[0])
    if before is not None and isinstance(before.op, ops.Linear) and edit.uses(node.ins[0]) == 1:
        linear, ins, old = before, before.ins, node.outs[0]
    else:
        after = want(of_kind(after, ops.Linear), needs, f"{node.op}")
        linear, ins, old = after, node.ins, after.outs[0]
    mine = linear_map(edit, linear)
    own_weight(mine, needs)
    require(not mine.op.bias or linear is before, needs, f"'{linear.id}' with a bias, which is not scaled")
    edit.drop(node, linear)
    wire = edit.add_one(mine.op, ins, linear.id, linear)
    edit.replace(old, wire)
    for old_parameter in (mine.weight({}), *([mine.bias({})] if mine.op.bias else [])):
        edit.formulas.append(
            Formula(
                edit.id_of(wire),
                old_parameter.parameter,
                old_parameter.indices,
                (Term((old_parameter,), factor),),
            )
        )
