"""Convolutions, pools and residual networks.

Axes: x positions of any rank ("x" a sequence, "x:2" an image, "x:3" a volume), c channels, w positions in a
window. A convolution is a window followed by a linear map of window and channels; every other axis is woven
around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from nbkit.components.basic import check_counts, residual, size
from nbkit.language import Fn, ParseError
from nbkit.language.functions import block
from nbkit.language.palette import (
    batch_norm,
    elementwise,
    linear,
    maximum,
    mean,
    merge,
    norm,
    rms_norm,
    split,
    window,
)


def conv(
    n: int | str,
    k: int = 3,
    stride: int = 1,
    *,
    dilation: int = 1,
    padding: int | str = "same",
    groups: int = 1,
    bias: bool = True,
    axis: str = "x",
    channels: str = "c",
) -> Fn:
    """A convolution to n channels: y[i, n] = Σ_{j, c} W[n, j, c] · x[s·i + d·j - p, c] + b[n].

    Axes: x positions (`axis`, of rank 1, 2 or 3), c channels (`channels`), n a number or a size such as
    "2*c". k window size, s `stride`, d
    `dilation`, p `padding`: "same" gives x / s positions and needs divisibility, a number is elements at both
    ends. With `groups`, channels are split into g groups that do not see each other.
    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition"; Abbott 2024, section
    3.3, figures 23 to 25. It is `torch.nn.Conv1d` … `Conv3d`.

    >>> print(conv(64, 3, stride=2).on("c=3 x:2=32"))
    conv: R[c=3 x:2=32] -> R[c=64 x:2=16]
    """
    check_counts("conv", groups=groups, **({} if isinstance(n, str) else {"n": n}))
    slide = window(axis, k, stride, dilation=dilation, padding=padding)
    c = channels
    if groups == 1:
        return block("conv", slide >> linear(f"w {c} -> {c}={size(n, 'n')}", bias=bias))
    if isinstance(n, str) or n % groups:
        raise ParseError(f"conv: {groups} groups cannot share {n} channels equally; choose a divisor of {n}")
    each = linear(f"w {c} -> {c}={n // groups}", bias=bias, per="g")
    return block("conv", split(f"{c} -> g={groups} {c}") >> slide >> each >> merge(f"g {c} -> {c}"))


def depthwise_conv(
    k: int = 3,
    stride: int = 1,
    *,
    dilation: int = 1,
    padding: int | str = "same",
    bias: bool = True,
    axis: str = "x",
    channels: str = "c",
) -> Fn:
    """A convolution of each channel by itself: y[i, c] = Σ_j W[c, j] · x[s·i + d·j - p, c] + b[c].

    Axes and settings are those of `conv`; the channels are woven, not consumed.
    Source: Chollet 2017, "Xception" (arXiv 1610.02357), section 1.

    >>> print(depthwise_conv(7).on("c=96 x:2=56"))
    depthwise_conv: R[c=96 x:2=56] -> R[c=96 x:2=56]
    """
    slide = window(axis, k, stride, dilation=dilation, padding=padding)
    return block("depthwise_conv", slide >> linear("w ->", bias=bias, per=channels))


def max_pool(k: int = 2, stride: int | None = None, *, padding: int | str = "same", axis: str = "x") -> Fn:
    """The maximum of each window: y[i] = max_j x[s·i + j - p].

    Axes: x positions (`axis`). k window size, s `stride` (k if not given), p `padding` with -∞.
    Source: Ranzato et al. 2007, "Unsupervised learning of invariant feature hierarchies". It is
    `torch.nn.MaxPool2d`.

    >>> print(max_pool(2).on("c=64 x:2=32"))
    max_pool: R[c=64 x:2=32] -> R[c=64 x:2=16]
    """
    step = k if stride is None else stride
    return block("max_pool", window(axis, k, step, padding=padding, fill="-inf") >> maximum("w"))


def avg_pool(k: int = 2, stride: int | None = None, *, padding: int | str = "same", axis: str = "x") -> Fn:
    """The mean of each window: y[i] = Σ_j x[s·i + j - p] / k, zeros outside counted.

    Axes: x positions (`axis`). k window size, s `stride` (k if not given), p `padding`.
    Source: LeCun et al. 1998 (sub-sampling layers). It is `torch.nn.AvgPool2d`.

    >>> print(avg_pool(2).on("c=64 x:2=32"))
    avg_pool: R[c=64 x:2=32] -> R[c=64 x:2=16]
    """
    return block("avg_pool", window(axis, k, k if stride is None else stride, padding=padding) >> mean("w"))


def global_average_pool(axis: str = "x") -> Fn:
    """The mean over all positions: y[c] = Σ_x in[c, x] / |x|.

    Axes: x positions (`axis`), which end.
    Source: Lin, Chen & Yan 2014, "Network in network" (arXiv 1312.4400), section 3.2.

    >>> print(global_average_pool().on("c=512 x:2=7"))
    diagram: R[c=512 x:2=7] -> R[c=512]
    """
    return mean(axis)


def norm_activate(
    kind: str = "batch", activation: str = "relu", *, channels: str = "c", batch: str = ""
) -> Fn:
    """Normalisation, then a scalar function: g(norm x).

    Axes: c channels (`channels`). `kind`: "batch" (statistics per channel over everything else; `batch` names
    the batch axis if it is to be drawn), "layer" or "rms" (over the channels).
    Source: Ioffe & Szegedy 2015 (arXiv 1502.03167); order as in He et al. 2016 (arXiv 1603.05027), figure 1b.

    >>> print(norm_activate().on("b c=64 x:2"))
    norm_activate: R[b c=64 x:2] -> R[b c=64 x:2]
    """
    norms = {
        "batch": lambda: batch_norm(channels, batch),
        "layer": lambda: norm(channels),
        "rms": lambda: rms_norm(channels),
    }
    if kind not in norms:
        raise ParseError(f"norm_activate knows 'batch', 'layer' and 'rms', not {kind!r}")
    return block("norm_activate", norms[kind]() >> elementwise(activation))


def resnet_block(n_in: int, n_out: int, stride: int = 1, *, shrink: int = 4, batch: str = "") -> Fn:
    """The bottleneck of an identity ResNet: x + 1²conv(a(3²conv(a(1²conv(a(x)))))), a = batch norm and ReLU.

    Axes: c channels (n_in to n_out, n_out / `shrink` inside), x positions, b batch if `batch` names it. The
    stride is in the first convolution; where channels or positions change, the skip is a 1² convolution with
    that stride.
    Source: He et al. 2016, "Identity Mappings in Deep Residual Networks" (arXiv 1603.05027), figure 1b and
    section 4; bottleneck as in arXiv 1512.03385, figure 5; drawn as in Abbott 2024, figure 26.

    >>> print(resnet_block(64, 256, 2).on("c=64 x:2=32"))
    resnet_block: R[c=64 x:2=32] -> R[c=256 x:2=16]
    """
    check_counts("resnet_block", n_in=n_in, n_out=n_out, stride=stride, shrink=shrink)
    if n_out % shrink:
        raise ParseError(f"resnet_block: shrink={shrink} does not divide n_out={n_out}; choose a divisor")
    inside = n_out // shrink
    body = (
        norm_activate(batch=batch)
        >> conv(inside, 1, stride)
        >> norm_activate(batch=batch)
        >> conv(inside, 3)
        >> norm_activate(batch=batch)
        >> conv(n_out, 1)
    )
    return block("resnet_block", _shortcut(body, n_in, n_out, stride))


def basic_block(n_in: int, n_out: int, stride: int = 1, *, batch: str = "") -> Fn:
    """The two-convolution block of an identity ResNet: x + 3²conv(a(3²conv(a(x)))), a = batch norm and ReLU.

    Axes and settings are those of `resnet_block`.
    Source: He et al. 2016 (arXiv 1603.05027), figure 1b.

    >>> print(basic_block(64, 128, 2).on("c=64 x:2=32"))
    basic_block: R[c=64 x:2=32] -> R[c=128 x:2=16]
    """
    check_counts("basic_block", n_in=n_in, n_out=n_out, stride=stride)
    body = (
        norm_activate(batch=batch) >> conv(n_out, 3, stride) >> norm_activate(batch=batch) >> conv(n_out, 3)
    )
    return block("basic_block", _shortcut(body, n_in, n_out, stride))


def _shortcut(body: Fn, n_in: int, n_out: int, stride: int) -> Fn:
    return residual(body) if (n_in, stride) == (n_out, 1) else body + conv(n_out, 1, stride)


def resnet(
    depths: Sequence[int] = (2, 2, 2, 2), width: int = 64, classes: int = 10, *, bottleneck: bool = False
) -> Fn:
    """An identity ResNet: 3² convolution, stages of blocks that halve the image and double the channels,
    mean, linear.

    Axes: c channels, x:2 image, o classes. `depths`: blocks in each stage; `width`: channels of the first
    stage (four times as many with `bottleneck`). (2, 2, 2, 2) is ResNet-18, bottleneck (3, 4, 6, 3) is
    ResNet-50, with the stem for small images.
    Source: He et al. 2016 (arXiv 1603.05027), section 4 and appendix.

    >>> print(resnet((1, 1), width=16).on("c=3 x:2=32"))
    resnet: R[c=3 x:2=32] -> R[o=10]
    """
    check_counts("resnet", width=width, classes=classes)
    make, grow = (resnet_block, 4) if bottleneck else (basic_block, 1)
    network: Fn = conv(width, 3)
    now = width
    for stage, depth in enumerate(depths):
        check_counts("resnet", depth=depth)
        then = width * grow * 2**stage
        network >>= make(now, then, 2 if stage else 1)
        if depth > 1:
            network >>= make(then, then) ** (depth - 1)
        now = then
    return block("resnet", network >> norm_activate() >> global_average_pool() >> linear(f"c -> o={classes}"))


def identity_resnet(
    n: int = 3, widths: Sequence[int] = (16, 64, 128, 256), classes: int = 10, *, batch: str = ""
) -> Fn:
    """An identity ResNet of bottlenecks: 3² convolution, three stages of n blocks, mean, linear.

    A stage is one block that changes the channels (and halves the image, but for the first stage), then n - 1
    blocks that change neither.

    Axes: c channels, `widths` of them at first and after each stage, x:2 image, o classes, b batch if `batch`
    names it.
    Source: He et al. 2016 (arXiv 1603.05027), appendix (n = 18 is ResNet-164); drawn as in Abbott 2024,
    figure 26.

    >>> d = identity_resnet(batch="b").on("b c=3 x:2=32")
    >>> print(d)
    identity_resnet: R[b c=3 x:2=32] -> R[b o=10]
    """
    check_counts("identity_resnet", n=n, classes=classes)
    network: Fn = conv(widths[0], 3)
    for stage, (before, after) in enumerate(pairwise(widths)):
        inside: Fn = resnet_block(before, after, 2 if stage else 1, batch=batch)
        if n > 1:
            inside >>= resnet_block(after, after, batch=batch) ** (n - 1)
        network >>= block("stage", inside)
    head = norm_activate(batch=batch) >> global_average_pool() >> linear(f"c -> o={classes}")
    return block("identity_resnet", network >> head)
