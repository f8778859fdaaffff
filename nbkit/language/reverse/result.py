"""`reverse(diagram)`: forward pass with its tape, backward pass, and both as one diagram.

Reverse-mode differentiation as a functor: every op becomes its pullback, copies become sums and sums copies,
and the order turns round. What the pullbacks read of the forward pass is on the tape. The result is a diagram
like any other: it is typed, drawn, listed, costed and compiled, and it can be read. Batch norm is reversed as
it is in training. Unnamed batch dimensions are kept: gradients of weights come for each example.
(Abbott 2024, the section on differentiation; Elliott 2018, The simple essence of automatic differentiation,
arXiv 1804.00746.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nbkit.language.axes import Array
from nbkit.language.diagram import Diagram, Node, Wire
from nbkit.language.errors import DiagramError
from nbkit.language.parts import Block
from nbkit.language.reverse import algebra, indexing, layout, parts, pointwise  # noqa: F401  # they register rules
from nbkit.language.reverse.scope import Book, Grad, Reversed, Scope, Slot, real
from nbkit.language.rooms import room


@dataclass(frozen=True)
class Reverse:
    """Both passes of a diagram.

    `forward` gives its results and then the tape; `backward` takes the tape and the gradients at the results,
    and gives those at the (real) inputs and at the parameters; `diagram` is both in a row. `outputs` names
    what `backward` gives: inputs by name or number ("input 1"), parameters as in the module's state dict.
    """

    source: Diagram
    forward: Diagram
    backward: Diagram
    diagram: Diagram
    tape: tuple[Slot, ...]
    grads: tuple[Grad, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what the backward pass gives, in order."""
        inputs = [
            self.source.wires[w].name or f"input {i + 1}"
            for i, w in enumerate(self.source.ins)
            if real(self.source.wires[w].type)
        ]
        return (*inputs, *(grad.name for grad in self.grads))

    def svg(self, **options: Any) -> str:
        """The picture: the forward pass, and mirrored beneath it the backward pass."""
        text: str = room("nbkit.draw", "reverse_svg")(self, **options)
        return text

    def tikz(self, **options: Any) -> str:
        """The same picture as TikZ; options are those of `nbkit.draw.tikz`."""
        text: str = room("nbkit.draw", "reverse_tikz")(self, **options)
        return text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle: dict[str, str] = room("nbkit.draw", "reverse_mimebundle")(self)
        return bundle

    def __str__(self) -> str:
        return f"reverse of {self.source}"


def reverse(diagram: Diagram) -> Reverse:
    """The backward pass of a diagram, as a diagram.

    `DiagramError` where an op has no rule (opaque boxes), or where a size must be known first.

    >>> from nbkit import linear
    >>> r = reverse(linear("m -> f").on("x m"))
    >>> print(r.backward)
    diagram: R[x m], R[x f] -> R[x m], R[f m], R[f]
    >>> r.outputs
    ('input 1', 'linear.weight', 'linear.bias')
    """
    book = Book(taken={str(key) for _, node in diagram.walk() if (key := getattr(node.op, "key", ""))})
    rev = Scope(diagram, "", "", book, inside=False).run()
    if not rev.backward.outs:
        raise DiagramError(
            f"{diagram.name} has neither inputs of real numbers nor weights that are trained, "
            "so there is no gradient to compute"
        )
    return Reverse(diagram, _taping(rev), rev.backward, _joined(diagram, rev), rev.slots, rev.grads)


def _taping(rev: Reversed) -> Diagram:
    """The forward pass with all of the tape among its outputs, inputs that the backward pass reads too."""
    given = tuple(slot.wire for slot in rev.slots)
    results = rev.forward.outs[: len(rev.forward.outs) - sum(slot.given is None for slot in rev.slots)]
    return Diagram(
        rev.forward.name, rev.forward.wires, rev.forward.ins, (*results, *given), rev.forward.nodes
    )


def _joined(diagram: Diagram, rev: Reversed) -> Diagram:
    """Inputs and gradients at the results -> gradients at inputs and parameters."""
    wires: list[Wire] = []

    def wire(array: Array, name: str = "") -> int:
        wires.append(Wire(array, name))
        return len(wires) - 1

    ins = [wire(diagram.wires[w].type, diagram.wires[w].name) for w in diagram.ins]
    given = [wire(array) for array in diagram.outputs if real(array)]
    made = [wire(array) for array in rev.forward.outputs]
    extra = iter(made[len(diagram.outs) :])
    tape = [ins[slot.given] if slot.given is not None else next(extra) for slot in rev.slots]
    outs = [wire(array) for array in rev.backward.outputs]
    nodes = (
        Node("forward_pass", Block(rev.forward), tuple(ins), tuple(made)),
        Node("backward_pass", Block(rev.backward), (*tape, *given), tuple(outs)),
    )
    return Diagram(f"{diagram.name}_reverse"[:40], tuple(wires), (*ins, *given), tuple(outs), nodes)
