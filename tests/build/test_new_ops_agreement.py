"""Compiled diagrams of all ops, with and without peepholes, against the interpreter; names and batches."""

from __future__ import annotations

import re

import torch
from hypothesis import HealthCheck, assume, given, note, settings
from torch import Tensor

from nbkit import Diagram, parse
from nbkit.build import build_torch
from tests.build.interpreter import interpret
from tests.build.test_agreement import results, run
from tests.strategies import diagrams

EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def inputs_of(diagram: Diagram, *lead: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for array in diagram.inputs:
        shape = (*lead, *(int(a.size) for a in array for _ in range(a.rank)))
        if array.bound is None:
            made.append(torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_())
        else:
            made.append(torch.randint(0, int(array.bound), shape, generator=generator))
    return made


def shake(net: torch.nn.Module) -> None:
    """Weights that are nowhere 0 or 1, so that nothing lies on the kink of a function but by chance."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype) / 3)


def gradients(outputs: tuple[Tensor, ...], net: torch.nn.Module, inputs: list[Tensor]) -> list[Tensor]:
    """Outputs, and the gradients of whatever has any."""
    if not any(out.requires_grad for out in outputs):
        return [out.detach() for out in outputs]
    trained = [p for p in net.parameters() if p.requires_grad]
    holder = torch.nn.Module()
    holder.parameters = lambda: iter(trained)  # type: ignore[method-assign,assignment,return-value]
    real = [out for out in outputs if out.is_floating_point()]
    return results(tuple(real), holder, [x for x in inputs if x.is_floating_point()])


@EXAMPLES
@given(diagrams(concrete=True, new=True))
def test_compiled_diagrams_mean_what_the_diagram_says(diagram: Diagram) -> None:
    note(diagram.listing())
    fused = build_torch(diagram, seed=3).double().eval()
    plain = build_torch(diagram, seed=3, peepholes=False).double().eval()
    assert {k: v.shape for k, v in fused.state_dict().items()} == {
        k: v.shape for k, v in plain.state_dict().items()
    }
    for one, other in zip(fused.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    shake(plain)
    fused.load_state_dict(plain.state_dict())
    inputs = inputs_of(diagram, 3)
    expected = gradients(interpret(diagram, plain, *inputs), plain, inputs)
    assume(all(bool(x.isfinite().all()) and float(x.abs().max()) < 1e12 for x in expected if x.numel()))
    for net in (fused, plain):
        found = gradients(run(net, inputs), net, inputs)
        for mine, right in zip(found, expected, strict=True):
            torch.testing.assert_close(mine.broadcast_to(right.shape), right, rtol=1e-9, atol=1e-9)


@EXAMPLES
@given(diagrams(concrete=True, new=True))
def test_parameters_are_called_by_their_paths_and_counted(diagram: Diagram) -> None:
    net = build_torch(diagram, seed=1)
    assert diagram.cost().params == sum(p.numel() for p in net.parameters())
    learned = {path.replace(".*", "") for path, node in diagram.walk() if node.op.learned}
    for name in net.state_dict():
        path = ".".join(part for part in name.split(".")[:-1] if not part.isdecimal())
        assert path in {re.sub(r"\.[0-9]+(?=\.|$)", "", known) for known in learned}


@EXAMPLES
@given(diagrams(new=True))
def test_json_and_listing_read_back_exactly(diagram: Diagram) -> None:
    assert Diagram.from_json(diagram.json()) == diagram
    assert parse(diagram.listing()) == diagram


@EXAMPLES
@given(diagrams(concrete=True, new=True))
def test_batches_may_be_missing_or_several(diagram: Diagram) -> None:
    net = build_torch(diagram, seed=1).double().eval()
    shake(net)
    inputs = inputs_of(diagram, 4)
    whole = run(net, inputs)
    several = run(net, [x.reshape(2, 2, *x.shape[1:]) for x in inputs])
    single = run(net, [x[1] for x in inputs])
    for all_, some, one in zip(whole, several, single, strict=True):
        assume(bool(all_.isfinite().all()))
        if all_.dim() > one.dim():  # parameters alone have no batch
            torch.testing.assert_close(some.reshape(all_.shape), all_)
            torch.testing.assert_close(one, all_[1])
