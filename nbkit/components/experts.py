"""Mixtures of experts: a router sends every token to a few of many networks.

Axes: x tokens, m features, e experts, j the chosen ones, f hidden units of an expert.
"""

from __future__ import annotations

from typing import Any, Literal

from nbkit.components.basic import check_counts, size
from nbkit.language import Fn, ParseError
from nbkit.language.decorator import diagram
from nbkit.language.palette import einsum, expand, gather, linear, one_hot, parameter, silu, softmax, topk
from nbkit.language.trace import Traced


def mixture_of_experts(
    experts: int = 8,
    k: int = 2,
    hidden: int | str = "4*m",
    *,
    compute: Literal["dense", "chosen"] = "dense",
) -> Fn:
    """The `k` experts that a router likes best, weighted by its softmax over them: y = Σ_j g_j · E_{e_j}(x).

    top, which = topk(W_r x), g = softmax_j(top), E_e(x) = W₂ᵉ (silu(W₁ᵉ x) ⊙ W₃ᵉ x)

    Axes: m features, e `experts`, j the `k` chosen, f `hidden` units. The tokens are woven.
    `compute`: "dense" runs every expert on every token and weighs those not chosen by 0: e / k times the work
    that is needed, yet quick on small models. "chosen" looks up the weights of the chosen experts for every
    token: memory for a copy of them. Both give the same numbers; neither balances the load.
    Source: Shazeer et al. 2017, "Outrageously Large Neural Networks" (arXiv 1701.06538), equations 1 to 5
    without noise; experts and routing as in Jiang et al. 2024, "Mixtral" (arXiv 2401.04088), section 2.1.

    >>> print(mixture_of_experts(8, 2, 128).on("x m=64"))
    mixture_of_experts: R[x m=64] -> R[x m=64]
    """
    if compute not in ("dense", "chosen"):
        raise ParseError(f"mixture_of_experts computes 'dense' or 'chosen', not {str(compute)[:40]!r}")
    check_counts("mixture_of_experts", experts=experts, k=k)
    if k > experts:
        raise ParseError(f"mixture_of_experts: cannot choose {k} of {experts} experts; k is ≤ {experts}")
    units = f"f={size(hidden, 'hidden')}"

    @diagram("m -> m")
    def mixture_of_experts(x: Traced) -> Any:
        best, which = x >> linear(f"m -> e={experts}", "router", bias=False) >> topk("e", k, "j")
        gates = best >> softmax("j")
        if compute == "chosen":
            up, gate, down = (
                gather("e", f"pick_{name}")(parameter(axes, name)(x), which)
                for name, axes in (("W1", f"e {units} m"), ("W3", "e f m"), ("W2", "e m f"))
            )
            inside = [einsum("m, j f m -> j f", n)(x, w) for n, w in (("up", up), ("gate", gate))]
            return einsum("j, j f, j m f -> m", "mix")(gates, silu(inside[0]) * inside[1], down)
        every = einsum("j, j e -> e", "weights")(gates, which >> one_hot("e"))
        copies = x >> expand(f"e={experts}")
        up, gate = (linear(f"m -> {units}", name, bias=False, per="e")(copies) for name in ("W1", "W3"))
        answers = silu(up) * gate >> linear("f -> m", "W2", bias=False, per="e")
        return einsum("e, e m -> m", "mix")(every, answers)

    return mixture_of_experts
