"""Whole models: what the diagram computes with the carried weights is what the module computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import nbkit as nk
from nbkit.language import ops
from nbkit.language.parts import Repeat, Scan
from tests.build.importing import hub, models
from tests.build.importing.helpers import agrees, shaken


def _encoder() -> tuple[nn.Module, Any]:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 2), torch.randn(2, 7, 16)


def _tokens(rows: int, length: int) -> torch.Tensor:
    return torch.randint(0, rows, (2, length))


PLAIN: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "encoder": _encoder,
    "gpt2": lambda: (models.GPT2(), _tokens(101, 16)),
    "gpt2_written_out": lambda: (models.GPT2(layers=3, fused=False), _tokens(101, 16)),
    "resnet18": lambda: (models.ResNet18(8, 10), torch.randn(2, 3, 32, 32)),
    "unet": lambda: (models.UNet(), torch.randn(2, 3, 32, 32)),
    "unet_nearest": lambda: (models.UNet(nearest=True), torch.randn(2, 3, 32, 32)),
    "lstm": lambda: (models.LSTMClassifier(), _tokens(50, 9)),
    "lstm_both_ways": lambda: (models.LSTMClassifier(bidirectional=True), _tokens(50, 9)),
    "vit": lambda: (models.ViT(), torch.randn(2, 3, 16, 16)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_torch(name: str) -> None:
    torch.manual_seed(0)
    module, example = PLAIN[name]()
    imported = nk.from_torch(shaken(module), example)
    assert imported.coverage.understood == imported.coverage.calls > 5
    assert not imported.coverage.opaque
    agrees(module, example, imported)
    assert imported.cost().params == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", hub.MODELS)
def test_transformers(name: str) -> None:
    torch.manual_seed(0)
    module, example = hub.MODELS[name]()
    imported = nk.from_torch(shaken(module), example)
    assert imported.coverage.understood == imported.coverage.calls > 50
    agrees(module, example, imported)
    folded = [node for _, node in imported.diagram.walk() if isinstance(node.op, Repeat)]
    assert folded, "the layers are a repetition"
    softmaxes = [node for _, node in imported.diagram.walk() if isinstance(node.op, ops.Softmax)]
    assert softmaxes, "attention is written out"


def test_any_batch_goes_in() -> None:
    torch.manual_seed(0)
    module = shaken(models.ViT())
    net = nk.from_torch(module, torch.randn(2, 3, 16, 16)).torch()
    images = torch.randn(5, 3, 16, 16)
    assert torch.allclose(net(images), module(images), atol=1e-5)


def test_gpt_reads_as_one_would_draw_it() -> None:
    imported = nk.from_torch(models.GPT2(layers=12), _tokens(101, 16))
    paths = dict(imported.diagram.walk())
    assert str(imported.diagram) == "gpt2: N(101)[x=16] -> R[x=16 v=101]"
    assert isinstance(paths["h"].op, Repeat)
    assert paths["h"].op.n == 12
    assert imported.diagram["h.*.attn.Q"].nodes[0].op == ops.Linear("m -> h=4 k=8")
    assert imported.diagram["h.*.attn.attention.mask"].nodes[0].op == ops.Mask("x <= y")
    assert imported.diagram["wpe"].nodes[0].op == ops.Positions("x -> m=32")
    assert paths["lm_head"].op.key == paths["wte"].op.key != ""


def test_lstm_is_a_scan_of_gates() -> None:
    imported = nk.from_torch(models.LSTMClassifier(layers=1), _tokens(50, 9))
    scans = [node.op for _, node in imported.diagram.walk() if isinstance(node.op, Scan)]
    assert len(scans) == 1
    kinds = [str(node.op) for node in scans[0].body.nodes]
    assert kinds.count("sigmoid") == 3
    assert kinds.count("tanh") == 2
