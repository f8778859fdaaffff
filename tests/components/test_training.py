"""Every component, compiled, trains: one step reaches every parameter and lowers the loss."""

import pytest
import torch

from nbkit import Diagram, index
from nbkit.components import catalogue, grokking_transformer, last_position_block, transformer_block

SIZES = {
    "x": 4,
    "y": 4,
    "m": 8,
    "h": 2,
    "k": 4,
    "f": 6,
    "v": 7,
    "b": 3,
    "c": 2,
    "n": 5,
    "e": 9,
    "t": 5,
    "d": 6,
}


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
        if array.names[-2:] == ("n", "s"):  # an adjacency matrix
            found[-1] = (found[-1] > 0).float()
    return found


def results(out: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return out if isinstance(out, tuple) else (out,)


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_one_step_reaches_every_parameter(name: str) -> None:
    diagram, net = compiled(name)
    inputs = example(diagram, 3)
    held = dict(net.named_parameters())
    assert sum(p.numel() for p in held.values()) == diagram.cost().params
    parameters = {path: p for path, p in held.items() if p.requires_grad}
    assert set(held) - set(parameters) == ({"W.weight", "W.bias"} if name == "lora" else set())
    if not parameters:
        return
    with torch.no_grad():
        for parameter in parameters.values():
            if not parameter.any():  # what meets a weight that starts at zero has no gradient at first: LoRA
                parameter.normal_(std=0.1)
    out, *_ = results(net(*inputs))
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
            parameter.sub_(parameter.grad, alpha=1e-3)
        assert (results(net(*inputs))[0] - target).square().mean() < loss


def test_the_last_position_alone_gives_what_the_whole_block_gives_there() -> None:
    whole = (transformer_block(4) >> index("x", -1)).on("x=5 m=16").torch(seed=0).double()
    last = last_position_block(4).on("x=5 m=16").torch(seed=1).double()
    last.load_state_dict(
        {path.removeprefix("transformer_block."): t for path, t in whole.state_dict().items()}
    )
    x = torch.randn(7, 5, 16, dtype=torch.float64)
    torch.testing.assert_close(last(x), whole(x), rtol=0, atol=1e-12)


def test_both_grokking_transformers_have_the_same_parameters() -> None:
    for layers in (1, 2, 3):
        fast, plain = (grokking_transformer(7, layers=layers, every_position=e) for e in (False, True))
        assert fast.cost().params == plain.cost().params
        tokens = torch.randint(8, (5, 3))
        assert fast.torch(seed=0)(tokens).shape == plain.torch(seed=0)(tokens).shape == (5, 7)
