"""What an import promises beside the numbers: the module is left alone, what is not understood is said."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nbkit as nk
from nbkit.build.importing import Imported
from nbkit.build.importing.cells import Carry
from nbkit.language import ops
from nbkit.language.errors import DiagramError
from nbkit.language.parts import Repeat
from tests.build.importing import hub, models
from tests.build.importing.helpers import agrees, shaken


def _state(module: nn.Module) -> dict[str, Any]:
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        "values": {n: t.detach().clone() for n, t in tensors.items()},
        "same": {n: (id(t), t.data_ptr(), t.requires_grad, t.device, t.grad) for n, t in tensors.items()},
        "modes": {n: part.training for n, part in module.named_modules()},
        "hooks": {n: (len(p._forward_hooks), len(p._forward_pre_hooks)) for n, p in module.named_modules()},
    }


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_left_alone(training: bool) -> None:
    torch.manual_seed(0)
    module = models.ResNet18(4, 3).train(training)
    module.conv1.requires_grad_(False)
    module.layer1.train(not training)
    before = _state(module)
    generator = torch.get_rng_state()
    imported = nk.from_torch(module, torch.randn(2, 3, 32, 32, generator=torch.Generator()), check=True)
    imported.torch()
    after = _state(module)
    assert before["same"] == after["same"]
    assert before["modes"] == after["modes"]
    assert before["hooks"] == after["hooks"]
    assert all(torch.equal(t, after["values"][n]) for n, t in before["values"].items())
    assert torch.equal(generator, torch.get_rng_state())


def test_the_new_module_has_weights_of_its_own() -> None:
    module = shaken(models.GPT2(layers=2))
    tokens = torch.randint(0, 101, (2, 16))
    imported = nk.from_torch(module, tokens)
    net = imported.torch()
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    assert all(float(p.detach().abs().max()) > 0 for p in module.parameters())
    with torch.no_grad():
        module.lm_head.weight.mul_(2)
    agrees(module, tokens, imported)  # the weights are those that the module has now


def test_running_averages_are_those_of_now() -> None:
    module = shaken(models.ResNet18(4, 3))
    images = torch.randn(2, 3, 32, 32)
    imported = nk.from_torch(module, images)
    module.train()(torch.randn(8, 3, 32, 32))
    agrees(module, images, imported)


def test_tied_weights_stay_tied() -> None:
    imported = nk.from_torch(models.GPT2(layers=2), torch.randint(0, 101, (2, 16)))
    net = imported.torch()
    assert net.lm_head.weight is net.wte.weight


def test_frozen_weights_stay_frozen() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))
    module[0].requires_grad_(False)
    module[1].requires_grad_(False)
    imported = nk.from_torch(module, torch.randn(3, 4))
    net = imported.torch()
    assert [p.requires_grad for p in net.parameters()] == [p.requires_grad for p in module.parameters()]
    assert imported.diagram["linear"].nodes[0].op.frozen


def test_dropout_is_in_the_diagram() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.25), nn.Linear(8, 2)).eval()
    imported = nk.from_torch(module, torch.randn(3, 4))
    assert [n.op for _, n in imported.diagram.walk() if isinstance(n.op, ops.Dropout)] == [ops.Dropout(0.25)]
    x = torch.randn(50, 4)
    net = imported.torch()
    assert not net.training
    assert torch.equal(net(x), net(x))
    assert not torch.equal(net.train()(x), net(x))
    quiet = nk.from_torch(module, torch.randn(3, 4), training=False)
    assert not any(isinstance(n.op, ops.Dropout) for _, n in quiet.diagram.walk())
    assert str(quiet.coverage) == "3 of 3 calls understood; exported in evaluation mode"


def test_gradients_reach_every_weight() -> None:
    torch.manual_seed(0)
    net = nk.from_torch(models.UNet(), torch.randn(2, 3, 16, 16)).torch().train()
    net(torch.randn(2, 3, 16, 16)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters() if p.dim() > 1)


def test_float64_stays_float64() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    found = nk.from_torch(module, x).torch()(x)
    assert found.dtype is torch.float64
    assert torch.allclose(found, module(x), atol=1e-12)


# -- outputs -----------------------------------------------------------------------------------------------


def test_outputs_by_name() -> None:
    module, example = hub.bert()
    module.eval()
    pooled = nk.from_torch(module, example, output="pooler_output")
    with torch.no_grad():
        wanted = module(**example).pooler_output
        assert torch.allclose(pooled.torch()(*example.values()), wanted, atol=1e-5)
    with pytest.raises(DiagramError) as error:
        nk.from_torch(module, example, output="logits")
    assert str(error.value) == (
        "from_torch: there is no output 'logits'; the module returns last_hidden_state, pooler_output"
    )


# -- what is not understood --------------------------------------------------------------------------------


class Strange(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cumsum(self.first(x), dim=-1)
        return torch.atan(y) + torch.flip(x, (1,))


def test_unknown_calls_are_boxes_and_are_counted() -> None:
    module, x = Strange(), torch.randn(3, 6)
    imported = nk.from_torch(module, x, check=True)
    coverage = imported.coverage
    assert (coverage.calls, coverage.understood) == (5, 2)
    assert str(coverage) == (
        "2 of 5 calls understood; opaque: aten.atan.default ×1, aten.cumsum.default ×1, aten.flip.default ×1"
    )
    assert torch.allclose(imported.torch()(x), module(x))
    assert "opaque: aten.atan.default" in imported._repr_mimebundle_()["text/plain"]


def test_boxes_of_torch_operations_work_in_another_process(tmp_path: Any) -> None:
    module, x = Strange(), torch.randn(3, 6)
    imported = nk.from_torch(module, x)
    torch.save({"x": x, "state": imported.state_dict(), "y": module(x).detach()}, tmp_path / "tensors.pt")
    (tmp_path / "diagram.json").write_text(imported.json())
    code = (
        "import sys, torch, nbkit as nk\n"
        "saved = torch.load(sys.argv[1] + '/tensors.pt')\n"
        "net = nk.Diagram.from_json(open(sys.argv[1] + '/diagram.json').read()).torch()\n"
        "net.load_state_dict(saved['state'])\n"
        "print(torch.allclose(net(saved['x']), saved['y'], atol=1e-6))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_a_branch_on_values_is_explained() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1 if x.sum() > 0 else x - 1

    with pytest.raises(DiagramError) as error:
        nk.from_torch(Branching(), torch.randn(3))
    first, said, *_, remedy, last = str(error.value).splitlines()
    assert first == "from_torch: torch.export cannot follow Branching"
    assert said.startswith("  torch said: ")
    assert remedy == (
        "  rewrite the part without branches that depend on the values in a tensor (torch.where, torch.cond),"
    )
    assert last == "  or import the parts around it one by one: nk.from_torch(model.encoder, example)"


def test_no_module_and_no_example() -> None:
    with pytest.raises(DiagramError) as error:
        nk.from_torch(torch.relu, torch.randn(3))  # type: ignore[arg-type]  # what is tested
    assert str(error.value) == (
        "from_torch takes a torch.nn.Module, found builtin_function_or_method; "
        "give the module itself and an example of its input: nk.from_torch(model, torch.randn(1, 16, 64))"
    )
    with pytest.raises(DiagramError) as error:
        nk.from_torch(nn.Linear(3, 2), 3)
    assert str(error.value) == (
        "from_torch(Linear, …) needs an example input: a tensor, a tuple of arguments, "
        'or a dict of named ones such as {"input_ids": tokens}'
    )


def test_a_failed_check_names_the_difference_and_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    module = shaken(models.ViT(depth=2))
    whole = Imported.torch

    def spoiled(self: Imported, **options: Any) -> nn.Module:
        net: nn.Module = whole(self, **options)
        with torch.no_grad():
            net.blocks[1].mlp.linear.weight.add_(1.0)
        return net

    monkeypatch.setattr(Imported, "torch", spoiled)
    with pytest.raises(DiagramError) as error:
        nk.from_torch(module, torch.randn(2, 3, 16, 16), check=True)
    first, *_ = str(error.value).splitlines()
    assert first.startswith("from_torch(check=True): output 1 differs from the module's by ")
    assert "first in 'blocks.1.mlp'" in first


# -- ways out ----------------------------------------------------------------------------------------------


def test_ways_out() -> None:
    imported = nk.from_torch(models.ViT(depth=2), torch.randn(2, 3, 16, 16))
    assert imported.svg().startswith("<svg")
    assert nk.parse(imported.listing()) == imported.diagram
    assert nk.Diagram.from_json(imported.json()) == imported.diagram
    assert "weight" not in json.loads(imported.json())["names"].values()
    assert imported["blocks"].name == "encoder_block"
    assert imported.dot().startswith("digraph")
    assert "tikzpicture" in imported.tikz()
    assert imported.reverse().forward.inputs == imported.diagram.inputs
    bundle = imported._repr_mimebundle_()
    assert str(imported.coverage) in bundle["text/html"]


def test_a_part_that_is_used_twice_is_said_to_be_copied() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.map = nn.LayerNorm(6), nn.Linear(6, 6, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.map(torch.relu(self.norm(self.map(x)))))

    imported = nk.from_torch(shaken(Twice()), torch.randn(3, 6), check=True)
    assert str(imported.coverage) == (
        "5 of 5 calls understood; used more than once, carried as copies: norm.weight, norm.bias"
    )
    net = imported.torch()
    assert net.map.weight is net.map_2.weight


@pytest.mark.parametrize("make", [models.GPT2, models.UNet, models.LSTMClassifier, models.ViT])
def test_source_without_nbkit_has_the_weights(make: Any) -> None:
    torch.manual_seed(0)
    module = shaken(make())
    shape = {models.ViT: (2, 3, 16, 16), models.UNet: (2, 3, 32, 32)}.get(make)
    x = torch.randint(0, 50, (2, 16)) if shape is None else torch.randn(*shape)
    imported = nk.from_torch(module, x)
    scope: dict[str, Any] = {}
    exec(compile(imported.source(), "source", "exec"), scope)  # noqa: S102  # what is tested
    whole = [v for v in scope.values() if isinstance(v, type) and issubclass(v, nn.Module)][-1]
    net = whole()
    net.load_state_dict(imported.torch().state_dict())
    assert "nbkit" not in imported.source().partition("import")[2]
    assert torch.allclose(net.eval()(x), module(x), atol=1e-5)


def test_copies_share_no_memory_with_parameters() -> None:
    """The copy that is exported has the module's own parameters: no second set is ever held."""
    from nbkit.build.importing.exporting import twin

    module = models.GPT2(layers=2)
    other = twin(module)
    assert all(a is b for a, b in zip(module.parameters(), other.parameters(), strict=True))
    assert other is not module
    assert copy.deepcopy(Carry("w", torch.ones(2))).read().tolist() == [1.0, 1.0]


def test_repetition_of_blocks_with_memory() -> None:
    imported = nk.from_torch(*hub.llama())
    repeats = [n for _, n in imported.diagram.walk() if isinstance(n.op, Repeat)]
    assert len(repeats) == 1
    assert len(repeats[0].ins) == 3, "the stream, and the tables of the rotary embedding, which run through"


def test_a_batch_of_one_is_told() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    one, two = (nk.from_torch(layer, torch.randn(batch, 5, 16)) for batch in (1, 2))
    assert str(two.coverage).endswith("calls understood")
    told = "a batch of one is an axis of its own: give an example of two or more, and any number goes in"
    assert str(one.coverage).endswith(f"calls understood; {told}")
