"""Sums of products: several in a row are one, and one is several steps (Abbott 2024, figure 17)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from nbkit.language import ops
from nbkit.language.diagram import Node
from nbkit.language.rewrite.edit import Edit
from nbkit.language.rewrite.maps import PRODUCTS, Product, certain, einsum_for, free_axis, product, token
from nbkit.language.rewrite.rule import of_kind, op_as, require, rule, want

_PRODUCT = "a sum of products (einsum, multiply, total, transpose) of results of others, read only here"


@rule(
    "merge-einsums",
    "Products and sums in a row are one einsum: linear operations, broadcast together, happen at once.",
    *PRODUCTS,
    inverse="split-einsum",
)
def merge_einsums(edit: Edit, node: Node) -> None:
    """At the last of them: every operand that is itself such a product, and is read only here, is written out
    in it. Sums commute with products, so the einsum sums over all axes that ended anywhere; an axis that two
    of them sum over, under one name, is renamed in one of them.
    """
    outer = product(edit, node)
    outer = want(outer, _PRODUCT, f"{node.op}")
    inner: dict[int, tuple[Node, Product]] = {}
    for wire in dict.fromkeys(node.ins):
        maker = edit.maker(wire)
        form = product(edit, maker) if maker is not None and edit.uses(wire) == 1 else None
        if maker is not None and form is not None:
            inner[wire] = (maker, form)
    shown = " and ".join(str(m.op) if (m := edit.maker(w)) else "an input" for w in node.ins)
    require(inner, _PRODUCT, f"{node.op} of {shown}")
    several = any(
        isinstance(n.op, ops.Einsum | ops.Multiply) for n in (node, *(maker for maker, _ in inner.values()))
    )
    require(several, "at least one product among them", f"{node.op} of {shown}, which multiply nothing")
    taken = {n for bundle in outer.bundles for n in bundle}
    known = taken.union(*(bundle for _, form in inner.values() for bundle in form.bundles))
    wires: list[int] = []
    fresh: set[str] = set()
    edit.drop(node, *(maker for maker, _ in inner.values()))
    for wire in node.ins:
        if wire not in inner:
            wires.append(wire)
            continue
        maker, form = inner[wire]
        new = {name: free_axis(name, known) for name in form.summed if name in taken}
        taken |= set(form.summed)
        known |= set(new.values())
        fresh |= set(new.values())
        wires += [_renamed(edit, w, new, maker) for w in form.ins]
    named = outer.named.union(fresh, *(form.named for _, form in inner.values()))
    arrays = edit.types(wires)
    name = node.id if isinstance(node.op, ops.Einsum) else "einsum"
    stem = re.sub(r"_\d+\Z", "", name)
    name = stem if any(maker.id == stem for maker, _ in inner.values()) else name  # undoes split-einsum
    op = einsum_for(arrays, outer.out, named)
    edit.replace(node.outs[0], edit.add_one(op, wires, name, node))


def _renamed(edit: Edit, wire: int, new: Mapping[str, str], near: Node) -> int:
    """The wire with other names for some of its axes."""
    mine = [n for n in edit.type(wire).names if n in new]
    if not mine:
        return wire
    maker = of_kind(edit.maker(wire), ops.Parameter)
    if maker is not None and edit.uses(wire) == 1 and not op_as(maker, ops.Parameter).key:
        edit.drop(maker)  # a learned array has its axes' names from itself
        axes = [replace(axis, name=new.get(axis.name, axis.name)) for axis in edit.type(wire)]
        learned = replace(op_as(maker, ops.Parameter), axes=" ".join(str(token(axis)) for axis in axes))
        return edit.add_one(learned, maker.ins, maker.id, maker, keeps=maker)
    op = ops.Rename(f"{' '.join(mine)} -> {' '.join(new[n] for n in mine)}")
    return edit.add_one(op, (wire,), "rename", near)


_STEPS = "an einsum of three or more arrays, or of two that it contracts, or of one that it sums"


@rule(
    "split-einsum",
    "An einsum is several steps: two operands first; or the product first, and then the sum.",
    ops.Einsum,
    inverse="merge-einsums",
)
def split_einsum(edit: Edit, node: Node) -> None:
    """Of three or more operands, the first two are contracted first, over the axes that nothing else needs.
    Of two, the product comes first (woven axes meet in dots, an outer product ends the separator), and then
    the sum. Of one, the sum, and then the order of the axes.
    """
    form = certain(edit, node)
    wires, out = form.ins, form.out
    if len(wires) > 2:
        rest = {n for bundle in form.bundles[2:] for n in bundle} | set(out)
        both = dict.fromkeys((*form.bundles[0], *form.bundles[1]))
        middle = tuple(n for n in both if n in rest)
        first, second = wires[:2], wires[2:]
    else:
        require(form.summed, _STEPS, f"{node.op}, which sums over nothing")
        both = dict.fromkeys(n for bundle in form.bundles for n in bundle)
        middle = (*out, *(n for n in both if n not in out))
        first, second = wires, ()
    edit.drop(node)
    if len(wires) == 1:
        (wire,) = wires
        wire = edit.add_one(ops.Reduce("sum", " ".join(form.summed)), (wire,), "sum", node)
        edit.replace(node.outs[0], wire)
        return
    named = form.named & set(middle)
    part = edit.add_one(einsum_for(edit.types(first), middle, named), first, node.id, node)
    if second:
        arrays = edit.types((part, *second))
        wire = edit.add_one(
            einsum_for(arrays, out, form.named & {n for a in arrays for n in a.names}),
            (part, *second),
            node.id,
            node,
        )
    else:
        wire = edit.add_one(ops.Reduce("sum", " ".join(form.summed)), (part,), "sum", node)
    edit.replace(node.outs[0], wire)
