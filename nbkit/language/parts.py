"""Ops that are themselves made of diagrams: `Block`, `Repeat`, `Stages`, `Scan`.

A block is a named part. The other three apply a part again and again: a repetition in a row, each copy with
weights of its own or all with the same ones (the types do not change); stages in a row, each copy typed on
what the one before gave, so that sizes may change from copy to copy (Abbott 2024, figures 26 and 27: c_λ,
x_λ); a scan along an axis, one copy for every position, all with the same weights (a recurrence).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from nbkit.language.axes import Array
from nbkit.language.diagram import Diagram
from nbkit.language.errors import Mismatch
from nbkit.language.ops.base import Composite, need
from nbkit.language.sizes import check_name, format_size


def _empty() -> Diagram:
    return Diagram("empty", (), (), (), ())


@dataclass(frozen=True)
class Block(Composite):
    """A named part of a diagram; paths inside are `block.node`."""

    kind: ClassVar[str] = "block"
    body: Diagram = field(default_factory=_empty)

    def insides(self) -> tuple[tuple[str, Diagram], ...]:
        return ((".", self.body),)

    def mapped(self, change: Callable[[str, Diagram], Diagram]) -> Block:
        return Block(change(".", self.body))

    def takes(self) -> int:
        """As many arrays as its body."""
        return len(self.body.ins)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        """The types that its body gives."""
        _check_body(self.body, ins)
        return self.body.outputs

    def __str__(self) -> str:
        return self.body.name


@dataclass(frozen=True)
class Repeat(Composite):
    """A part applied n times in a row; the copies have weights of their own unless `tied`."""

    kind: ClassVar[str] = "repeat"
    body: Diagram = field(default_factory=_empty)
    n: int = 1
    tied: bool = False

    @property
    def copies(self) -> int:
        """N."""
        return self.n

    def insides(self) -> tuple[tuple[str, Diagram], ...]:
        return ((".*.", self.body),)

    def mapped(self, change: Callable[[str, Diagram], Diagram]) -> Repeat:
        return replace(self, body=change(".*.", self.body))

    def takes(self) -> int:
        """As many arrays as its body."""
        return len(self.body.ins)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        """The types that went in: each copy feeds the next."""
        _check_body(self.body, ins)
        if self.body.inputs != self.body.outputs:
            became = " became ".join(_listed(side) for side in (self.body.inputs, self.body.outputs))
            raise Mismatch(
                f"must preserve its type: {became}",
                "end the repeated part with a map back to the axes it received",
            )
        return self.body.outputs

    def __str__(self) -> str:
        return f"{self.body.name}(×{self.n})"


@dataclass(frozen=True)
class Stages(Composite):
    """The same part in a row with sizes that change from copy to copy: λ-indexed repetition.

    Copy λ is `bodies[λ - first]`; all have the same nodes and differ in sizes only. The first `carry` arrays
    run from copy to copy. Further inputs belong to the copies in order (those of copy 1, then those of copy
    2, …), and so do further outputs: the memories C_λ of a U-Net leave the way down and enter the way up.
    λ counts `first`, `first` + 1, … or, on the way `down`, `first`, `first` - 1, …; it has no other meaning.
    """

    kind: ClassVar[str] = "stages"
    bodies: tuple[Diagram, ...] = ()
    carry: int = 1
    first: int = 1
    down: bool = False

    @property
    def body(self) -> Diagram:
        """The first copy, which stands for all in pictures."""
        return self.bodies[0]

    @property
    def last(self) -> int:
        """λ of the last copy."""
        return self.first + (len(self.bodies) - 1) * (-1 if self.down else 1)

    def insides(self) -> tuple[tuple[str, Diagram], ...]:
        return tuple((f".{i}.", body) for i, body in enumerate(self.bodies))

    def mapped(self, change: Callable[[str, Diagram], Diagram]) -> Stages:
        return replace(self, bodies=tuple(change(f".{i}.", body) for i, body in enumerate(self.bodies)))

    def inside(self, index: str) -> Diagram | None:
        if index == "*":
            return self.body
        number = int(index) if index.isdecimal() and len(index) < 6 else len(self.bodies)
        return self.bodies[number] if number < len(self.bodies) else None

    def takes(self) -> int:
        """The carried arrays, and each copy's further ones."""
        return self.carry + sum(len(body.ins) - self.carry for body in self.bodies)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        """The carried arrays of the last copy, then the further outputs of all copies."""
        running, further = ins[: self.carry], ins[self.carry :]
        kept: list[Array] = []
        for i, body in enumerate(self.bodies):
            if _shape(body) != _shape(self.body):
                raise Mismatch(
                    f"copies of one part differ in sizes only, but copy {i} of {body.name} has other nodes",
                    "use one function for all copies, or write the copies one after the other",
                )
            if len(body.outs) < self.carry or len(body.ins) < self.carry:
                raise Mismatch(
                    f"carries {self.carry} array(s) from copy to copy, but {body.name} "
                    f"takes {len(body.ins)} and gives {len(body.outs)}",
                    "a repeated part gives at least the arrays that it carries on",
                )
            count = len(body.ins) - self.carry
            _check_body(body, (*running, *further[:count]))
            further = further[count:]
            running, more = body.outputs[: self.carry], body.outputs[self.carry :]
            kept.extend(more)
        return (*running, *kept)

    def __str__(self) -> str:
        return f"{self.body.name}(λ={self.first}…{self.last})"


