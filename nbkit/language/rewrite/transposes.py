"""Linear maps beside products: the transpose, shifted outer products (Abbott 2024, figure 18)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nbkit.language import ops
from nbkit.language.diagram import Node
from nbkit.language.rewrite.edit import Edit
from nbkit.language.rewrite.formulas import Formula, Term
from nbkit.language.rewrite.maps import (
    Map,
    certain,
    einsum_for,
    linear_map,
    linear_op,
    names,
    no_bias,
    own_weight,
    product,
)
from nbkit.language.rewrite.rule import require, rule, want

_INNER = "a linear map without bias, whose result is contracted with one other array and read nowhere else"


@rule(
    "transpose",
    "A linear map on one side of a contraction is its transpose on the other: ⟨F x, y⟩ = ⟨x, Fᵀ y⟩.",
    ops.Linear,
    inverse="transpose",
)
def transpose(edit: Edit, node: Node) -> None:
    """At the map. A cup bends what it produces and contracts; F: a -> b c becomes Fᵀ: b -> a c."""
    mine = linear_map(edit, node)
    after, other = _factor(edit, node, _INNER)
    no_bias(mine, _INNER)
    own_weight(mine, _INNER)
    form = certain(edit, after)
    produced = set(names(mine.outs))
    contracted = tuple(a for a in mine.outs if a.name in form.summed)
    lone = [n for n in form.summed if n not in names(contracted)]
    require(
        contracted and all(a.name in edit.type(other) for a in contracted),
        _INNER,
        f"'{after.id}', which contracts {' '.join(form.summed) or 'nothing'} of {' '.join(sorted(produced))}",
    )
    rest = tuple(a for a in mine.outs if a.name not in names(contracted))
    by = {a.name: a for a in (*mine.ins, *rest)}
    beside = set(edit.type(other).names) - set(names(contracted))
    woven = set(edit.type(node.ins[0]).names) - set(names(mine.ins))
    _distinct(sorted((beside & set(names(mine.ins))) | ({*names(mine.ins)} & {*form.out, *names(rest)})))
    _distinct(sorted(beside & set(names(rest))))
    require(
        all(a.name in beside for a in mine.per) and not set(lone) & set(names(mine.per)),
        "a map with weights of its own only for axes that both sides have",
        f"'{node.id}' with weights per {mine.op.per}",
    )
    _distinct(sorted(set(names(rest)) & woven))
    made = tuple(by[n] for n in _exchanged(names(mine.outs), names(contracted), names(mine.ins)))
    name = node.id.removesuffix("_T") if node.id.endswith("_T") else f"{node.id}_T"
    edit.drop(node, after)
    moved = edit.add_one(linear_op(mine.op, contracted, made, mine.per), (other,), name, node)
    first = after.ins[0] == node.outs[0]
    wires = (node.ins[0], moved) if first else (moved, node.ins[0])
    op = einsum_for(edit.types(wires), form.out, form.named | set(names(mine.ins)))
    edit.replace(after.outs[0], edit.add_one(op, wires, after.id, after))
    now = {n: f"{n}@in" for n in names(contracted)}
    old = mine.weight(now, mark="")
    indices = (*names(mine.per), *names(made), *(f"{n}@in" for n in names(contracted)))
    edit.formulas.append(Formula(edit.id_of(moved), "weight", indices, (Term((old,)),)))


_OUTER = "a linear map without bias, whose result is multiplied with one other array and read nowhere else"


@rule(
    "shift-outer",
    "An outer product may be taken before or after a linear map of one of its factors: F(x) ⊗ y = F(x ⊗ y).",
    ops.Linear,
    inverse="unshift-outer",
)
def shift_outer(edit: Edit, node: Node) -> None:
    """At the map, which moves to behind the product. The other factor has none of the map's axes."""
    mine = linear_map(edit, node)
    after, other = _factor(edit, node, _OUTER)
    no_bias(mine, _OUTER)
    form = certain(edit, after)
    own = {*names(mine.outs), *names(mine.per)}
    require(
        not own & set(form.summed),
        _OUTER,
        f"'{after.id}', which sums over {' '.join(sorted(own & set(form.summed)))}: no outer product there",
    )
    beside = set(edit.type(other).names)
    _distinct(sorted(beside & {*names(mine.ins), *names(mine.outs)}))
    woven = set(form.out) - set(names(mine.outs))
    _distinct(sorted(woven & set(names(mine.ins))))
    _distinct(sorted(set(form.summed) & set(names(mine.ins))))
    wires = tuple(node.ins[0] if w == node.outs[0] else w for w in after.ins)
    order = edit.wanted(after.outs[0]).names  # the map puts what it makes where it took something last
    out = _exchanged(order, names(mine.outs), names(mine.ins))
    edit.drop(node, after)
    op = einsum_for(edit.types(wires), out, (form.named - own) | set(names(mine.ins)))
    wire = edit.add_one(op, wires, after.id, after)
    edit.replace(after.outs[0], edit.add_one(node.op, (wire,), node.id, after, keeps=node))


