"""Adapting a trained network: a frozen map and a small learned one beside it (LoRA).

Axes: m features in, n features out, r the rank.
"""

from __future__ import annotations

from typing import Any

from nbkit.components.basic import check_counts
from nbkit.language import Fn, ParseError
from nbkit.language.axes import parse_spec
from nbkit.language.decorator import diagram
from nbkit.language.palette import einsum, linear, parameter, scale
from nbkit.language.trace import Traced


def lora(spec: str = "m -> n", rank: int = 8, alpha: int = 16, *, bias: bool = True) -> Fn:
    """A frozen linear map plus a learned one of low rank: y = W x + b + (α / r) · B A x.

    Axes: those of `spec`, as in `linear("m -> n")`; r the `rank`. W and b are not trained (their plate is not
    bold); A is a linear map to r features, B starts at zero, so that at first nothing is changed.
    Source: Hu et al. 2022, "LoRA" (arXiv 2106.09685), equation 3; α / r as in its section 4.1.

    >>> d = lora("m -> n=512", 8).on("x m=512")
    >>> print(d)
    lora: R[x m=512] -> R[x n=512]
    """
    check_counts("lora", rank=rank, alpha=alpha)
    parsed = parse_spec(spec)
    if len(parsed.ins) != 1 or len(parsed.outs) != 1:
        raise ParseError(f"lora: {spec[:60]!r} is no map from one array to one; write it as in 'm -> h k'")
    before, after = (" ".join(token.name for token in side[0]) for side in (parsed.ins, parsed.outs))

    @diagram(f"{before} -> {after}")
    def lora(x: Traced) -> Any:
        frozen = linear(spec, "W", bias=bias, frozen=True)(x)
        small = linear(f"{before} -> r={rank}", "A", bias=False)(x)
        change = einsum(f"r, {after} r -> {after}", "expand")(
            small, parameter(f"{after} r={rank}", "B", init="zeros")(frozen)
        )
        return frozen + (change >> scale(f"{alpha}/{rank}"))

    return lora
