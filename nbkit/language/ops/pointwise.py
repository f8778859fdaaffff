"""Operations on every element: elementwise functions, scale, add, multiply, mask, dropout."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from nbkit.language import relations
from nbkit.language.axes import Array, Token
from nbkit.language.errors import Mismatch, nearest
from nbkit.language.ops.base import Lookup, Op, named, need, need_real, refused, tokens_domain, union
from nbkit.language.sizes import format_size, parse_size, substitute

FUNCTIONS = {
    "relu": "R",
    "gelu": "G",
    "tanh": "tanh",
    "sigmoid": "σ",
    "silu": "silu",
    "square": "□²",
    "exp": "exp",
    "abs": "|□|",
    "neg": "−",
    "gelu_tanh": "G",
    "sin": "sin",
    "cos": "cos",
    "log": "log",
    "log1p": "log1p",
    "sqrt": "√",
    "rsqrt": "1/√",
    "reciprocal": "1/□",
    "softplus": "softplus",
    "elu": "elu",
    "leaky_relu": "leaky R",
    "relu6": "R6",
    "hardswish": "hardswish",
    "mish": "mish",
    "erf": "erf",
    "sign": "sign",
}
"""The scalar functions, and the symbols that they are drawn with."""

_SHORT = ("relu", "gelu", "tanh", "sigmoid", "silu", "square", "exp")


@dataclass(frozen=True)
class Elementwise(Op):
    """A named scalar function of every element: those of `FUNCTIONS`, as torch computes them (elu with α = 1,
    leaky_relu with slope 0.01, gelu exact and gelu_tanh its approximation).
    """

    kind: ClassVar[str] = "elementwise"
    function: str = "relu"

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise refused(
                self,
                f"knows no function {self.function[:40]!r}",
                nearest(self.function, FUNCTIONS) or f"known: {', '.join(FUNCTIONS)}",
            )

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        return ins

    def source(self, name: str = "") -> str:
        return self.function if self.function in _SHORT and not name else super().source(name)

    def __str__(self) -> str:
        return self.function


@dataclass(frozen=True)
class Scale(Op):
    """Multiplication by a number that may depend on sizes: `scale("k**(-1/2)")`."""

    kind: ClassVar[str] = "scale"
    factor: str = "1"

    def __post_init__(self) -> None:
        parse_size(self.factor)

    def resolve(self, lookup: Lookup) -> Scale:
        return replace(self, factor=format_size(substitute(parse_size(self.factor), lookup)))

    def free(self) -> set[str]:
        return {str(s) for s in parse_size(self.factor).free_symbols}

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        return ins


@dataclass(frozen=True)
class Add(Op):
    """Pointwise sum. Axes match by name; one operand may lack axes of another: it is woven over them."""

    kind: ClassVar[str] = "add"
    arity: ClassVar[int | None] = None

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        for array in ins:
            if all(set(other.names) <= set(array.names) for other in ins):
                union(ins)
                return (array,)
        left, right = ins[0], next(a for a in ins if not set(a.names) <= set(ins[0].names))
        only_left, only_right = (
            " ".join(a.name for a in p.without(q.names)) for p, q in ((left, right), (right, left))
        )
        hint = "bring both branches to the same axes"
        if self.kind == "add" and len(only_left.split()) == 1 == len(only_right.split()):
            hint = (
                "a residual must return the axes it received; "
                f'end the branch with linear("{only_right} -> {only_left}")'
            )
        raise Mismatch(
            f"the branches differ\n      left   {left}      right  {right}        "
            f"axes only on the left: {only_left or '—'} · only on the right: {only_right or '—'}",
            hint,
            wire=ins.index(right),
        )

    def source(self, name: str = "") -> str:
        return f"{self.kind}({', '.join(named(name))})" if name else self.kind


@dataclass(frozen=True)
class Multiply(Add):
    """Pointwise (Hadamard) product; axes match by name as in `Add`."""

    kind: ClassVar[str] = "multiply"


@dataclass(frozen=True)
class Mask(Op):
    """Keeps the elements whose indices satisfy a relation (`"x <= y"`); others become `fill` (-inf or 0)."""

    kind: ClassVar[str] = "mask"
    relation: str = ""
    fill: str = "-inf"

    def __post_init__(self) -> None:
        relations.parse_relation(self.relation)
        if self.fill not in ("-inf", "0"):
            raise refused(self, f"fills with {self.fill[:40]!r}", "fill is '-inf' (before a softmax) or '0'")

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(tuple(Token(name) for name in relations.names(self.relation))),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        names = relations.names(self.relation)
        need(ins[0], names)
        for name in names:
            if ins[0][name].rank != 1:
                raise Mismatch(
                    f"compares axis '{name}', which has rank {ins[0][name].rank} on  {ins[0]}",
                    "only axes of rank 1 have an order",
                )
        return ins


@dataclass(frozen=True)
class Dropout(Op):
    """In training, zeroes each element with probability p and divides the others by 1 - p (Srivastava et al.
    2014).
    """

    kind: ClassVar[str] = "dropout"
    p: float = 0.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.p) and 0 <= self.p < 1):
            raise refused(self, f"has p = {self.p}", "a probability of dropping lies in 0 ≤ p < 1")

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        return ins
