"""Repetitions: n copies in parentheses are n blocks in a row."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from nbkit.language.diagram import Diagram, Node
from nbkit.language.ops.base import Composite, Op
from nbkit.language.parts import Block, Repeat, Stages
from nbkit.language.rewrite.edit import Edit
from nbkit.language.rewrite.maps import unshared
from nbkit.language.rewrite.rule import op_as, require, rule, want

_NAMELESS = ("repeat", "copy")  # bodies without a name, in parentheses and as blocks


@rule(
    "repeat-unroll",
    "A repetition is its copies, one after the other.",
    Repeat,
    Stages,
    inverse="repeat-roll",
)
def repeat_unroll(edit: Edit, node: Node) -> None:
    """Copies that share their weights then share them by key, which maps without bias can; the copies of
    stages have sizes of their own.
    """
    op = node.op
    tied = isinstance(op, Repeat) and op.tied
    if isinstance(op, Stages):
        bodies, carry = list(op.bodies), op.carry
    else:
        op = op_as(node, Repeat)
        body = _tied_by_key(edit, node, op.body) if tied else op.body
        bodies, carry = [body] * op.n, len(body.ins)
    stem = node.id.rpartition(".")[2]
    edit.drop(node)
    running, further = list(node.ins[:carry]), list(node.ins[carry:])
    kept: list[int] = []
    for i, body in enumerate(bodies):
        count = len(body.ins) - carry
        own, further = further[:count], further[count:]
        block = Block(_named(body, dict([_NAMELESS])))
        source = f"{node.id}.*" if tied else f"{node.id}.{i}"
        wires = list(edit.add(block, [*running, *own], f"{stem}_{i}", node, keeps=source))
        running, kept = wires[:carry], kept + wires[carry:]
    for old, new in zip(node.outs, [*running, *kept], strict=True):
        edit.replace(old, new)


@rule(
    "repeat-roll",
    "Equal blocks in a row, each feeding the next, are a repetition.",
    Block,
    inverse="repeat-unroll",
)
def repeat_roll(edit: Edit, node: Node, n: int | None = None) -> None:
    """At the first of them; `n` says how many (all, if it does not)."""
    needs = "a block that keeps its type and goes into an equal block and nowhere else"
    chain = [node]
    while n is None or len(chain) < n:
        after = _next(edit, chain[-1])
        if after is None or not _equal(node, after):
            break
        chain.append(after)
    require(len(chain) >= max(n or 2, 2), needs, f"'{node.id}', followed by {len(chain) - 1} equal ones")
    body = _named(node.op.insides()[0][1], dict([_NAMELESS[::-1]]))
    stem = re.sub(r"_\d+\Z", "", node.id.rpartition(".")[2])
    edit.drop(*chain)
    wires = edit.add(Repeat(body, len(chain)), node.ins, stem, node)
    for old, new in zip(chain[-1].outs, wires, strict=True):
        edit.replace(old, new)
    name = edit.id_of(wires[0])
    edit.moves |= {f"{name}.{i}": block.id for i, block in enumerate(chain)}


@rule(
    "repeat-peel",
    "One copy of a repetition may stand outside: n copies are one copy and n − 1 copies.",
    Repeat,
    inverse="repeat-absorb",
)
def repeat_peel(edit: Edit, node: Node, end: str = "first") -> None:
    """`end` says which copy: "first" or "last"."""
    op = op_as(node, Repeat)
    require(end in ("first", "last"), "end='first' or end='last'", f"end={end!r}")
    needs = "a repetition of at least two copies with weights of their own"
    require(op.n > 1, needs, "one copy")
    require(not op.tied, needs, f"{op.n} copies that share their weights; unroll them (repeat-unroll)")
    block, rest = Block(_named(op.body, dict([_NAMELESS]))), replace(op, n=op.n - 1)
    stem = node.id.rpartition(".")[2]
    edit.drop(node)
    if end == "first":
        wires = edit.add(block, node.ins, f"{stem}_first", node, keeps=f"{node.id}.0")
        outs = edit.add(rest, wires, stem, node)
    else:
        wires = edit.add(rest, node.ins, stem, node)
        outs = edit.add(block, wires, f"{stem}_last", node, keeps=f"{node.id}.{op.n - 1}")
    name, shift = edit.id_of(outs[0] if end == "first" else wires[0]), int(end == "first")
    edit.moves |= {f"{name}.{i}": f"{node.id}.{i + shift}" for i in range(op.n - 1)}
    for old, new in zip(node.outs, outs, strict=True):
        edit.replace(old, new)


@rule(
    "repeat-absorb",
    "A block beside a repetition of equal blocks is one copy more.",
    Repeat,
    inverse="repeat-peel",
)
def repeat_absorb(edit: Edit, node: Node) -> None:
    """At the repetition, which takes in the block before it, or else the one behind it."""
    op = op_as(node, Repeat)
    needs = "a repetition of copies with weights of their own, just beside an equal block"
    require(not op.tied, needs, f"{op.n} copies that share their weights")
    before, after = edit.maker(node.ins[0]), _next(edit, node)
    if before is not None and _next(edit, before) is node and _equal(node, before):
        ins, outs, block, first = before.ins, node.outs, before, 1
    else:
        fits = after if after is not None and _equal(node, after) else None
        after = want(fits, needs, f"{op}, with no equal block beside it")
        ins, outs, block, first = node.ins, after.outs, after, 0
    edit.drop(node, block)
    wires = edit.add(replace(op, n=op.n + 1), ins, node.id, node)
    name = edit.id_of(wires[0])
    edit.moves |= {f"{name}.{i + first}": f"{node.id}.{i}" for i in range(op.n)}
    edit.moves[f"{name}.{0 if first else op.n}"] = block.id
    for old, new in zip(outs, wires, strict=True):
        edit.replace(old, new)


def _next(edit: Edit, node: Node) -> Node | None:
    """The node that takes exactly what this one gives, if nothing else does."""
    if not node.outs:
        return None
    after = edit.only_reader(node.outs[0])
    same = after is not None and after.ins == node.outs and all(edit.uses(w) == 1 for w in node.outs)
    return after if same else None


def _equal(one: Node, two: Node) -> bool:
    """Whether the bodies of two blocks or repetitions are equal but for their names, and keep their type."""
    if not isinstance(one.op, Block | Repeat) or not isinstance(two.op, Block):
        return False
    first, second = one.op.body, two.op.body
    return first.inputs == first.outputs and replace(first, name="") == replace(second, name="")


def _named(body: Diagram, names: dict[str, str]) -> Diagram:
    return replace(body, name=names.get(body.name, body.name))


def _tied_by_key(edit: Edit, node: Node, body: Diagram) -> Diagram:
    """The body with a key on everything that it learns."""
    needs = "copies whose weights a key can share: linear maps without bias, embeddings …"
    taken = set(edit.scope.keys)

    def keyed(part: Diagram, path: str, own: bool) -> Diagram:
        nodes = []
        for inner in part.nodes:
            op: Op = inner.op
            if isinstance(op, Composite):
                deeper = own or (isinstance(op, Repeat | Stages) and not getattr(op, "tied", False))
                op = op.mapped(lambda _, b, at=f"{path}.{inner.id}", d=deeper: keyed(b, at, d))  # type: ignore[misc]  # bound now
            else:
                op = _with_key(op, inner, path, own)
            nodes.append(replace(inner, op=op))
        return replace(part, nodes=tuple(nodes))

    def _with_key(op: Any, inner: Node, path: str, own: bool) -> Op:
        where, lacking = f"'{path}.{inner.id}'", unshared(op)
        require(not lacking, needs, f"{where}, {op}, where a key does not share {lacking}")
        if not op.learned or not getattr(op, "affine", True):
            return inner.op
        if op.key:
            return inner.op
        require(
            not own and not edit.scope.repeated,
            needs,
            f"{where}, which stands in copies with weights of their own",
        )
        number, key = 1, inner.id
        while key in taken:
            number += 1
            key = f"{inner.id[:30]}_{number}"
        taken.add(key)
        keyed_op: Op = replace(op, key=key)
        return keyed_op

    return keyed(body, node.id, own=False)
