"""Pullbacks by explicit formula: what generated backward passes call. Nothing here asks autograd.

Derivatives are those that torch uses, also where a function has a corner (relu at 0 has slope 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def _gelu(x: Tensor) -> Tensor:
    density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * density


def _gelu_tanh(x: Tensor) -> Tensor:
    c = math.sqrt(2 / math.pi)
    t = torch.tanh(c * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)


def _silu(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


def _mish(x: Tensor) -> Tensor:
    t = torch.tanh(torch.nn.functional.softplus(x))
    return t + x * (1 - t * t) * torch.sigmoid(x)


def _hardswish(x: Tensor) -> Tensor:
    inner = torch.where(x <= 3, x / 3 + 0.5, torch.ones_like(x))
    return torch.where(x < -3, torch.zeros_like(x), inner)


# Of the result y where the language says so (`ops.pullback.BY_RESULT`), else of the argument x.
SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda y: (y > 0).to(y.dtype),
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: y * (1 - y),
    "exp": lambda y: y,
    "sqrt": lambda y: 0.5 / y,
    "reciprocal": lambda y: -y * y,
    "rsqrt": lambda y: -0.5 * y**3,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "square": lambda x: 2 * x,
    "abs": torch.sign,
    "neg": lambda x: -torch.ones_like(x),
    "sign": torch.zeros_like,
    "sin": torch.cos,
    "cos": lambda x: -torch.sin(x),
    "log": torch.reciprocal,
    "log1p": lambda x: 1 / (1 + x),
    "softplus": lambda x: torch.where(x > 20, torch.ones_like(x), torch.sigmoid(x)),
    "elu": lambda x: torch.where(x > 0, torch.ones_like(x), torch.exp(x)),
    "leaky_relu": lambda x: torch.where(x > 0, 1.0, 0.01).to(x.dtype),
    "relu6": lambda x: ((x > 0) & (x < 6)).to(x.dtype),
    "hardswish": _hardswish,
    "mish": _mish,
    "erf": lambda x: 2 / math.sqrt(math.pi) * torch.exp(-x * x),
}


def slope(function: str, value: Tensor) -> Tensor:
    """f′ at every element, from the result or from the argument."""
    return SLOPES[function](value)


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
    word.__name__: word for word in (slope, softmax_pullback, norm_pullback, reduce_pullback, where_pullback)
}
