"""Linear maps: two in a row are one; a bilinear form takes the place of two maps and their product."""

from __future__ import annotations

from dataclasses import replace

from nbkit.language import ops
from nbkit.language.diagram import Node
from nbkit.language.rewrite.edit import Edit
from nbkit.language.rewrite.formulas import Formula, Old, Term
from nbkit.language.rewrite.maps import (
    certain,
    einsum_for,
    linear_map,
    linear_op,
    names,
    no_bias,
    own_weight,
)
from nbkit.language.rewrite.rule import of_kind, require, rule, want

_CHAIN = "a linear map whose result goes into one other linear map and nowhere else"


@rule("merge-linears", "Two linear maps in a row are one; its weight is the product of theirs.", ops.Linear)
def merge_linears(edit: Edit, node: Node) -> None:
    """At the first of the two. Axes that only one of them touches are woven over the other, so they appear in
    the product where they are consumed or produced; biases add up. Weights with a key are shared, and stay.
    There is no inverse: a matrix is a product in many ways.
    """
    after = edit.only_reader(node.outs[0])
    after = want(after, _CHAIN, f"{node.op}, whose result is read {edit.uses(node.outs[0])} times")
    require(isinstance(after.op, ops.Linear), _CHAIN, f"{node.op}, and {after.op} after it")
    first, second = linear_map(edit, node), linear_map(edit, after)
    own_weight(first, _CHAIN)
    own_weight(second, _CHAIN)
    require(
        first.op.frozen == second.op.frozen,
        "two maps that are both trained, or both frozen",
        f"one of each: '{node.id}' and '{after.id}'",
    )
    passed, taken = set(names(first.outs)), set(names(second.ins))
    require(
        passed & taken,
        "a second map that consumes something of what the first produces",
        f"'{after.id}', which works on other axes; the two commute",
    )
    ins = (*first.ins, *(a for a in second.ins if a.name not in passed))
    outs = (*(a for a in first.outs if a.name not in taken), *second.outs)
    own = {a.name: a for a in (*first.per, *second.per) if a.name not in {*names(ins), *names(outs)}}
    per = tuple(own.values())
    bias = first.op.bias or second.op.bias
    op = replace(linear_op(second.op, ins, outs, per), bias=bias)
    edit.drop(node, after)
    wire = edit.add_one(op, node.ins, node.id, node)
    edit.replace(after.outs[0], wire)
    place = edit.id_of(wire)
    now = {n: f"{n}@mid" if n in passed else f"{n}@in" for n in taken}  # names on the wire between
    one = first.weight(now)
    here = [now.get(a.name, a.name) for a in second.per]
    two = Old(after.id, "weight", (*here, *names(second.outs), *(now[a.name] for a in second.ins)))
    indices = (*names(per), *names(outs), *(f"{a.name}@in" for a in ins))
    edit.formulas.append(Formula(place, "weight", indices, (Term((two, one)),)))
    terms = []
    if first.op.bias:
        terms.append(Term((two, first.bias(now))))
    if second.op.bias:
        terms.append(Term((Old(after.id, "bias", (*here, *names(second.outs))),)))
    if terms:
        edit.formulas.append(Formula(place, "bias", (*names(per), *names(outs)), tuple(terms)))


_SCORES = "an einsum of two arrays that two linear maps without bias made, contracting axes that both produce"


@rule(
    "qk-absorb",
    "A product of two linear maps, such as queries and keys, is one bilinear form: W = Wqᵀ Wk.",
    ops.Einsum,
)
def absorb(edit: Edit, node: Node) -> None:
    """At the einsum. The map of the first operand then makes what meets the second operand's own axes."""
    require(len(node.ins) == 2, _SCORES, f"an einsum of {len(node.ins)} arrays")
    makers = []
    for wire in node.ins:
        maker = edit.maker(wire)
        shown = maker.op if maker else "nothing: it comes in"
        makers.append(want(of_kind(maker, ops.Linear), _SCORES, f"an operand made by {shown}"))
        require(
            edit.uses(wire) == 1,
            _SCORES,
            f"an operand that is read {edit.uses(wire)} times, so that its map has to stay",
        )
    one, two = linear_map(edit, makers[0]), linear_map(edit, makers[1])
    for each in (one, two):
        no_bias(each, _SCORES)
        own_weight(each, _SCORES)
        require(not each.per, _SCORES, f"'{each.node.id}', which has weights of its own per {each.op.per}")
    require(one.op.frozen == two.op.frozen, _SCORES, "one map that is frozen and one that is trained")
    form = certain(edit, node)
    first, second = (set(names(m.outs)) for m in (one, two))
    contracted = set(form.summed)
    require(
        contracted and contracted <= first & second,
        _SCORES,
        f"a contraction of {' '.join(form.summed) or 'nothing'}, "
        f"where the maps produce {' '.join(names(one.outs))} and {' '.join(names(two.outs))}",
    )
    (left,), (right,) = one.node.ins, two.node.ins
    kept = tuple(a for a in one.outs if a.name not in contracted)
    more = tuple(a for a in two.outs if a.name not in contracted and a.name not in first)
    made = (*kept, *more, *two.ins)
    woven = set(edit.type(left).names) - set(names(one.ins))
    clash = sorted(
        (woven & set(names((*more, *two.ins)))) | (set(names((*kept, *more))) & set(names(two.ins)))
    )
    require(
        not clash,
        "axes with names of their own",
        f"the name '{clash[0] if clash else ''}' in two roles; rename one of them first",
    )
    edit.drop(one.node, two.node, node)
    bent = edit.add_one(linear_op(one.op, one.ins, made, ()), (left,), f"{one.node.id}{two.node.id}", node)
    arrays = edit.types((bent, right))
    scores = edit.add_one(einsum_for(arrays, form.out, named=names(two.ins)), (bent, right), node.id, node)
    edit.replace(node.outs[0], scores)
    now = {n: f"{n}@mid" for n in contracted}
    indices = (
        *names((*kept, *more)),
        *(f"{a.name}@key" for a in two.ins),
        *(f"{a.name}@in" for a in one.ins),
    )
    edit.formulas.append(
        Formula(edit.id_of(bent), "weight", indices, (Term((one.weight(now), two.weight(now, "@key"))),))
    )