@rule(
    "unshift-outer",
    "A linear map of an outer product is the outer product with the map of one factor: F(x ⊗ y) = F(x) ⊗ y.",
    ops.Linear,
    inverse="shift-outer",
)
def unshift_outer(edit: Edit, node: Node) -> None:
    """At the map, which moves to before the product, to the one factor that has all axes that it consumes."""
    mine = linear_map(edit, node)
    needs = "a linear map without bias of a product that is read nowhere else, on axes of one of its factors"
    no_bias(mine, needs)
    before = edit.maker(node.ins[0])
    form = product(edit, before) if before is not None else None
    form = want(
        form if form is not None and edit.uses(node.ins[0]) == 1 and len(form.ins) > 1 else None,
        needs,
        f"{node.op} of {before.op if before else 'an input'}",
    )
    before = want(before, needs, f"{node.op}")
    ins, outs, per = (set(names(a)) for a in (mine.ins, mine.outs, mine.per))
    holders = [i for i, bundle in enumerate(form.bundles) if ins & set(bundle)]
    require(
        len(holders) == 1 and ins <= set(form.bundles[holders[0]]),
        needs,
        f"{node.op}, whose axes {' '.join(names(mine.ins)) or '(none)'} are not those of one factor",
    )
    (holder,) = holders
    others = {n for i, bundle in enumerate(form.bundles) if i != holder for n in bundle}
    here = set(form.bundles[holder]) - ins
    require(
        per <= set(form.bundles[holder]), needs, f"{node.op} with weights per {mine.op.per} of another factor"
    )
    _distinct(sorted((outs & others) | (outs & here)))
    edit.drop(node, before)
    moved = edit.add_one(node.op, (form.ins[holder],), node.id, before, keeps=node)
    wires = tuple(moved if i == holder else w for i, w in enumerate(form.ins))
    out = edit.type(node.outs[0]).names
    op = einsum_for(edit.types(wires), out, (form.named - ins) | outs)
    edit.replace(node.outs[0], edit.add_one(op, wires, before.id, before))


def _factor(edit: Edit, node: Node, needs: str) -> tuple[Node, int]:
    """The product that alone reads the node's result, and its other operand."""
    after = edit.only_reader(node.outs[0])
    after = want(after, needs, f"{node.op}, whose result is read {edit.uses(node.outs[0])} times")
    is_product = isinstance(after.op, ops.Einsum | ops.Multiply) and product(edit, after) is not None
    require(is_product and len(after.ins) == 2, needs, f"{node.op}, and {after.op} after it")
    (other,) = (w for w in after.ins if w != node.outs[0])
    return after, other


def _exchanged(order: Sequence[str], gone: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """The names with the new ones in the place of those that go; at the end, if none goes."""
    first = next((n for n in order if n in gone), None)
    if first is None:
        return (*order, *new)
    return tuple(m for n in order if n == first or n not in gone for m in (new if n == first else (n,)))


def _distinct(clash: list[str]) -> None:
    require(
        not clash,
        "axes with names of their own",
        f"the name '{clash[0] if clash else ''}' in two roles; rename one of them first",
    )


@rule(
    "flip-linear",
    "A linear map may name its axes in another order; its weight is turned accordingly.",
    ops.Linear,
    listed=False,
)
def flip_linear(edit: Edit, node: Node, ins: str = "", outs: str = "") -> None:
    """`ins` and `outs` are the new orders of the consumed and of the produced axes."""
    mine = linear_map(edit, node)
    needs = f"ins='{' '.join(names(mine.ins))}', outs='{' '.join(names(mine.outs))}' in any order"
    own_weight(mine, "a map with a weight of its own")
    new_ins, new_outs = ins.split() or list(names(mine.ins)), outs.split() or list(names(mine.outs))
    require(
        sorted(new_ins) == sorted(names(mine.ins)) and sorted(new_outs) == sorted(names(mine.outs)),
        needs,
        f"ins={ins!r}, outs={outs!r}",
    )
    turned = _turned(mine, new_ins, new_outs)
    edit.drop(node)
    op = replace(linear_op(mine.op, turned.ins, turned.outs, mine.per), bias=mine.op.bias)
    wire = edit.add_one(op, node.ins, node.id, node)
    edit.replace(node.outs[0], wire)
    for old, new in ((mine.weight({}), turned.weight({})), (mine.bias({}), turned.bias({})))[: 1 + op.bias]:
        edit.formulas.append(Formula(edit.id_of(wire), old.parameter, new.indices, (Term((old,)),)))


def _turned(mine: Map, ins: list[str], outs: list[str]) -> Map:
    by = {a.name: a for a in mine.ins}
    made = {a.name: a for a in mine.outs}
    return replace(mine, ins=tuple(by[n] for n in ins), outs=tuple(made[n] for n in outs))
