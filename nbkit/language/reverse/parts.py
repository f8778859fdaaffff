"""Rules for parts: a block's backward pass is a block, that of a repetition the repetition run backwards.

Copies with weights of their own become stages, since each copy has keys and a tape of its own; the backward
pass runs through the same stages from last to first. A scan becomes a scan in the other direction, whose tape
is a sequence; a tied repetition is a scan over its copies. Gradients of weights that copies share are summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sympy import Integer

from nbkit.language import ops
from nbkit.language.axes import Array, Axis
from nbkit.language.diagram import Diagram, Node, Wire
from nbkit.language.parts import Block, Repeat, Scan, Stages
from nbkit.language.reverse.layout import Found
from nbkit.language.reverse.scope import Reversed, Scope, prepare, pull, real


@dataclass(frozen=True)
class Part:
    """What the forward pass leaves for the backward one: the reversed copies, and their slots' wires."""

    copies: tuple[Reversed, ...]
    slots: tuple[tuple[int, ...], ...]


def _reversed(scope: Scope, body: Diagram, node: Node, path: str, name: str, *, inside: bool) -> Reversed:
    inner = Scope(
        body, f"{scope.prefix}{node.id}{path}", f"{scope.name}{node.id}{name}", scope.book, inside=inside
    )
    return inner.run()


def _gradients(scope: Scope, wires: Sequence[int], found: Found) -> list[int]:
    """The gradients at real results, in the order of their types; zeros where none arrived."""
    given = []
    for wire, gradient in zip(wires, found, strict=True):
        array = scope.type(wire)
        if real(array):
            here = scope.zeros(array) if gradient is None else gradient
            given.append(scope.back.arranged(here, array.names))
    return given


def _push(scope: Scope, wires: Sequence[int], gradients: Sequence[int]) -> None:
    """One gradient for each of the wires that hold real numbers."""
    for wire, gradient in zip([w for w in wires if real(scope.type(w))], gradients, strict=True):
        scope.push(wire, gradient)


def _learned(scope: Scope, rev: Reversed, gradients: Sequence[int]) -> None:
    for grad, gradient in zip(rev.grads, gradients, strict=True):
        scope.learned(grad, gradient)


# -- blocks ------------------------------------------------------------------------------------------------


@prepare.register
def _(op: Block, scope: Scope, node: Node) -> None:
    rev = _reversed(scope, op.body, node, ".", ".", inside=False)
    new = {slot: scope.wire(slot.array) for slot in rev.slots if slot.given is None}
    slots = tuple(new[slot] if slot.given is None else node.ins[slot.given] for slot in rev.slots)
    scope.nodes.append(Node(node.id, Block(rev.forward), node.ins, (*node.outs, *new.values())))
    scope.kept[node.id] = Part((rev,), (slots,))


@pull.register
def _(_op: Block, scope: Scope, node: Node, found: Found) -> None:
    part: Part = scope.kept[node.id]
    (rev,), (slots,) = part.copies, part.slots
    if not rev.backward.outs:  # a part of look-ups and constants
        return
    given = [scope.back.arranged(scope.value(w), scope.type(w).names) for w in slots]
    given += _gradients(scope, node.outs, found)
    made = scope.back.apply(Block(rev.backward), given, node.id)
    count = len(made) - len(rev.grads)
    _push(scope, node.ins, made[:count])
    _learned(scope, rev, made[count:])


# -- copies in a row, each with weights of its own -----------------------------------------------------------


@prepare.register
def _(op: Repeat, scope: Scope, node: Node) -> None:
    if op.tied and op.n > 1:
        _prepare_tied(op, scope, node)
    else:
        _prepare_stages(scope, node, [op.body] * op.n, len(node.ins))


@prepare.register
def _(op: Stages, scope: Scope, node: Node) -> None:
    _prepare_stages(scope, node, list(op.bodies), op.carry)


def _prepare_stages(scope: Scope, node: Node, bodies: list[Diagram], carry: int) -> None:
    copies = tuple(
        _reversed(scope, body, node, f".{i}.", f".{i}.", inside=True) for i, body in enumerate(bodies)
    )
    slots = tuple(tuple(scope.wire(slot.array) for slot in rev.slots) for rev in copies)
    outs, further = list(node.outs[:carry]), node.outs[carry:]
    for body, mine in zip(bodies, slots, strict=True):
        count = len(body.outs) - carry
        outs += [*further[:count], *mine]
        further = further[count:]
    forward = Stages(tuple(rev.forward for rev in copies), carry)
    scope.nodes.append(Node(node.id, forward, node.ins, tuple(outs)))
    scope.kept[node.id] = Part(copies, slots)


@pull.register
def _(op: Repeat, scope: Scope, node: Node, found: Found) -> None:
    if op.tied and op.n > 1:
        _pull_scan(scope, node, found, len(node.ins), 0, reverse=True)
    else:
        _pull_stages(scope, node, found, [op.body] * op.n, len(node.ins))


@pull.register
def _(op: Stages, scope: Scope, node: Node, found: Found) -> None:
    _pull_stages(scope, node, found, list(op.bodies), op.carry)


