"""Which batches stand in front of each array: dimensions that no axis names come in with the inputs.

Arrays that depend on the same inputs have the same batches; what reads nothing (positions, parameters) has
none. Two inputs may come with batches of their own, or one without any.
"""

from __future__ import annotations

from itertools import count
from typing import TypeAlias

from nbkit.language import ops
from nbkit.language.diagram import Diagram
from nbkit.language.parts import Repeat, Scan, Stages

Source: TypeAlias = frozenset[str]
Batches: TypeAlias = tuple[Source, ...]
_unknown = count()


def batches(diagram: Diagram, given: Batches | None = None) -> dict[int, Source]:
    """For each wire, the inputs whose batches it has; `given` says so of the inputs, else each is its own."""
    found = dict(zip(diagram.ins, given or _own(len(diagram.ins)), strict=True))
    for node in diagram.nodes:
        _, outs = _through(node.op, tuple(found[wire] for wire in node.ins), len(node.outs))
        found.update(zip(node.outs, outs, strict=True))
    return found


def inside(op: ops.Op, ins: Batches) -> tuple[Batches, ...]:
    """What each of an op's insides is given, whichever copy or position it is called for."""
    return _through(op, ins, 0)[0]


def _through(op: ops.Op, ins: Batches, outs: int) -> tuple[tuple[Batches, ...], Batches]:
    """What the insides are given, and what comes out."""
    if not op.insides():
        source = frozenset[str]().union(*ins) if op.reads else frozenset[str]()
        return (), (source,) * outs
    if isinstance(op, Stages):
        return _stages(op, ins)
    ((_, body),) = op.insides()
    made = _outs(body, ins)
    if isinstance(op, Repeat | Scan):
        states = op.states if isinstance(op, Scan) else len(ins)
        if made[:states] != ins[:states]:  # not the same in every round
            return (_own(len(ins)),), _own(outs)
    return (ins,), made


def _stages(op: Stages, ins: Batches) -> tuple[tuple[Batches, ...], Batches]:
    running, further = ins[: op.carry], ins[op.carry :]
    given: list[Batches] = []
    kept: list[Source] = []
    for body in op.bodies:
        more = len(body.ins) - op.carry
        given.append((*running, *further[:more]))
        made = _outs(body, given[-1])
        running, further = made[: op.carry], further[more:]
        kept += made[op.carry :]
    return tuple(given), (*running, *kept)


def _outs(body: Diagram, given: Batches) -> Batches:
    found = batches(body, given)
    return tuple(found[wire] for wire in body.outs)


def _own(number: int) -> Batches:
    return tuple(frozenset([f"unknown {next(_unknown)}"]) for _ in range(number))
