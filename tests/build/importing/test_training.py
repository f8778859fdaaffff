"""A training step of the diagram's module is one of the module: same outputs, gradients and averages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import nbkit as nk
from tests.build.importing import hub, models
from tests.build.importing.helpers import first, shaken

Made = tuple[nn.Module, Any]


MODELS: dict[str, Callable[[], Made]] = {
    "gpt2": lambda: (models.GPT2(layers=2, dropout=0.0), torch.randint(0, 101, (2, 16))),
    "unet": lambda: (models.UNet(), torch.randn(3, 3, 16, 16)),
    "lstm": lambda: (models.LSTMClassifier(layers=1), torch.randint(0, 50, (2, 9))),
    "vit": lambda: (models.ViT(depth=2), torch.randn(2, 3, 16, 16)),
    "llama": hub.llama,
}


@pytest.mark.parametrize("name", MODELS)
def test_gradients_and_averages(name: str) -> None:
    torch.manual_seed(0)
    module, example = MODELS[name]()
    near = 1e-5 if name == "llama" else 1e-9  # Llama's norms compute in float32 whatever they are given
    imported = nk.from_torch(shaken(module).double(), _double(example))
    net = imported.torch().train()
    module.train()
    args, named = ((), example) if isinstance(example, dict) else ((_double(example),), {})
    wanted = first(module(*args, **named))
    found = net(*args, *named.values())
    assert torch.allclose(found, wanted, atol=near)
    target = torch.randn_like(wanted)
    (wanted * target).sum().backward()
    (found * target).sum().backward()
    mine = dict(net.named_parameters(remove_duplicate=False))
    for path, carry in imported.carries.items():
        if path not in mine:
            continue
        gradient = carry.tensor.grad
        assert gradient is not None, path
        for step in carry.steps:
            gradient = step(gradient)
        theirs = gradient.reshape(mine[path].shape)
        assert torch.allclose(mine[path].grad, theirs, atol=near), path
    buffers = dict(module.named_buffers())
    for path, buffer in net.named_buffers():
        if path.endswith(("running_mean", "running_var")):
            assert torch.allclose(buffer, buffers[imported.carries[path].source], atol=near)


def _double(example: Any) -> Any:
    if isinstance(example, torch.Tensor) and example.is_floating_point():
        return example.double()
    return example