def _pull_stages(scope: Scope, node: Node, found: Found, bodies: list[Diagram], carry: int) -> None:
    part: Part = scope.kept[node.id]
    given = _gradients(scope, node.outs[:carry], found[:carry])
    outs, results = node.outs[carry:], found[carry:]
    ins = node.ins[carry:]
    stages: list[Diagram] = []
    further: list[list[int]] = []
    sources: list[tuple[int, ...]] = []
    for body, rev, slots in zip(bodies, part.copies, part.slots, strict=True):
        count = len(body.outs) - carry
        carried = sum(real(array) for array in body.outputs[:carry])
        stages.append(_carry_first(rev.backward, len(rev.slots), carried))
        mine = [scope.value(w) for w in slots] + _gradients(scope, outs[:count], results[:count])
        further.append(mine)
        outs, results = outs[count:], results[count:]
        taken = len(body.ins) - carry
        sources.append(ins[:taken])
        ins = ins[taken:]
    backward = Stages(tuple(stages[::-1]), len(given), len(stages), down=True)
    flat = [*given, *(w for mine in reversed(further) for w in mine)]
    made = list(scope.back.apply(backward, flat, node.id))
    carried = sum(real(scope.type(w)) for w in node.ins[:carry])
    _push(scope, node.ins[:carry], made[:carried])
    made = made[carried:]
    for rev, wires in zip(reversed(part.copies), reversed(sources), strict=True):
        count = sum(real(scope.type(w)) for w in wires)
        _push(scope, wires, made[:count])
        _learned(scope, rev, made[count : count + len(rev.grads)])
        made = made[count + len(rev.grads) :]


def _carry_first(backward: Diagram, slots: int, carried: int) -> Diagram:
    """The same diagram with the gradients that are carried on before the slots."""
    ins = backward.ins
    order = (*ins[slots : slots + carried], *ins[:slots], *ins[slots + carried :])
    return replace(backward, ins=order)


# -- one part with the same weights, again and again -------------------------------------------------------


@prepare.register
def _(op: Scan, scope: Scope, node: Node) -> None:
    rev = _reversed(scope, op.body, node, ".*.", ".", inside=True)
    axis = scope.type(node.ins[op.states])[op.over]
    slots = tuple(scope.wire(Array((axis, *slot.array.axes), slot.array.bound)) for slot in rev.slots)
    forward = replace(op, body=rev.forward)
    scope.nodes.append(Node(node.id, forward, node.ins, (*node.outs, *slots)))
    scope.kept[node.id] = Part((rev,), (slots,))


@pull.register
def _(op: Scan, scope: Scope, node: Node, found: Found) -> None:
    _pull_scan(scope, node, found, op.states, len(node.ins) - op.states, reverse=not op.reverse)


def _prepare_tied(op: Repeat, scope: Scope, node: Node) -> None:
    """A repetition with tied weights is a scan over its copies: a sequence that nobody reads counts them."""
    rev = _reversed(scope, op.body, node, ".*.", ".", inside=True)
    taken = {a.name for wire in (*op.body.wires, *rev.forward.wires) for a in wire.type}
    axis = Axis(next(n for n in ("λ", "λ_2", "λ_3", "λ_4") if n not in taken), Integer(op.n))
    count = scope.wire(Array((axis,)))
    scope.add(ops.Constant(0.0, str(axis)), node.ins[:1], [count], "copies")
    slots = tuple(scope.wire(Array((axis, *slot.array.axes), slot.array.bound)) for slot in rev.slots)
    forward = Scan(_with_input(rev.forward), axis.name, len(node.ins))
    scope.nodes.append(Node(node.id, forward, (*node.ins, count), (*node.outs, *slots)))
    scope.kept[node.id] = Part((rev,), (slots,))
    scope.kept[f"{node.id} axis"] = axis


def _with_input(body: Diagram) -> Diagram:
    """The diagram with one more input, a number that is not read."""
    return replace(body, wires=(*body.wires, Wire(Array(()))), ins=(*body.ins, len(body.wires)))


def _pull_scan(scope: Scope, node: Node, found: Found, states: int, sequences: int, *, reverse: bool) -> None:
    part: Part = scope.kept[node.id]
    (rev,), (slots,) = part.copies, part.slots
    back = scope.back
    given = _gradients(scope, node.outs[:states], found[:states])
    body = _carry_first(rev.backward, len(rev.slots), len(given))
    further = [scope.value(w) for w in slots] + _gradients(scope, node.outs[states:], found[states:])
    axis = scope.kept.get(f"{node.id} axis")
    if axis is None:
        axis = scope.type(node.ins[states])[_over(node)]
    if not further:
        further = [back.constant(0.0, (axis,), given[0])]
        body = _with_input(body)
    made = list(back.apply(Scan(body, axis.name, len(given), reverse), (*given, *further), node.id))
    _push(scope, node.ins[:states], made[: len(given)])
    made = made[len(given) :]
    elements = node.ins[states : states + sequences]
    count = sum(real(scope.type(w)) for w in elements)
    _push(scope, elements, made[:count])
    for grad, wire in zip(rev.grads, made[count:], strict=True):
        scope.learned(grad, back.summed(wire, grad.array.names))


def _over(node: Node) -> str:
    op = node.op
    if not isinstance(op, Scan):
        raise TypeError(f"{op} is no scan")
    return op.over
