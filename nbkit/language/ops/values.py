"""Arrays that come from nowhere, and maps that change what an array is: parameter, constant, stop-gradient,
cast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from nbkit.language.axes import Array, parse_array, parse_bundle
from nbkit.language.errors import Mismatch, nearest
from nbkit.language.ops.base import Lookup, Op, check_key, need_possible, need_real, refused, resolve_spec

if TYPE_CHECKING:
    from sympy import Expr

INITIALISATIONS = ("normal", "zeros", "ones")


class _Source(Op):
    """An array of its own. It is applied to a wire like any op, but reads nothing there."""

    reads: ClassVar[bool] = False
    axes: str

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        produced = tuple(token.axis() for token in parse_bundle(self.axes))
        need_possible(produced)
        return (Array(produced),)

    def filled(self, lookup: Lookup) -> str:
        """Its axes, with the sizes that were left open."""
        return resolve_spec(f"-> {self.axes}", lookup).partition("->")[2].strip()


@dataclass(frozen=True)
class Parameter(_Source):
    """A learned array: `parameter("q m")`; with `trainable` false a fixed one (a buffer of torch).

    `init`: "normal" (standard deviation 1/√ of the last axis), "zeros" or "ones". Equal `key`s share one
    array. Sizes that are left open are looked up by name; the values of its input are not read.
    """

    kind: ClassVar[str] = "parameter"
    learned: ClassVar[bool] = True
    axes: str = ""
    init: str = "normal"
    trainable: bool = True
    key: str = ""

    def __post_init__(self) -> None:
        parse_bundle(self.axes)
        check_key(self.key)
        if self.init not in INITIALISATIONS:
            raise refused(
                self,
                f"knows no initialisation {self.init[:40]!r}",
                nearest(self.init, INITIALISATIONS) or "known: normal, zeros, ones",
            )

    def resolve(self, lookup: Lookup) -> Parameter:
        return replace(self, axes=self.filled(lookup))


@dataclass(frozen=True)
class Constant(_Source):
    """An array that is one number everywhere: `constant(0, "h")`; the values of its input are not read."""

    kind: ClassVar[str] = "constant"
    value: float = 0.0
    axes: str = ""

    def __post_init__(self) -> None:
        parse_bundle(self.axes)
        if math.isnan(self.value) or abs(self.value) > 1e300:
            raise refused(self, f"has value {self.value}", "a constant is a finite number")

    def resolve(self, lookup: Lookup) -> Constant:
        return replace(self, axes=self.filled(lookup))

    def __str__(self) -> str:
        return f"constant[{self.value:g}]"


@dataclass(frozen=True)
class StopGradient(Op):
    """The same values, through which no gradient flows (torch's detach)."""

    kind: ClassVar[str] = "stop_gradient"

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        return ins

    def source(self, name: str = "") -> str:
        return super().source(name) if name else "stop_gradient"


@dataclass(frozen=True)
class Cast(Op):
    """Indices as real numbers (`"R"`), or real numbers as indices below a bound (`"N(v)"`), truncated.

    Numbers that do not lie in 0 … v-1 are an error of whoever looks them up later, as in torch.
    """

    kind: ClassVar[str] = "cast"
    to: str = "R"

    def __post_init__(self) -> None:
        self._bound()

    def _bound(self) -> Expr | None:
        if self.to != "R" and not self.to.startswith("N("):
            raise refused(self, f"knows no numbers {self.to[:40]!r}", 'as in cast("R") or cast("N(10)")')
        return parse_array(f"{self.to}[]").bound

    def free(self) -> set[str]:
        bound = self._bound()
        return set() if bound is None else {str(s) for s in bound.free_symbols}

    def resolve(self, lookup: Lookup) -> Cast:
        bound = self._bound()
        if bound is None:
            return self
        letter, _, _ = str(Array((), bound).bind(lookup)).partition("[")
        return replace(self, to=letter)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        bound = self._bound()
        if (array.bound is None) == (bound is None):
            what = "real numbers" if bound is None else "indices"
            raise Mismatch(f"makes {what}, but the wire holds {what} already  {array}", "leave the cast out")
        return (Array(array.axes, bound),)
