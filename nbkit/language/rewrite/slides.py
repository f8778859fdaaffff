"""Indices slide along lifted wires: f↑(x)[i] = f(x[i]), which defines broadcasting (Abbott 2024, figures
8 to 11).

An op weaves an axis if it neither names nor reads along it; then it does not matter whether one position (or
a range) of the axis is taken before or after the op. Indices of different axes may be taken in any order.
"""

from __future__ import annotations

from dataclasses import replace

from nbkit.language import ops, relations
from nbkit.language.axes import parse_spec
from nbkit.language.diagram import Node
from nbkit.language.ops.base import Op
from nbkit.language.rewrite.edit import Edit
from nbkit.language.rewrite.maps import linear_map, names
from nbkit.language.rewrite.rule import of_kind, op_as, require, rule, want

_POINTWISE = (ops.Elementwise, ops.Scale, ops.Add, ops.Multiply, ops.Transpose, ops.StopGradient, ops.Cast)


def woven(edit: Edit, node: Node, out: str) -> str | None:
    """The name that an axis of the result has on the inputs if the op weaves it; None if it does not."""
    op = node.op
    touched: set[str]
    match op:
        case ops.Rename(spec=text):
            spec = parse_spec(text)
            back = {new.name: old.name for old, new in zip(spec.ins[0], spec.outs[0], strict=True)}
            return back.get(out, out)
        case ops.Linear():
            mine = linear_map(edit, node)
            touched = {*names(mine.ins), *names(mine.outs), *names(mine.per)}
        case ops.Einsum():  # every axis of the result: each position is a sum of its own
            touched = set()
        case ops.Embed(spec=text) | ops.Merge(spec=text) | ops.Split(spec=text):
            spec = parse_spec(text)
            touched = {t.name for t in (*spec.ins[0], *spec.outs[0])}
            touched = {t.name for t in spec.outs[0]} if isinstance(op, ops.Embed) else touched
        case ops.Softmax(axes=axes) | ops.Reduce(axes=axes):
            touched = set(axes.split())
        case ops.Norm(axes=axes, how="layer" | "rms", per=per):
            touched = {*axes.split(), *per.split()}
        case ops.Mask(relation=relation):
            touched = set(relations.names(relation))
        case ops.Window(axis=axis, name=name):
            touched = {axis, name}
        case ops.Concat(axis=axis) | ops.Slice(axis=axis):
            touched = {axis}
        case _ if isinstance(op, _POINTWISE):
            touched = set()
        case _:
            return None
    return None if out in touched else out


@rule(
    "slide-index",
    "An index slides along the lifted wire: what a broadcast op gives at i, it gives of the input at i.",
    ops.Slice,
    inverse="slide-index-out",
)
def slide_index(edit: Edit, node: Node) -> None:
    """At the index or slice, which moves to before the op, onto each input that has the axis."""
    needs = "an index or slice of an axis that the op before it weaves"
    index = op_as(node, ops.Slice)
    before = edit.maker(node.ins[0])
    before = want(before, needs, f"{node.op} of an input")
    axis = index.axis
    name = woven(edit, before, axis)
    name = want(name, needs, f"{node.op} of what {before.op} gives, which works on '{axis}'")
    require(
        edit.uses(node.ins[0]) == 1,
        "an op whose result is read only by the index",
        f"'{before.id}', whose result is read {edit.uses(node.ins[0])} times",
    )
    edit.drop(node, before)
    op = replace(index, axis=name)
    done: dict[int, int] = {}
    for wire in before.ins:
        if name in edit.type(wire) and wire not in done:
            done[wire] = edit.add_one(op, (wire,), node.id, before)
    base = _for_kept(before.op, index, axis)
    wire = (
        edit.add_one(base, [done.get(w, w) for w in before.ins], before.id, before, keeps=before)
        if base is not None
        else done[before.ins[0]]
    )
    edit.replace(node.outs[0], wire)


def _for_kept(op: Op, taken: ops.Slice, axis: str) -> Op | None:
    """The op for arrays that have lost an axis: one that lists axes leaves it out."""
    if not taken.drop:
        return op
    match op:
        case ops.Rename(spec=text):
            spec = parse_spec(text)
            pairs = [(a, b) for a, b in zip(spec.ins[0], spec.outs[0], strict=True) if b.name != axis]
            if not pairs:
                return None
            return ops.Rename(f"{' '.join(str(a) for a, _ in pairs)} -> {' '.join(str(b) for _, b in pairs)}")
        case ops.Transpose(axes=axes):
            rest = [n for n in axes.split() if n != axis]
            return ops.Transpose(" ".join(rest)) if len(rest) > 1 else None
        case ops.Einsum(spec=text):
            ins, out = text.split("->")
            bundles = [" ".join(t for t in b.split() if _name(t) != axis) for b in ins.split(",")]
            return ops.Einsum(
                f"{', '.join(bundles)} -> {' '.join(t for t in out.split() if _name(t) != axis)}"
            )
    return op


