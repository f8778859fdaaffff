"""Pullbacks by explicit formula: what generated backward passes call. Nothing here asks autograd.

Derivatives are those that torch uses, also where a function has a corner (relu at 0 has slope 0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def gelu_slope(x: Tensor) -> Tensor:
    """Φ(x) + x φ(x)."""
    density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * density


def gelu_tanh_slope(x: Tensor) -> Tensor:
    """The slope of GELU's approximation by tanh."""
    c = math.sqrt(2 / math.pi)
    t = torch.tanh(c * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)


def silu_slope(x: Tensor) -> Tensor:
    """The slope of x σ(x)."""
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


def mish_slope(x: Tensor) -> Tensor:
    """The slope of x tanh(softplus(x))."""
    t = torch.tanh(torch.nn.functional.softplus(x))
    return t + x * (1 - t * t) * torch.sigmoid(x)


def hardswish_slope(x: Tensor) -> Tensor:
    """The slope of x relu6(x + 3) / 6."""
    inner = torch.where(x <= 3, x / 3 + 0.5, 1.0)
    return torch.where(x < -3, 0.0, inner)


def softmax_pullback(p: Tensor, dy: Tensor, places: Sequence[int]) -> Tensor:
    """Softmax: p ⊙ (dy − Σ p dy), the sum over these dimensions."""
    return p * (dy - (p * dy).sum(tuple(places), keepdim=True))


def norm_pullback(how: str, x: Tensor, dy: Tensor, places: Sequence[int], eps: float) -> Tensor:
    """The gradient at the argument of a normalisation without weights.

    `places` are the dimensions of one group (layer, RMS), or those that are not averaged over (batch).
    """
    if how == "batch":
        kept = {place % x.dim() for place in places}
        places = [i for i in range(x.dim()) if i not in kept]
    over = tuple(places)
    centred = x if how == "rms" else x - x.mean(over, keepdim=True)
    r = torch.rsqrt((centred * centred).mean(over, keepdim=True) + eps)
    normed = centred * r
    inner = dy - normed * (dy * normed).mean(over, keepdim=True)
    return r * (inner if how == "rms" else inner - dy.mean(over, keepdim=True))


def reduce_pullback(how: str, x: Tensor, dy: Tensor) -> Tensor:
    """The gradient at the argument of a reduction over the last dimension."""
    dy = dy.unsqueeze(-1)
    if how == "prod":  # the product of all others, right also where one of them is 0
        ones = torch.ones_like(x[..., :1])
        before = torch.cat((ones, x[..., :-1]), -1).cumprod(-1)
        after = torch.cat((x[..., 1:], ones), -1).flip(-1).cumprod(-1).flip(-1)
        return dy * before * after
    first = (x.max(-1) if how == "max" else x.min(-1)).indices.unsqueeze(-1)
    return torch.zeros_like(x).scatter(-1, first, dy.expand_as(first))


def where_pullback(x: Tensor, y: Tensor, dy: Tensor) -> Tensor:
    """The gradient dy where x = y, else 0."""
    return torch.where(x == y, dy, torch.zeros_like(dy))


WORDS: dict[str, object] = {
    word.__name__: word
    for word in (
        gelu_slope, gelu_tanh_slope, hardswish_slope, mish_slope, norm_pullback, reduce_pullback, silu_slope,
        softmax_pullback, where_pullback,
    )
}  # fmt: skip
