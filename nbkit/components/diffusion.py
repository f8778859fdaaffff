"""The U-Net of a diffusion model: residual blocks that are told the time, attention at the lowest level.

Axes: c channels, x:2 the image, m features of the time, j frequencies, g groups of channels, h heads of k
features.
"""

from __future__ import annotations

from typing import Any

from nbkit.components.basic import check_counts, residual
from nbkit.components.convolution import conv
from nbkit.components.seq2seq import frequencies
from nbkit.components.transformer import self_attention
from nbkit.components.upsampling import upsample
from nbkit.language import Fn, ParseError
from nbkit.language.decorator import diagram
from nbkit.language.functions import block, skip
from nbkit.language.palette import cast, concat, elementwise, expand, linear, merge, norm, silu, split
from nbkit.language.sizes import is_count
from nbkit.language.trace import Traced


def group_norm(groups: int = 8, *, channels: str = "c", axis: str = "x", eps: float = 1e-5) -> Fn:
    """Normalisation within groups of channels: (in - E) / √(Var + ε) · w[c] + b[c], E and Var per group.

    Axes: c channels (`channels`), split into g `groups`, which the statistics are per; x positions (`axis`).
    Source: Wu & He 2018, "Group Normalization" (arXiv 1803.08494), equations 1 and 7. It is
    `torch.nn.GroupNorm`.

    >>> print(group_norm(8).on("c=64 x:2=16"))
    group_norm: R[c=64 x:2=16] -> R[c=64 x:2=16]
    """
    inside = norm(f"{channels} {axis}", per=f"g {channels}", eps=eps)
    parts = split(f"{channels} -> g={groups} {channels}") >> inside >> merge(f"g {channels} -> {channels}")
    return block("group_norm", parts)


def time_embedding(features: int = 64) -> Fn:
    """A time as a vector: W₂ silu(W₁ [sin(t ω_j), cos(t ω_j)]), sines and cosines and two linear maps.

    Axes: t is one index (a step of the diffusion), j features / 2 frequencies, m `features`.
    Source: Ho, Jain & Abbeel 2020, "Denoising Diffusion Probabilistic Models" (arXiv 2006.11239), appendix B;
    the waves are those of Vaswani et al. 2017 (arXiv 1706.03762), section 3.5.

    >>> print(time_embedding(64).on("N(1000)[]"))
    time_embedding: N(1000)[] -> R[m=64]
    """
    if not is_count(features) or features < 2 or features % 2:
        raise ParseError(f"time_embedding: features must be an even number, found {str(features)[:40]}")

    @diagram(" -> m")
    def time_embedding(time: Traced) -> Any:
        moment = time >> cast("R") >> expand(f"j={features // 2}")
        angle = moment * frequencies("j")(moment)
        waves = concat("j")(*(angle >> elementwise(wave) for wave in ("sin", "cos")))
        return waves >> linear(f"j -> m={features}", "W1") >> silu >> linear(f"m -> m={features}", "W2")

    return time_embedding


def timed_block(n_in: int, n_out: int, groups: int = 8) -> Fn:
    """A residual block that is told the time: x + ★(a(★(a(x)) + W τ)), a = group norm and SiLU.

    Axes: c channels (n_in to n_out), x positions, m features of the time τ, which is added to every position.
    Where the number of channels changes, the skip is a 1² convolution.
    Source: Ho et al. 2020 (arXiv 2006.11239), appendix B.

    >>> print(timed_block(32, 64).on("c=32 x:2=16, m=64"))
    timed_block: R[c=32 x:2=16], R[m=64] -> R[c=64 x:2=16]
    """
    first = group_norm(groups) >> silu >> conv(n_out)
    second = group_norm(groups) >> silu >> conv(n_out)
    past = skip if n_in == n_out else conv(n_out, 1)

    @diagram("c x, m -> c x")
    def timed_block(x: Traced, time: Traced) -> Any:
        told = (x >> first) + (time >> silu >> linear(f"m -> c={n_out}", "tell"))
        return (x >> past) + (told >> second)

    return timed_block


def diffusion_unet(
    depth: int = 2,
    width: int = 32,
    features: int = 64,
    channels: int = 1,
    *,
    heads: int = 1,
    groups: int = 8,
) -> Fn:
    """The network of a diffusion model: a noisy image and a time in, the noise in it out.

    U(n, 0) = timed ∘ (id + attention) ∘ timed; U(n, d) = timed(n) ∘ concat(id, up ∘ U(2n, d - 1) ∘ down) ∘
    timed(n)

    Axes: c `channels` of the image (`width` · 2^level inside), x:2 the image, of a size that 2^depth divides;
    the time is one index. `features`: m, of the embedded time. Down is a convolution of stride 2, up is
    nearest up-sampling and a convolution; attention, with `heads` heads, is at the lowest level only.
    Source: Ho, Jain & Abbeel 2020, "Denoising Diffusion Probabilistic Models" (arXiv 2006.11239), appendix B,
    with one residual block where it has two.

    >>> print(diffusion_unet().on("c=1 x:2=32, N(1000)[]"))
    diffusion_unet: R[c=1 x:2=32], N(1000)[] -> R[c=1 x:2=32]
    """
    check_counts("diffusion_unet", 0, depth=depth)
    check_counts("diffusion_unet", width=width, channels=channels, heads=heads, groups=groups)

    def level(n_in: int, n: int, deep: int) -> Fn:
        """One level with the way down to the next inside it: from n_in channels to n."""

        @diagram("c x, m -> c x")
        def below(x: Traced, time: Traced) -> Any:
            z = level(n, 2 * n, deep - 1)(x >> conv(n, 3, 2), time)
            return z >> upsample() >> conv(n)

        @diagram("c x, m -> c x")
        def bottom(x: Traced, time: Traced) -> Any:
            attend = residual(group_norm(groups) >> image_attention(heads))
            return timed_block(n, n, groups)(timed_block(n_in, n, groups)(x, time) >> attend, time)

        @diagram("c x, m -> c x")
        def level_(x: Traced, time: Traced) -> Any:
            x = timed_block(n_in, n, groups)(x, time)
            both = concat("c")(x, below(x, time))
            return timed_block(2 * n, n, groups)(both, time)

        return level_ if deep else bottom

    @diagram("c x, -> c x")
    def diffusion_unet(image: Traced, time: Traced) -> Any:
        told = time_embedding(features)(time)
        z = level(width, width, depth)(image >> conv(width), told)
        return z >> group_norm(groups) >> silu >> conv(channels)

    return diffusion_unet


def image_attention(heads: int = 1) -> Fn:
    """Multi-head attention of an image's places to each other, whose features are the channels.

    Axes: c channels, x places.
    Source: Ho et al. 2020 (arXiv 2006.11239), appendix B; Zhang et al. 2019 (arXiv 1805.08318).

    >>> print(image_attention(4).on("c=64 x:2=8"))
    image_attention: R[c=64 x:2=8] -> R[c=64 x:2=8]
    """

    @diagram("c x -> c x")
    def image_attention(image: Traced) -> Any:
        features = image.rename(c="m")
        return (features >> self_attention(heads)).rename(m="c")

    return image_attention
