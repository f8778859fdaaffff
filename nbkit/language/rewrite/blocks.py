"""Named parts: some nodes become a block, and a block becomes its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nbkit.language.diagram import Diagram, Node
from nbkit.language.ops.base import Op
from nbkit.language.parts import Block
from nbkit.language.rewrite.edit import Edit
from nbkit.language.rewrite.rule import op_as, require, rule
from nbkit.language.sizes import check_name


@rule(
    "fold-block",
    "Operations that stand together are a named block: to='last node', name='block name'.",
    Op,
    inverse="unfold-block",
    listed=False,
)
def fold_block(edit: Edit, node: Node, to: str = "", name: str = "part") -> None:
    """At the first of them; `to` names the last, in the order of the listing."""
    place = edit.scope.place
    last = place.get(to or node.id, -1)
    first = place[node.id]
    behind = ", ".join(n.id for n in edit.before.nodes[first + 1 : first + 9])
    require(
        last >= first,
        "to='…', a node of the same part that stands behind this one",
        f"to={to!r}; behind '{node.id}' come {behind or 'no more'}",
    )
    fold(edit, edit.before.nodes[first : last + 1], check_name(name, "block"))


@rule("unfold-block", "A block is what it is made of.", Block, inverse="fold-block", figure=({}, {}))
def unfold_block(edit: Edit, node: Node) -> None:
    """At the block; its nodes keep their names where these are free, else get the block's in front."""
    unfold(edit, node)


def fold(edit: Edit, nodes: Sequence[Node], name: str) -> None:
    """Makes a block of nodes that stand one behind the other in the listing."""
    made = {w for n in nodes for w in n.outs}
    mine = {n.id for n in nodes}
    ins = tuple(dict.fromkeys(w for n in nodes for w in n.ins if w not in made))
    outs = tuple(
        w
        for n in nodes
        for w in n.outs
        if w in edit.before.outs or any(r.id not in mine for r in edit.readers(w))
    )
    require(outs, "nodes whose result is read elsewhere", f"{', '.join(mine)}, which nobody reads")
    number = {w: i for i, w in enumerate((*ins, *(w for n in nodes for w in n.outs)))}
    short = {n.id: n.id.rpartition(".")[2] for n in nodes}
    body = Diagram(
        name,
        tuple(edit.wires[w] for w in number),
        tuple(number[w] for w in ins),
        tuple(number[w] for w in outs),
        tuple(
            replace(
                n,
                id=short[n.id],
                ins=tuple(number[w] for w in n.ins),
                outs=tuple(number[w] for w in n.outs),
            )
            for n in nodes
        ),
    )
    require(
        len(set(short.values())) == len(nodes),
        "nodes with names of their own inside the new block",
        f"{', '.join(short.values())}",
    )
    edit.drop(*nodes)
    wires = edit.add(Block(body), ins, name, nodes[0])
    for old, new in zip(outs, wires, strict=True):
        edit.replace(old, new)
    block = edit.id_of(wires[0])
    edit.moves |= {f"{block}.{short[n.id]}": n.id for n in nodes}


def unfold(edit: Edit, node: Node) -> None:
    """Puts the nodes of a block in its place."""
    body = op_as(node, Block).body
    edit.drop(node)
    at = dict(zip(body.ins, node.ins, strict=True))
    for inner in body.nodes:
        wanted = inner.id.rpartition(".")[2]
        if edit.free_id(wanted, node).rpartition(".")[2] != wanted:
            wanted = f"{node.id.rpartition('.')[2]}_{wanted}"[:40]
        wires = edit.add(inner.op, [at[w] for w in inner.ins], wanted, node, keeps=f"{node.id}.{inner.id}")
        for old, new in zip(inner.outs, wires, strict=True):
            at[old] = new
            edit.wires[new] = body.wires[old]
    for out, inside in zip(node.outs, body.outs, strict=True):
        edit.replace(out, at[inside])
