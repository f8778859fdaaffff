"""Things that are nothing: an operation and its inverse, a bent wire pulled straight."""

from __future__ import annotations

from nbkit.language import ops
from nbkit.language.axes import Spec, Token, parse_spec
from nbkit.language.diagram import Node
from nbkit.language.rewrite.edit import Edit
from nbkit.language.rewrite.maps import certain, einsum_for
from nbkit.language.rewrite.rule import of_kind, op_as, require, rule, want
from nbkit.language.sizes import parse_size

_INVERSE = "an operation that undoes the one before it, or does nothing by itself"
_VIEWS = (ops.Transpose, ops.Rename, ops.Split, ops.Merge, ops.Scale, ops.Elementwise)


@rule("cancel", "An operation and its inverse, one after the other, are nothing.", *_VIEWS)
def cancel(edit: Edit, node: Node) -> None:
    """At the second of the two: split and merge, merge and split, two transposes, two renamings, minus minus;
    or a transpose, a renaming or a scale that changes nothing.
    """
    (wire,), (out,) = node.ins, node.outs
    before = edit.maker(wire)
    if _is_nothing(edit, node):
        edit.drop(node)
        edit.replace(out, wire)
        return
    before = want(before, _INVERSE, f"{node.op} of an input")
    require(
        len(before.ins) == 1 and edit.type(before.ins[0]) == edit.type(out) and _undoes(before.op, node.op),
        _INVERSE,
        f"{node.op} of what {before.op} gives",
    )
    edit.drop(node)
    if edit.uses(wire) == 1:
        edit.drop(before)
    edit.replace(out, before.ins[0])


def _is_nothing(edit: Edit, node: Node) -> bool:
    match node.op:
        case ops.Transpose():
            return edit.type(node.ins[0]) == edit.type(node.outs[0])
        case ops.Rename(spec=text):
            spec = parse_spec(text)
            return spec.ins == spec.outs
        case ops.Scale(factor=factor):
            return bool(parse_size(factor) == 1)
    return False


def _undoes(first: ops.Op, second: ops.Op) -> bool:
    """Whether the second undoes the first, if the types come back to what they were."""
    match first, second:
        case (
            (ops.Split(spec=there), ops.Merge(spec=back))
            | (ops.Merge(spec=there), ops.Split(spec=back))
            | (ops.Rename(spec=there), ops.Rename(spec=back))
        ):
            one, two = parse_spec(there), parse_spec(back)
            old, new, again, last = (_names(s[0]) for s in (one.ins, one.outs, two.ins, two.outs))
            if isinstance(first, ops.Rename):
                return dict(zip(old, new, strict=True)) == dict(zip(last, again, strict=True))
            return old == last and new == again
        case ops.Transpose(), ops.Transpose():
            return True
        case ops.Elementwise(function=one), ops.Elementwise(function=two):
            return one == two == "neg"
        case ops.Scale(factor=one), ops.Scale(factor=two):
            return bool(parse_size(one) * parse_size(two) == 1)
    return False


def _names(tokens: tuple[Token, ...]) -> list[str]:
    return [token.name for token in tokens]


_BENT = "an einsum that contracts one axis of an array with one axis of an identity (one_hot of indices)"


@rule(
    "snake",
    "A bent wire may be pulled straight: a product with the identity changes nothing but the axis's name.",
    ops.Einsum,
    inverse="bend",
)
def snake(edit: Edit, node: Node) -> None:
    """At the einsum: δ[a, b] is the unit (a cup from the left), the contraction over a the inner product (a
    cup to the right); together they are the identity from a to b.
    """
    form = certain(edit, node)
    require(len(node.ins) == 2, _BENT, f"an einsum of {len(node.ins)} arrays")
    unit = next((w for w in node.ins[::-1] if _is_unit(edit, w)), None)
    unit = want(unit, _BENT, f"{node.op}, where no operand is an identity")
    (other,) = [w for w in node.ins if w != unit] or [unit]
    gone = [n for n in form.summed if n in edit.type(unit)]
    stays = [n for n in edit.type(unit).names if n not in gone]
    require(
        other != unit and form.summed == tuple(gone) and len(gone) == 1,
        _BENT,
        f"{node.op}, which sums over {' '.join(form.summed) or 'nothing'}",
    )
    (old,), (new,) = gone, stays
    array = edit.type(other)
    require(
        old in array and new not in array, _BENT, f"an array {array} beside the identity over {old} {new}"
    )
    edit.drop(node)
    hot = edit.maker(unit)
    if hot is not None and edit.uses(unit) == 1:
        edit.drop(hot)
        places = edit.maker(hot.ins[0])
        if places is not None and edit.uses(hot.ins[0]) == 1:
            edit.drop(places)
    wire = edit.add_one(ops.Rename(f"{old} -> {new}"), (other,), "rename", node)
    edit.replace(node.outs[0], wire)


