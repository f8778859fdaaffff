"""What is drawn as one glyph, what not at all, and what says more than sizes do."""

from __future__ import annotations

from collections.abc import Mapping

from nbkit.draw import labels
from nbkit.draw.labels import Label, Run
from nbkit.language import ops
from nbkit.language.axes import Array, parse_spec
from nbkit.language.diagram import Diagram, Node
from nbkit.language.ops import Op

_PLATES = {"attention": "attention", "mlp": "ffn", "residual": "residual"}


def named_by(op: Op, array: Array) -> dict[str, Label]:
    """Labels that say more than sizes: j=2/e for the two largest of e, 3·2 for a dilated window."""
    match op:
        case ops.TopK():
            return {op.name: (*labels.name(op.name), Run(f"={op.k}/"), *labels.name(op.axis))}
        case ops.Window() if op.dilation > 1:
            label = labels.axis_label(array[op.name], position=False, known=True)
            return {op.name: (*label, Run(f"·{op.dilation}"))}
    return {}


def moves_nothing(node: Node) -> bool:
    """A change of layout at the end of a block: axes have names, so no wire moves."""
    return isinstance(node.op, ops.Transpose) and node.id.startswith("layout")


def fill(name: str, depth: int) -> str:
    """The colour of the plate of a block, by its name and how deep it lies."""
    for key, fill in _PLATES.items():
        if key in name:
            return "mha" if key == "attention" and "multi" in name else fill
    for key in ("norm", "conv", "pool", "embed"):
        if key in name:
            return key
    return ("region", "inner", "outer")[depth % 3]


def convolution(part: Diagram, position: int, users: Mapping[int, int]) -> Node | None:
    """What makes a convolution of the node at `position`, if it directly follows and nothing else does.

    After a window, the linear map that consumes it; after a linear map that makes windows, their fold.
    """
    node = part.nodes[position]
    if not isinstance(node.op, ops.Window | ops.Linear) or users.get(node.outs[0], 0) != 1:
        return None
    follower = next((n for n in part.nodes[position + 1 :] if node.outs[0] in n.ins), None)
    if follower is None:
        return None
    slides, maps = (node.op, follower.op) if isinstance(node.op, ops.Window) else (follower.op, node.op)
    if not isinstance(slides, ops.Window if slides is node.op else ops.Fold) or not isinstance(
        maps, ops.Linear
    ):
        return None
    spec = parse_spec(maps.spec)
    takes, gives = ({t.name for t in side} for side in (spec.ins[0], spec.outs[0]))
    inner, outer = (takes, gives) if slides is node.op else (gives, takes)  # with the window, without it
    channels = 1 if len(inner) == 2 or not maps.per else 0
    plain = slides.name in inner and slides.axis not in inner | outer and len(inner) <= 2
    return follower if plain and len(outer) == channels else None
