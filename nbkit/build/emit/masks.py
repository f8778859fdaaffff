"""Masks: relations between indices become (cached) boolean arrays."""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence

from nbkit.build.emit.base import emit, only
from nbkit.build.forward import Dim, Forward, Value
from nbkit.build.plan import Step
from nbkit.language import ops, relations


def canonical(relation: str, names: dict[str, str] | None = None) -> str:
    """The relation printed from its checked syntax tree, so that nothing else is left of its text."""
    parts = [copy.deepcopy(part) for part in relations.parse_relation(relation)]
    for part in parts:
        for node in ast.walk(part):
            if isinstance(node, ast.Name):
                node.id = (names or {}).get(node.id, node.id)
    return " and ".join(ast.unparse(part) for part in parts)


def mask_call(
    which: str,
    f: Forward,
    texts: Sequence[str],
    order: Sequence[Dim],
    shapes: Sequence[Value],
    over: Sequence[str],
) -> Value:
    """A call for the mask: `allowed` or `forbidden` elements over the axes that the relations speak of."""
    return f.mask(which, [canonical(text) for text in texts], order, shapes, over)


@emit.register
def _(op: ops.Mask, f: Forward, step: Step) -> None:
    x, spoken = only(f, step), relations.names(op.relation)
    over: tuple[str, ...] = ()
    for node in f.diagram.nodes:  # a softmax needs something to attend to
        if isinstance(node.op, ops.Softmax) and node.ins == step.outs and op.fill == "-inf":
            over = tuple(node.op.axes.split())
    mask = mask_call("forbidden", f, (op.relation,), [dim for dim in x.dims if dim[0] in spoken], (x,), over)
    hidden = f.aligned(mask, x.dims)
    f.assign(
        step,
        f"{x.text}.masked_fill({hidden}, {'-inf' if op.fill == '-inf' else '0.0'})",
        x.dims,
        batched=x.batched,
    )
