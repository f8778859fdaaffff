"""Operations over whole axes: reduce, softmax, norm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from nbkit.language.axes import Array, Token, parse_names
from nbkit.language.errors import nearest
from nbkit.language.ops.base import Op, check_key, named, need, need_real, refused, tokens_domain

REDUCTIONS = ("sum", "mean", "max", "min", "prod", "logsumexp")
NORMS = ("layer", "rms", "batch")
_SHORT = {"sum": "total", "mean": "mean", "max": "maximum"}


def _domain(*texts: str) -> tuple[Array, ...]:
    return (tokens_domain(tuple(Token(name) for text in texts for name in parse_names(text))),)


@dataclass(frozen=True)
class Reduce(Op):
    """Sum, mean, max, min, product or log Σ exp over axes, which end: `reduce("mean", "x")`."""

    kind: ClassVar[str] = "reduce"
    how: str = "sum"
    axes: str = ""

    def __post_init__(self) -> None:
        if self.how not in REDUCTIONS:
            raise refused(
                self,
                f"knows no reduction {self.how[:40]!r}",
                nearest(self.how, REDUCTIONS) or f"known: {', '.join(REDUCTIONS)}",
            )
        if not parse_names(self.axes):
            raise refused(self, "names no axis", 'as in mean("x")')

    def domain(self) -> tuple[Array, ...]:
        return _domain(self.axes)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        need(ins[0], self.axes.split())
        return (Array(ins[0].without(self.axes.split())),)

    def source(self, name: str = "") -> str:
        call = f"{_SHORT[self.how]}(" if self.how in _SHORT else f"reduce({self.how!r}, "
        return f"{call}{', '.join([repr(self.axes), *named(name)])})"

    def __str__(self) -> str:
        return f"{self.how}[{self.axes}]"


@dataclass(frozen=True)
class Softmax(Op):
    """Softmax over the named axes together: exp(in) / Σ_axes exp(in)."""

    kind: ClassVar[str] = "softmax"
    axes: str = ""

    def __post_init__(self) -> None:
        if not parse_names(self.axes):
            raise refused(self, "names no axis", 'as in softmax("x")')

    def domain(self) -> tuple[Array, ...]:
        return _domain(self.axes)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        need(ins[0], self.axes.split())
        return ins


@dataclass(frozen=True)
class Norm(Op):
    """Normalisation over axes, then a learned affine map.

    how "layer" (Ba et al. 2016, arXiv 1607.06450): (in - E) / sqrt(Var + eps) · w + b over `axes`, weights
    over `axes`, or over `per` if it is given (group norm, Wu & He 2018, arXiv 1803.08494: the channels split
    in groups, `axes="c x"`, `per="g c"`). how "rms" (Zhang & Sennrich 2019, arXiv 1910.07467): in / sqrt(E
    in² + eps) · w over `axes`.
    how "batch" (Ioffe & Szegedy 2015, arXiv 1502.03167): statistics over everything but `per` (and over
    unnamed batch dimensions), running averages in evaluation, weights over `per`; `axes` names the batch axis
    if it is drawn. Equal `key`s share one weight.
    """

    kind: ClassVar[str] = "norm"
    learned: ClassVar[bool] = True
    axes: str = ""
    how: str = "layer"
    per: str = ""
    eps: float = 1e-5
    affine: bool = True
    key: str = ""

    def __post_init__(self) -> None:
        check_key(self.key)
        if self.how not in NORMS:
            raise refused(
                self,
                f"knows no kind {self.how[:40]!r}",
                nearest(self.how, NORMS) or "known: layer, rms, batch",
            )
        over, per = parse_names(self.axes), parse_names(self.per)
        if self.how == "batch":
            if len(per) != 1:
                raise refused(
                    self,
                    f"over the batch keeps one statistic per channel, but per={self.per[:40]!r} "
                    f"names {len(per)} axes",
                    'as in batch_norm("c")',
                )
            if set(over) & set(per):
                raise refused(
                    self, f"is both over and per axis '{per[0]}'", 'as in batch_norm("c", over="b")'
                )
        elif not over:
            raise refused(self, "names no axis", 'as in norm("m")')
        elif per and self.how == "rms":
            raise refused(self, f"has weights over its axes, not per '{self.per[:40]}'", "leave per out")
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise refused(self, f"has eps = {self.eps}", "eps is a small number ≥ 0 such as 1e-5")

    def domain(self) -> tuple[Array, ...]:
        return _domain(self.per, self.axes)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        need(ins[0], (*self.axes.split(), *self.per.split()))
        return ins

    def source(self, name: str = "") -> str:
        kept = ("eps", "affine", "key") if self.how == "batch" else ("per", "eps", "affine", "key")
        shown = {k: v for k, v in self.arguments().items() if k in kept}
        others = [*(f"{k}={v!r}" for k, v in shown.items()), *named(name)]
        if self.how == "batch":
            over = [f"over={self.axes!r}"] if self.axes else []
            return f"batch_norm({', '.join([repr(self.per), *over, *others])})"
        prefix = "rms_" if self.how == "rms" else ""
        return f"{prefix}norm({', '.join([repr(self.axes), *others])})"

    def __str__(self) -> str:
        if self.how == "layer":
            return f"norm[{self.axes}]"
        return f"{self.how}_norm[{self.per or self.axes}]"
