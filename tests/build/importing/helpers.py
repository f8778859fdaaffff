"""Random weights where a module starts with constants, and the comparison of a module with its diagram."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nbkit.build.importing import Imported


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with random biases, norms and running averages, so that each of them counts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            if p.dim() == 1:
                p.normal_(std=0.5, generator=generator)
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_var is not None:
                part.running_mean.normal_(generator=generator)  # type: ignore[union-attr]
                part.running_var.uniform_(0.5, 2, generator=generator)
    return module.eval()


def first(result: Any) -> Tensor:
    """The first tensor that a module gives."""
    if isinstance(result, Tensor):
        return result
    return first(next(iter(result.values())) if isinstance(result, dict) else result[0])


def agrees(module: nn.Module, example: Any, imported: Imported, tolerance: float = 1e-5) -> None:
    """The diagram's module with the carried weights gives what the module gives, in evaluation mode."""
    args, named = ((), example) if isinstance(example, dict) else ((example,), {})
    with torch.no_grad():
        wanted = first(module.eval()(*args, **named))
        found = imported.torch().eval()(*args, *named.values())
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= tolerance * max(1.0, float(wanted.abs().max()))
