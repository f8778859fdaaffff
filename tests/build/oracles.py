"""Comparing a compiled diagram with a reference: outputs and every gradient, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def randn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def copy(weights: Mapping[str, Tensor], net: nn.Module) -> None:
    """Named weights into a compiled module; every one of its parameters must be given."""
    parameters = dict(net.named_parameters())
    assert set(weights) == set(parameters)
    with torch.no_grad():
        for name, value in weights.items():
            assert parameters[name].shape == value.shape, name
            parameters[name].copy_(value)


def assert_same(
    net: nn.Module,
    reference: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    pairs: list[tuple[Tensor, Tensor]] | None = None,
    **arguments: Any,
) -> None:
    """Equal outputs, equal gradients of the inputs and of each pair of parameters, to 1e-9."""
    mine, right = net(*inputs), reference(*inputs, **arguments)
    torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-10)
    weight = torch.linspace(-1, 1, mine.numel(), dtype=mine.dtype).view(mine.shape)
    ours, theirs = [a for a, _ in pairs or []], [b for _, b in pairs or []]
    left = torch.autograd.grad((mine * weight).sum(), [*inputs, *ours])
    other = torch.autograd.grad((right * weight).sum(), [*inputs, *theirs])
    for a, b in zip(left, other, strict=True):
        torch.testing.assert_close(a, b.view(a.shape), rtol=1e-9, atol=1e-10)
