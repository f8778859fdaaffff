"""Pullback: how a change of a function's result asks its argument to change, at a point.

What the backward pass of a diagram needs beyond array algebra. A pullback takes a value of the forward pass
and the gradient at the result, and gives the gradient at the argument; it is linear in the gradient.
(Abbott 2024, section on differentiation: the reverse maps.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from nbkit.language.axes import Array, parse_names
from nbkit.language.errors import Mismatch, nearest
from nbkit.language.ops.base import Op, need, need_real, refused
from nbkit.language.ops.pointwise import FUNCTIONS
from nbkit.language.ops.reductions import NORMS

BY_RESULT = frozenset({"relu", "tanh", "sigmoid", "exp", "sqrt", "reciprocal", "rsqrt"})
"""Scalar functions whose derivative is written in their result; all others' in their argument."""

_HOW = {
    "elementwise": tuple(FUNCTIONS),
    "reduce": ("max", "min", "prod"),
    "norm": NORMS,
    "softmax": ("",),
    "where": ("",),
}


@dataclass(frozen=True)
class Pullback(Op):
    """The gradient at the argument of a function, from a value of the forward pass and the gradient dy.

    of "elementwise" `how`: (value, dy), dy ⊙ f′; the value is the result for the functions of `BY_RESULT`,
    else the argument. of "softmax" over `axes`: (p, dy), p ⊙ (dy − Σ p dy). of "norm" `how` over `axes`,
    `per`, `eps` without weights: (x, dy), in training. of "reduce" `how` max, min or prod over `axes`: (x,
    dy); of equal elements the first has it all. of "where": (x, y, dy), dy where x = y, else 0.
    """

    kind: ClassVar[str] = "pullback"
    arity: ClassVar[int | None] = None
    of: str = "softmax"
    how: str = ""
    axes: str = ""
    per: str = ""
    eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.of not in _HOW:
            raise refused(
                self,
                f"knows no function {self.of[:40]!r}",
                nearest(self.of, _HOW) or f"known: {', '.join(_HOW)}",
            )
        if self.how not in _HOW[self.of]:
            raise refused(
                self,
                f"of {self.of} knows no {self.how[:40]!r}",
                nearest(self.how, _HOW[self.of]) or f"known: {', '.join(_HOW[self.of])}",
            )
        over, per = parse_names(self.axes), parse_names(self.per)
        if not over and (self.of in ("softmax", "reduce") or (self.of == "norm" and not per)):
            raise refused(self, f"of {self.of} names no axis", 'as in pullback("softmax", axes="x")')
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise refused(self, f"has eps = {self.eps}", "eps is a small number ≥ 0 such as 1e-5")

    def takes(self) -> int:
        return 3 if self.of == "where" else 2

    def domain(self) -> tuple[Array, ...]:
        return (Array(()),) * self.takes()

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        names = (*self.axes.split(), *self.per.split())
        need(ins[0], names, 0)
        gone = set(self.axes.split()) if self.of == "reduce" else set()
        for number, array in enumerate(ins[1:], start=1):
            if set(array.axes) != {axis for axis in ins[0] if axis.name not in gone}:
                raise Mismatch(
                    f"takes a value and gradients of one type, but they are {ins[0]} and {array}",
                    "give it the gradient at the function's result",
                    wire=number,
                )
        return (ins[0],)

    def __str__(self) -> str:
        return f"pullback[{self.how or self.of}{' ' * bool(self.axes)}{self.axes}]"
