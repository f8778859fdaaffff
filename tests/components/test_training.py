"""Every component, compiled, trains: one step reaches every parameter and lowers the loss."""

import pytest
import torch

from nbkit import Diagram
from nbkit.components import catalogue

SIZES = {"x": 4, "y": 4, "m": 8, "h": 2, "k": 4, "f": 6, "v": 7, "b": 3, "c": 2}


def compiled(name: str) -> tuple[Diagram, torch.nn.Module]:
    diagram = catalogue()[name]()
    diagram = diagram.at(**{size: SIZES[size] for size in diagram.free()})
    return diagram, diagram.torch(seed=0)


def example(diagram: Diagram, batch: int) -> list[torch.Tensor]:
    torch.manual_seed(1)
    found = []
    for array in diagram.inputs:
        shape = [batch] if "b" not in array else []
        for axis in array:
            shape += [int(axis.size)] * axis.rank
        found.append(torch.randn(shape) if array.bound is None else torch.randint(int(array.bound), shape))
    return found


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_one_step_reaches_every_parameter(name: str) -> None:
    diagram, net = compiled(name)
    inputs = example(diagram, 3)
    out = net(*inputs)
    parameters = dict(net.named_parameters())
    assert sum(p.numel() for p in parameters.values()) == diagram.cost().params
    if not parameters:
        return
    target = torch.randn_like(out)
    loss = (out - target).square().mean()
    loss.backward()
    for path, parameter in parameters.items():
        assert parameter.grad is not None, path
        assert torch.isfinite(parameter.grad).all(), path
        if not path.endswith("K.bias"):  # a bias of the keys adds the same to every score: softmax ignores it
            assert parameter.grad.abs().max() > 0, path
    with torch.no_grad():
        for parameter in parameters.values():
            parameter -= 1e-3 * parameter.grad
        assert (net(*inputs) - target).square().mean() < loss
