"""Compiled diagrams, with and without peepholes, against an interpreter: outputs and gradients."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, given, settings, target
from torch import Tensor, nn

from nbkit import Diagram
from nbkit.build import build_torch
from tests.build.interpreter import interpret
from tests.build.random_diagrams import diagrams

EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def inputs_of(diagram: Diagram, batch: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(
            batch,
            *(int(a.size) for a in array for _ in range(a.rank)),
            generator=generator,
            dtype=torch.float64,
        )
        for array in diagram.inputs
    ]


def results(outputs: tuple[Tensor, ...], net: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
    """Outputs and all gradients of a scalar made of them."""
    weights = [torch.linspace(0.5, 1.5, out.numel(), dtype=out.dtype).view(out.shape) for out in outputs]
    scalar = sum((out * weight).sum() for out, weight in zip(outputs, weights, strict=True))
    leaves = [*inputs, *net.parameters()]
    gradients = torch.autograd.grad(scalar, leaves, allow_unused=True, materialize_grads=True)
    return [*(out.detach() for out in outputs), *gradients]


def run(net: nn.Module, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    out = net(*inputs)
    return out if isinstance(out, tuple) else (out,)


@EXAMPLES
@given(diagrams())
def test_compiled_diagrams_mean_what_the_diagram_says(diagram: Diagram) -> None:
    fused = build_torch(diagram, seed=3).double()
    plain = build_torch(diagram, seed=3, peepholes=False).double()
    assert {k: v.shape for k, v in fused.state_dict().items()} == {
        k: v.shape for k, v in plain.state_dict().items()
    }
    for one, other in zip(fused.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)
    assert diagram.cost().params == sum(p.numel() for p in fused.parameters())
    inputs = [x.requires_grad_() for x in inputs_of(diagram, batch=3)]
    expected = results(interpret(diagram, plain, *inputs), plain, inputs)
    for net in (fused, plain):
        found = results(run(net, inputs), net, inputs)
        for mine, right in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-10)
    target(float(len(diagram.nodes)))


@EXAMPLES
@given(diagrams())
def test_batches_may_be_missing_or_several(diagram: Diagram) -> None:
    net = build_torch(diagram, seed=1).double().eval()
    (x,) = inputs_of(diagram, batch=4)
    whole = run(net, [x])
    several = run(net, [x.view(2, 2, *x.shape[1:])])
    single = run(net, [x[1]])
    for all_, some, one in zip(whole, several, single, strict=True):
        if all_.dim() > one.dim():  # positions alone have no batch
            torch.testing.assert_close(some.reshape(all_.shape), all_)
            torch.testing.assert_close(one, all_[1])
