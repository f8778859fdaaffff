"""Single operations of torch as small modules: the diagram computes the same, and nothing is opaque."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import nbkit as nk


class Function(nn.Module):
    """A function of one tensor as a module."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


X = (2, 4, 6)
TRIANGLE = torch.ones(4, 4).triu(1).bool()
MASK = torch.tensor([[True, False, True, True, False, True]] * 4).tril_()
FUNCTIONS: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Any]]] = {
    "add a number": (X, lambda x: x + 1.5),
    "subtract from a number": (X, lambda x: 1 - x),
    "divide": (X, lambda x: x / 3),
    "divide a number": (X, lambda x: 2 / (x + 5)),
    "divide arrays": (X, lambda x: x / (1 + x.abs()).sum(-1, keepdim=True)),
    "outer sum": (X, lambda x: x.mean(1)[:, None, :] + x.mean(2)[:, :, None]),
    "outer product": (X, lambda x: x.mean(1)[:, None, :] * x.mean(2)[:, :, None]),
    "pow": (X, lambda x: x**2 + x**3),
    "functions": (X, lambda x: torch.sin(x) + torch.cos(x).exp() + torch.tanh(x) - torch.sigmoid(x)),
    "activations": (X, lambda x: F.silu(x) + F.gelu(x) + F.gelu(x, approximate="tanh") + F.softplus(x)),
    "more activations": (X, lambda x: F.elu(x) + F.leaky_relu(x) + F.relu6(x) + F.hardswish(x) + F.mish(x)),
    "roots": (X, lambda x: torch.sqrt(x.abs() + 1) + torch.rsqrt(x.abs() + 1) + torch.log(x.abs() + 1)),
    "softmax": (X, lambda x: x.softmax(-1) + x.softmax(1)),
    "reductions": (X, lambda x: x.sum(-1) + x.mean(-1) + x.amax(-1) + x.logsumexp(-1)),
    "whole sums": (X, lambda x: x.sum((1, 2)) + x.mean((1, 2))),
    "transpose": (X, lambda x: x.transpose(1, 2) @ x),
    "itself twice": (X, lambda x: x @ x.transpose(1, 2) + x.mean(-1, keepdim=True)),
    "itself and its transpose": ((2, 4, 4), lambda x: x + x.transpose(1, 2)),
    "view": (X, lambda x: x.reshape(2, 2, 2, 6).permute(0, 2, 1, 3).reshape(2, 4, 6)),
    "awkward view": (X, lambda x: x.reshape(2, 3, 8)),
    "flatten": (X, lambda x: x.flatten(1)),
    "slices": (X, lambda x: x[:, 1:3, :2] + x[:, -2:, -2:]),
    "select": (X, lambda x: x[:, 0] * x[:, -1]),
    "chunks": (X, lambda x: x.chunk(2, -1)[0] * x.chunk(2, -1)[1].sigmoid()),
    "unbind": (X, lambda x: sum(x.unbind(1))),
    "cat": (X, lambda x: torch.cat([x, 2 * x, x[:, :, :1]], -1)),
    "cat of positions": (X, lambda x: torch.cat([x[:, :1], x], 1)),
    "stack": (X, lambda x: torch.stack([x, x + 1], 1)),
    "unsqueeze": (X, lambda x: x.unsqueeze(1).squeeze(1) + x.unsqueeze(-1).sum(-1)),
    "expand": (X, lambda x: x[:, :1].expand(-1, 4, -1) + x),
    "repeat": (X, lambda x: x.repeat(1, 2, 1)),
    "einsum": (X, lambda x: torch.einsum("bij,bkj->bik", x, x)),
    "bmm": (X, lambda x: torch.bmm(x, x.transpose(1, 2))),
    "masked fill": (X, lambda x: x.masked_fill(~MASK, float("-inf")).softmax(-1)),
    "causal": ((2, 4, 4), lambda x: x.masked_fill(TRIANGLE, float("-inf")).softmax(-1)),
    "band": ((2, 5, 5), lambda x: torch.where(torch.ones(5, 5).tril(1).triu(-1).bool(), x, 0.0)),
    "added mask": ((2, 4, 4), lambda x: (x + torch.full((4, 4), float("-inf")).triu(1)).softmax(-1)),
    "constants": (X, lambda x: x * torch.arange(6.0) + torch.linspace(0, 1, 4)[:, None]),
    "one row": ((2, 1, 6), lambda x: x + x.mean(-1, keepdim=True)),
    "layer norm": (X, lambda x: F.layer_norm(x, (6,))),
    "rms norm": (X, lambda x: F.rms_norm(x, (6,))),
    "rms norm written out": (X, lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    "pad": (X, lambda x: F.pad(x, (1, 2))),
    "attention": (X, lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True)),
    "shared heads": (
        (2, 4, 6),
        lambda x: F.scaled_dot_product_attention(
            x.reshape(2, 4, 6, 1), x.reshape(2, 4, 6, 1)[:, :2], x.reshape(2, 4, 6, 1)[:, 2:], enable_gqa=True
        ),
    ),
    "pixel shuffle": ((2, 4, 3, 3), lambda x: F.pixel_shuffle(x, 2)),
    "pixel unshuffle": ((2, 3, 4, 4), lambda x: F.pixel_unshuffle(x, 2)),
    "average pool": ((2, 3, 8, 8), lambda x: F.avg_pool2d(x, 2) + F.max_pool2d(x, 2)),
    "adaptive pool": ((2, 3, 8, 8), lambda x: F.adaptive_avg_pool2d(x, 2)),
    "up-sampling": ((2, 3, 4, 4), lambda x: F.interpolate(x, scale_factor=2)),
    "hard sigmoid": (X, lambda x: F.hardsigmoid(3 * x)),
    "clamp": (X, lambda x: x.clamp(min=0.5) + x.clamp_min(-0.5)),
    "filled": (X, lambda x: x * torch.full_like(x, 3) + torch.zeros_like(x) + x.new_ones(6)),
    "log softmax": (X, lambda x: F.log_softmax(x, 1)),
    "unit length": (X, lambda x: F.normalize(x, dim=-1)),
    "gated": (X, F.glu),
    "every other": (X, lambda x: x[:, ::2] + x[:, 1::2]),
    "roll": (X, lambda x: torch.roll(x, (1, -2), (1, 2))),
    "in place": (X, lambda x: (x + 1).relu_().mul_(2).add_(x)),
    "two results": (X, lambda x: (x + 1, x.sum(-1))),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    shape, function = FUNCTIONS[name]
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    imported = nk.from_torch(Function(function), x)
    assert not imported.coverage.opaque
    wanted, found = function(x), imported.torch()(x)
    for mine, theirs in zip(*((r if isinstance(r, tuple) else (r,)) for r in (found, wanted)), strict=True):
        assert mine.shape == theirs.shape
        assert torch.allclose(mine, theirs, atol=1e-5), float((mine - theirs).abs().max())
    assert nk.Diagram.from_json(imported.json()) == imported.diagram


class _First(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(x)[0]
        return result


class _Both(_First):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(x, x * 2)
        return result


class _Twice(_First):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(self.inner(x))
        return result


class _ImageAttention(nn.Module):
    """As in diffusion U-Nets: over all pixels, heads in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.GroupNorm(4, 8), nn.Conv2d(8, 24, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b * 4, 3 * c // 4, h * w).split(c // 4, 1)
        weights = torch.einsum("bct,bcs->bts", q / 2**0.25, k / 2**0.25).softmax(-1)
        mixed = torch.einsum("bts,bcs->bct", weights, v).reshape(b, c, h, w)
        return x + self.out(mixed)


class _Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 6, 6))
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * torch.einsum("bi,oij,bj->bo", x, self.weight, x)


MODULES: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "linear": ((2, 4, 6), lambda: nn.Linear(6, 3)),
    "linear of one": ((2, 4, 1), lambda: nn.Linear(1, 1)),
    "conv1d": ((2, 6, 9), lambda: nn.Conv1d(6, 4, 3, 2, 1)),
    "conv2d": ((2, 6, 9, 8), lambda: nn.Conv2d(6, 4, (3, 1), (2, 1), (1, 0))),
    "conv2d dilated": ((2, 6, 9, 9), lambda: nn.Conv2d(6, 4, 3, dilation=2, padding=2)),
    "conv2d grouped": ((2, 6, 9, 9), lambda: nn.Conv2d(6, 4, 3, groups=2)),
    "conv2d depthwise": ((2, 6, 9, 9), lambda: nn.Conv2d(6, 6, 3, groups=6, padding=1)),
    "conv3d": ((2, 2, 5, 5, 5), lambda: nn.Conv3d(2, 3, 3)),
    "conv transpose 1d": ((2, 6, 5), lambda: nn.ConvTranspose1d(6, 4, 3, 2, 1)),
    "conv transpose 2d": ((2, 6, 5, 5), lambda: nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1)),
    "conv transpose grouped": ((2, 6, 5, 5), lambda: nn.ConvTranspose2d(6, 4, 2, 2, groups=2)),
    "group norm": ((2, 6, 4, 4), lambda: nn.GroupNorm(3, 6)),
    "instance norm": ((2, 6, 4, 4), lambda: nn.InstanceNorm2d(6, affine=True)),
    "batch norm": ((4, 6), lambda: nn.BatchNorm1d(6)),
    "layer norm of two": ((2, 4, 6), lambda: nn.LayerNorm((4, 6))),
    "layer norm without bias": ((2, 4, 6), lambda: nn.LayerNorm(6, bias=False)),
    "attention": ((4, 2, 6), lambda: nn.TransformerEncoderLayer(6, 2, 8)),
    "decoder": ((2, 4, 6), lambda: _Both(nn.TransformerDecoderLayer(6, 2, 8, batch_first=True))),
    "gru": ((4, 2, 6), lambda: _First(nn.GRU(6, 5, 2, bidirectional=True))),
    "rnn": ((2, 4, 6), lambda: _First(nn.RNN(6, 5, batch_first=True, bias=False))),
    "lstm": ((4, 6), lambda: _First(nn.LSTM(6, 5))),
    "image attention": ((2, 8, 4, 4), _ImageAttention),
    "perceptron": ((2, 6), lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))),
    "bilinear by hand": ((2, 6), _Bilinear),
    "twice the same": ((2, 6), lambda: _Twice(nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6), nn.Tanh()))),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_module(name: str) -> None:
    torch.manual_seed(2)
    shape, make = MODULES[name]
    module, x = make(), torch.randn(*shape)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn(p.shape))
    imported = nk.from_torch(module.eval(), x)
    assert not imported.coverage.opaque
    wanted, found = module(x), imported.torch()(x)
    assert found.shape == wanted.shape
    assert torch.allclose(found, wanted, atol=1e-5), float((found - wanted).abs().max())
