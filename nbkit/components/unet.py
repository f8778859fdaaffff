"""The U-Net, twice: as a function that contains a smaller one of itself, and as two loops with a memory.

Axes: x positions (of rank 2), c channels. Both are the same network, with the same parameters.
"""

from __future__ import annotations

from typing import Any

from nbkit.components.basic import check_counts
from nbkit.components.convolution import conv, max_pool
from nbkit.components.upsampling import transposed_conv
from nbkit.language import Fn
from nbkit.language.decorator import diagram
from nbkit.language.functions import block, skip
from nbkit.language.palette import concat, elementwise
from nbkit.language.repetition import stages
from nbkit.language.trace import Traced


def double_conv(n: int | str, k: int = 3, activation: str = "relu") -> Fn:
    """Two convolutions, each with an activation behind it: g(★ g(★ x)).

    Axes: c channels, which become n, x positions.
    Source: Ronneberger, Fischer & Brox 2015, "U-Net" (arXiv 1505.04597), figure 1, with padding.

    >>> print(double_conv(64).on("c=1 x:2=32"))
    double_conv: R[c=1 x:2=32] -> R[c=64 x:2=32]
    """
    g = elementwise(activation)
    return block("double_conv", conv(n, k) >> g >> conv(n, k) >> g)


def unet(depth: int = 4, width: int = 64, classes: int = 2) -> Fn:
    """The U-Net, recursively: two convolutions around a skip over a smaller U-Net with twice the channels.

    U(n, 0) = double(n); U(n, d) = double(n) ∘ concat(id, up(n) ∘ U(2n, d - 1) ∘ pool) ∘ double(n)

    Axes: c channels (any number in, `width` · 2^level inside, `classes` out), x:2 the image, of a size that
    2^depth divides.
    Source: Ronneberger, Fischer & Brox 2015, "U-Net" (arXiv 1505.04597), figure 1, with padding.

    >>> d = unet().on("c=1 x:2")
    >>> print(d)
    unet: R[c=1 x:2] -> R[c=2 x:2]
    >>> d.cost().params
    31030658
    """
    check_counts("unet", 0, depth=depth)
    check_counts("unet", width=width, classes=classes)
    return block("unet", _level(width, depth) >> conv(classes, 1))


def _level(n: int, depth: int) -> Fn:
    if depth == 0:
        return double_conv(n)
    below = block("below", max_pool() >> _level(2 * n, depth - 1) >> transposed_conv(n))
    return double_conv(n) >> (skip, below) >> concat("c") >> double_conv(n)


def unet_stages(depth: int = 4, width: int = 64, classes: int = 2) -> Fn:
    """The U-Net as two loops: the way down saves C_λ at each level, the way up takes it from there.

    down, λ = 1 … depth: C_λ = double(c_λ)(z), z = pool(C_λ); then z = double(2c)(z); up, λ = depth … 1: z =
    double(c_λ)(concat(C_λ, up(c_λ)(z)))

    Axes: c channels (any number in, c_λ = `width` · 2^(λ - 1), `classes` out), x:2 the image, x_λ = x / 2^(λ
    - 1).
    Source: Ronneberger, Fischer & Brox 2015 (arXiv 1505.04597), figure 1, with padding; drawn as in Abbott
    2024, figure 27.

    >>> d = unet_stages().on("c=1 x:2")
    >>> print(d)
    unet: R[c=1 x:2] -> R[c=2 x:2]
    >>> d.cost().params
    31030658
    """
    check_counts("unet_stages", depth=depth, width=width, classes=classes)

    @diagram("c x -> c x")
    def unet(image: Traced) -> Any:
        size = image.type["x"].size
        levels = {size / 2**level: width * 2**level for level in range(depth)}  # channels, by size of image

        @diagram("c x -> c x, c x")
        def down(z: Traced) -> Any:
            saved = z >> double_conv(levels[z.type["x"].size])
            return saved >> max_pool(), saved

        @diagram("c x, c x -> c x")
        def up(z: Traced, saved: Traced) -> Any:
            n = levels[saved.type["x"].size]
            return concat("c")(saved, z >> transposed_conv(n)) >> double_conv(n)

        z, *memory = stages(down, depth)(image)
        z = z >> double_conv(width * 2**depth)
        return stages(up, depth, first=depth, down=True)(z, *reversed(memory)) >> conv(classes, 1)

    return unet