@dataclass(frozen=True)
class Scan(Composite):
    """A recurrence along the axis `over`: the same part, with the same weights, for every position.

    Takes `states` arrays that are carried on, then sequences, all with the axis; the part takes the states
    and one element of each sequence, and gives the new states and further arrays. Out come the last states,
    then the further arrays of all positions, with the axis in front. With `reverse` the positions are taken
    from last to first (and results lie where their position was).
    """

    kind: ClassVar[str] = "scan"
    body: Diagram = field(default_factory=_empty)
    over: str = "t"
    states: int = 1
    reverse: bool = False

    def insides(self) -> tuple[tuple[str, Diagram], ...]:
        return ((".*.", self.body),)

    def mapped(self, change: Callable[[str, Diagram], Diagram]) -> Scan:
        return replace(self, body=change(".*.", self.body))

    def takes(self) -> int:
        """As many arrays as its body."""
        return len(self.body.ins)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        """The last states, and the further outputs over all positions."""
        check_name(self.over)
        _check_body(self.body, scan_elements(ins, self.over, self.states))
        given, made = self.body.inputs[: self.states], self.body.outputs[: self.states]
        if given != made:
            raise Mismatch(
                f"must preserve the type of its state: {_listed(given)} became {_listed(made)}",
                "end the part with a map back to the axes of the state; "
                "a state that meets woven axes (a batch) needs them from the start",
            )
        axis = ins[self.states][self.over]
        for array in self.body.outputs[self.states :]:
            if self.over in array:
                raise Mismatch(f"gives an array that has axis '{self.over}' already:  {array}", "rename it")
        return (
            *made,
            *(Array((axis, *array.axes), array.bound) for array in self.body.outputs[self.states :]),
        )

    def __str__(self) -> str:
        return f"scan[{self.over}]({self.body.name})"


def scan_elements(ins: tuple[Array, ...], over: str, states: int) -> tuple[Array, ...]:
    """What the part of a scan takes: the states, and one element of each sequence."""
    if not 0 < states < len(ins):
        raise Mismatch(
            f"takes {states} state(s) and at least one sequence with axis '{over}', got {len(ins)} arrays",
            "states come first, then the sequences",
        )
    for number, array in enumerate(ins[:states]):
        if over in array:
            raise Mismatch(
                f"carries input {number + 1} as a state, but it has the axis '{over}' of the sequences:  "
                f"{array}",
                "a state has no such axis; states come first, then the sequences",
                wire=number,
            )
    elements = list(ins[:states])
    for number, array in enumerate(ins[states:], start=states):
        need(array, (over,), number)
        if array[over].rank > 1:
            raise Mismatch(
                f"runs along axis '{over}', which has rank {array[over].rank} on  {array}",
                "only axes of rank 1 have an order; merge or split them first",
                wire=number,
            )
        if array[over] != ins[states][over]:
            raise Mismatch(
                f"axis '{over}' has size {format_size(ins[states][over].size)} on input {states + 1} "
                f"and {format_size(array[over].size)} on input {number + 1}",
                "sequences that run together have one length",
                wire=number,
            )
        elements.append(Array(array.without((over,)), array.bound))
    return tuple(elements)


def _shape(body: Diagram) -> tuple[object, ...]:
    """What copies of one part have in common: which kinds of nodes are connected how."""
    nodes = tuple(
        (n.id, n.op.kind, n.ins, n.outs, *(_shape(b) for _, b in n.op.insides())) for n in body.nodes
    )
    return body.name, body.ins, body.outs, nodes


def _listed(arrays: tuple[Array, ...]) -> str:
    return ", ".join(map(str, arrays))


def _check_body(body: Diagram, ins: tuple[Array, ...]) -> None:
    if body.inputs != ins:
        raise Mismatch(f"{body.name} is built for {_listed(body.inputs)}, but got {_listed(ins)}")
