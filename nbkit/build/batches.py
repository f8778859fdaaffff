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
        outs = _applied(node.op, tuple(found[wire] for wire in node.ins), len(node.outs))
        found.update(zip(node.outs, outs, strict=True))
    return found


def inside(op: ops.Op, ins: Batches) -> tuple[Batches, ...]:
    """What each of an op's insides is given, whichever copy or position it is called for."""
    match op:
        case Stages():
            running, further, given = ins[: op.carry], ins[op.carry :], []
            for body in op.bodies:
                more = len(body.ins) - op.carry
                given.append((*running, *further[:more]))
                running, further = _outs(body, given[-1])[: op.carry], further[more:]
            return tuple(given)
        case Repeat() | Scan():
            states = op.states if isinstance(op, Scan) else len(ins)
            once = (*_outs(op.body, ins)[:states], *ins[states:])
            return (ins if once == ins else _own(len(ins)),)
    return (ins,) * len(op.insides())


def _applied(op: ops.Op, ins: Batches, outs: int) -> Batches:
    if not op.insides():
        return ((frozenset[str]().union(*ins) if op.reads else frozenset[str]()),) * outs
    given = inside(op, ins)
    if isinstance(op, Stages):
        each = [_outs(body, mine) for body, mine in zip(op.bodies, given, strict=True)]
        return (*each[-1][: op.carry], *(source for made in each for source in made[op.carry :]))
    if given != (ins,):
        return tuple(frozenset([f"unknown {next(_unknown)}"]) for _ in range(outs))
    ((_, body),) = op.insides()
    return _outs(body, ins)


def _outs(body: Diagram, given: Batches) -> Batches:
    found = batches(body, given)
    return tuple(found[wire] for wire in body.outs)


def _own(number: int) -> Batches:
    return tuple(frozenset([f"unknown {next(_unknown)}"]) for _ in range(number))