def _name(token: str) -> str:
    return token.partition("=")[0].partition(":")[0]


@rule(
    "slide-index-out",
    "An index slides along the lifted wire: f of the input at i is the broadcast f, at i.",
    ops.Slice,
    inverse="slide-index",
)
def slide_index_out(edit: Edit, node: Node) -> None:
    """At the index or slice, which moves to behind the op of one input that alone reads it."""
    needs = "an index or slice that goes into an op of one input, which weaves the axis, and nowhere else"
    index = op_as(node, ops.Slice)
    after = edit.only_reader(node.outs[0])
    after = want(after, needs, f"{node.op}, whose result is read {edit.uses(node.outs[0])} times")
    require(len(after.ins) == 1 and len(after.outs) == 1, needs, f"{node.op}, and {after.op} after it")
    axis = index.axis
    out = edit.type(after.outs[0])
    fits = (axis not in out) == index.drop and axis not in _named(after.op)
    require(
        fits and woven(edit, after, axis) == axis,
        needs,
        f"{node.op}, and {after.op} after it, which works on '{axis}'",
    )
    edit.drop(node, after)
    wire = edit.add_one(after.op, node.ins, after.id, after, keeps=after)
    edit.replace(after.outs[0], edit.add_one(node.op, (wire,), node.id, after))


def _named(op: Op) -> set[str]:
    """The axes that an op which only relabels or reorders would have to be told of."""
    match op:
        case ops.Rename(spec=text):
            spec = parse_spec(text)
            return {t.name for t in (*spec.ins[0], *spec.outs[0])}
        case ops.Transpose(axes=axes):
            return set(axes.split())
    return set()


@rule(
    "slide-indices", "The order of indexing is irrelevant: x[i, :][j] = x[:, j][i].", ops.Slice, listed=False
)
def slide_indices(edit: Edit, node: Node) -> None:
    """At the second of two indices or slices of different axes, which becomes the first."""
    needs = "an index or slice of another axis just before this one"
    before = edit.maker(node.ins[0])
    require(before is not None and isinstance(before.op, ops.Slice), needs, f"{node.op}")
    slide_index(edit, node)


@rule(
    "slide-shift",
    "A range may be taken before or after sliding windows: convolutions commute with translations.",
    ops.Slice,
    inverse="slide-shift-back",
)
def slide_shift(edit: Edit, node: Node) -> None:
    """At the slice, which goes into windows without padding and moves behind them; it starts at a multiple of
    their stride.
    """
    needs = "a slice with a start ≥ 0 that goes into windows of its axis without padding, and nowhere else"
    part = op_as(node, ops.Slice)
    after = want(of_kind(edit.only_reader(node.outs[0]), ops.Window), needs, f"{node.op}")
    window = op_as(after, ops.Window)
    require(
        _counts(part)
        and window.axis == part.axis
        and window.padding == "0"
        and not part.start % window.stride,
        needs,
        f"{node.op}, and {window} with stride {window.stride} and padding {window.padding} after it",
    )
    start, stop = part.start // window.stride, None
    if part.stop is not None:
        extent = part.stop - part.start - window.dilation * (window.size - 1) - 1
        stop = start + extent // window.stride + 1
    edit.drop(node, after)
    wire = edit.add_one(window, node.ins, after.id, after)
    edit.replace(after.outs[0], edit.add_one(ops.Slice(part.axis, start, stop), (wire,), node.id, after))


@rule(
    "slide-shift-back",
    "A range may be taken after or before sliding windows: convolutions commute with translations.",
    ops.Slice,
    inverse="slide-shift",
)
def slide_shift_back(edit: Edit, node: Node) -> None:
    """At the slice of window positions, which moves to before the windows."""
    needs = "a slice with a start ≥ 0 of the positions of windows without padding, which nothing else reads"
    part = op_as(node, ops.Slice)
    before = want(of_kind(edit.maker(node.ins[0]), ops.Window), needs, f"{node.op}")
    window = op_as(before, ops.Window)
    require(
        _counts(part) and window.axis == part.axis and window.padding == "0" and edit.uses(node.ins[0]) == 1,
        needs,
        f"{node.op} of {window} with padding {window.padding}",
    )
    start, stop = part.start * window.stride, None
    if part.stop is not None:
        stop = (part.stop - 1) * window.stride + window.dilation * (window.size - 1) + 1
    edit.drop(node, before)
    wire = edit.add_one(ops.Slice(part.axis, start, stop), before.ins, node.id, before)
    edit.replace(node.outs[0], edit.add_one(window, (wire,), before.id, before))


def _counts(part: ops.Slice) -> bool:
    """Whether the slice is a range that counts from the front."""
    return not part.drop and part.start >= 0 and (part.stop is None or part.stop > part.start)