def _is_unit(edit: Edit, wire: int) -> bool:
    hot = edit.maker(wire)
    if hot is None or not isinstance(hot.op, ops.OneHot):
        return False
    places = edit.maker(hot.ins[0])
    return places is not None and isinstance(places.op, ops.Indices)


@rule(
    "bend",
    "A wire may be bent: a renamed axis is a product with the identity between the two names.",
    ops.Rename,
    inverse="snake",
)
def bend(edit: Edit, node: Node) -> None:
    """At the renaming of one axis of rank 1."""
    needs = "a renaming of one axis of rank 1, of real numbers"
    spec = parse_spec(op_as(node, ops.Rename).spec)
    require(len(spec.ins[0]) == 1, needs, f"{node.op}, of {len(spec.ins[0])} axes")
    (old,), (new,) = (tuple(t.name for t in side[0]) for side in (spec.ins, spec.outs))
    array = edit.type(node.ins[0])
    require(old != new and array[old].rank == 1 and array.bound is None, needs, f"{node.op} on  {array}")
    edit.drop(node)
    places = edit.add_one(ops.Indices(old), node.ins, "indices", node)
    unit = edit.add_one(ops.OneHot(new), (places,), "unit", node)
    wires = (node.ins[0], unit)
    op = einsum_for(edit.types(wires), edit.type(node.outs[0]).names, named=(old, new))
    edit.replace(node.outs[0], edit.add_one(op, wires, "einsum", node))


_RENAMES = (ops.Rename, ops.Transpose, ops.Merge, ops.Split)


@rule("merge-views", "Two transposes, renamings, merges or splits in a row are one.", *_RENAMES)
def merge_views(edit: Edit, node: Node) -> None:
    """At the first of the two."""
    needs = "a transpose, renaming, merge or split that goes into another of its kind, and nowhere else"
    after = edit.only_reader(node.outs[0])
    after = want(of_kind(after, type(node.op)), needs, f"{node.op}")
    op = _composed(edit, node, after)
    op = want(op, needs, f"{node.op} and {after.op}, which have no axis in common")
    edit.drop(node, after)
    edit.replace(after.outs[0], edit.add_one(op, node.ins, node.id, node))


def _composed(edit: Edit, node: Node, after: Node) -> ops.Op | None:
    match node.op, after.op:
        case ops.Transpose(), ops.Transpose():
            return ops.Transpose(" ".join(edit.type(after.outs[0]).names))
        case ops.Rename(), ops.Rename():
            old, new = edit.type(node.ins[0]).names, edit.type(after.outs[0]).names
            changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
            if not changed:
                return None
            return ops.Rename(f"{' '.join(a for a, _ in changed)} -> {' '.join(b for _, b in changed)}")
        case ops.Merge() as one, ops.Merge() as two:
            return _spliced(parse_spec(one.spec), parse_spec(two.spec))
        case ops.Split() as one, ops.Split() as two:
            first, second = parse_spec(one.spec), parse_spec(two.spec)
            whole = _spliced(_flipped(second), _flipped(first))
            if whole is None:
                return None
            out = edit.type(after.outs[0])
            names = [t.name for t in parse_spec(whole.spec).ins[0]]
            tokens = [Token(n, None, None if i == 0 else out[n].size) for i, n in enumerate(names)]
            return ops.Split(str(Spec(first.ins, (tuple(tokens),))))
    return None


def _flipped(spec: Spec) -> Spec:
    return Spec(spec.outs, spec.ins)


def _spliced(first: Spec, second: Spec) -> ops.Merge | None:
    """The merge of the first's axes within the second's."""
    (new,) = first.outs[0]
    if new.name not in [t.name for t in second.ins[0]]:
        return None
    axes = [t for s in second.ins[0] for t in (first.ins[0] if s.name == new.name else (s,))]
    return ops.Merge(str(Spec((tuple(axes),), second.outs)))
