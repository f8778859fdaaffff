"""A learned map is a product with a learned array: linear as einsum, and back."""

from __future__ import annotations

from nbkit.language import ops
from nbkit.language.axes import Axis
from nbkit.language.diagram import Node
from nbkit.language.rewrite.edit import Edit
from nbkit.language.rewrite.formulas import Formula, Old, Term
from nbkit.language.rewrite.maps import (
    certain,
    einsum_for,
    free_axis,
    linear_map,
    linear_op,
    names,
    no_bias,
    own_weight,
    token,
)
from nbkit.language.rewrite.rule import op_as, require, rule, want


@rule(
    "linear-einsum",
    "A linear map is an einsum with its weight: y = Σ W·x.",
    ops.Linear,
    inverse="einsum-linear",
)
def linear_einsum(edit: Edit, node: Node) -> None:
    """At a map without bias, whose name the learned array takes; then what is multiplied next to it can merge
    with it (merge-einsums).
    """
    mine = linear_map(edit, node)
    needs = "a linear map without bias, whose weight is its own"
    no_bias(mine, needs)
    own_weight(mine, needs)
    array = edit.type(node.ins[0])
    fresh = {
        a.name: free_axis(a.name, {*array.names, *names(mine.outs)}) for a in mine.outs if a.name in array
    }
    made = tuple(Axis(fresh.get(a.name, a.name), a.size, a.rank) for a in mine.outs)
    axes = (*mine.per, *made, *mine.ins)
    require(len({a.name for a in axes}) == len(axes), needs, f"{node.op}, with one name in two roles")
    edit.drop(node)
    text = " ".join(str(token(a)) for a in axes)
    weight = edit.add_one(ops.Parameter(text, trainable=not mine.op.frozen), node.ins, node.id, node)
    wires = (weight, node.ins[0])
    out = tuple(fresh.get(n, n) for n in edit.type(node.outs[0]).names)
    op = einsum_for(edit.types(wires), out, {*names(mine.ins), *names(made), *names(mine.per)})
    wire = edit.add_one(op, wires, "einsum", node)
    if fresh:
        back = ops.Rename(f"{' '.join(fresh.values())} -> {' '.join(fresh)}")
        wire = edit.add_one(back, (wire,), "rename", node)
    edit.replace(node.outs[0], wire)
    indices = mine.weight({}).indices
    edit.formulas.append(Formula(edit.id_of(weight), "weight", indices, (Term((mine.weight({}),)),)))


@rule(
    "einsum-linear",
    "An einsum of one array with a learned one is a linear map.",
    ops.Einsum,
    inverse="linear-einsum",
)
def einsum_linear(edit: Edit, node: Node) -> None:
    """At the einsum; the learned array is read only there and has a weight of its own."""
    needs = "an einsum of an array with a parameter that is read only here, summed over axes that both have"
    form = certain(edit, node)
    require(len(node.ins) == 2, needs, f"an einsum of {len(node.ins)} arrays")
    held = next((w for w in node.ins if _is_parameter(edit, w)), None)
    held = want(held, needs, f"{node.op}, where no operand is a parameter")
    (other,) = [w for w in node.ins if w != held] or [held]
    learned, array = edit.type(held), edit.type(other)
    both = [a for a in learned if a.name in array]
    summed = tuple(a for a in both if a.name in form.summed)
    per = tuple(a for a in both if a.name not in form.summed)
    outs = learned.without(names(both))
    require(
        other != held and set(form.summed) <= set(names(summed)) and edit.uses(held) == 1,
        needs,
        f"{node.op}, which sums over {' '.join(form.summed) or 'nothing'}",
    )
    maker = want(edit.maker(held), needs, f"{node.op}")
    edit.drop(node, maker)
    like = ops.Linear(frozen=not op_as(maker, ops.Parameter).trainable, spec="->")
    wire = edit.add_one(linear_op(like, summed, outs, per), (other,), maker.id, node)
    edit.replace(node.outs[0], wire)
    old = Old(maker.id, "weight", learned.names)
    indices = names((*per, *outs, *summed))
    edit.formulas.append(Formula(edit.id_of(wire), "weight", indices, (Term((old,)),)))


def _is_parameter(edit: Edit, wire: int) -> bool:
    maker = edit.maker(wire)
    return maker is not None and isinstance(maker.op, ops.Parameter) and not maker.op.key
