"""Which ops join the line of the op that uses them, so that equations read as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nbkit.draw.notation.formulas import Operand, indices
from nbkit.draw.notation.terms import Call, Index, Number, Place, Plus, Ref, Term, Times, moved_ref
from nbkit.language import ops
from nbkit.language.axes import Array, parse_spec
from nbkit.language.diagram import Diagram, Node

_LETTERS = {"softmax": "p", "einsum": "s", "norm": "n"}  # initials of arrays by kind of op
_FUNCTIONS = (ops.Scale, ops.Elementwise)
_POINTWISE = (*_FUNCTIONS, ops.Add)  # also products
_PRODUCTS = (ops.Einsum, ops.Linear)
_MOVES = (ops.Slice, ops.Rename, ops.Transpose, ops.Expand, ops.Parameter, ops.Constant)
_PLAIN = (  # what takes elements at plain indices
    *_POINTWISE, *_PRODUCTS, ops.Softmax, ops.Norm, ops.Reduce, ops.Mask, ops.Dropout, ops.Rename,
    ops.Transpose, ops.Merge,
)  # fmt: skip
_MOST_ELEMENTS = 3  # of a pointwise term that joins another


@dataclass(frozen=True)
class Pending:
    """What joins a later line: its term, its note and what it would be called."""

    term: Term
    note: str
    title: str


def joined(array: Array, term: Term) -> Operand:
    """An operand whose own line is left out."""

    def at(places: Mapping[str, Place]) -> Term:
        if isinstance(term, Ref):
            return moved_ref(term, {Index(axis): places[axis.name] for axis in array})
        if places != indices(array):
            raise TypeError(f"{term} cannot be taken at other places")
        return term

    return Operand(array, at)


def joins(part: Diagram, node: Node, users: Mapping[int, list[Node]], term: Term) -> bool:
    """Whether a node, which says `term`, joins the line of the one that uses it."""
    w = node.outs[0]
    if len(node.outs) != 1 or w in part.outs or part.wires[w].name or len(users.get(w, ())) != 1:
        return False
    op, after = node.op, users[w][0].op
    if isinstance(op, ops.Window):
        if isinstance(after, ops.Window):
            return after.axis not in (op.axis, op.name) and after.fill == op.fill
        return isinstance(after, ops.Linear | ops.Reduce)
    if isinstance(op, ops.Parameter) and isinstance(after, ops.Gather):
        return True
    if isinstance(op, _MOVES):
        return isinstance(after, _PLAIN) and isinstance(term, Ref | Number)
    if isinstance(op, _PRODUCTS) and isinstance(after, _FUNCTIONS):
        return True
    return isinstance(op, _POINTWISE) and isinstance(after, _POINTWISE) and _elements(term) <= _MOST_ELEMENTS


def _elements(term: Term) -> int:
    """How many elements of arrays stand in a pointwise term; many where it is more than that."""
    match term:
        case Ref():
            return 1
        case Number():
            return 0
        case Call(body=body):
            return _elements(body)
        case Plus(parts) | Times(parts):
            return sum(map(_elements, parts))
    return _MOST_ELEMENTS + 1


def kernel(node: Node, made: Mapping[int, Node], users: Mapping[int, list[Node]]) -> tuple[str, ...]:
    """The axes inside windows that were made just before a linear map, or are added up just after it."""
    if not isinstance(node.op, ops.Linear):
        return ()
    names: list[str] = []
    before = made.get(node.ins[0])
    consumed = {token.name for token in parse_spec(node.op.spec).ins[0]}
    while before is not None and isinstance(before.op, ops.Window) and before.op.axis not in consumed:
        names.insert(0, before.op.name)
        before = made.get(before.ins[0])
    after = users.get(node.outs[0], [])
    while not node.op.bias and len(after) == 1 and isinstance(after[0].op, ops.Fold):
        names.insert(0, after[0].op.name)
        after = users.get(after[0].outs[0], [])
    return tuple(names)


def users_of(part: Diagram) -> dict[int, list[Node]]:
    """The nodes that use each wire, once for each use."""
    found: dict[int, list[Node]] = {}
    for node in part.nodes:
        for w in node.ins:
            found.setdefault(w, []).append(node)
    return found


def called(node: Node) -> str:
    """What a new array without a name is called: the initial that its author gave the node, if any."""
    last = node.id.rpartition(".")[2]
    own = not (last == node.op.kind or last.startswith((f"{node.op.kind}_", "layout")))
    if isinstance(node.op, ops.Elementwise) and last.startswith(node.op.function):
        own = False
    return last[0] if own else _LETTERS.get(node.op.kind, "")


def notes(*told: str) -> str:
    """Several notes as one."""
    return "; ".join(dict.fromkeys(filter(None, told)))
