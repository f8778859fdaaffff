"""Convolutions: a window and a linear map that consumes it are one named step; a 1-window changes nothing."""

from __future__ import annotations

from nbkit.language import ops
from nbkit.language.axes import Axis
from nbkit.language.diagram import Node
from nbkit.language.parts import Block
from nbkit.language.rewrite.blocks import fold, unfold
from nbkit.language.rewrite.edit import Edit
from nbkit.language.rewrite.formulas import Formula, Term
from nbkit.language.rewrite.maps import linear_map, linear_op, names, own_weight
from nbkit.language.rewrite.rule import of_kind, op_as, require, rule, want

_CONV = "a linear map that alone reads a window and consumes its axis"


@rule(
    "fuse-conv",
    "A window, and a linear map of its elements and channels, are a convolution.",
    ops.Linear,
    inverse="unfuse-conv",
    figure=({"conv": "expanded"}, {"conv": "collapsed"}),
)
def fuse_conv(edit: Edit, node: Node, name: str = "conv") -> None:
    """At the linear map; all windows before it that it consumes go into the block."""
    mine = linear_map(edit, node)
    chain = [node]
    wire = node.ins[0]
    while (window := edit.maker(wire)) is not None and isinstance(window.op, ops.Window):
        if window.op.name not in names(mine.ins) or edit.uses(wire) > 1:
            break
        chain.insert(0, window)
        (wire,) = window.ins
    require(len(chain) > 1, _CONV, f"{node.op} of {window.op if window else 'an input'}")
    fold(edit, chain, name)


@rule(
    "unfuse-conv",
    "A convolution is a window, and a linear map of its elements and channels.",
    Block,
    inverse="fuse-conv",
    figure=({"conv": "collapsed"}, {"conv": "expanded"}),
)
def unfuse_conv(edit: Edit, node: Node) -> None:
    """At a block that is made of windows and one linear map."""
    kinds = [n.op for n in op_as(node, Block).body.nodes]
    fits = len(kinds) > 1 and isinstance(kinds[-1], ops.Linear)
    require(
        fits and all(isinstance(op, ops.Window) for op in kinds[:-1]),
        "a block of windows and the linear map that consumes them",
        f"a block of {', '.join(map(str, kinds)) or 'nothing'}",
    )
    unfold(edit, node)


@rule(
    "pointwise-conv",
    "A linear map is a convolution with a window of one element, which may be added freely.",
    ops.Linear,
    inverse="pointwise-linear",
    listed=False,
    figure=({}, {"conv": "expanded"}),
)
def pointwise_conv(edit: Edit, node: Node, axis: str = "") -> None:
    """Over `axis`, or the first axis of highest rank that the map weaves; the window's axis is called w."""
    mine = linear_map(edit, node)
    own_weight(mine, "a linear map with a weight of its own")
    array = edit.type(node.ins[0])
    touched = {*names(mine.ins), *names(mine.outs), *names(mine.per)}
    woven = sorted((a for a in array if a.name not in touched), key=lambda a: -a.rank)
    over = next((a for a in woven if axis in ("", a.name)), None)
    made = edit.maker(node.ins[0])
    over = want(
        over if "w" not in {*array.names, *names(mine.outs)} else None,
        "a linear map that weaves the axis, and no axis called 'w' yet",
        f"{node.op} on  {array}",
    )
    require(
        not isinstance(made.op if made else None, ops.Window),
        "no window before it",
        f"{made.op if made else ''}",
    )
    edit.drop(node)
    windows = edit.add_one(ops.Window(over.name, 1), node.ins, "window", node)
    _relearn(
        edit, node, windows, (Axis("w", edit.type(windows)["w"].size, over.rank), *mine.ins), node.outs[0]
    )


@rule(
    "pointwise-linear",
    "A convolution with a window of one element is a linear map of the channels.",
    ops.Linear,
    inverse="pointwise-conv",
    figure=({"conv": "expanded"}, {}),
)
def pointwise_linear(edit: Edit, node: Node) -> None:
    """At the linear map that consumes the window."""
    mine = linear_map(edit, node)
    needs = "a linear map of a window of one element, which nothing else reads"
    window = edit.maker(node.ins[0])
    window = want(of_kind(window, ops.Window), needs, f"{node.op} of what is no window")
    slid = op_as(window, ops.Window)
    fits = slid.size == 1 and slid.stride == 1 and slid.padding in ("same", "0")
    own_weight(mine, needs)
    require(
        fits and slid.name in names(mine.ins) and edit.uses(node.ins[0]) == 1,
        needs,
        f"{node.op} of {slid} with size {slid.size} and stride {slid.stride}",
    )
    edit.drop(node, window)
    rest = tuple(a for a in mine.ins if a.name != slid.name)
    _relearn(edit, node, window.ins[0], rest, node.outs[0])


def _relearn(edit: Edit, node: Node, wire: int, ins: tuple[Axis, ...], out: int) -> None:
    """The map of a node on other consumed axes: those that it had, and some of size 1 more or less."""
    mine = linear_map(edit, node)
    op = linear_op(mine.op, ins, mine.outs, mine.per)
    op = type(op)(op.spec, mine.op.bias, op.per, frozen=op.frozen)
    made = edit.add_one(op, (wire,), node.id, node)
    edit.replace(out, made)
    kept = (*names(mine.per), *names(mine.outs))
    indices = (*kept, *(f"{a.name}@in" for a in ins))
    edit.formulas.append(Formula(edit.id_of(made), "weight", indices, (Term((mine.weight({}),)),)))
    if mine.op.bias:
        edit.formulas.append(Formula(edit.id_of(made), "bias", kept, (Term((mine.bias({}),)),)))
