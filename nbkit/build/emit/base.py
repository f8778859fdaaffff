"""How ops are written down: one small function an op, from a step of the plan to lines of Python.

Each takes the values that come in, in whatever order their dimensions are, writes what the torch kernel
wants, and says in which order the result's dimensions are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from nbkit.build.forward import Dim, Forward, Value, dims
from nbkit.build.plan import Step
from nbkit.language.axes import Token
from nbkit.language.errors import DiagramError


@singledispatch
def emit(op: object, f: Forward, step: Step) -> None:
    """Writes the lines of one step."""
    raise DiagramError(f"nbkit.build cannot compile {op} at {f.prefix}{step.node.id}")


def only(f: Forward, step: Step) -> Value:
    """The one value that comes in."""
    (wire,) = step.ins
    return f.value(wire)


def of(f: Forward, wire: int, tokens: Sequence[Token] | Sequence[str]) -> list[Dim]:
    """The dimensions of some axes of a wire, in the order given."""
    array = f.type(wire)
    return list(dims(array[t if isinstance(t, str) else t.name] for t in tokens))


def sizes(f: Forward, wire: int, order: Sequence[Dim]) -> list[str]:
    """Python text of the sizes of a wire's dimensions."""
    return [f.axis(f.type(wire), name) for name, _ in order]
