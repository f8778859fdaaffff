"""Larger images from smaller ones: transposed convolutions and nearest up-sampling.

Axes: x positions of any rank, c channels, w positions in a window.
"""

from __future__ import annotations

from nbkit.components.basic import check_counts, size
from nbkit.language import Fn
from nbkit.language.functions import block, skip
from nbkit.language.palette import expand, fold, linear, merge, parameter


def transposed_conv(
    n: int | str,
    k: int = 2,
    stride: int = 2,
    *,
    dilation: int = 1,
    padding: int | str = "same",
    extra: int = 0,
    bias: bool = True,
    axis: str = "x",
    channels: str = "c",
    rank: int = 2,
) -> Fn:
    """A transposed convolution to n channels: y[s·i + d·j - p, n] += Σ_c W[j, n, c] · x[i, c], then + b[n].

    Axes: x positions (`axis`, of `rank` 1, 2 or 3), c channels (`channels`), w the window. k window size, s
    `stride`, d `dilation`, p `padding`: "same" gives s·x positions, a number crops both ends, and `extra`
    elements are added at the end (torch's output_padding). Each element becomes a window, and windows that
    overlap are added up: the adjoint of `conv`.
    Source: Dumoulin & Visin 2016, "A guide to convolution arithmetic" (arXiv 1603.07285), chapter 4; drawn as
    in Abbott 2024, figure 25. It is `torch.nn.ConvTranspose1d` … `ConvTranspose3d`.

    >>> print(transposed_conv(32).on("c=64 x:2=16"))
    transposed_conv: R[c=64 x:2=16] -> R[c=32 x:2=32]
    >>> print(transposed_conv(32, 4, 2, padding=1, rank=1).on("c=64 x=16"))
    transposed_conv: R[c=64 x=16] -> R[c=32 x=32]
    """
    check_counts("transposed_conv", k=k, stride=stride, rank=rank)
    window = f"w:{rank}={k}" if rank > 1 else f"w={k}"
    spread: Fn = linear(f"{channels} -> {window} {channels}={size(n, 'n')}", "spread", bias=False)
    spread >>= fold(axis, "w", stride, dilation=dilation, padding=padding, extra=extra)
    if bias:
        spread >>= skip + parameter(channels, "b", init="zeros")
    return block("transposed_conv", spread)


def upsample(factor: int = 2, *, axis: str = "x", rank: int = 2) -> Fn:
    """Nearest-neighbour up-sampling: y[i] = x[floor(i / factor)], every element repeated.

    Axes: x positions (`axis`, of `rank` 1, 2 or 3), w the new axis, along which nothing changes (its wire
    begins at a dot) and which is merged into x.
    Source: Odena, Dumoulin & Olah 2016, "Deconvolution and Checkerboard Artifacts". It is
    `torch.nn.Upsample`.

    >>> print(upsample(2).on("c=64 x:2=16"))
    upsample: R[c=64 x:2=16] -> R[c=64 x:2=32]
    """
    check_counts("upsample", factor=factor, rank=rank)
    window = f"w:{rank}={factor}" if rank > 1 else f"w={factor}"
    return block("upsample", expand(window) >> merge(f"{axis} w -> {axis}"))
