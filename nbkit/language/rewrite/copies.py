"""Copies slide along wires: what is done before a copy may be done on each copy, and the other way round."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nbkit.language import ops
from nbkit.language.diagram import Node
from nbkit.language.ops.base import Composite, Op
from nbkit.language.rewrite.edit import Edit
from nbkit.language.rewrite.maps import unshared
from nbkit.language.rewrite.rule import require, rule

_ANY = (Op,)


@rule(
    "copy-slide",
    "An operation, then a copy, is a copy, then the operation on each: they share weights by key.",
    *_ANY,
    inverse="copy-join",
)
def copy_slide(edit: Edit, node: Node) -> None:
    """At an op whose result is read several times; each reader gets one of its own."""
    needs = "an op without chance, whose result is read at least twice"
    _same_again(node, needs)
    require(len(node.outs) == 1, needs, f"{node.op}, which gives {len(node.outs)} arrays")
    (wire,) = node.outs
    uses = edit.uses(wire)
    require(uses > 1, needs, f"{node.op}, whose result is read {'once' if uses else 'nowhere'}")
    op = node.op
    if _weighted(op) and not getattr(op, "key", ""):
        require(
            not edit.scope.repeated,
            "an op without weights inside of repeated copies, which a key would tie to each other",
            f"'{node.id}' with weights of its own in every copy",
        )
        op = _keyed(op, _free_key(edit, node))
    edit.drop(node)
    for reader in list({n.id: n for n in edit.readers(wire)}.values()):
        for place, w in enumerate(reader.ins):
            if w == wire:
                edit.rewire(reader, place, edit.add_one(op, node.ins, node.id, node, keeps=node))
    for place, w in enumerate(edit.before.outs):
        if w == wire:
            edit.rewire(None, place, edit.add_one(op, node.ins, node.id, node, keeps=node))


@rule(
    "copy-join",
    "The same operation on copies is the operation once, and then a copy.",
    *_ANY,
    inverse="copy-slide",
)
def copy_join(edit: Edit, node: Node) -> None:
    """At one of the ops, which are equal and read the same wires; learned ones share all weights by key."""
    needs = (
        "an op without chance that another op repeats: equal, on the same wires, with weights shared by key"
    )
    _same_again(node, needs)
    require(
        not _weighted(node.op) or getattr(node.op, "key", ""), needs, f"{node.op}, with weights of its own"
    )
    twins = [
        other
        for other in (edit.readers(node.ins[0]) if node.ins else [])
        if other.op == node.op and other.ins == node.ins
    ]
    twins = list({twin.id: twin for twin in twins}.values())
    require(len(twins) > 1, needs, f"{node.op}, which nothing repeats")
    key = getattr(node.op, "key", "")
    alone = key and edit.scope.keys.get(key) == len(twins) and not edit.scope.repeated
    edit.drop(*twins)
    op = _keyed(node.op, "") if alone else node.op
    outs = edit.add(op, node.ins, twins[0].id, twins[0], keeps=node)
    for twin in twins:
        for old, new in zip(twin.outs, outs, strict=True):
            edit.replace(old, new)


def _same_again(node: Node, needs: str) -> None:
    """An op that gives the same again when it is applied again."""
    op = node.op
    require(
        not isinstance(op, Composite | ops.Torch), needs, f"{op}, a part; dissolve it first (unfold-block)"
    )
    require(not (isinstance(op, ops.Dropout) and op.p), needs, f"{op}, which draws other numbers each time")
    lacking = unshared(op)
    require(not lacking, "an op whose weights a key can share", f"{op}, where a key does not share {lacking}")


def _weighted(op: Op) -> bool:
    return op.learned and bool(getattr(op, "affine", True))


def _keyed(op: Any, key: str) -> Op:
    changed: Op = replace(op, key=key)
    return changed


def _free_key(edit: Edit, node: Node) -> str:
    """A key that nothing else in the whole diagram uses, after the node's name."""
    name = node.id.rpartition(".")[2]
    number, key = 1, name
    while key in edit.scope.keys:
        number += 1
        key = f"{name[:30]}_{number}"
    return key
