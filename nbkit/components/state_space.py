"""Selective state spaces (Mamba): a linear recurrence whose matrices depend on what is read.

Axes: t positions, m features of the model, d channels inside, n states of a channel, r rank of the step
sizes, w the window of the causal convolution.
"""

from __future__ import annotations

from typing import Any

from nbkit.components.basic import check_counts, normalisation, residual
from nbkit.language import Fn
from nbkit.language.decorator import diagram
from nbkit.language.functions import block
from nbkit.language.palette import constant, einsum, elementwise, exp, linear, parameter, silu, window
from nbkit.language.repetition import scan
from nbkit.language.trace import Traced


def state_space_cell() -> Fn:
    """One step of a state space: h' = exp(Δ A) ⊙ h + Δ B x, y[d] = Σ_n C[n] · h'[d, n] + D[d] · x[d].

    Axes: d channels, n states of a channel. It takes the state, the step size Δ, B, x and C.
    A = -exp(a) is negative, so that states decay; it is -1 at first (in Mamba's code, -(n + 1)).
    Source: Gu & Dao 2023, "Mamba" (arXiv 2312.00752), equations 2 and 4, B discretised by Euler's rule as in
    its code.

    >>> print(state_space_cell().on("d n, d, n, d, n"))
    state_space_cell: R[d n], R[d], R[n], R[d], R[n] -> R[d n], R[d]
    """

    @diagram("d n, d, n, d, n -> d n, d")
    def state_space_cell(state: Traced, step: Traced, b: Traced, x: Traced, c: Traced) -> Any:
        rate = x >> parameter("d n", "a", init="zeros") >> exp >> elementwise("neg")
        decay = einsum("d, d n -> d n", "discretise_A")(step, rate) >> exp
        state = state * decay + einsum("d, n, d -> d n", "discretise_B")(step, b, x)
        return state, einsum("d n, n -> d", "read")(state, c) + x * parameter("d", "D", init="ones")(x)

    return state_space_cell


def selective_scan(states: int = 16, rank: int | str = "ceiling(d/16)") -> Fn:
    """A selective state space: the step Δ, what enters (B) and what is read (C) depend on the sequence.

    Δ = softplus(W_Δ x), B = W_B x, C = W_C x; h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t x_t, y_t = C_t h_t + D x_t

    Axes: t positions, d channels, n `states` of each channel, r `rank` of W_Δ.
    Source: Gu & Dao 2023, "Mamba" (arXiv 2312.00752), algorithm 2 and section 3.6.

    >>> print(selective_scan(16).on("t d=64"))
    selective_scan: R[t d=64] -> R[t d=64]
    """
    check_counts("selective_scan", states=states)

    @diagram("t d -> t d")
    def selective_scan(x: Traced) -> Any:
        step = x >> linear(f"d -> r={rank}", "compress", bias=False) >> linear("r -> d", "step")
        step = step >> elementwise("softplus")
        b = linear(f"d -> n={states}", "B", bias=False)(x)
        c = linear(f"d -> n={states}", "C", bias=False)(x)
        zero = constant(0, f"d n={states}", "zero")(x)
        _, y = scan(state_space_cell(), "t")(zero, step, b, x, c)
        return y

    return selective_scan


def mamba(expand: int = 2, states: int = 16, kernel: int = 4, rank: int | str = "ceiling(m/16)") -> Fn:
    """A Mamba block: a short causal convolution and a selective state space, gated.

    u = silu(conv(W_in x)), y = selective_scan(u) ⊙ silu(W_z x), out = W_out y

    Axes: t positions, m features, d = `expand` · m channels, n `states`, w `kernel` positions into the past.
    Source: Gu & Dao 2023, "Mamba" (arXiv 2312.00752), figure 3.

    >>> print(mamba().on("t m=64"))
    mamba: R[t m=64] -> R[t m=64]
    """
    check_counts("mamba", expand=expand, states=states, kernel=kernel)

    @diagram("t m -> t m")
    def mamba(x: Traced) -> Any:
        u = linear(f"m -> d={expand}*m", "W_in", bias=False)(x)
        gate = linear("m -> d", "W_z", bias=False)(x) >> silu
        u = u >> causal_conv(kernel, channels="d") >> silu
        y = u >> selective_scan(states, rank)
        return y * gate >> linear("d -> m", "W_out", bias=False)

    return mamba


def causal_conv(k: int = 4, *, axis: str = "t", channels: str = "c") -> Fn:
    """A depthwise convolution that sees the past alone: y[t, c] = Σ_j W[c, j] · x[t - k + 1 + j, c] + b[c].

    Axes: t positions (`axis`), c channels (`channels`), w the window.
    Source: van den Oord et al. 2016, "WaveNet" (arXiv 1609.03499), section 2.1; depthwise as in Mamba.

    >>> print(causal_conv(4).on("t c=8"))
    causal_conv: R[t c=8] -> R[t c=8]
    """
    return block("causal_conv", window(axis, k, padding=f"{k - 1},0") >> linear("w ->", per=channels))


def mamba_block(expand: int = 2, states: int = 16, kernel: int = 4) -> Fn:
    """A residual around a normalised Mamba block: x + mamba(norm x).

    Axes and settings are those of `mamba`.
    Source: Gu & Dao 2023, "Mamba" (arXiv 2312.00752), section 3.4.

    >>> print((mamba_block() ** 4).on("t m=64"))
    diagram: R[t m=64] -> R[t m=64]
    """
    return block("mamba_block", residual(normalisation("rms") >> mamba(expand, states, kernel)))
