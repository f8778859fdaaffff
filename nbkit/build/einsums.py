"""The order in which an einsum is contracted: left to right, each sum as soon as nothing else needs it.

Both the generated program and the cost follow this one plan, so that what is counted is what is computed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Contraction(Generic[Name]):
    """One step on the running operand and the next one.

    `left_sum` and `right_sum` are summed away before they meet; `contracted` are in both and end; `kept` go
    on.
    """

    left_sum: tuple[Name, ...]
    right_sum: tuple[Name, ...]
    contracted: tuple[Name, ...]
    kept: tuple[Name, ...]

    @property
    def axes(self) -> tuple[Name, ...]:
        """All axes that the product runs over."""
        return (*self.contracted, *self.kept)


def contractions(operands: Sequence[Iterable[Name]], out: Iterable[Name]) -> list[Contraction[Name]]:
    """The steps for operands with these axes and this result; none for a single operand."""
    wanted = set(out)
    running = tuple(operands[0])
    steps = []
    for number, operand in enumerate(operands[1:], start=2):
        right = tuple(operand)
        later = wanted.union(*map(set, operands[number:]))
        left_sum = tuple(a for a in running if a not in right and a not in later)
        right_sum = tuple(a for a in right if a not in running and a not in later)
        union = dict.fromkeys((*running, *right))
        contracted = tuple(a for a in union if a in running and a in right and a not in later)
        gone = {*left_sum, *right_sum, *contracted}
        kept = tuple(a for a in union if a not in gone)
        steps.append(Contraction(left_sum, right_sum, contracted, kept))
        running = kept
    return steps
