"""Names, open sizes, blocks and repetitions of what is imported."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nbkit as nk
from nbkit.language.errors import DiagramError
from tests.build.importing import hub, models
from tests.build.importing.helpers import agrees, shaken


def test_axes_are_called_as_asked() -> None:
    module = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2).eval()
    imported = nk.from_torch(module, torch.randn(2, 7, 16), "n=2 t=7 e=16")
    assert str(imported.diagram) == "transformer_encoder: R[n=2 t=7 e=16] -> R[n=2 t=7 e=16]"


def _gpt() -> nn.Module:
    return models.GPT2(layers=2)


def _layer() -> nn.Module:
    return nn.TransformerEncoderLayer(16, 4, 32)


@pytest.mark.parametrize(
    ("make", "example", "axes", "other"),
    [
        (_gpt, torch.randint(0, 101, (2, 9)), "b=2 x", torch.randint(0, 101, (2, 13))),
        (models.UNet, torch.randn(2, 3, 16, 16), "b=2 c=3 i j", torch.randn(2, 3, 24, 32)),
        (_layer, torch.randn(7, 2, 16), "x b m=16", torch.randn(9, 3, 16)),
    ],
)
def test_open_sizes(make: Any, example: Tensor, axes: str, other: Tensor) -> None:
    module = shaken(make())
    imported = nk.from_torch(module, example, axes)
    assert set(imported.diagram.free()) == {t for t in axes.split() if "=" not in t}
    net = imported.torch()
    for x in (example, other):
        assert torch.allclose(net(x), module(x), atol=1e-5)


def test_wrong_axes() -> None:
    with pytest.raises(DiagramError) as error:
        nk.from_torch(nn.Linear(4, 2), torch.randn(3, 4), "b x m")
    assert str(error.value) == (
        "from_torch: axes 'b x m' name 3 dimensions, but input 'input' has 2, of sizes (3, 4); "
        "give one axis for each"
    )
    with pytest.raises(DiagramError) as error:
        nk.from_torch(nn.Linear(4, 2), torch.randn(3, 4), "b=3 m=5")
    assert str(error.value) == (
        "from_torch: axis 'm=5' of input 'input' has size 4 in the example; "
        "write m=4, or 'm' to leave it open"
    )


def test_equal_layers_are_one_repetition() -> None:
    module = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 5).eval()
    imported = nk.from_torch(module, torch.randn(2, 7, 16))
    (node,) = imported.diagram.nodes
    assert (node.id, node.op.n) == ("layers", 5)
    module.layers[2].dropout.p = 0.3
    different = nk.from_torch(module, torch.randn(2, 7, 16)).diagram
    assert [type(n.op).__name__ for n in different.nodes if n.op.kind in ("block", "repeat")] == [
        "Block", "Block", "Block", "Block", "Block",
    ]  # fmt: skip


def test_layers_that_share_weights_are_tied() -> None:
    class Albert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.layers = nn.ModuleList([self.layer] * 3)

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    module, x = shaken(Albert()), torch.randn(2, 5, 8)
    imported = nk.from_torch(module, x)
    agrees(module, x, imported)
    assert imported.cost().params == sum(p.numel() for p in module.parameters())


def test_what_depends_on_an_open_size_is_refused() -> None:
    """Llama's rotary tables are computed from the length: they are no diagram of an open length."""
    module, example = hub.llama()
    with pytest.raises(DiagramError) as error:
        nk.from_torch(module, example, "b=2 x")
    assert str(error.value) == (
        "from_torch: aten.mul.Tensor in module 'model.layers.0.self_attn' can be no part of a diagram, "
        "not even as an opaque box: a constant whose size is open\n"
        "  give every size in axes (or none), or import the modules around it one by one"
    )


def test_open_length_of_a_model_from_the_hub() -> None:
    module, example = hub.gpt2()
    imported = nk.from_torch(shaken(module), example, "b=2 x")
    longer = hub.tokens(11)
    with torch.no_grad():
        assert torch.allclose(imported.torch()(longer), module(longer).logits, atol=1e-5)


def test_a_number_that_depends_on_an_open_size_is_refused() -> None:
    class Counting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.arange(x.shape[1]).sum()

    with pytest.raises(DiagramError, match="a number that is computed from an open size"):
        nk.from_torch(Counting(), torch.randn(2, 5), "b=2 x")
    imported = nk.from_torch(Counting(), torch.randn(2, 5), check=True)
    assert str(imported.diagram) == "counting: R[x=5] -> R[x=5]"
